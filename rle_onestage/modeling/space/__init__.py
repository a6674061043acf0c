"""Joints in space: what the network says of depth, its likelihood, and millimetres from both."""
