"""Reading images: damage is noticed, sizes are checked, decoded images are kept."""

import io
import os

import cv2
import numpy as np
from PIL import Image

from ..errors import DataError


class UnreadableImage(DataError):
    """An image is missing, truncated, not an image, or of another size than its record says."""

    def __init__(self, file_name, reason):
        super().__init__(
            f"image {file_name} cannot be used: {reason}; replace it or remove it from the annotation file."
        )
        self.file_name = file_name
        self.reason = reason


def read_image(file_name: str, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Read an image with its EXIF orientation applied.

    OpenCV fills what is missing of a truncated JPEG with grey and says nothing, so the end of the file is looked at
    first.

    Args:
        file_name: path.
        width, height: what the annotation file says; None: not checked.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadableImage: names the file and the reason.
    """
    try:
        with open(file_name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UnreadableImage(file_name, f"it cannot be opened ({error.strerror})") from error
    if not data:
        raise UnreadableImage(file_name, "the file is empty")
    _check_complete(file_name, data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UnreadableImage(file_name, "it is damaged or not an image")
    if width is not None and image.shape[:2] != (height, width):
        raise UnreadableImage(
            file_name,
            f"its size is {image.shape[1]} x {image.shape[0]} but the annotation file says {width} x {height}",
        )
    return image


def _check_complete(file_name, data):
    tail = data[-64:].rstrip(b"\0\r\n ")
    jpeg, png = data[:2] == b"\xff\xd8", data[:4] == b"\x89PNG"
    if (jpeg and tail.endswith(b"\xff\xd9")) or (png and b"IEND" in tail) or not (jpeg or png):
        return
    # The end is not where it should be: harmless (text behind the end) or truncated. Pillow decodes strictly.
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(file_name, "it is truncated or damaged") from error


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
