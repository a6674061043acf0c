"""Mosaic: four images on one canvas (Bochkovskiy et al., "YOLOv4", 2020), each cut to a part of its own.

People keep the size that the affine gives them: a quarter of the canvas shows a quarter of an image.
"""

import numpy as np

from .augmentation import Transform, cropping
from .canvas import CanvasPeople

# Where the four parts meet, as shares of the canvas's side.
_MEETING = (0.3, 0.7)


def parts(rng: np.random.Generator, side: int) -> list[tuple[int, int, int, int]]:
    """The four rectangles (x, y, height, width) of a canvas, which meet at a random point.

    Args:
        rng: what all random choices come from.
        side: of the canvas, in pixels.
    """
    x, y = (int(v) for v in np.round(rng.uniform(*_MEETING, size=2) * side))
    return [(0, 0, y, x), (x, 0, y, side - x), (0, y, side - y, x), (x, y, side - y, side - x)]


def cut(rng: np.random.Generator, transform: Transform, height: int, width: int, centres: np.ndarray) -> Transform:
    """Follow a transform by a crop of ``height`` x ``width`` that holds the centre of a random person.

    Args:
        rng: what all random choices come from.
        transform: to a canvas that is at least so large.
        height: of the crop, in pixels.
        width: of the crop, in pixels.
        centres: (M, 2) of the people, in the pixels before the transform; none: the crop is anywhere.
    """
    room = np.array([transform.width - width, transform.height - height])
    low, high = np.zeros(2), room.astype(float)
    if len(centres):
        x, y = transform.matrix[:2, :2] @ centres[rng.integers(len(centres))] + transform.matrix[:2, 2]
        # At least a fifth of the crop lies between the centre and its border.
        margin = 0.2 * np.array([width, height])
        low = np.clip(np.array([x, y]) - np.array([width, height]) + margin, 0, room)
        high = np.clip(np.array([x, y]) - margin, low, room)
    x, y = (int(v) for v in np.round(rng.uniform(low, high)))
    return transform.then(cropping(x, y, height, width))


def join(parts: list[CanvasPeople], corners: list[tuple[int, int]]) -> CanvasPeople:
    """The people of all parts on the canvas.

    Args:
        parts: the people of each part, in its own pixels.
        corners: (x, y) of each part.
    """
    moved = []
    for people, corner in zip(parts, np.array(corners, float)):
        labelled = people.keypoints[..., 2:] > 0
        keypoints = np.concatenate([(people.keypoints[..., :2] + corner) * labelled, people.keypoints[..., 2:]], -1)
        box = np.tile(corner, 2)
        moved.append(people._replace(boxes=people.boxes + box, ignore=people.ignore + box, keypoints=keypoints))
    arrays = {name: np.concatenate([getattr(people, name) for people in moved]) for name in CanvasPeople._fields[:-1]}
    extra = {name: np.concatenate([people.extra[name] for people in moved]) for name in moved[0].extra}
    return CanvasPeople(**arrays, extra=extra)
