"""Ground truth of a batch as padded tensors, and the part of it that a matched index points to."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .outputs import Targets


class Matched(NamedTuple):
    """The person of each of P matched candidates."""

    boxes: Tensor  # (P, 4)
    joints: Tensor  # (P, K, 2)
    labelled: Tensor  # (P, K) bool
    area: Tensor  # (P,)


def make_targets(inputs: Sequence[dict], num_joints: int, device: torch.device) -> Targets:
    """Pad the people of Detectron2's input dicts to one tensor each.

    Args:
        inputs: dicts with "instances" (``gt_boxes``; ``gt_keypoints`` and ``gt_area`` where there are people) and,
            where the mapper gives them, "ignore_boxes".
        num_joints: K.
        device: of the result.

    Returns:
        Targets with at least one row of people, which is padding in batches without any.
    """
    people = [x["instances"] for x in inputs]
    most = max(1, max(len(p) for p in people))
    crowds = [x["ignore_boxes"].tensor if "ignore_boxes" in x else torch.zeros(0, 4) for x in inputs]
    table = torch.zeros(len(inputs), most, 6 + 3 * num_joints)
    ignore = torch.zeros(len(inputs), max(len(c) for c in crowds), 4)
    for row, crowd_row, p, crowd in zip(table, ignore, people, crowds):
        crowd_row[: len(crowd)] = crowd
        count = len(p)
        if not count:
            continue
        boxes = p.gt_boxes.tensor
        row[:count, 0] = 1
        row[:count, 1:5] = boxes
        # Annotations without COCO's area: its usual share of the box.
        row[:count, 5] = p.gt_area if p.has("gt_area") else 0.53 * p.gt_boxes.area()
        if p.has("gt_keypoints"):
            row[:count, 6:] = p.gt_keypoints.tensor.flatten(1)
    table, ignore = table.to(device, non_blocking=True), ignore.to(device, non_blocking=True)
    joints = table[..., 6:].unflatten(-1, (num_joints, 3))
    return Targets(
        valid=table[..., 0] > 0,
        boxes=table[..., 1:5],
        joints=joints[..., :2],
        labelled=joints[..., 2] > 0,
        area=table[..., 5],
        ignore=ignore,
    )


def take(targets: Targets, image: Tensor, person: Tensor) -> Matched:
    """The people (P,) of the images (P,) as rows."""
    return Matched(
        targets.boxes[image, person], targets.joints[image, person], targets.labelled[image, person],
        targets.area[image, person],
    )
