"""Where a place teaches that nobody, or no joint, is there: what sets that are labelled in part leave open."""

from typing import NamedTuple

import torch
from torch import Tensor

from .structures import Targets


class PartialLabels(NamedTuple):
    """How places away from known people count in sets that are labelled in part."""

    background: float  # weight of such a place
    confident: float  # probability of the present model from which on it does not count at all


def inside_boxes(xy: Tensor, boxes: Tensor) -> Tensor:
    """Whether points lie in boxes.

    Args:
        xy: (R, 2).
        boxes: (B, G, 4).

    Returns:
        (B, G, R) bool.
    """
    return ((xy > boxes[:, :, None, :2]) & (xy < boxes[:, :, None, 2:])).all(-1)


def background_weight(targets: Targets, xy: Tensor, probability: Tensor, partial: PartialLabels) -> Tensor:
    """Weight of places as background: 1, but for the regions of sets that count less or are labelled in part.

    Args:
        targets: of the batch.
        xy: (R, 2) places in pixels.
        probability: (B, R), or (B, K, R) for each joint, that the present model gives a person (the joint) there.
        partial: what counts away from known people.

    Returns:
        Of the shape of ``probability``. With K joints, 0 in regions of sets that do not have the joint.
    """
    result = torch.ones_like(probability)
    if not targets.regions.shape[1]:
        return result
    known_people = inside_boxes(xy, targets.boxes).any(1)  # (B, R); boxes of padding are empty
    low, high = targets.regions[:, :, None, :2], targets.regions[:, :, None, 2:4]
    inside = ((xy >= low) & (xy < high)).all(-1)  # (B, S, R); half-open, so that every place is in one part of a mosaic
    per_joint = probability.dim() == 3
    for number in range(targets.regions.shape[1]):  # four at most: the parts of a mosaic
        here, region = inside[:, number], targets.regions[:, number]  # (B, R), (B, 6 + K)
        open_ = here & (region[:, 5:6] > 0) & ~known_people
        if per_joint:
            here, open_ = here[:, None], open_[:, None]
        weight = region[:, 4, None, None] * region[:, 6:, None] if per_joint else region[:, 4, None]
        away = torch.where(probability < partial.confident, partial.background, 0.0)
        result = torch.where(here, weight * torch.where(open_, away, 1.0), result)
    return result
