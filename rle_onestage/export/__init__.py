"""One file from the bytes of an image to people in its pixels, for runtimes without this package."""

from .exporting import ExportOptions, export_model
from .formats import FORMATS, Format

__all__ = ["FORMATS", "ExportOptions", "Format", "export_model"]
