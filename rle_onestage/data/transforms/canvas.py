"""The people of one canvas as arrays, and what becomes of those whom its border cuts off."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .augmentation import MIN_BOX_SIDE, MIN_VISIBLE_SHARE, clip_boxes


class CanvasPeople(NamedTuple):
    """The labels of one canvas, as arrays; row ``m`` of each is person ``m``."""

    boxes: np.ndarray  # (M, 4) x0, y0, x1, y1 in pixels
    keypoints: np.ndarray  # (M, K, 3) x, y, visibility
    area: np.ndarray  # (M,) pixels^2
    classes: np.ndarray  # (M,) int64
    ignore: np.ndarray  # (G, 4) regions to ignore
    extra: dict[str, np.ndarray]  # (M, ...) each: what else goes with the people, such as weights

    def at(self, rows: np.ndarray) -> "CanvasPeople":
        """Some of the people, by index or (M,) bool; the regions to ignore stay."""
        extra = {name: values[rows] for name, values in self.extra.items()}
        return CanvasPeople(
            self.boxes[rows], self.keypoints[rows], self.area[rows], self.classes[rows], self.ignore, extra
        )


def clip_people(people: CanvasPeople, height: int, width: int, crowd: np.ndarray | None = None) -> CanvasPeople:
    """The people on a canvas, after a transform that may have put parts of them outside.

    Boxes are clipped and areas shrink with them. Who is too small then (:data:`~.augmentation.MIN_VISIBLE_SHARE`,
    :data:`~.augmentation.MIN_BOX_SIDE`) becomes a region to ignore.

    Args:
        people: their joints outside have no label already (:func:`~.augmentation.transform_keypoints`).
        height: of the canvas, in pixels.
        width: of the canvas, in pixels.
        crowd: (M,) bool, who becomes a region in any case; None: nobody.
    """
    boxes, share = clip_boxes(people.boxes, height, width)
    area = people.area * share
    sides = boxes[:, 2:] - boxes[:, :2]
    keep = (share >= MIN_VISIBLE_SHARE) & (sides.min(1) >= MIN_BOX_SIDE) & (area > 0)
    if crowd is not None:
        keep &= ~crowd
    ignore = np.concatenate([people.ignore, boxes[~keep & (sides.min(1) > 0)]])
    return people._replace(boxes=boxes, area=area, ignore=ignore).at(keep)


def swap_sides(values: np.ndarray, flip_index: Sequence[int], mirrored: np.ndarray | bool = True) -> np.ndarray:
    """Values by joint of people who were mirrored, in the order that their joints have now.

    Args:
        values: (M, K, ...); what has no axis of length K stays as it is.
        flip_index: K, which joint each becomes in a mirror.
        mirrored: who was, (M,) bool, or all.
    """
    if values.ndim < 2 or values.shape[1] != len(flip_index) or not np.any(mirrored):
        return values
    where = np.reshape(mirrored, (-1,) + (1,) * (values.ndim - 1))
    return np.where(where, values[:, list(flip_index)], values)


# What grows with the image, by its powers, of :attr:`CanvasPeople.extra`: depth is in pixels, ``pixel_size`` is the
# millimetres of one. A turn about the line of sight leaves both as they are, and so does a mirror.
_POWERS = {"depth": 1, "pixel_size": -1}


def zoomed(extra: Mapping[str, Any], factor: np.ndarray | float) -> dict[str, Any]:
    """:attr:`CanvasPeople.extra` after the image has grown.

    Args:
        extra: (M, ...) arrays by name.
        factor: by which lengths have grown, (M,) or one for all.
    """
    result = dict(extra)
    for name, power in _POWERS.items():
        if name in result:
            values = np.asarray(result[name], float)
            grown = np.asarray(factor, float) ** power
            result[name] = values * np.reshape(grown, grown.shape + (1,) * (values.ndim - 1 if grown.ndim else 0))
    return result


def bounds(mask: np.ndarray) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of the true pixels, as their outer edges; zeros if there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
