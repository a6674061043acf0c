"""Ours beside another one-stage model, on the same pictures, labels, epochs and input size."""
