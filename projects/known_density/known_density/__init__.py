"""Losses on labels whose density is known."""
