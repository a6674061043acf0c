"""Photographs cut to sizes of all kinds."""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

SMALLEST, LARGEST = (64, 64), (1080, 1920)  # (height, width) in pixels


def mixed_sizes(files: Sequence[np.ndarray], count: int, seed: int) -> list[np.ndarray]:
    """Images whose sizes are spread over all that is between ``SMALLEST`` and ``LARGEST``, both of these among them.

    Args:
        files: (H, W, 3) uint8 each; they are taken in turn.
        count: how many images are made.
        seed: of sizes and places.

    Returns:
        (H, W, 3) uint8 each.
    """
    generator = np.random.default_rng(seed)
    low, high = np.log(SMALLEST), np.log(LARGEST)
    drawn = np.rint(np.exp(generator.uniform(low, high, (count, 2)))).astype(int)
    drawn[:2] = (SMALLEST, LARGEST)[:count]
    return [cut_to(file, tuple(size), generator) for file, size in zip(itertools.cycle(files), drawn.tolist())]


def cut_to(image: np.ndarray, size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """An image resized until it covers a size, and cut to it somewhere.

    Args:
        image: (H, W, 3) uint8.
        size: (height, width) in pixels.
        generator: says where.
    """
    scale = max(wanted / given for wanted, given in zip(size, image.shape))
    sides = [max(wanted, round(given * scale)) for wanted, given in zip(size, image.shape)]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, (sides[1], sides[0]), interpolation=how)
    top, left = (int(generator.integers(side - wanted + 1)) for side, wanted in zip(sides, size))
    return np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])
