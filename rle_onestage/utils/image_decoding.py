"""From the bytes of an image file to pixels, in bounded time and memory, and with damage noticed."""

import contextlib
import logging
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ImageOps

from .decoded_arrays import as_colour_image
from .image_headers import declared_size, kind_of_data, least_bits, opened_by_pillow, why_not_read

logger = logging.getLogger(__name__)

# Decoded, an image of so many pixels takes 0.8 GB: more is a mistake in its header, an attack, or to be cut up first.
MOST_PIXELS = 2**28
LONGEST_SIDE = 2**20  # what OpenCV decodes
# A progressive JPEG has about ten scans; each goes over the whole image, so that a small file could take hours.
MOST_SCANS = 200
MOST_SEGMENTS = 100_000
# Of a JPEG: a byte of pixels, a fill byte and a restart in between are none.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.S)
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_ORIENTATION, _UPRIGHT, _SWAPS_SIDES = 0x0112, 1, (5, 6, 7, 8)
_PALETTE = 3  # PNG's colour type
# Bits of a sample and colour types that PNG has.
_PNG_SAMPLES = {
    bytes([bits, colours])
    for colours, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (_PALETTE, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16)))
    for bits in depths
}
_SILENT = 0  # of OpenCV's log: its lines go to stderr, what matters is said in a sentence of ours
_log_lock = threading.Lock()
_log_users = 0  # threads that decode
_log_level = 0  # of OpenCV's log, before the first of them began


class Undecodable(ValueError):
    """Bytes cannot be decoded; the message is a clause that says why."""


def decode_image(data: bytes, file_name: str) -> np.ndarray:
    """Decode an image, with its EXIF orientation applied.

    OpenCV decodes; what it does not know, Pillow does, which reads HEIC where pillow-heif is installed. Of a
    file of several images it is the first one. Decoders fill what is missing or damaged with something and say nothing,
    so that ends and checksums are looked at first. What has more than 8 bits a sample is scaled by the range that its
    values fill, see :func:`~.bit_depth.as_eight_bits`.

    Args:
        data: the file.
        file_name: for the log.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        Undecodable: it cannot be decoded, or declares more than :data:`MOST_PIXELS`.
    """
    kind = kind_of_data(data)
    if kind == "HEIC":
        _learn_heic()
    _check_size(data, kind)
    _check_complete(data, kind)
    try:
        return as_colour_image(_decoded(data, kind), file_name)
    except MemoryError as error:
        raise Undecodable("it is too large for the memory") from error
    except ValueError as error:
        raise Undecodable(str(error)) from error


