"""Mosaic: four pictures on one canvas (Bochkovskiy et al., "YOLOv4", 2020), each cut to a part of its own.

People keep the size that the affine gives them: a quarter of the canvas shows a quarter of a picture.
"""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, Keypoints

from .augmentation import Transform, cropping

# Where the four parts meet, as shares of the canvas's side.
_MEETING = (0.3, 0.7)


def parts(rng, side: int) -> list[tuple[int, int, int, int]]:
    """The four rectangles (x, y, height, width) of a canvas, which meet at a random point."""
    x, y = (int(v) for v in np.round(rng.uniform(*_MEETING, size=2) * side))
    return [(0, 0, y, x), (x, 0, y, side - x), (0, y, side - y, x), (x, y, side - y, side - x)]


def cut(rng, transform: Transform, height: int, width: int, centres: np.ndarray) -> Transform:
    """Follow a transform by a crop of ``height`` x ``width`` that holds the centre of a random person.

    Args:
        rng: numpy Generator. transform: to a canvas that is at least so large.
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


def join(labels: list[tuple[Instances, Boxes]], corners: list[tuple[int, int]], side: int) -> tuple[Instances, Boxes]:
    """The people of all parts on the canvas.

    Args:
        labels: of each part, its people and the regions to ignore, in its own pixels.
        corners: (x, y) of each part.
        side: of the canvas, in pixels.
    """
    boxes, keypoints, ignored = [], [], []
    for (people, ignore), (x, y) in zip(labels, corners):
        corner = torch.tensor([x, y], dtype=torch.float32)
        boxes.append(people.gt_boxes.tensor + corner.repeat(2))
        ignored.append(ignore.tensor + corner.repeat(2))
        points, flags = people.gt_keypoints.tensor.split([2, 1], -1)
        keypoints.append(torch.cat([(points + corner) * (flags > 0), flags], -1))
    joined = Instances((side, side))
    joined.gt_boxes, joined.gt_keypoints = Boxes(torch.cat(boxes)), Keypoints(torch.cat(keypoints))
    for name in labels[0][0].get_fields():
        if not joined.has(name):
            joined.set(name, torch.cat([people.get(name) for people, _ in labels]))
    return joined, Boxes(torch.cat(ignored))
