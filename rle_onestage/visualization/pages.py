"""Pages of images."""

from collections.abc import Sequence

import cv2
import numpy as np
from detectron2.structures import Instances

from ..structures import Skeleton
from .people import draw_people
from .strokes import PAPER, draw_tag, draw_text


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int,
    *,
    captions: Sequence[str] | None = None,
    tile: tuple[int, int] = (320, 240),
    gap: int = 6,
) -> np.ndarray:
    """Images on one page, each as large as its tile allows.

    Args:
        images: each (h, w, 3) BGR uint8, of any sizes.
        columns: how many in a row.
        captions: texts below the images, or None.
        tile: width and height of a tile, in pixels.
        gap: pixels between tiles.

    Returns:
        One BGR uint8 image.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    text = max(10, round(min(tile) / 20))
    foot = round(1.6 * text) if captions else 0
    width, height = tile[0] + gap, tile[1] + foot + gap
    page = np.full((rows * height + gap, columns * width + gap, 3), PAPER, dtype=np.uint8)
    for i, image in enumerate(images):
        x, y = gap + (i % columns) * width, gap + (i // columns) * height
        _paste(page, image, x, y, tile)
        if captions:
            draw_text(page, captions[i], (x + 2, y + tile[1] + 0.15 * text), text, (220, 220, 220))
    return page


def _paste(page: np.ndarray, image: np.ndarray, x: int, y: int, tile: tuple[int, int]) -> None:
    """Put an image in the middle of the tile at x, y."""
    factor = min(tile[0] / image.shape[1], tile[1] / image.shape[0])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    x, y = x + (tile[0] - size[0]) // 2, y + (tile[1] - size[1]) // 2
    page[y : y + size[1], x : x + size[0]] = small


def side_by_side(
    image: np.ndarray,
    predictions: Instances,
    truth: Instances,
    skeleton: Skeleton,
    *,
    title: str = "",
    threshold: float = 0.1,
    height: int = 360,
) -> np.ndarray:
    """Predictions (left) and labels (right) on the same image.

    Args:
        image: (H, W, 3) BGR uint8.
        predictions: people as in :func:`~.people.draw_people`.
        truth: labelled people, likewise.
        skeleton: the joints.
        title: text before "predicted".
        threshold: lowest score drawn.
        height: of each half, pixels.

    Returns:
        One BGR uint8 image.
    """
    scale = height / image.shape[0]
    left = draw_people(image, predictions, skeleton, threshold=threshold, scale=scale)
    right = draw_people(image, truth, skeleton, threshold=0.0, labels=False, scale=scale)
    for half, text in ((left, f"{title} predicted".strip()), (right, "labels")):
        draw_tag(half, text, (4, 4), max(11, height // 26))
    return np.concatenate([left, np.full((left.shape[0], 4, 3), PAPER, np.uint8), right], axis=1)
