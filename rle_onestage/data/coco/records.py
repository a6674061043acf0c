"""From a COCO-format keypoint file to Detectron2's data set dictionaries.

Keypoints are shifted by +0.5 here, once, as Detectron2's own loader does: COCO's keypoints are pixel indices, and
everything behind this file counts from the corner of the first pixel. So the dictionaries made here and those of
Detectron2's registered sets can be exchanged, and the mapper never shifts.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from ...errors import DataError, shown
from ...structures.root import read_camera
from .annotations import KeypointFile, read_keypoints
from .arrays import CENTRE, LARGEST_COORDINATE
from .json_files import Problems, is_number, read_json, without_garbage_collection


@without_garbage_collection()
def load_coco_keypoints(
    json_file: str,
    image_root: str,
    *,
    dataset_name: str = "",
    annotated: bool = True,
    data: dict | None = None,
    weight_by: str = "",
    area_from_box: bool = False,
) -> tuple[list[dict], Problems]:
    """Load a COCO-format keypoint file into Detectron2's data set dictionaries.

    Args:
        json_file: path of the file.
        image_root: path of the folder of images.
        dataset_name: for messages.
        annotated: False for lists of images without labels (COCO test-dev).
        data: the parsed file, if it was read already.
        weight_by: name of a number in [0, 1] that each annotation has, which becomes its ``weight``; "" for none.
        area_from_box: the file's areas were made from its boxes.

    Returns:
        (records, problems): records are dicts with file_name, image_id, height, width and annotations [{bbox
        (x, y, width, height), bbox_mode XYWH_ABS, area, iscrowd, keypoints (flat list of 3K: x + 0.5, y + 0.5, v),
        category_id 0, id}], with ``area_from_box`` True where the area is not measured, ``segmentation`` where there
        are polygons, ``depth`` (K pixels, NaN where not known) and ``pixel_size`` (millimetres of a pixel) where there
        are joints in space (:mod:`rle_onestage.data.coco.space`), and ``weight`` where asked for; with ``camera`` where
        the intrinsics are known; problems is a :class:`~.json_files.Problems`.

    Raises:
        DataError: see :mod:`.annotations` and :func:`~.json_files.read_json`.
    """
    data = read_json(json_file, dataset_name) if data is None else data
    file = read_keypoints(data, json_file, image_root=image_root, images_only=not annotated)
    return records_of(file, image_root, weight_by=weight_by, area_from_box=area_from_box), file.problems


@without_garbage_collection()
def records_of(file: KeypointFile, image_root: str, *, weight_by: str = "", area_from_box: bool = False) -> list[dict]:
    """The records of :func:`load_coco_keypoints`, of a file that was read already; says what is wrong with it.

    Args:
        file: what :func:`~.annotations.read_keypoints` gave.
        image_root: path of the folder of images.
        weight_by: as there.
        area_from_box: as there.
    """
    records: dict[Any, dict] = {
        image_id: {
            "file_name": os.path.join(image_root, image["file_name"]),
            "image_id": image_id,
            "height": int(file.sizes[image_id][1]),
            "width": int(file.sizes[image_id][0]),
            "annotations": [],
        }
        for image_id, image in file.images.items()
    }
    weights = _weights(file, weight_by) if weight_by else None
    for image_id, image in file.images.items():
        camera = read_camera(image.get("camera", file.camera))
        if camera is not None:
            records[image_id]["camera"] = camera
    for i, (image_id, annotation) in enumerate(_annotations(file, area_from_box)):
        if weights is not None and not annotation["iscrowd"]:
            annotation["weight"] = weights[i]
        records[image_id]["annotations"].append(annotation)
    file.problems.say(file.source)
    return list(records.values())


def _annotations(file: KeypointFile, area_from_box: bool) -> Iterator[tuple[Any, dict]]:
    """(image id, Detectron2's dictionary) of each annotation."""
    columns = (file.boxes.tolist(), file.areas.tolist(), file.measured.tolist(), file.crowd.tolist())
    rows = zip(file.annotations, file.rows(CENTRE), *columns)
    for number, (annotation, keypoints, box, area, measured, crowd) in enumerate(rows):
        kept = {
            "bbox": box,
            "bbox_mode": BoxMode.XYWH_ABS,
            "area": area,
            "iscrowd": int(crowd),
            "keypoints": keypoints,
            "category_id": 0,
            "id": annotation["id"],
        }
        if area_from_box or not measured or str(annotation.get("area_source", "")).startswith("box"):
            kept["area_from_box"] = True
        if file.space is not None and np.isfinite(file.space.size[number]):
            kept["depth"] = file.space.depth[number].tolist()
            kept["pixel_size"] = float(file.space.size[number])
        polygons = _polygons(annotation.get("segmentation"))
        if polygons:
            kept["segmentation"] = polygons
        yield annotation["image_id"], kept


def _polygons(segments: Any) -> list[np.ndarray]:
    """COCO's polygons as arrays, which are small in memory; none where something else stands there."""
    if not isinstance(segments, list):
        return []
    lists = (p for p in segments if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0)
    sound = (p for p in lists if all(is_number(v) and abs(v) <= LARGEST_COORDINATE for v in p))
    return [np.array(polygon, np.float32) for polygon in sound]


def _weights(file: KeypointFile, key: str) -> list[float | None]:
    """The number of each annotation that says how much it counts; crowds, who teach nothing, need none."""
    weights: list[Any] = [annotation.get(key) for annotation in file.annotations]
    for annotation, value, crowd in zip(file.annotations, weights, file.crowd.tolist()):
        if not crowd and not (is_number(value) and 0 <= value <= 1):
            raise DataError(
                f"{file.source}: annotation {shown(annotation['id'])} has `{key}` {shown(value, 40)}; "
                "DATASETS.KEYPOINT_FILES weights by it, so each needs a number from 0 to 1."
            )
    return [None if crowd else float(value) for value, crowd in zip(weights, file.crowd.tolist())]
