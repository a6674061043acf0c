"""Reading images: damage is noticed, sizes are checked, decoded images are kept."""

import io
import os
import re
import warnings

import cv2
import numpy as np
from PIL import Image

from .coco_json import ORIENTATION_TAG, TURNED
from .depth import as_eight_bits
from .files import BlockedImage, UnreadableImage, read_file

__all__ = ["MOST_PIXELS", "BlockedImage", "ImageCache", "UnreadableImage", "read_image"]

# Decoded, an image of so many pixels takes 0.8 GB: more is a mistake in its header, an attack, or to be cut up first.
MOST_PIXELS = 2**28
# Sizes are checked here, before anything is decoded.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(file_name: str, width: int | None = None, height: int | None = None) -> np.ndarray:
    """Read an image with its EXIF orientation applied.

    OpenCV fills what is missing of a truncated JPEG with grey and says nothing, so the end of the file is looked at
    first. What has more than 8 bits a sample is scaled by the range that its values fill, see
    :func:`~.depth.as_eight_bits`.

    Args:
        file_name: path.
        width, height: what the annotation file says; None: not checked.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UnreadableImage: names the file and the reason.
        BlockedImage: its file system does not answer.
    """
    data = read_file(file_name)
    if not data:
        raise UnreadableImage(file_name, "the file is empty")
    _check_size(file_name, data)
    _check_complete(file_name, data)
    image = _decoded(file_name, data)
    if width is not None and image.shape[:2] != (height, width):
        reason = f"its size is {image.shape[1]} x {image.shape[0]} but the annotation file says {width} x {height}"
        if image.shape[:2] == (width, height) and _is_turned(data):
            reason += (
                ", as it is stored: its EXIF orientation turns it, so give width, height and coordinates of the turned "
                "image, or store the image without EXIF orientation"
            )
        raise UnreadableImage(file_name, reason)
    return image


def _is_turned(data):
    """Whether the EXIF orientation swaps width and height."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(ORIENTATION_TAG) in TURNED
    except Exception:  # Pillow raises anything on damaged headers
        return False


def _decoded(file_name, data):
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise UnreadableImage(file_name, f"it cannot be decoded ({error.err.strip() or 'no reason'})") from error
    except MemoryError as error:
        raise UnreadableImage(file_name, "it is too large for the memory") from error
    if image is None:
        raise UnreadableImage(file_name, "it is damaged or not an image")
    return image if image.dtype == np.uint8 else as_eight_bits(image, file_name)


def _check_size(file_name, data):
    """Look at the size that the header declares: decoding would reserve memory for it, whatever follows."""
    pixels = _declared_pixels(data)
    if pixels > MOST_PIXELS:
        raise UnreadableImage(
            file_name,
            f"its header declares {pixels / 1e6:.0f} million pixels, more than {MOST_PIXELS / 1e6:.0f} million",
        )


def _declared_pixels(data):
    """Width times height as the header says; 0 where it is not understood."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width * image.height
    except Image.DecompressionBombError as error:  # says how many in its message alone
        found = re.search(r"\((\d+) pixels\)", str(error))
        return int(found.group(1)) if found else MOST_PIXELS + 1
    except Exception:  # Pillow knows fewer formats than OpenCV, and raises anything on damaged headers
        return 0


def _check_complete(file_name, data):
    tail = data[-64:].rstrip(b"\0\r\n ")
    jpeg, png = data[:2] == b"\xff\xd8", data[:4] == b"\x89PNG"
    if (jpeg and tail.endswith(b"\xff\xd9")) or (png and b"IEND" in tail) or not (jpeg or png):
        return
    # The end is not where it should be: harmless (text behind the end) or truncated. Pillow decodes strictly.
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception as error:  # whatever Pillow's decoders and their zlib raise
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
