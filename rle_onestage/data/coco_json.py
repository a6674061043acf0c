"""Reading and checking of COCO-format keypoint files.

What makes a file unusable is a :class:`~rle_onestage.errors.DataError` of one sentence. A single annotation that
cannot be used is left out, counted and named (:class:`Problems`).

Keypoints are shifted by +0.5 here, once, as Detectron2's own loader does: COCO's keypoints are pixel indices, and
everything behind this file counts from the corner of the first pixel (DESIGN section 3). So the dictionaries made here
and those of Detectron2's registered sets can be exchanged, and the mapper never shifts.
"""

import contextlib
import gc
import json
import logging
import os

import numpy as np
from detectron2.structures import BoxMode
from PIL import Image

from ..errors import DataError

# COCO's segments cover about this share of their boxes; used where a file has no `area`.
AREA_OF_BOX = 0.53
# A box made from joints is widened by this share of its sides, as joints lie inside the body.
JOINT_BOX_MARGIN = 0.12
_ORIENTATION_TAG, _TURNED = 0x0112, (5, 6, 7, 8)

logger = logging.getLogger(__name__)


class Problems:
    """Counts things that were left out or mended, by reason, and remembers their names."""

    def __init__(self):
        self.names = {}

    def add(self, reason, name):
        """Count ``name`` (an annotation, an image) under ``reason``."""
        self.names.setdefault(reason, []).append(name)

    def counts(self):
        """Returns: dict reason -> number."""
        return {reason: len(names) for reason, names in self.names.items()}

    def merge(self, other):
        """Take over what ``other`` has counted."""
        for reason, names in other.names.items():
            self.names.setdefault(reason, []).extend(names)

    def lines(self, shown=5):
        """One readable line for each reason, with its first few names."""
        return [
            f"{len(names)} {reason}: {', '.join(str(n) for n in names[:shown])}{', ...' if len(names) > shown else ''}"
            for reason, names in self.names.items()
        ]


