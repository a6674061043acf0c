"""Reading images: damage is noticed, sizes are checked, decoded images are kept."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .bounded_reading import BlockedImage, UnreadableImage, read_file
from .image_decoding import Undecodable, decode_image, orientation_turns, size_in_header

__all__ = ["BlockedImage", "ImageCache", "UnreadableImage", "image_size", "read_image"]


def read_image(file_name: str, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Read an image with its EXIF orientation applied, see :func:`~.image_decoding.decode_image`.

    Args:
        file_name: path, or name of an image in a shard, ``shard.tar!member``.
        width: what the annotation file says, in pixels; None: not checked.
        height: the same.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadableImage: names the file and the reason.
        BlockedImage: its file system does not answer.
    """
    data = read_file(file_name)
    if not data:
        raise UnreadableImage(file_name, "the file is empty")
    try:
        image = decode_image(data, file_name)
    except Undecodable as error:
        raise UnreadableImage(file_name, str(error)) from error
    except Exception as error:  # of a decoder, whatever it is: it costs this image alone
        raise UnreadableImage(file_name, f"it cannot be decoded ({type(error).__name__}: {error})") from error
    if width is not None and image.shape[:2] != (height, width):
        raise UnreadableImage(file_name, _other_size(image, width, height, data))
    return image


def image_size(file_name: str) -> tuple[int, int]:
    """Height and width that :func:`read_image` gives; most formats need not be decoded for it.

    Args:
        file_name: path.

    Returns:
        (height, width) in pixels.

    Raises:
        UnreadableImage: names the file and the reason.
        BlockedImage: its file system does not answer.
    """
    size = read_file(file_name, size_in_header)
    if size is None:
        height, width = read_image(file_name).shape[:2]
        return height, width
    return size


def _other_size(image: np.ndarray, width: int, height: int | None, data: bytes) -> str:
    """A clause about an image whose size is not what the annotation file says."""
    shown = f"{image.shape[1]} x {image.shape[0]}"
    if image.shape[:2] == (width, height) and orientation_turns(data):
        return (
            f"its EXIF orientation turns it to {shown} but the annotation file says {width} x {height}, the size as "
            "stored: label it as it is shown, or remove the orientation"
        )
    return f"its size is {shown} but the annotation file says {width} x {height}"


class ImageCache:
    """Keeps decoded images in memory up to a limit.

    Nothing is ever thrown out: with one random order an epoch no choice of what to throw out is better.
    A cache belongs to one process; keys are file names.

    Args:
        megabytes: the limit.
    """

    def __init__(self, megabytes: float) -> None:
        self._limit = megabytes * 2**20
        self._used = 0
        self._images: dict[Any, np.ndarray] = {}

    def read(self, record: dict, prepare: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """The image of a record, read-only.

        Args:
            record: has file_name, height, width.
            prepare: function of the decoded image, applied before it is kept.

        Raises:
            UnreadableImage: see :func:`read_image`.
        """
        key = record["file_name"]
        image = self._images.get(key)
        if image is not None:
            return image
        image = read_image(os.fspath(key), record.get("width"), record.get("height"))
        if prepare is not None:
            image = prepare(image)
        if self._used + image.nbytes <= self._limit:
            image.flags.writeable = False
            self._images[key] = image
            self._used += image.nbytes
        return image
