"""Reading images: damage is noticed, sizes are checked, decoded images are kept."""

import os
import stat

import numpy as np

from ..errors import DataError
from .decode import Undecodable, decode_image, orientation_turns, size_in_header

_MOST_BYTES = 2**31 - 1  # what OpenCV decodes


class UnreadableImage(DataError):
    """An image is missing, truncated, not an image, or of another size than its record says."""

    def __init__(self, file_name, reason):
        super().__init__(
            f"image {file_name} cannot be used: {reason}; replace it or remove it from the annotation file."
        )
        self.file_name = file_name
        self.reason = reason


def read_image(file_name: str, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Read an image with its EXIF orientation applied, see :func:`~.decode.decode_image`.

    Args:
        file_name: path.
        width, height: what the annotation file says; None: not checked.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadableImage: names the file and the reason.
    """
    data = _bytes_of(file_name)
    try:
        image = decode_image(data, file_name)
    except Undecodable as error:
        raise UnreadableImage(file_name, str(error)) from error
    if width is not None and image.shape[:2] != (height, width):
        raise UnreadableImage(file_name, _other_size(image, width, height, data))
    return image


def image_size(file_name: str) -> tuple[int, int]:
    """Height and width that :func:`read_image` gives; most formats need not be decoded for it.

    Raises:
        UnreadableImage: names the file and the reason.
    """
    _check_file(file_name)
    size = size_in_header(file_name)
    return read_image(file_name).shape[:2] if size is None else size


def _check_file(file_name):
    try:
        status = os.stat(file_name)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, for ever
            raise UnreadableImage(file_name, "it is no regular file")
        if status.st_size > _MOST_BYTES:
            raise UnreadableImage(file_name, f"the file has {status.st_size / 2**30:.1f} GB, more than can be decoded")
    except (OSError, ValueError) as error:
        raise _not_opened(file_name, error) from error
    if not status.st_size:
        raise UnreadableImage(file_name, "the file is empty")


def _bytes_of(file_name):
    _check_file(file_name)
    try:
        with open(file_name, "rb") as file:
            return file.read()
    except OSError as error:
        raise _not_opened(file_name, error) from error


def _not_opened(file_name, error):
    return UnreadableImage(file_name, f"it cannot be opened ({getattr(error, 'strerror', None) or error})")


def _other_size(image, width, height, data):
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
    """

    def __init__(self, megabytes: float):
        self._limit = megabytes * 2**20
        self._used = 0
        self._images = {}

    def read(self, record: dict, prepare=None) -> np.ndarray:
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
