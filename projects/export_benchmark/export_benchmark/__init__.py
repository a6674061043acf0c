"""Exported files beside PyTorch: the same numbers, time and memory."""
