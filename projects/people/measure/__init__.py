"""Measuring instruments of the project: COCO's figures with bootstrap intervals, thresholds, coverage, duplicates."""
