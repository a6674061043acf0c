"""Backbones: a timm network with a pyramid, MoveNet's, and what both share."""
