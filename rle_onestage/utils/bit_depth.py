"""Images of more than 8 bits a sample: cameras of 10, 12 and 14 bits store their values in 16."""

import logging

import numpy as np

logger = logging.getLogger(__name__)

DEPTHS = (8, 10, 12, 14, 16)
# So few samples may lie above the range that is found: pixels that are stuck at white.
_STUCK = 1e-4
_STRIP = 2**22  # values
_MOST_SORTED = 2**24  # values, of all channels
_told: set[str] = set()  # in this process


def as_eight_bits(image: np.ndarray, file_name: str = "an image") -> np.ndarray:
    """Scale an image by the range that its values fill, and say once for each range how it was decided.

    Files say how many bits are stored, not how many the camera gave. Whole numbers: the smallest depth of 8, 10, 12, 14
    and 16 bits that holds all but one in 10,000 of the values. Fractions: to 1 where none is above, else by the same
    depths.

    Args:
        image: (H, W, 3) of whole numbers or fractions; what is negative or no number becomes 0.
        file_name: for the log.

    Returns:
        (H, W, 3) uint8.
    """
    top = _top(image)
    if image.dtype.kind == "f" and top <= 1.0:
        limit, what = 1.0, "fractions from 0 to 1"
    else:
        depth = next((depth for depth in DEPTHS if top < 2**depth), None)
        limit, what = (top, f"values up to {top:g}") if depth is None else (2.0**depth - 1, f"{depth}-bit data")
    stored = f"{8 * image.dtype.itemsize} bits a sample"
    _say(f"{stored}, and all but one in {1 / _STUCK:.0f} of its values are at most {top:g}", what, file_name)
    out = np.empty(image.shape, np.uint8)
    for rows in _strips(image):  # scaled as fractions, the whole of a large image would take gigabytes
        scaled = _finite(image[rows]).astype(np.float64) * (255.0 / limit)
        out[rows] = np.clip(np.rint(scaled), 0, 255)
    return out


def _strips(image: np.ndarray) -> list[slice]:
    """Slices of rows, each of few values."""
    rows = max(1, _STRIP // max(1, image[:1].size))
    return [slice(start, start + rows) for start in range(0, len(image), rows)]


def _finite(values: np.ndarray) -> np.ndarray:
    """The values with 0 for what is no number."""
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) if values.dtype.kind == "f" else values


def _top(image: np.ndarray) -> float:
    """The value that all but one in 10,000 do not exceed; in a large image, of an even choice of its pixels."""
    pixels = image.reshape(-1, image.shape[-1])  # whole pixels are chosen: each channel has its share
    values = _finite(pixels[:: -(-pixels.size // _MOST_SORTED)]).reshape(-1)
    place = max(0, int(np.ceil(values.size * (1 - _STUCK))) - 1)
    return float(np.partition(values, place)[place])


def _say(found: str, what: str, file_name: str) -> None:
    """Warn of a depth that was found, once in this process."""
    if what not in _told:
        _told.add(what)
        logger.warning("%s has %s: it is read as %s, and so are others like it.", file_name, found, what)
