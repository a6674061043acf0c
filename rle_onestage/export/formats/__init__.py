"""The formats: each is one file of this room with a class that is registered here by its name."""

from . import coreml, executorch, litert, onnx, openvino, torch_files
from .base import FORMATS, FewBits, Format, Runner, RunOptions, format_of

__all__ = [
    "FORMATS", "FewBits", "Format", "RunOptions", "Runner", "coreml", "executorch", "format_of", "litert", "onnx",
    "openvino", "torch_files",
]  # fmt: skip
