"""Measuring instruments of the project: COCO's metrics with bootstrap intervals, thresholds, coverage, duplicates."""
