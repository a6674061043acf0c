"""Synthetic people: images and videos with exact labels, made from nothing. See :func:`~.writer.make_dataset`."""

from .writer import PRESETS, Settings, make_dataset, make_image, make_settings

__all__ = ["PRESETS", "Settings", "make_dataset", "make_image", "make_settings"]
