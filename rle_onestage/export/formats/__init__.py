"""The formats: each is one file of this room with a class that is registered here by its name."""

from .base import FORMATS, Format, Runner, format_of
from .onnx import OnnxFormat

__all__ = ["FORMATS", "Format", "OnnxFormat", "Runner", "format_of"]
