"""The one reader of COCO-format annotations, for training and for evaluation.

Both see the same people with the same numbers (:class:`KeypointFile`): who is left out, and what is mended, is decided
here alone. What makes a file unusable is a :class:`~rle_onestage.errors.DataError` of one sentence. A single annotation
that cannot be used is left out, counted and named (:class:`~.coco_json.Problems`).

- ids are numbers (fractions, large ones too) or text; no two are equal.
- ``bbox`` that is absent, null, empty or has no extent is made from two or more labelled joints; without, the
  annotation is left out, as is one whose box lies outside its image.
- ``area`` that is absent, null, 0 or text without a number is 0.53 of the box.
- ``num_keypoints`` is counted from the visibility flags, whatever the file says.
- ``iscrowd`` that is absent or null is 0; text such as "1" is read.
"""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .coco_json import (
    AREA_OF_BOX,
    Problems,
    check_num_joints,
    is_number,
    keypoint_category,
    shown,
    size_from_file,
    without_garbage_collection,
)
from .doubts import find_doubts

# A box made from joints is widened by this share of its sides, as joints lie inside the body.
JOINT_BOX_MARGIN = 0.12
# COCO's evaluation leaves out areas above this.
LARGEST_AREA = 1e10
LARGEST_COORDINATE = 1e6
# Boxes and areas below have no extent: nothing smaller than a thousandth of a pixel is meant.
SMALLEST = 1e-3
CENTRE = 0.5  # of a pixel: COCO's keypoints are pixel indices, boxes count from the corner of the first pixel
_CROWD_TEXT = {"": 0, "0": 0, "false": 0, "1": 1, "true": 1}


class KeypointFile(NamedTuple):
    """The people of a file, A annotations of the one category with K joints, in the order of the file."""

    source: str  # for messages
    joint_names: list[str]
    category_id: Any  # as in the file; 1 where it gives none
    images: dict[Any, dict]  # id -> entry of the file
    sizes: dict[Any, tuple[float, float]]  # id -> width, height; infinite where it is not known
    annotations: list[dict]  # as in the file, for fields of others
    keypoints: np.ndarray  # (A, K, 3) x, y, visibility 0, 1, 2; pixel indices
    boxes: np.ndarray  # (A, 4) x, y, width, height, all of positive size
    areas: np.ndarray  # (A,) positive
    measured: np.ndarray  # (A,) bool, the area is the file's and not made from the box
    crowd: np.ndarray  # (A,) bool
    problems: Problems

    def rows(self, shift: float = 0.0) -> Iterator[list[float]]:
        """Keypoints as COCO's flat lists of 3K, their coordinates shifted; one list at a time is made."""
        moved = self.keypoints + np.array([shift, shift, 0.0])
        return (row.ravel().tolist() for row in moved)

    @property
    def num_keypoints(self) -> np.ndarray:
        """Labelled joints of each annotation, (A,)."""
        return (self.keypoints[..., 2] > 0).sum(1)


@without_garbage_collection()
def read_keypoints(data: dict, source: str, *, image_root: str | None = None, num_joints: int | None = None,
                   images_only: bool = False) -> KeypointFile:
    """Read a parsed COCO-format file.

    Args:
        data: the file; not changed.
        source: what to call it in messages.
        image_root: folder from which image sizes are read that the file lacks; None: these are not known.
        num_joints: how many joints are wanted; None: any number.
        images_only: read no annotations (COCO test-dev).

    Raises:
        DataError: the file cannot be used; the sentence names it and the image or annotation.
    """
    images, sizes = _images(data["images"], source, image_root)
    problems = Problems()
    if images_only:
        none, no = np.zeros(0), np.zeros(0, bool)
        return KeypointFile(source, [], 1, images, sizes, [], np.zeros((0, 0, 3)), np.zeros((0, 4)), none, no, no,
                            problems)  # fmt: skip
    category = keypoint_category(data, source)
    names = list(category["keypoints"])
    if num_joints is not None:
        check_num_joints(source, len(names), num_joints)
    annotations = _own_annotations(data, source, category, images, problems)
    keypoints = _keypoint_array(annotations, len(names), source, problems)
    crowd = _crowds(annotations, source, problems)
    boxes = _boxes(annotations, source)
    areas = _areas(annotations, source, problems)
    extent = np.array([sizes[a["image_id"]] for a in annotations], float).reshape(-1, 2)
    kept = _mend_boxes(annotations, boxes, keypoints, extent, problems)
    if not kept.all():
        annotations = [a for a, keep in zip(annotations, kept) if keep]
        keypoints, boxes, areas, crowd, extent = (each[kept] for each in (keypoints, boxes, areas, crowd, extent))
    measured = np.isfinite(areas)
    areas = np.where(measured, areas, AREA_OF_BOX * boxes[:, 2] * boxes[:, 3])
    category_id = 1 if category.get("id") is None else category["id"]
    file = KeypointFile(source, names, category_id, images, sizes, annotations, keypoints, boxes, areas, measured,
                        crowd, problems)  # fmt: skip
    _compare_counts(file)
    problems.doubts += find_doubts(boxes[~crowd], keypoints[~crowd], extent[~crowd])
    return file


