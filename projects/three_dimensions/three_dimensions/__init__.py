"""Depth by one-stage regression under several losses, on synthetic people."""
