"""The numbers of annotations as whole arrays: keypoints, boxes, areas, crowds; what is mended is counted."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ...errors import DataError, counted, shown
from ...structures.boxes import AREA_OF_BOX
from .json_files import Problems, is_number

# A box made from joints is widened by this share of its sides, as joints lie inside the body.
JOINT_BOX_MARGIN = 0.12
# COCO's evaluation leaves out areas above this.
LARGEST_AREA = 1e10
LARGEST_COORDINATE = 1e6
# Boxes and areas below have no extent: nothing smaller than a thousandth of a pixel is meant.
SMALLEST = 1e-3
CENTRE = 0.5  # of a pixel: COCO's keypoints are pixel indices, boxes count from the corner of the first pixel
_CROWD_TEXT = {"": 0, "0": 0, "false": 0, "1": 1, "true": 1}


def flat_keypoints(rows: list, num_joints: int, where: Callable[[int], str]) -> list[list]:
    """Keypoints as flat lists of 3K; those that are lists of K triples are flattened.

    Args:
        rows: what the file gives, of any type.
        num_joints: K.
        where: what to call row ``i`` in messages, with the file.

    Raises:
        DataError: a row is something else.
    """
    flat = []
    for i, row in enumerate(rows):
        if isinstance(row, list) and len(row) != 3 * num_joints and all(type(v) is list and len(v) == 3 for v in row):
            row = list(chain.from_iterable(row))
        if not isinstance(row, list):
            raise DataError(f"{where(i)} has `keypoints` {shown(row)}; it must be a list of x, y, visibility, ....")
        if len(row) != 3 * num_joints:
            raise DataError(
                f"{where(i)} has {len(row)} numbers in `keypoints`, which must be {3 * num_joints}: x, y and "
                f"visibility of each of {num_joints} joints."
            )
        flat.append(row)
    return flat


def float_rows(
    rows: list[list], key: str, where: Callable[[int], str], on_text: Callable[[int], None] | None = None
) -> np.ndarray:
    """Lists of equally many numbers as an array (rows, numbers), null as NaN.

    Args:
        rows: of any content.
        key: what the rows are, for messages.
        where: what to call row ``i`` in messages, with the file.
        on_text: called for each row ``i`` with numbers as text, which are read then; None: they are refused.

    Raises:
        DataError: something other than numbers is among them, or one beyond all floats.
    """
    kinds = set(map(type, chain.from_iterable(rows)))
    if str in kinds and on_text is not None:
        rows = [_without_text(row, i, on_text) for i, row in enumerate(rows)]
        kinds = set(map(type, chain.from_iterable(rows)))
    if kinds <= {int, float, type(None)} or all(map(_is_numeric, kinds)):
        try:
            return np.array(rows, dtype=np.float64)
        except OverflowError:
            pass
    for i, row in enumerate(rows):
        for value in row:
            beyond = type(value) is int and not is_number(value)
            if beyond or not _is_numeric(type(value)):
                raise DataError(f"{where(i)} has something other than numbers in `{key}`: {shown(value)}.")
    raise DataError(f"{where(0)} has something other than numbers in `{key}`.")


def _without_text(row: list, number: int, on_text: Callable[[int], None]) -> list:
    """A row with the text that says a finite number as this number."""
    if str not in set(map(type, row)):
        return row
    on_text(number)
    return [value if (read := read_number(value)) is None else read for value in row]


def read_number(value: Any) -> float | None:
    """The finite number that a text says, else None."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_numeric(kind: type) -> bool:
    """Whether values of a type are numbers, NumPy's too (a data set made in memory), or null."""
    return kind is type(None) or (issubclass(kind, (int, float, np.number)) and kind is not bool)


def _naming(annotations: list[dict], source: str) -> Callable[[int], str]:
    return lambda i: f"{source}: annotation {shown(annotations[i]['id'])}"


def _count_text(key: str, annotations: list[dict], problems: Problems) -> Callable[[int], None]:
    return lambda i: problems.add(f"annotations with text in `{key}`, read as numbers", annotations[i]["id"])