def _is_id(value):
    return type(value) is int or (type(value) is str and value != "") or is_number(value)


def _check_ids(entries, keys, kind, source):
    """Each entry of a list is a dictionary with usable ids under ``keys``."""
    try:
        columns = [[entry[key] for entry in entries] for key in keys]
        kinds = set().union(*(set(map(type, column)) for column in columns))
    except (KeyError, TypeError, IndexError):
        kinds = {None}
    if kinds <= {int, str} and not any("" in column for column in columns):
        return columns
    for place, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            wanted = " or ".join(f"`{key}`" for key in keys)
            raise DataError(f"{source} has an {kind} without {wanted}: {shown(entry, 80)} (number {place}).")
        for key in keys:
            if not _is_id(entry[key]):
                raise DataError(
                    f"{source}: {kind} {shown(entry.get('id', place))} has `{key}` {shown(entry[key])}; an id is a "
                    "number or text."
                )
    return columns


def _repeated(ids):
    seen = set()
    return next(i for i in ids if i in seen or seen.add(i))


def _images(entries, source, image_root):
    (ids,) = _check_ids(entries, ["id"], "image", source)
    if len(set(ids)) < len(ids):
        twice = _repeated(ids)
        name = next(e.get("file_name") for e in entries if e["id"] == twice)
        raise DataError(f"{source} has the image id {shown(twice)} twice ({name}); image ids must differ.")
    if not ids:
        raise DataError(f"{source} lists no images.")
    return dict(zip(ids, entries)), {i: _size(entry, source, image_root) for i, entry in zip(ids, entries)}


def _size(image, source, image_root):
    """Width and height of an image, infinite where nothing says it."""
    name, height, width = image.get("file_name"), image.get("height"), image.get("width")
    if type(name) is not str or not name or "\0" in name:
        if name is None:
            raise DataError(f"{source} has an image without `id` or `file_name`: {shown(image, 80)}.")
        raise DataError(f"{source}: image {shown(image['id'])} has `file_name` {shown(name)}; it must be a file name.")
    if height is None or width is None:
        if image_root is None:
            return math.inf, math.inf
        height, width = size_from_file(os.path.join(image_root, name), source)
    if not is_number(height) or not is_number(width) or not (height >= 1 and width >= 1):
        raise DataError(
            f"{source} gives image {shown(image['id'])} ({name}) the size {shown(width, 20)} x {shown(height, 20)}; "
            "sizes must be positive."
        )
    return width, height


def _own_annotations(data, source, category, images, problems):
    """Annotations of the keypoint category, their ids checked."""
    annotations = data.get("annotations")
    if not isinstance(annotations, list):
        raise DataError(f"{source} has no list `annotations`; use a file with labels.")
    ids, image_ids = _check_ids(annotations, ["id", "image_id"], "annotation", source)
    if len(set(ids)) < len(ids):
        raise DataError(f"{source} has the annotation id {shown(_repeated(ids))} twice; annotation ids must differ.")
    if not images.keys() >= set(image_ids):
        number, image_id = next(pair for pair in zip(ids, image_ids) if pair[1] not in images)
        raise DataError(
            f"{source}: annotation {shown(number)} belongs to image {shown(image_id)}, which is not listed in "
            "`images`; add the image or remove the annotation."
        )
    own_id = category.get("id")
    if own_id is not None and not _is_id(own_id):
        raise DataError(f"{source}: a category has `id` {shown(own_id)}; an id is a number or text.")
    if own_id is None and len(data["categories"]) > 1:
        raise DataError(
            f"{source}: the category with `keypoints`, {shown(category.get('name'))}, has no `id`, so its annotations "
            "cannot be told from those of the others; give it one."
        )
    # A category id that is absent or null can only mean the one category with joints.
    own = [a for a in annotations if own_id is None or a.get("category_id") in (None, own_id)]
    if len(own) < len(annotations):
        for annotation in annotations:
            if annotation.get("category_id") not in (None, own_id):
                problems.add("annotations of a category without keypoints left out", annotation["id"])
    if own and not any("keypoints" in a for a in own):
        raise DataError(f"{source}: none of its {len(own)} annotations has `keypoints`; use a keypoint file.")
    return own


