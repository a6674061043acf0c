"""Synthetic people: pictures and videos with exact labels, made from nothing. See :func:`~.writer.make_dataset`."""

from .writer import PRESETS, Settings, make_dataset, make_picture, make_settings

__all__ = ["PRESETS", "Settings", "make_dataset", "make_picture", "make_settings"]
