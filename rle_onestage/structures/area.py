"""COCO's area of a person where only the box is known."""

AREA_OF_BOX = 0.53
"""The share of their boxes that COCO's segments cover, about."""