def _keypoint_array(annotations, num_joints, source, problems):
    """Keypoints (A, K, 3); zeros where an annotation has none."""
    nothing = [0.0] * (3 * num_joints)
    rows = [a.get("keypoints") or nothing for a in annotations]
    for annotation, row in zip(annotations, rows):
        if not isinstance(row, list) or len(row) != 3 * num_joints:
            count = len(row) / 3 if isinstance(row, list) else 0
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has {count:g} keypoints but its category names "
                f"{num_joints} joints; each needs x, y and visibility."
            )
    keypoints = _float_array(annotations, rows, 3 * num_joints, "keypoints", source)
    keypoints = keypoints.reshape(-1, num_joints, 3)
    flags = keypoints[..., 2]
    # Some write null for the coordinates of joints without label, and for their visibility.
    unknown = np.isnan(keypoints[..., :2]).any(-1) & (np.isnan(flags) | (flags == 0))
    if unknown.any():
        keypoints[unknown] = 0
    bad = ~np.isfinite(keypoints).all((1, 2))
    if bad.any():
        raise DataError(
            f"{source}: annotation {shown(annotations[bad.argmax()]['id'])} has NaN or infinity in `keypoints`."
        )
    strange = (flags != 0) & (flags != 1) & (flags != 2)
    for i in np.flatnonzero(strange.any(1)):
        problems.add(
            "annotations with a visibility other than 0, 1, 2 (taken as 2 if positive, else 0)", annotations[i]["id"]
        )
    flags[strange] = np.where(flags[strange] > 0, 2, 0)
    far = (flags > 0) & (np.abs(keypoints[..., :2]) > LARGEST_COORDINATE).any(-1)
    if far.any():
        i = int(far.any(1).argmax())
        raise DataError(
            f"{source}: annotation {shown(annotations[i]['id'])} has a labelled joint more than "
            f"{LARGEST_COORDINATE:g} pixels away; give pixels of the image."
        )
    return keypoints


def _crowds(annotations, source, problems):
    """``iscrowd``, (A,) bool."""
    values = [a.get("iscrowd", 0) for a in annotations]
    if set(map(type, values)) <= {int, bool} and set(values) <= {0, 1}:
        return np.array(values, dtype=bool)
    crowd = np.zeros(len(values), dtype=bool)
    for i, (annotation, value) in enumerate(zip(annotations, values)):
        if value is None or isinstance(value, str):
            problems.add("annotations with `iscrowd` null (taken as 0) or text", annotation["id"])
            value = _CROWD_TEXT.get((value or "").strip().lower(), value)
        if isinstance(value, (list, dict, str)) or value not in (0, 1):
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has `iscrowd` {shown(value)}; it must be 0 or 1."
            )
        crowd[i] = bool(value)
    return crowd


def _boxes(annotations, source):
    """Boxes (A, 4) as in the file, NaN where there is none."""
    missing = [math.nan] * 4
    rows = [a.get("bbox") or missing for a in annotations]
    for annotation, row in zip(annotations, rows):
        if not isinstance(row, list) or len(row) != 4:
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has `bbox` {shown(row)}; it needs 4 numbers, x, y, "
                "width and height."
            )
    boxes = _float_array(annotations, rows, 4, "bbox", source)
    present = np.array([row is not missing for row in rows], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = (
            (~np.isfinite(boxes).all(1), "NaN or infinity"),
            ((boxes[:, 2:] < 0).any(1), "a negative size"),
            ((np.abs(boxes) > LARGEST_COORDINATE).any(1), f"more than {LARGEST_COORDINATE:g} pixels"),
            (boxes[:, 2] * boxes[:, 3] > LARGEST_AREA, f"more than {LARGEST_AREA:g} square pixels"),
        )
    for where, what in wrong:
        if (where & present).any():
            annotation = annotations[int((where & present).argmax())]
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has {what} in `bbox` ({shown(annotation['bbox'])})."
            )
    return boxes