@contextlib.contextmanager
def _without_garbage_collection():
    """Millions of small objects are made and kept here; looking through them again and again takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_json(path: str, dataset_name: str = "") -> dict:
    """Read a COCO-format file.

    Raises:
        DataError: it does not exist (the path and DETECTRON2_DATASETS are named), is not JSON, or has no images.
    """
    title = f"data set {dataset_name!r}" if dataset_name else "the data set"
    if not os.path.isfile(path):
        raise DataError(
            f"{title} was not found: there is no annotation file {os.path.abspath(path)} (DETECTRON2_DATASETS is "
            f"{os.environ.get('DETECTRON2_DATASETS', 'not set')}); put the data there, or set DETECTRON2_DATASETS to "
            "the folder that has it."
        )
    try:
        with open(path, encoding="utf-8") as file, _without_garbage_collection():
            data = json.load(file)
    except OSError as error:
        raise DataError(f"{path} of {title} cannot be read ({error.strerror}); check its permissions.") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise DataError(f"{path} of {title} is not valid JSON ({error}); download or write it again.") from error
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise DataError(f"{path} of {title} is not in COCO's format: it has no list `images`.")
    return data


def keypoint_category(data: dict, path: str) -> dict:
    """The one ``categories`` entry that has keypoints.

    Raises:
        DataError: there is none, or there are several.
    """
    found = [c for c in data.get("categories") or () if isinstance(c, dict) and c.get("keypoints")]
    if not found:
        raise DataError(
            f"{path} has no category with `keypoints`; use a keypoint file (such as person_keypoints_*.json), or add "
            "the joint names to its `categories` entry."
        )
    if len(found) > 1:
        names = ", ".join(str(c.get("name", c.get("id"))) for c in found)
        raise DataError(f"{path} has keypoints in several categories ({names}); keep one of them in the file.")
    return found[0]


def check_num_joints(path: str, found: int, expected: int):
    """Raises DataError when a file has another number of joints than the config."""
    if found != expected:
        raise DataError(
            f"{path} has {found} joints but the config expects {expected}; set MODEL.RLE_ONESTAGE.NUM_KEYPOINTS "
            f"{found} or choose another data set."
        )


@_without_garbage_collection()
def load_coco_keypoints(json_file, image_root, *, dataset_name="", annotated=True, data=None, weight_by="",
                        area_from_box=False):
    """Load a COCO-format keypoint file into Detectron2's data set dictionaries.

    Args:
        json_file, image_root: paths.
        dataset_name: for messages.
        annotated: False for lists of images without labels (COCO test-dev).
        data: the parsed file, if it was read already.
        weight_by: name of a number in [0, 1] that each annotation has, which becomes its ``weight``; "" for none.
        area_from_box: the file's areas were made from its boxes.

    Returns:
        (records, problems): records are dicts with file_name, image_id, height, width and annotations [{bbox
        (x, y, width, height), bbox_mode XYWH_ABS, area, iscrowd, keypoints (flat list of 3K: x + 0.5, y + 0.5, v),
        category_id 0, id}], with ``area_from_box`` True where the area is not measured, ``segmentation`` where there
        are polygons and ``weight`` where asked for; problems is a :class:`Problems`.

    Raises:
        DataError: see the module and :func:`read_json`.
    """
    data = read_json(json_file, dataset_name) if data is None else data
    problems = Problems()
    records = _image_records(data["images"], json_file, image_root)
    if annotated:
        category = keypoint_category(data, json_file)
        annotations = _own_annotations(data, json_file, category, records, problems)
        _attach(annotations, category, records, json_file, problems, area_from_box)
        if weight_by:
            _attach_weights(annotations, records, weight_by, json_file)
    for line in problems.lines():
        logger.warning("%s: %s", json_file, line)
    return list(records.values()), problems


def _image_records(images, json_file, image_root):
    records = {}
    for image in images:
        try:
            image_id, name = image["id"], image["file_name"]
        except (KeyError, TypeError) as error:
            raise DataError(f"{json_file} has an image without `id` or `file_name`: {str(image)[:80]}.") from error
        if image_id in records:
            raise DataError(f"{json_file} has the image id {image_id} twice ({name}); image ids must differ.")
        file_name = os.path.join(image_root, name)
        height, width = image.get("height"), image.get("width")
        if height is None or width is None:
            height, width = _size_from_file(file_name, json_file)
        if not _is_number(height) or not _is_number(width) or not (height > 0 and width > 0):
            raise DataError(
                f"{json_file} gives image {image_id} ({name}) the size {width} x {height}; sizes must be positive."
            )
        records[image_id] = {
            "file_name": file_name,
            "image_id": image_id,
            "height": int(height),
            "width": int(width),
            "annotations": [],
        }
    if not records:
        raise DataError(f"{json_file} lists no images.")
    return records


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _size_from_file(file_name, json_file):
    try:
        with Image.open(file_name) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION_TAG) in _TURNED
    except Exception as error:  # Pillow raises anything on damaged headers, and an error of its own for huge ones
        raise DataError(
            f"{json_file} has no width and height for {file_name}, and they cannot be read from the image ({error})."
        ) from error
    return (width, height) if turned else (height, width)


def _own_annotations(data, json_file, category, records, problems):
    """Annotations of the keypoint category whose ids are sound."""
    annotations = data.get("annotations")
    if not isinstance(annotations, list):
        raise DataError(f"{json_file} has no list `annotations`; use a file with labels.")
    seen, own = set(), []
    for annotation in annotations:
        try:
            number, image_id = annotation["id"], annotation["image_id"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{json_file} has an annotation without `id` or `image_id`: {str(annotation)[:80]}."
            ) from error
        if number in seen:
            raise DataError(f"{json_file} has the annotation id {number} twice; annotation ids must differ.")
        seen.add(number)
        if image_id not in records:
            raise DataError(
                f"{json_file}: annotation {number} belongs to image {image_id}, which is not listed in `images`; add "
                "the image or remove the annotation."
            )
        if annotation.get("category_id", category.get("id")) == category.get("id"):
            own.append(annotation)
        else:
            problems.add("annotations of a category without keypoints left out", number)
    if own and not any("keypoints" in a for a in own):
        raise DataError(f"{json_file}: none of its {len(own)} annotations has `keypoints`; use a keypoint file.")
    return own


def _attach(annotations, category, records, json_file, problems, area_from_box):
    """Check the numbers and put each usable annotation into the record of its image."""
    if not annotations:
        return
    num_joints = len(category["keypoints"])
    keypoints = _keypoint_array(annotations, num_joints, json_file, problems)  # (A, K, 3)
    boxes = _numbers(annotations, "bbox", 4, json_file)  # (A, 4), NaN where there is none
    areas = _numbers(annotations, "area", 1, json_file)[:, 0]
    sizes = np.array([(records[a["image_id"]]["width"], records[a["image_id"]]["height"]) for a in annotations], float)
    outside = (keypoints[..., 2] > 0) & ((keypoints[..., :2] < 0) | (keypoints[..., :2] > sizes[:, None])).any(-1)
    for i in np.flatnonzero(outside.any(1)):
        problems.add("annotations with joints outside the image (these joints lose their label)", annotations[i]["id"])
    flat = keypoints.reshape(len(annotations), -1)
    for i, annotation in enumerate(annotations):
        box = _usable_box(annotation, boxes[i], keypoints[i], sizes[i], problems)
        if box is None:
            continue
        measured = bool(np.isfinite(areas[i]))
        kept = {
            "bbox": box,
            "bbox_mode": BoxMode.XYWH_ABS,
            "area": float(areas[i]) if measured else AREA_OF_BOX * box[2] * box[3],
            "iscrowd": int(bool(annotation.get("iscrowd", 0))),
            "keypoints": flat[i].tolist(),
            "category_id": 0,
            "id": annotation["id"],
        }
        if area_from_box or not measured or str(annotation.get("area_source", "")).startswith("box"):
            kept["area_from_box"] = True
        polygons = _polygons(annotation.get("segmentation"))
        if polygons:
            kept["segmentation"] = polygons
        records[annotation["image_id"]]["annotations"].append(kept)


def _polygons(segments):
    """COCO's polygons as arrays, which are small in memory; none where something else stands there."""
    if not isinstance(segments, list):
        return []
    sound = (p for p in segments if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 and all(map(_is_number, p)))
    return [np.array(polygon, np.float32) for polygon in sound]


