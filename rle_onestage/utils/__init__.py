"""Files, images, fonts and signals: what knows nothing of poses."""

from .bounded_reading import BlockedImage, UnreadableImage, read_file
from .images import ImageCache, image_size, read_image
from .output_files import (
    OutputFile,
    check_target,
    kind_of,
    remove_unfinished,
    replaced_when_done,
    write_bytes,
    write_text,
)

__all__ = [
    "BlockedImage",
    "ImageCache",
    "OutputFile",
    "UnreadableImage",
    "check_target",
    "image_size",
    "kind_of",
    "read_file",
    "read_image",
    "remove_unfinished",
    "replaced_when_done",
    "write_bytes",
    "write_text",
]
