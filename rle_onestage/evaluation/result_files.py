"""Files of COCO keypoint results, from any program: whatever stands in them is checked here, before it is scored."""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..data.benchmarks.wholebody import PART_KEYS, join_parts
from ..data.coco.arrays import SMALLEST, flat_keypoints, float_rows
from ..data.coco.json_files import is_id, is_number, load_json, without_garbage_collection
from ..errors import DataError, counted, shown
from ..structures import WHOLEBODY
from .people_parquet import is_people_parquet, results_from_parquet
from .results import Result

logger = logging.getLogger(__name__)

# Beyond, squares and products of coordinates lose all sense; a diverged model stays far below.
FURTHEST = 1e9
# Lists of numbers that are ours: key -> numbers of a joint. Null stands for NaN, which JSON lacks.
_PER_JOINT = {
    "keypoint_sigmas": 2, "keypoint_covariances": 3, "keypoint_presence": 1, "keypoint_visibility": 1,
    "keypoints_3d": 3, "keypoint_3d_sigmas": 3,
}  # fmt: skip


class Labels(NamedTuple):
    """What results are checked against."""

    source: str  # the labels' file, for messages
    images: Mapping[Any, dict[str, Any]]  # id -> entry of the file
    num_joints: int  # K
    categories: tuple[Any, ...] = ()  # ids of the people's categories; empty: any


Naming = Callable[[int], str]  # the index of a result -> its name in messages


@without_garbage_collection()
def read_results(path: str | os.PathLike, *, labels: Labels | None = None, part: bool = False) -> list[Result]:
    """Read a file of COCO results.

    Args:
        path: a list of results, or a dictionary with such a list as ``annotations``; or the Parquet files of
            ``rle-onestage predict``, see :mod:`.people_parquet`.
        labels: of the images that the results must be of; None: any images, any joints.
        part: leave out results of other images with a warning, if there are some of these images.

    Returns:
        Dicts with ``image_id`` (an id of ``labels``), ``score`` (finite), ``keypoints`` (flat, 3K finite
        numbers), in all or none ``bbox`` (x, y, width, height, of positive size), and what else is in the file.
        Image ids that are stems of the labels' file names, as some programs write them, become the ids.

    Raises:
        DataError: it cannot be read or used; the sentence names the file, the result and the remedy.
    """
    results = _stored(path)
    for number, result in enumerate(results, start=1):
        missing = [k for k in ("image_id", "score", "keypoints") if not isinstance(result, dict) or k not in result]
        if missing:
            raise DataError(
                f"{path}: result {number} has no `{missing[0]}` ({shown(result)}); give COCO keypoint results, with "
                "image_id, score and keypoints"
            )
    where = _naming(results, path)
    if labels is not None and labels.num_joints == WHOLEBODY.num_joints:
        results = _of_parts(results, where)
    _check_numbers(results, where, labels)
    if labels is not None:
        results = _of_people(results, path, labels)
        results = _of_labels(results, path, labels, part)
    return results


def _stored(path: str | os.PathLike) -> list[Result]:
    """The results of a file or of Parquet files, unchecked."""
    if is_people_parquet(path):
        return [result for results in results_from_parquet(path) for result in results]
    results = load_json(os.fspath(path), str(path))
    results = results.get("annotations") if isinstance(results, dict) else results
    if not isinstance(results, list):
        raise DataError(f"{path} has no list of COCO keypoint results; give a coco_instances_results.json")
    return results


def _of_parts(results: list[Result], where: Naming) -> list[Result]:
    """Results with the lists of COCO-WholeBody's parts, as its own programs write them, with all joints in one."""
    return [
        {**result, "keypoints": join_parts(result, where(i), "all parts of each result, or 133 joints as `keypoints`")}
        if any(key in result for key in PART_KEYS)
        else result
        for i, result in enumerate(results)
    ]


def _naming(results: list[Result], path: str | os.PathLike) -> Naming:
    """How results are named in messages."""

    def name(i: int) -> str:
        return f"{path}: result {i + 1} (image {shown(results[i]['image_id'], 30)})"

    return name


def _check_numbers(results: list[Result], where: Naming, labels: Labels | None) -> None:
    """Check scores, ids and lists of numbers, and put them into one form."""
    for i, result in enumerate(results):
        if not is_number(result["score"]):
            raise DataError(f"{where(i)} has `score` {shown(result['score'])}; it must be a finite number")
        if not is_id(result["image_id"]):
            raise DataError(f"{where(i)} has an `image_id` that is neither number nor text")
        if not is_id(result.get("category_id", 1)):
            category = shown(result["category_id"])
            raise DataError(f"{where(i)} has `category_id` {category}; write the number of the people's category")
        result["score"] = float(result["score"])
    joints = _count_joints(results, where)
    if labels is not None and results and joints != labels.num_joints:
        raise DataError(
            f"{where(0)} has {counted(joints, 'joint')} in `keypoints`, but {labels.source} has {labels.num_joints}; "
            "give results of the same joints"
        )
    keypoints = flat_keypoints([r["keypoints"] for r in results], joints, where)
    _check_finite(float_rows(keypoints, "keypoints", where), "keypoints", where)
    for result, row in zip(results, keypoints):
        result["keypoints"] = row
    _check_boxes(results, where)
    _check_extras(results, joints, where)