def keypoint_array(annotations: list[dict], joints: Sequence[str], source: str, problems: Problems) -> np.ndarray:
    """Keypoints (A, K, 3) of joints of these K names; zeros where an annotation has none."""
    num_joints = len(joints)
    nothing = [0.0] * (3 * num_joints)
    rows = [nothing if a.get("keypoints") in (None, []) else a["keypoints"] for a in annotations]
    where, on_text = _naming(annotations, source), _count_text("keypoints", annotations, problems)
    keypoints = float_rows(flat_keypoints(rows, num_joints, where), "keypoints", where, on_text)
    keypoints = keypoints.reshape(-1, num_joints, 3)
    flags = keypoints[..., 2]
    # Some write null for the coordinates of joints without label, and for their visibility.
    unknown = np.isnan(keypoints[..., :2]).any(-1) & (np.isnan(flags) | (flags == 0))
    if unknown.any():
        keypoints[unknown] = 0
    bad = ~np.isfinite(keypoints).all(-1)
    if bad.any():
        row, joint = np.unravel_index(bad.argmax(), bad.shape)
        raise DataError(
            f"{source}: annotation {shown(annotations[row]['id'])} has NaN or infinity in `keypoints`, joint "
            f"{shown(joints[joint], 40)}; correct it, or write 0, 0, 0 for a joint without label."
        )
    strange = (flags != 0) & (flags != 1) & (flags != 2)
    for i in np.flatnonzero(strange.any(1)):
        problems.add(
            "annotations with a visibility other than 0, 1, 2 (taken as 2 if positive, else 0)", annotations[i]["id"]
        )
    flags[strange] = np.where(flags[strange] > 0, 2, 0)
    far = (flags > 0) & (np.abs(keypoints[..., :2]) > LARGEST_COORDINATE).any(-1)
    if far.any():
        raise DataError(
            f"{source}: annotation {shown(annotations[far.any(1).argmax()]['id'])} has a labelled joint more than "
            f"{LARGEST_COORDINATE:g} pixels away; give pixels of the image."
        )
    return keypoints


def crowd_array(annotations: list[dict], source: str, problems: Problems) -> np.ndarray:
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


def box_array(annotations: list[dict], source: str, problems: Problems) -> np.ndarray:
    """Boxes (A, 4) as in the file, NaN where there is none."""
    missing = [math.nan] * 4
    rows = [missing if a.get("bbox") in (None, []) else a["bbox"] for a in annotations]
    for annotation, row in zip(annotations, rows):
        if not isinstance(row, list) or len(row) != 4:
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has `bbox` {shown(row)}; it needs 4 numbers, x, y, "
                "width and height."
            )
    where, on_text = _naming(annotations, source), _count_text("bbox", annotations, problems)
    boxes = float_rows(rows, "bbox", where, on_text).reshape(-1, 4)
    present = np.array([row is not missing for row in rows], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = (
            (~np.isfinite(boxes).all(1), "NaN or infinity"),
            ((boxes[:, 2:] < 0).any(1), "a negative size"),
            ((np.abs(boxes) > LARGEST_COORDINATE).any(1), f"more than {LARGEST_COORDINATE:g} pixels"),
            (boxes[:, 2] * boxes[:, 3] > LARGEST_AREA, f"more than {LARGEST_AREA:g} square pixels"),
        )
    for found, what in wrong:
        if (found & present).any():
            annotation = annotations[int((found & present).argmax())]
            raise DataError(
                f"{source}: annotation {shown(annotation['id'])} has {what} in `bbox` ({shown(annotation['bbox'])})."
            )
    return boxes


def stated_areas(annotations: list[dict], source: str, problems: Problems) -> np.ndarray:
    """Areas (A,), NaN where the file says none."""
    values = values_of = [a.get("area") for a in annotations]
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
        absent = [i for i in np.flatnonzero(np.isnan(areas)) if values_of[i] is None]
        if absent:  # who does not know it leaves it out
            number = f"{len(absent)} of {counted(len(areas), 'annotation')}"
            problems.notes.append(f"{number} without `area`; {AREA_OF_BOX:g} of the box is used")
        for i in np.flatnonzero(np.isnan(areas)):
            if values_of[i] is not None:
                problems.add(f"annotations with area 0, or none that is a number; {AREA_OF_BOX:g} of the box is used",
                             annotations[i]["id"])  # fmt: skip
    if any(isinstance(a.get("area"), str) for a in annotations):
        for annotation, area in zip(annotations, areas):
            if isinstance(annotation.get("area"), str) and np.isfinite(area):
                problems.add("annotations whose area is text, read as the number that it says", annotation["id"])
    return areas


def _area(annotation: dict, value: Any, source: str) -> float:
    """One area as a number, NaN where nothing says it."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        number = read_number(value)
        return math.nan if number is None else number
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{source}: annotation {shown(annotation['id'])} has `area` {shown(value)}; it needs 1 number.")
    return value


def mend_boxes(
    annotations: list[dict], boxes: np.ndarray, keypoints: np.ndarray, sizes: np.ndarray, problems: Problems
) -> np.ndarray:
    """Make boxes from the joints where there is none; returns which annotations (A,) can be used."""
    points, labelled = keypoints[..., :2] + CENTRE, keypoints[..., 2] > 0
    outside = labelled & ((points < 0) | (points > sizes[:, None])).any(-1)
    for i in np.flatnonzero(outside.any(1)):
        problems.add(
            "annotations with joints outside the image (evaluation counts them, training leaves them out)",
            annotations[i]["id"],
        )
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
