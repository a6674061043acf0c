"""The people of one image: from annotations to arrays in the model's joints, onto a canvas, to Detectron2."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances, Keypoints

from ..structures.boxes import AREA_OF_BOX
from .labels import LabelRules
from .transforms import augmentation as aug
from .transforms.canvas import CanvasPeople, clip_people, swap_sides, zoomed


class LabelledPeople(NamedTuple):
    """The annotations of one image as arrays, in the model's joints."""

    boxes: np.ndarray  # (M, 4) x0, y0, x1, y1
    keypoints: np.ndarray  # (M, K, 3)
    known: np.ndarray  # (M, K) bool, whether it is known if the joint is there
    area: np.ndarray  # (M,)
    area_known: np.ndarray  # (M,) bool, measured and not made from the box
    classes: np.ndarray  # (M,)
    crowd: np.ndarray  # (M,) bool
    weight: np.ndarray  # (M,)
    told: np.ndarray  # (M,) bool, whether the labels tell hidden joints from visible ones
    depth: np.ndarray | None = None  # (M, K) relative to the root, pixels; NaN: not known; None: not asked for
    pixel_size: np.ndarray | None = None  # (M,) millimetres of a pixel at the root; NaN: not known

    @property
    def centres(self) -> np.ndarray:
        """Centres x, y of the boxes of all but crowds, (N, 2)."""
        boxes = self.boxes[~self.crowd]
        return (boxes[:, :2] + boxes[:, 2:]) / 2


def read_people(record: dict[str, Any], rules: LabelRules, *, depth: bool = False) -> LabelledPeople:
    """The annotations of a data set dictionary, in the model's joints.

    Args:
        record: the dictionary.
        rules: of its set.
        depth: whether depth is read too.
    """
    annotations = record.get("annotations") or ()
    number = len(annotations)
    boxes = np.zeros((number, 4))
    own = np.zeros((number, max(rules.joints.max() + 1, 1), 3))
    area = np.zeros(number)
    for i, annotation in enumerate(annotations):
        x0, y0, x1, y1 = annotation["bbox"]
        if annotation["bbox_mode"] == BoxMode.XYWH_ABS:
            x1, y1 = x0 + x1, y0 + y1
        boxes[i] = x0, y0, x1, y1
        if annotation.get("keypoints") is not None:
            own[i] = np.asarray(annotation["keypoints"], np.float64).reshape(-1, 3)[: own.shape[1]]
        # Detectron2's own loader keeps no area.
        area[i] = annotation.get("area", AREA_OF_BOX * (x1 - x0) * (y1 - y0))
    has = rules.joints >= 0
    keypoints = own[:, np.maximum(rules.joints, 0)] * has[:, None]
    labelled = keypoints[..., 2] > 0
    # A person of whom no joint is labelled was not looked at joint by joint.
    absent_known = labelled.any(1, keepdims=True) & has if rules.absent_known else np.zeros_like(labelled)
    return LabelledPeople(
        boxes=boxes,
        keypoints=keypoints,
        known=labelled | absent_known,
        area=area,
        area_known=np.array(["area" in a and not a.get("area_from_box", False) for a in annotations], bool),
        classes=np.array([a["category_id"] for a in annotations], np.int64),
        crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool),
        weight=np.array([rules.weight * a.get("weight", 1.0) for a in annotations], np.float64),
        told=np.full(number, rules.hidden_told),
        depth=_depths(annotations, rules) if depth else None,
        pixel_size=np.array([a.get("pixel_size", np.nan) for a in annotations], float) if depth else None,
    )


def _depths(annotations: Sequence[dict[str, Any]], rules: LabelRules) -> np.ndarray:
    """(M, K) depth of the model's joints in pixels, NaN where it is not known."""
    depth = np.full((len(annotations), len(rules.joints)), np.nan)
    has = rules.joints >= 0
    for row, annotation in zip(depth, annotations):
        if annotation.get("depth") is not None:
            row[has] = np.asarray(annotation["depth"], float)[rules.joints[has]]
    return depth


