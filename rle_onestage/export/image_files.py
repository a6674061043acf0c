"""Images that an export looks at: for the comparison with PyTorch, and to calibrate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rle_onestage.utils.images import read_image
from rle_onestage.video.io.images import find_images

PACKAGED = Path(__file__).parent / "images"


def read_images(inputs: Sequence[str]) -> list[np.ndarray]:
    """Images (H, W, 3) uint8 BGR.

    Args:
        inputs: files, folders and globs; none: those that the package has for the comparison.

    Raises:
        MediaError: something does not exist, or a folder has no images.
        DataError: an image cannot be read.
    """
    files = find_images(inputs) if inputs else sorted(map(str, PACKAGED.glob("*.jpg")))
    return [read_image(file) for file in files]
