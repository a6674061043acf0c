"""Boxes (x0, y0, x1, y1) in pixels: areas, and how much they have in common. One implementation for the package."""

import numpy as np
import torch
from torch import Tensor

# COCO's area of a person, that of the outline, over the box's: used where a file has no `area`.
AREA_OF_BOX = 0.53


def box_area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4) in square pixels; 0 for a box whose ends are in the wrong order."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def box_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Areas (...) that boxes (..., 4) have in common with boxes (..., 4), broadcast, in square pixels."""
    # Width and height on their own: runtimes are slow where the last axis of all pairs has two elements.
    width, height = (
        (torch.minimum(a[..., end], b[..., end]) - torch.maximum(a[..., begin], b[..., begin])).clamp(min=0)
        for begin, end in ((0, 2), (1, 3))
    )
    return width * height


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (...) of boxes (..., 4) with boxes (..., 4), broadcast.

    For all pairs give ``a[:, None]`` and ``b[None]``.
    """
    intersection = box_intersection(a, b)
    union = box_area(a) + box_area(b) - intersection
    return intersection / union.clamp(min=1e-12)


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of every box (N, 4) with every box (M, 4), in float64."""
    first, second = (torch.from_numpy(np.array(boxes, dtype=float)) for boxes in (a, b))
    return box_iou(first[:, None], second[None]).numpy()


def share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share (N, M) of the area of every box (N, 4) that lies in every region (M, 4), in float64."""
    first, second = (torch.from_numpy(np.array(part, dtype=float)) for part in (boxes, regions))
    common = box_intersection(first[:, None], second[None])
    return (common / box_area(first).clamp(min=1e-9)[:, None]).numpy()