def _areas(annotations, source, problems):
    """Areas (A,), NaN where the file says none."""
    values = [a.get("area") for a in annotations]
    if not set(map(type, values)) <= {int, float}:
        values = [_area(annotation, value, source) for annotation, value in zip(annotations, values)]
    try:
        areas = np.array(values, dtype=np.float64)
    except OverflowError:  # an integer beyond all floats
        areas = np.array([v if is_number(v) or v != v else math.inf for v in values], dtype=np.float64)
    stated = np.array([isinstance(a.get("area"), (int, float)) for a in annotations], dtype=bool)
    for where, what in (
        (~np.isfinite(areas) & stated, "NaN or infinity"),
        (areas < 0, "a negative size"),
        (areas > LARGEST_AREA, f"more than {LARGEST_AREA:g} square pixels"),
    ):
        if where.any():
            annotation = annotations[int(where.argmax())]
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has {what} in `area` ({shown(annotation['area'])})."
            )
    areas[areas <= SMALLEST] = math.nan
    if not np.isfinite(areas).all():
        for i in np.flatnonzero(np.isnan(areas)):
            problems.add(f"annotations without area, or with area 0; {AREA_OF_BOX:g} of the box is used",
                         annotations[i]["id"])  # fmt: skip
    if any(isinstance(a.get("area"), str) for a in annotations):
        for annotation, area in zip(annotations, areas):
            if isinstance(annotation.get("area"), str) and np.isfinite(area):
                problems.add("annotations whose area is text, read as the number that it says", annotation["id"])
    return areas


def _area(annotation, value, source):
    """One area as a number, NaN where nothing says it."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return math.nan
        return number if math.isfinite(number) else math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(
            f"{source}: annotation {shown(annotation['id'])} has `area` {shown(value)}; it needs 1 number."
        )
    return value


def _float_array(annotations, rows, length, key, source):
    """Lists of so many numbers as (A, length), null as NaN."""
    if not rows:
        return np.zeros((0, length))
    try:
        values = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros(0)
    if values.ndim == 2:
        return values
    for annotation, row in zip(annotations, rows):
        if not all(v is None or is_number(v) or isinstance(v, float) for v in row):
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has something other than numbers in `{key}`."
            )
    raise DataError(f"{source} has something other than numbers in `{key}`.")


def _mend_boxes(annotations, boxes, keypoints, sizes, problems):
    """Make boxes from the joints where there is none; returns which annotations (A,) can be used."""
    points, labelled = keypoints[..., :2] + CENTRE, keypoints[..., 2] > 0
    outside = labelled & ((points < 0) | (points > sizes[:, None])).any(-1)
    for i in np.flatnonzero(outside.any(1)):
        problems.add("annotations with joints outside the image (these joints lose their label)", annotations[i]["id"])
    kept = np.ones(len(annotations), dtype=bool)
    for i in np.flatnonzero(~(boxes[:, 2:] > SMALLEST).all(1)):  # also NaN: no box
        joints = points[i][labelled[i]]
        if len(joints) < 2:
            problems.add("annotations without a box of positive size left out", annotations[i]["id"])
            kept[i] = False
            continue
        problems.add("annotations without a box of positive size, box made from the joints", annotations[i]["id"])
        low, high = joints.min(0), joints.max(0)
        margin = np.maximum(JOINT_BOX_MARGIN * (high - low), 1.0)
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, sizes[i])
        boxes[i] = *low, *(high - low)
    beside = (boxes[:, :2] >= sizes).any(1) | (boxes[:, :2] + boxes[:, 2:] <= 0).any(1) | (boxes[:, 2:] <= 0).any(1)
    for i in np.flatnonzero(beside & kept):
        problems.add("annotations whose box is outside the image left out", annotations[i]["id"])
    return kept & ~beside


def _compare_counts(file):
    """Count the annotations whose ``num_keypoints`` is not what their flags say."""
    counted = file.num_keypoints.tolist()
    for annotation, number in zip(file.annotations, counted):
        said = annotation.get("num_keypoints", number)
        if type(said) is not int or said != number:
            file.problems.add("annotations with a wrong `num_keypoints`, counted anew", annotation["id"])
