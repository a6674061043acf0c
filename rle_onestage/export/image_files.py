"""Images that an export looks at: for the comparison with PyTorch, and to calibrate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rle_onestage.errors import DataError, MediaError
from rle_onestage.utils.images import read_image
from rle_onestage.video.io.images import find_images

PACKAGED = Path(__file__).parent / "images"
_FLAGS = "--images or --calibration"


def read_images(inputs: Sequence[str]) -> list[np.ndarray]:
    """Images (H, W, 3) uint8 BGR.

    Args:
        inputs: files, folders and globs; none: those that the package has for the comparison.

    Raises:
        MediaError: something does not exist, or a folder has no images.
        DataError: an image cannot be read.
    """
    try:
        files = find_images(inputs) if inputs else sorted(map(str, PACKAGED.glob("*.jpg")))
    except MediaError as error:
        raise MediaError(str(error).replace("--input", _FLAGS)) from error
    return [_read(file) for file in files]


def _read(file: str) -> np.ndarray:
    try:
        return read_image(file)
    except DataError as error:
        raise DataError(f"{str(error).rsplit(';', 1)[0]}; replace it, or leave it out of {_FLAGS}") from error
