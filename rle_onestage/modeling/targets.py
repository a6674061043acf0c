"""Ground truth of a batch as padded tensors, and the part of it that a matched index points to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.structures import Instances
from torch import Tensor

from ..structures.boxes import AREA_OF_BOX
from .structures import Targets


class Matched(NamedTuple):
    """The person of each of P matched candidates."""

    boxes: Tensor  # (P, 4)
    joints: Tensor  # (P, K, 2)
    labelled: Tensor  # (P, K) bool
    visible: Tensor  # (P, K) bool
    area: Tensor  # (P,)
    known: Tensor  # (P, K) bool
    weight: Tensor  # (P,)
    told: Tensor  # (P,) bool
    area_known: Tensor  # (P,) bool
    depth: Tensor | None = None  # (P, K) pixels, NaN where it is not known
    pixel_size: Tensor | None = None  # (P,) millimetres, NaN where it is not known

    def to(self, device: torch.device) -> "Matched":
        """The same on another device."""
        moved: dict[str, Any] = {
            name: None if field is None else field.to(device) for name, field in self._asdict().items()
        }
        return Matched(**moved)


# Columns of the table of people: whether there is one, box, area, whether it was measured, weight, whether hidden
# joints are told from visible ones; then known and keypoints of K joints.
_FIXED = 9


def make_targets(inputs: Sequence[dict], num_joints: int, device: torch.device) -> Targets:
    """Pad the people of Detectron2's input dicts to one tensor each.

    Args:
        inputs: dicts with "instances" (``gt_boxes``; ``gt_keypoints`` and ``gt_area`` where there are people; where our
            mapper gives them ``gt_known``, ``gt_area_known``, ``gt_weight``, ``gt_told``, ``gt_depth``,
            ``gt_pixel_size``) and, where the mapper gives them, "ignore_boxes" and "regions".
        num_joints: K.
        device: of the result.

    Returns:
        Targets with at least one row of people, which is padding in batches without any.
    """
    people = [x["instances"] for x in inputs]
    most = max(1, max(len(p) for p in people))
    table = torch.zeros(len(inputs), most, _FIXED + 4 * num_joints)
    for row, p in zip(table, people):
        if len(p):
            row[: len(p)] = _people_rows(p, num_joints)
    ignore = _padded([x["ignore_boxes"].tensor if "ignore_boxes" in x else torch.zeros(0, 4) for x in inputs])
    regions = _padded([x.get("regions", torch.zeros(0, 6 + num_joints)) for x in inputs])
    table, ignore, regions = (t.to(device, non_blocking=True) for t in (table, ignore, regions))
    space = _space(people, most, num_joints, device)
    return Targets(valid=table[..., 0] > 0, ignore=ignore, regions=regions, **_columns(table, num_joints), **space)


def _space(people: Sequence[Instances], most: int, num_joints: int, device: torch.device) -> dict[str, Tensor]:
    """The fields of depth, where any of the images has people with it."""
    if not any(p.has("gt_depth") for p in people):
        return {}
    table = torch.full((len(people), most, num_joints + 1), float("nan"))
    for row, p in zip(table, people):
        if len(p) and p.has("gt_depth"):
            row[: len(p), :-1], row[: len(p), -1] = p.gt_depth, p.gt_pixel_size
    table = table.to(device, non_blocking=True)
    return {"depth": table[..., :-1], "pixel_size": table[..., -1]}


def people_of_regions(instances: Sequence[Instances], num_joints: int) -> Matched:
    """The person of each region that Detectron2's heads sampled.

    Args:
        instances: of the images, with fields as of :func:`make_targets`; images without any are left out.
        num_joints: K.

    Returns:
        Of all images, one row for each region; on the device of the instances.
    """
    people = [p for p in instances if len(p)]
    rows = [_people_rows(p, num_joints) for p in people]
    return Matched(**_columns(torch.cat(rows) if rows else torch.zeros(0, _FIXED + 4 * num_joints), num_joints))


def _columns(table: Tensor, num_joints: int) -> dict[str, Tensor]:
    """What the rows (..., 9 + 4 K) of people say, by field."""
    joints = table[..., _FIXED + num_joints :].unflatten(-1, (num_joints, 3))
    return {
        "boxes": table[..., 1:5],
        "joints": joints[..., :2],
        "labelled": joints[..., 2] > 0,
        "visible": joints[..., 2] > 1,
        "area": table[..., 5],
        "known": table[..., _FIXED : _FIXED + num_joints] > 0,
        "area_known": table[..., 6] > 0,
        "weight": table[..., 7],
        "told": table[..., 8] > 0,
    }


def _people_rows(people: Instances, num_joints: int) -> Tensor:
    """(M, 9 + 4 K) of one image with people."""
    rows = torch.zeros(len(people), _FIXED + 4 * num_joints, device=people.gt_boxes.tensor.device)
    rows[:, 0] = 1
    rows[:, 1:5] = people.gt_boxes.tensor
    # Annotations without COCO's area: its usual share of the box.
    rows[:, 5] = people.gt_area if people.has("gt_area") else AREA_OF_BOX * people.gt_boxes.area()
    rows[:, 6] = people.gt_area_known if people.has("gt_area_known") else float(people.has("gt_area"))
    rows[:, 7] = people.gt_weight if people.has("gt_weight") else 1.0
    # Without a word on it, a set may have 2 for hidden joints too.
    rows[:, 8] = people.gt_told if people.has("gt_told") else 0.0
    if people.has("gt_keypoints"):
        keypoints = people.gt_keypoints.tensor
        # A person of whom no joint is labelled was not looked at joint by joint: it says nothing of presence.
        looked_at = (keypoints[..., 2] > 0).any(1, keepdim=True).expand(-1, num_joints)
        rows[:, _FIXED : _FIXED + num_joints] = (people.gt_known if people.has("gt_known") else looked_at).float()
        rows[:, _FIXED + num_joints :] = keypoints.flatten(1)
    return rows


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """(B, most rows, C) of tensors (rows, C)."""
    result = torch.zeros(len(rows), max(len(r) for r in rows), rows[0].shape[1])
    for row, own in zip(result, rows):
        row[: len(own)] = own
    return result


def take(targets: Targets, image: Tensor, person: Tensor) -> Matched:
    """The people (P,) of the images (P,) as rows."""
    fields = ((name, getattr(targets, name)) for name in Matched._fields)
    rows: dict[str, Any] = {name: None if field is None else field[image, person] for name, field in fields}
    return Matched(**rows)
