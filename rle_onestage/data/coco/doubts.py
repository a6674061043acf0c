"""Doubts about an annotation file as a whole: numbers that are sound one by one but mean something else than COCO's."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# A box that leaves its image by more than this share of the image's side hardly is x, y, width, height.
BEYOND = 0.1
# Of the boxes, so many leave the image where two corners are taken for a corner and a size: about half, and more than a
# third almost surely. Of people in true boxes at the border of an image, hardly one in ten.
MANY, SOME = 1 / 3, 1 / 10
# A box whose corner is so far in, as a share of its third or fourth number, holds its joints in both readings by chance
# alone: of true boxes at most 3 % do (COCO, Leeds, six other sets), of two corners 75 % and more.
APART = 0.25


class Doubt(NamedTuple):
    """What a file probably means."""

    sentence: str
    certain: bool  # nothing sensible can be learnt from it


def find_doubts(boxes: np.ndarray, keypoints: np.ndarray, sizes: np.ndarray) -> list[Doubt]:
    """Look for normalised coordinates, and for boxes given as two corners.

    Args:
        boxes: (A, 4) x, y, width, height of all people but crowds.
        keypoints: (A, K, 3) in pixel indices.
        sizes: (A, 2) width and height of their images, infinite where it is not known.

    Returns:
        One :class:`Doubt` for each thing that was found.
    """
    if not len(boxes):
        return []
    doubts = (*_normalised(boxes, keypoints), _two_corners(boxes, keypoints, sizes))
    return [doubt for doubt in doubts if doubt is not None]


def _normalised(boxes: np.ndarray, keypoints: np.ndarray) -> Iterator[Doubt]:
    """Joints, and boxes, within the first pixel of their images."""
    labelled = keypoints[..., 2] > 0
    has = labelled.any(1)
    inside = np.where(labelled[..., None], (keypoints[..., :2] >= 0) & (keypoints[..., :2] <= 1), True).all((1, 2))
    small = (boxes >= 0).all(1) & (boxes[:, :2] + boxes[:, 2:] <= 1).all(1)
    for name, found, count in (("`keypoints`", inside & has, has.sum()), ("`bbox`", small, len(boxes))):
        if found.sum() > 0.5 * count:
            share = "all" if found.sum() == count else f"{found.sum()} of {count}"
            yield Doubt(
                f"the {name} of {share} people lie between 0 and 1, as normalised coordinates do; multiply them by the "
                "image's width and height",
                bool(found.sum() == count),
            )


def _two_corners(boxes: np.ndarray, keypoints: np.ndarray, sizes: np.ndarray) -> Doubt | None:
    """Boxes that leave the image, but would fit in it and hold their joints as x0, y0, x1, y1."""
    beyond = (boxes[:, :2] + boxes[:, 2:] > (1 + BEYOND) * sizes).any(1)
    if beyond.mean() < SOME:
        return None
    low, high = boxes[:, :2], boxes[:, 2:]
    slack = BEYOND * np.maximum(high - low, 1.0)
    labelled, points = keypoints[..., 2] > 0, keypoints[..., :2]
    held = ((points >= (low - slack)[:, None]) & (points <= (high + slack)[:, None])).all(-1) | ~labelled
    fits = (high > low).all(1) & (high <= sizes + 1).all(1) & (held.mean(1) >= 1 - BEYOND)
    if fits.mean() < 1 - BEYOND:
        return None
    apart = (low > APART * high).any(1)
    enough = len(boxes) > 3 and beyond.mean() >= MANY or len(boxes) >= 10 and apart.mean() >= 0.5
    return Doubt(
        f"{beyond.sum()} of {len(boxes)} boxes reach far beyond their image as x, y, width, height, but "
        f"{'all' if fits.all() else fits.sum()} fit as x0, y0, x1, y1; write `bbox` as x, y, x1 - x0, y1 - y0",
        bool(fits.all() and enough),
    )