def extras_of(people: LabelledPeople) -> dict[str, np.ndarray]:
    """What goes with people onto a canvas beside their boxes, joints, areas and classes."""
    extras = {
        "known": people.known, "area_known": people.area_known, "weight": people.weight, "told": people.told,
    }  # fmt: skip
    if people.depth is not None and people.pixel_size is not None:
        extras |= {"depth": people.depth, "pixel_size": people.pixel_size}
    return extras


def onto_canvas(people: LabelledPeople, transform: aug.Transform, flip_index: Sequence[int]) -> CanvasPeople:
    """The people where a transform puts them; crowds, and those of whom too little is left, are regions to ignore.

    Args:
        people: of one image.
        transform: from the image's pixels to the canvas's.
        flip_index: K, which joint each becomes in a mirror.
    """
    moved = CanvasPeople(
        boxes=aug.transform_boxes(people.boxes, transform, people.keypoints),
        keypoints=aug.transform_keypoints(people.keypoints, transform, flip_index),
        area=people.area * transform.area_scale,
        classes=people.classes,
        ignore=np.zeros((0, 4)),
        extra={
            name: swap_sides(values, flip_index, transform.mirrored)
            for name, values in zoomed(extras_of(people), transform.area_scale**0.5).items()
        },
    )
    return clip_people(moved, transform.height, transform.width, people.crowd)


def region_row(rules: LabelRules, x: int, y: int, height: int, width: int) -> list[float]:
    """What a part of a canvas may teach: x0, y0, x1, y1, weight, whether partial, and whether it has each joint."""
    return [x, y, x + width, y + height, rules.weight, rules.partial, *(rules.joints >= 0)]


def as_instances(
    size: tuple[int, int],
    *,
    boxes: np.ndarray,
    classes: np.ndarray,
    keypoints: np.ndarray,
    area: np.ndarray,
    known: np.ndarray,
    area_known: np.ndarray,
    weight: np.ndarray,
    told: np.ndarray,
    depth: np.ndarray | None = None,
    pixel_size: np.ndarray | None = None,
) -> Instances:
    """Labels as Detectron2 wants them, with five fields of ours, and two more for depth.

    Args:
        size: height and width of the image.
        boxes: (M, 4) array, ``gt_boxes``.
        classes: (M,) array, ``gt_classes``.
        keypoints: (M, K, 3) array, ``gt_keypoints``.
        area: (M,) array, ``gt_area``: COCO's area, in square pixels.
        known: (M, K) bool array, ``gt_known``: whether it is known if a joint is in the image.
        area_known: (M,) bool array, ``gt_area_known``: whether the area was measured, not made from the box.
        weight: (M,) array, ``gt_weight``: how much the person counts in the losses.
        told: (M,) bool array, ``gt_told``: whether the labels tell hidden joints from visible ones.
        depth: (M, K) array, ``gt_depth``: of joints relative to the root, in pixels; NaN where it is not known.
        pixel_size: (M,) array, ``gt_pixel_size``: millimetres of a pixel at the root; NaN where it is not known.
    """
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.from_numpy(np.asarray(boxes, np.float32)))
    instances.gt_classes = torch.from_numpy(np.asarray(classes, np.int64))
    instances.gt_keypoints = Keypoints(torch.from_numpy(np.asarray(keypoints, np.float32)))
    instances.gt_area = torch.from_numpy(np.asarray(area, np.float32))
    instances.gt_known = torch.from_numpy(np.asarray(known, bool))
    instances.gt_area_known = torch.from_numpy(np.asarray(area_known, bool))
    instances.gt_weight = torch.from_numpy(np.asarray(weight, np.float32))
    instances.gt_told = torch.from_numpy(np.asarray(told, bool))
    if depth is not None and pixel_size is not None:
        instances.gt_depth = torch.from_numpy(np.asarray(depth, np.float32))
        instances.gt_pixel_size = torch.from_numpy(np.asarray(pixel_size, np.float32))
    return instances