def _count_joints(results: list[Result], where: Naming) -> int:
    """K, by the first result."""
    if not results:
        return 0
    row = results[0]["keypoints"]
    numbers = sum(len(v) if isinstance(v, list) else 1 for v in row) if isinstance(row, list) else 0
    if not numbers or numbers % 3:
        raise DataError(f"{where(0)} has `keypoints` {shown(row)}; it must be a list of x, y, visibility, ...")
    return numbers // 3


def _check_finite(values: np.ndarray, key: str, where: Naming) -> None:
    """Raise DataError unless all values (N, n) are finite and not absurd."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= FURTHEST)
    if bad.any():
        i = int(bad.any(1).argmax())
        raise DataError(
            f"{where(i)} has {values[i][bad[i]][0]:g} in `{key}`; all must be finite numbers, at most {FURTHEST:g} "
            "(null is none)"
        )


def _check_boxes(results: list[Result], where: Naming) -> None:
    """Check the boxes, which all results have or none, and give each an area."""
    boxes: list[Any] = [result.get("bbox") for result in results]
    has = [box not in (None, []) for box in boxes]
    if not any(has):
        for result in results:
            result.pop("bbox", None)
        return
    if not all(has):
        raise DataError(f"{where(has.index(False))} has no `bbox`, but others have; give one in all results or in none")
    for i, box in enumerate(boxes):
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{where(i)} has `bbox` {shown(box)}; it needs 4 numbers, x, y, width and height")
    values = float_rows(boxes, "bbox", where)
    _check_finite(values, "bbox", where)
    negative = (values[:, 2:] < 0).any(1)
    if negative.any():
        i = int(negative.argmax())
        raise DataError(f"{where(i)} has a negative size in `bbox` ({shown(boxes[i])}); write x, y, width, height")
    # A box of no size would be nobody's and everybody's: COCO divides by its area.
    for i in np.flatnonzero((values[:, 2:] < SMALLEST).any(1)).tolist():
        results[i]["bbox"] = [*boxes[i][:2], *(max(side, SMALLEST) for side in boxes[i][2:])]


def _check_extras(results: list[Result], joints: int, where: Naming) -> None:
    """What our own files have besides; null is read as NaN."""
    for key, numbers in [*((key, n * joints) for key, n in _PER_JOINT.items()), ("score_factors", 3)]:
        having = [i for i, result in enumerate(results) if result.get(key) is not None]
        rows = [results[i][key] for i in having]
        for i, row in zip(having, rows):
            if not isinstance(row, list) or len(row) != numbers:
                raise DataError(f"{where(i)} has `{key}` {shown(row)}; it needs {numbers} numbers")
        values = float_rows(rows, key, functools.partial(_name_of, where, having))
        for i, row in zip(having, values):
            if np.isnan(row).any():
                results[i][key] = row.tolist()
        for result in results:
            if result.get(key, 0) is None:
                del result[key]
    for i, result in enumerate(results):
        area = result.get("person_area")
        if area is None:
            result.pop("person_area", None)
        elif not isinstance(area, float) and not is_number(area):
            raise DataError(f"{where(i)} has `person_area` {shown(area)}; it must be a number")


def _name_of(where: Naming, places: list[int], i: int) -> str:
    """The name of the result at place ``i`` of some of them."""
    return where(places[i])


def _of_people(results: list[Result], path: str | os.PathLike, labels: Labels) -> list[Result]:
    """The results of the people's category, which are all that COCO's evaluation compares with people.

    Programs of one class may number it in their own way, such as from 0: then all results are of people.
    """
    known = {str(number) for number in labels.categories}
    other = [i for i, r in enumerate(results) if known and str(r.get("category_id", labels.categories[0])) not in known]
    if not other:
        return results
    of_people = " or ".join(shown(number) for number in labels.categories)
    found = f"{len(other)} of {len(results)} results have another `category_id` than {of_people}, the people of "
    found += f"{labels.source}, the first is result {other[0] + 1} with {shown(results[other[0]]['category_id'])}"
    if len(other) == len(results):
        if len({str(result["category_id"]) for result in results}) > 1:
            raise DataError(f"{path}: {found}; write the category of the labels' file")
        logger.warning("%s: %s; as all have the same, they are taken for people", path, found)
        return results
    logger.warning("%s: %s; they are left out", path, found)
    left_out = set(other)
    return [result for i, result in enumerate(results) if i not in left_out]


def _of_labels(results: list[Result], path: str | os.PathLike, labels: Labels, part: bool) -> list[Result]:
    """The results with ids of the labels' images: by their `file_name` where they have one, else by their ids."""
    unknown = _by_name(results, path, labels)
    other = [i for i, result in enumerate(results) if i in unknown or result["image_id"] not in labels.images]
    if not other:
        return results
    if len(other) == len(results):
        stems = _by_stem(labels.images)
        if all(str(result["image_id"]) in stems or result["image_id"] in stems for result in results):
            logger.warning(
                "%s: the image ids of all %d results are stems of file names; they are taken for the images of %s with "
                "these names", path, len(results), labels.source,
            )  # fmt: skip
            for result in results:
                key = result["image_id"]
                result["image_id"] = stems[key if key in stems else str(key)]
            return results
    shown_id = shown(results[other[0]]["image_id"])
    named = f" ({shown(name)})" if (name := results[other[0]].get("file_name")) else ""
    if part and len(other) < len(results):
        logger.warning(
            "%s: %d of %d results are of images that %s does not have, the first of image %s; they are left out", path,
            len(other), len(results), labels.source, shown_id,
        )  # fmt: skip
        left_out = set(other)
        return [result for i, result in enumerate(results) if i not in left_out]
    raise DataError(
        f"{path}: {len(other)} of {len(results)} results are of images that {labels.source} does not have, the first "
        f"is result {other[0] + 1}, of image {shown_id}{named}; give the results of the same data set, with its "
        "image ids"
    )


