"""Ours beside another one-stage model, on the same images, labels, epochs and input size."""
