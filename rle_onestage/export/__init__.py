"""One file from the pixels of an image to people, for runtimes without this package."""

from .exporting import Exported, ExportOptions, export_model
from .formats import FORMATS, Format
from .image_files import read_images
from .measuring import measure
from .parity import NotEqualError, Parity
from .predicting import ExportedPredictor, describe, load
from .server import check_server, write_server

__all__ = [
    "FORMATS",
    "ExportOptions",
    "Exported",
    "ExportedPredictor",
    "Format",
    "NotEqualError",
    "Parity",
    "check_server",
    "describe",
    "export_model",
    "load",
    "measure",
    "read_images",
    "write_server",
]