def _by_name(results: list[Result], path: str | os.PathLike, labels: Labels) -> set[int]:
    """Give results with a `file_name` the ids of the images with these names.

    Of images whose names end alike it is that with the longest common end of the path; the ending counts last, as
    images may have been stored anew.

    Returns:
        The places of those whose names the labels do not have.

    Raises:
        DataError: several images fit equally well.
    """
    named = [i for i, result in enumerate(results) if isinstance(result.get("file_name"), str)]
    if not named:
        return set()
    images: dict[str, list[tuple[list[str], Any]]] = {}
    for image_id, image in labels.images.items():
        parts = _reversed_parts(image["file_name"])
        images.setdefault(parts[0], []).append((parts, image_id))
    found: dict[str, Any] = {}
    unknown = set()
    for i in named:
        name = results[i]["file_name"]
        if name not in found:
            parts = _reversed_parts(name)
            fitting = [(_common(parts, other), image_id) for other, image_id in images.get(parts[0], [])]
            longest = max((length for length, _ in fitting), default=None)
            best = [image_id for length, image_id in fitting if length == longest]
            if len(best) > 1:
                raise DataError(
                    f"{path}: result {i + 1} is of {shown(name)}, which may be image {shown(best[0], 30)} or "
                    f"{shown(best[1], 30)} of {labels.source}; write more of the path in `file_name`, or leave it out"
                )
            found[name] = best
        if found[name]:
            results[i]["image_id"] = found[name][0]
        else:
            unknown.add(i)
    return unknown


def _reversed_parts(name: str) -> list[str]:
    """The parts of a path from its end on: the stem, the folders, last the file's ending."""
    *folders, base = name.replace("\\", "/").split("/")
    stem, ending = os.path.splitext(base)
    return [stem, *(folder for folder in reversed(folders) if folder not in ("", ".")), ending.lower()]


def _common(parts: list[str], other: list[str]) -> tuple[int, bool]:
    """How many parts are the same from the end of the path on, and whether the file's ending is."""
    pairs = enumerate(zip(parts[:-1], other[:-1]))
    same = next((n for n, (a, b) in pairs if a != b), min(len(parts), len(other)) - 1)
    return same, parts[-1] == other[-1]


def _by_stem(images: Mapping[Any, dict[str, Any]]) -> dict[str | int, Any]:
    """Stem of the file name, and the number that it spells -> id of the image; ambiguous stems are left out."""
    stems: dict[str | int, Any] = {}
    twice: set[str | int] = set()
    for image_id, image in images.items():
        stem = os.path.splitext(os.path.basename(image["file_name"]))[0]
        keys: set[str | int] = {stem}
        if stem.isascii() and stem.isdigit() and len(stem) < 20:
            keys.add(int(stem))
        for key in keys:
            if key in stems:
                twice.add(key)
            stems[key] = image_id
    return {key: image_id for key, image_id in stems.items() if key not in twice}
