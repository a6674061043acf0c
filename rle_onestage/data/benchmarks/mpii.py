"""MPII's annotations as JSON, in the layout of simple baselines, HRNet and mmpose (``mpii_val.json``).

A list with one entry for each labelled person: ``image`` (a file name), ``joints`` (16 pairs, pixels counted from 1 as
in Matlab), ``joints_vis`` (16, whether each is labelled), ``center`` and ``scale`` (the person's height in units of 200
px). Matlab's file of the ground truth (``mpii_gt_val.mat``) has the people in the same order.
"""

import os
from typing import Any

import numpy as np

from ...errors import DataError, shown
from ...structures.skeleton import MPII

_FILES = "mpii_train.json or mpii_val.json of the usual mpii_annotations"
# Matlab counts pixels from 1, COCO from 0.
FIRST_PIXEL = 1
# Pixels of a person of scale 1.
HEIGHT = 200


def mpii_as_coco(data: Any, source: str) -> dict[str, Any]:
    """The content of a file; see :func:`~.as_coco`.

    The id of an annotation is its place in the file, from 1. Each image has its ``people``: dicts with ``place`` (from
    0), ``center`` (pixel indices) and ``height`` (pixels), and ``file_people``, how many people the whole file has.
    Boxes and areas are left to the reader, which makes them from the joints, but for people with one joint or none.
    """
    if not isinstance(data, list) or not data:
        raise DataError(f"{source} is not in MPII's layout, a list of people; give {_FILES}")
    images: dict[str, dict[str, Any]] = {}
    annotations = []
    for place, entry in enumerate(data):
        name, joints, labelled = _person(entry, f"{source}: person {place + 1}")
        image = images.setdefault(name, {"file_name": name, "people": [], "file_people": len(data)})
        center, height = _position(entry, f"{source}: person {place + 1}")
        image["people"].append({"place": place, "center": center.tolist(), "height": height})
        keypoints = np.column_stack([joints - FIRST_PIXEL, np.full(len(joints), 2.0)])
        keypoints[~labelled] = 0
        annotation = {
            "id": place + 1,
            "image": name,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": keypoints.ravel().tolist(),
        }
        if labelled.sum() < 2:
            annotation["bbox"] = [*(center - height / 2).tolist(), height, height]
        annotations.append(annotation)
    ids = _ids(list(images))
    for name, image in images.items():
        image["id"] = ids[name]
    for annotation in annotations:
        annotation["image_id"] = ids[annotation.pop("image")]
    limbs = [[a + 1, b + 1] for a, b in MPII.limbs]
    category = {"id": 1, "name": "person", "keypoints": list(MPII.names), "skeleton": limbs}
    return {"images": list(images.values()), "annotations": annotations, "categories": [category]}


def _person(entry: Any, name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """File name of the image, joints (16, 2) counted from 1, and which of them are labelled (16,)."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str) or not entry["image"]:
        raise DataError(f"{name} has no `image` with the name of a file ({shown(entry)}); give {_FILES}")
    joints = _numbers(entry, "joints", (MPII.num_joints, 2), name)
    labelled = _numbers(entry, "joints_vis", (MPII.num_joints,), name) > 0
    return entry["image"], joints, labelled


def _position(entry: dict[str, Any], name: str) -> tuple[np.ndarray, float]:
    """Centre (2,) as a pixel index, and height in pixels."""
    scale = float(_numbers(entry, "scale", (), name))
    if scale <= 0:
        raise DataError(f"{name} has `scale` {shown(entry['scale'])}; it must be above 0: give {_FILES}")
    return _numbers(entry, "center", (2,), name) - FIRST_PIXEL, scale * HEIGHT


def _numbers(entry: dict[str, Any], key: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Finite numbers of a shape."""
    try:
        values = np.array(entry.get(key), dtype=float)
    except (TypeError, ValueError, OverflowError):
        values = np.full(1, np.nan)
    if values.shape != shape or not np.isfinite(values).all():
        size = " x ".join(map(str, shape)) or "1"
        raise DataError(f"{name} has `{key}` {shown(entry.get(key))}; it must be {size} finite numbers: give {_FILES}")
    return values


def _ids(names: list[str]) -> dict[str, int | str]:
    """An id for each image: the number that its name spells, as in "015601864.jpg", or the names where not all do."""
    stems = {name: os.path.splitext(name)[0] for name in names}
    numbers = {name: int(stem) for name, stem in stems.items() if stem.isascii() and stem.isdigit() and len(stem) < 16}
    return dict(numbers) if len(set(numbers.values())) == len(names) else {name: name for name in names}