def _attach_weights(annotations, records, key, json_file):
    """Give each annotation the number that says how much it counts; crowds, who teach nothing, need none."""
    weights = {}
    for annotation in annotations:
        value = annotation.get(key)
        if not annotation.get("iscrowd") and not (_is_number(value) and 0 <= value <= 1):
            raise DataError(
                f"{json_file}: annotation {annotation['id']} has `{key}` {str(value)[:40]}; DATASETS.KEYPOINT_FILES "
                "weights by it, so each needs a number from 0 to 1."
            )
        weights[annotation["id"]] = value
    for record in records.values():
        for annotation in record["annotations"]:
            if not annotation["iscrowd"]:
                annotation["weight"] = float(weights[annotation["id"]])


def _keypoint_array(annotations, num_joints, json_file, problems):
    """Keypoints (A, K, 3), shifted by +0.5; zeros where an annotation has none."""
    nothing = [0.0] * (3 * num_joints)
    rows = [a.get("keypoints") or nothing for a in annotations]
    for annotation, row in zip(annotations, rows):
        if not isinstance(row, list) or len(row) != 3 * num_joints:
            count = len(row) / 3 if isinstance(row, list) else 0
            raise DataError(
                f"{json_file}: annotation {annotation['id']} has {count:g} keypoints but its category names "
                f"{num_joints} joints; each needs x, y and visibility."
            )
    keypoints = _float_array(annotations, rows, "keypoints", json_file).reshape(-1, num_joints, 3)
    bad = ~np.isfinite(keypoints).all((1, 2))
    if bad.any():
        raise DataError(
            f"{json_file}: annotation {annotations[bad.argmax()]['id']} has NaN or infinity in `keypoints`."
        )
    flags = keypoints[..., 2]
    strange = ~np.isin(flags, (0, 1, 2))
    for i in np.flatnonzero(strange.any(1)):
        problems.add(
            "annotations with a visibility other than 0, 1, 2 (taken as 2 if positive, else 0)", annotations[i]["id"]
        )
    flags[strange] = np.where(flags[strange] > 0, 2, 0)
    keypoints[..., :2] += 0.5
    return keypoints


def _numbers(annotations, key, length, json_file):
    """A numeric field as (A, length), rows of NaN where it is missing; NaN or negative sizes in the file raise."""
    missing = [float("nan")] * length
    present = np.array([a.get(key) is not None for a in annotations])
    rows = [missing if a.get(key) is None else (a[key] if length > 1 else [a[key]]) for a in annotations]
    for annotation, row in zip(annotations, rows):
        if not isinstance(row, list) or len(row) != length:
            raise DataError(
                f"{json_file}: annotation {annotation['id']} has `{key}` {str(row)[:60]}; it needs {length} number(s)."
            )
    values = _float_array(annotations, rows, key, json_file)
    for wrong, what in (
        (~np.isfinite(values).all(1), "NaN or infinity"),
        ((values[:, 2:] < 0).any(1) if length == 4 else (values < 0).any(1), "a negative size"),
    ):
        wrong &= present
        if wrong.any():
            i = int(wrong.argmax())
            raise DataError(
                f"{json_file}: annotation {annotations[i]['id']} has {what} in `{key}` ({annotations[i][key]})."
            )
    return values


def _float_array(annotations, rows, key, json_file):
    try:
        return np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        for annotation, row in zip(annotations, rows):
            if not all(_is_number(v) for v in row):
                raise DataError(
                    f"{json_file}: annotation {annotation['id']} has something other than numbers in `{key}`."
                ) from None
        raise


def _usable_box(annotation, box, keypoints, size, problems):
    """The box (x, y, width, height), made from the joints where there is none; None if nothing can be used."""
    x, y, width, height = (float(v) for v in box)
    if not (width > 0 and height > 0):  # also NaN: no box
        labelled = keypoints[keypoints[:, 2] > 0, :2]
        if len(labelled) < 2:
            problems.add("annotations without a box of positive size left out", annotation["id"])
            return None
        problems.add("annotations without a box of positive size, box made from the joints", annotation["id"])
        low, high = labelled.min(0), labelled.max(0)
        margin = np.maximum(JOINT_BOX_MARGIN * (high - low), 1.0)
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, size)
        x, y, width, height = (float(v) for v in (*low, *(high - low)))
    if not (x < size[0] and y < size[1] and x + width > 0 and y + height > 0):
        problems.add("annotations whose box is outside the image left out", annotation["id"])
        return None
    return [x, y, width, height]
