"""Tracking and smoothing measured on clips with known identities: detections, variants, peers, metrics."""