def _decoded(data: bytes, kind: str) -> np.ndarray:
    """What the first decoder gives that knows the file: an array of any number of channels and kind of samples.

    Raises:
        Undecodable: none does.
    """
    if kind == "PAM":  # OpenCV makes no colours of it, or takes red for blue, or leaves pixels as the memory was
        stored = _by_opencv(data, cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise Undecodable(why_not_read(kind))
        return stored[..., 2::-1] if stored.ndim == 3 and stored.shape[2] > 2 else stored
    # OpenCV does not turn AVIF images as their boxes and EXIF data say; before 5.0 it does not turn WebP images either.
    stored_turned = kind == "AVIF" or (kind == "WebP" and _orientation(data) != _UPRIGHT)
    image = None if stored_turned else _by_opencv(data, cv2.IMREAD_COLOR)
    if image is not None:
        return image
    try:
        return _by_pillow(data, kind)
    except Undecodable:
        # Grey fractions of 64 bits are made no colours by OpenCV, and are not known to Pillow.
        image = _by_opencv(data, cv2.IMREAD_ANYCOLOR) if kind == "TIFF" else None
        if image is None:
            raise
        return image


def orientation_turns(data: bytes) -> bool:
    """Whether the EXIF orientation of an image swaps its sides.

    Args:
        data: the file.
    """
    return _orientation(data) in _SWAPS_SIDES


def _orientation(data: bytes) -> int:
    """The EXIF orientation of an image; upright where Pillow cannot tell."""
    try:
        with opened_by_pillow(data) as image:
            return image.getexif().get(_ORIENTATION, _UPRIGHT)
    except Exception:  # whatever Pillow raises on damaged headers
        return _UPRIGHT


def size_in_header(file: BinaryIO) -> tuple[int, int] | None:
    """Height and width of an image file after its EXIF orientation.

    Args:
        file: open for reading bytes.

    Returns:
        (height, width); None where only decoding can tell.
    """
    try:
        with opened_by_pillow(file) as image:
            width, height = image.size
            size = (width, height) if image.getexif().get(_ORIENTATION) in _SWAPS_SIDES else (height, width)
            sure = image.format != "TIFF"  # whose size some versions of Pillow turn, and others do not
            return size if sure and width * height <= MOST_PIXELS else None
    except Exception:  # as above
        return None


def _learn_heic() -> None:
    """Teach Pillow to read HEIC, where the package for it is there."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _check_size(data: bytes, kind: str) -> None:
    """Look at the size that the header declares: decoding would reserve memory for it, whatever follows."""
    size = declared_size(data, kind)
    if size is None:
        raise Undecodable(why_not_read(kind))
    if size[0] * size[1] > MOST_PIXELS:
        raise Undecodable(
            f"its header declares {size[0] * size[1] / 1e6:.0f} million pixels ({size[0]} x {size[1]}), "
            f"more than {MOST_PIXELS / 1e6:.0f} million"
        )
    if min(size) < 1:
        raise Undecodable(f"it is damaged: its header declares {size[0]} x {size[1]} pixels")
    if max(size) > LONGEST_SIDE:
        raise Undecodable(f"its header declares {size[0]} x {size[1]} pixels, a side of more than {LONGEST_SIDE}")
    if 8 * len(data) < least_bits(data, kind, size):
        pixels = f"the {size[0]} x {size[1]} pixels of its header"
        raise Undecodable(f"it is truncated or damaged: {len(data)} bytes are too few for {pixels}")


def _check_complete(data: bytes, kind: str) -> None:
    """Raise Undecodable where a file ends early or its checksums are wrong."""
    if kind == "JPEG":
        if scans_of_jpeg(data) > MOST_SCANS:
            raise Undecodable(f"it has more than {MOST_SCANS} scans, which would take too long to decode")
        # The end is not where it should be: harmless (text behind the end) or truncated. Pillow decodes strictly.
        if not data[-64:].rstrip(b"\0\r\n ").endswith(b"\xff\xd9") and _complaint_of_pillow(data):
            raise Undecodable("it is truncated or damaged")
    elif kind == "PNG" and _png_is_damaged(data):
        raise Undecodable("it is truncated or damaged")
    elif kind == "TIFF" and _complaint_of_pillow(data).startswith(("OSError: decoder error", "OSError: image file is")):
        raise Undecodable("it is truncated or damaged")


def scans_of_jpeg(data: bytes) -> int:
    """The number of scans of a JPEG up to its end marker; telephones and cameras keep other data behind that.

    Args:
        data: the file's bytes.
    """
    scans, place = 0, 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None or found.group() == _END or found.end() + 2 > len(data):
            return scans
        scans += found.group() == _SCAN
        # What stands in a segment may look like a marker.
        place = found.end() + struct.unpack_from(">H", data, found.end())[0]
    return MOST_SCANS + 1  # no file of a camera


def _complaint_of_pillow(data: bytes) -> str:
    """What Pillow says of the pixels, empty if nothing."""
    try:
        with opened_by_pillow(data) as image:
            image.load()
    except Exception as error:  # whatever Pillow's decoders and their zlib raise
        return f"{type(error).__name__}: {error}"
    return ""


def _png_is_damaged(data: bytes) -> bool:
    """Whether a chunk that matters is cut off, has a wrong checksum, or is not there."""
    if data[24:26] not in _PNG_SAMPLES:
        return True
    place, needed = 8, {b"IHDR", b"IDAT"} | ({b"PLTE"} if data[25] == _PALETTE else set())
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        matters = not name[0] & 0x20
        if end > len(data) or (matters and zlib.crc32(data[place + 4 : end - 4]) != _number_at(data, end - 4)):
            return True
        if name == b"IEND":
            return bool(needed)
        needed.discard(name)
        place = end
    return True


def _number_at(data: bytes, place: int) -> int:
    return struct.unpack_from(">I", data, place)[0]


def _by_opencv(data: bytes, colours: int) -> np.ndarray | None:
    """The image as OpenCV decodes it, None where it cannot; ``colours``: a flag of ``cv2.imdecode``."""
    try:
        with _silent_opencv():
            return cv2.imdecode(np.frombuffer(data, np.uint8), colours | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None


@contextlib.contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keep OpenCV's log quiet while any thread decodes."""
    log = getattr(cv2.utils, "logging", cv2)  # before OpenCV 5.0 the functions are in cv2 itself
    global _log_users, _log_level
    with _log_lock:
        if not _log_users:
            _log_level = log.getLogLevel()
            log.setLogLevel(_SILENT)
        _log_users += 1
    try:
        yield
    finally:
        with _log_lock:
            _log_users -= 1
            if not _log_users:
                log.setLogLevel(_log_level)


def _by_pillow(data: bytes, kind: str) -> np.ndarray:
    """The image as Pillow decodes it, BGR.

    Raises:
        Undecodable: it cannot.
    """
    try:
        with opened_by_pillow(data) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
                grey = np.asarray(image)
                return np.repeat(grey.astype(grey.dtype.newbyteorder("="))[..., None], 3, axis=2)
            return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    except MemoryError:
        raise
    except Exception as error:  # whatever Pillow's decoders raise
        raise Undecodable(why_not_read(kind)) from error
