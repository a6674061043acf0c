"""Images and videos: what inputs name, frames in, frames out.

Outputs are written under a temporary name and renamed when complete; a video that is cut short (Ctrl-C, SIGTERM, an
error, a full disk) is closed and renamed too, so that what was written plays.
"""

from .formats import VIDEO_TYPES, looks_like_video
from .images import (
    IMAGE_TYPES,
    READ_TYPES,
    check_new_folder,
    find_images,
    make_folder,
    natural_key,
    output_paths,
    write_image,
)
from .reader import Frame, Source, VideoReader, check_source, is_address, local_path, without_password
from .window import WINDOW, check_window, has_display, show
from .writer import VideoWriter

__all__ = [
    "IMAGE_TYPES",
    "READ_TYPES",
    "VIDEO_TYPES",
    "WINDOW",
    "Frame",
    "Source",
    "VideoReader",
    "VideoWriter",
    "check_new_folder",
    "check_source",
    "check_window",
    "find_images",
    "has_display",
    "is_address",
    "local_path",
    "looks_like_video",
    "make_folder",
    "natural_key",
    "output_paths",
    "show",
    "without_password",
    "write_image",
]
