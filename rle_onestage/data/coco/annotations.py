"""The one reader of COCO-format annotations, for training and for evaluation.

Both see the same people with the same numbers (:class:`KeypointFile`): who is left out, and what is mended, is decided
here alone. What makes a file unusable is a :class:`~rle_onestage.errors.DataError` of one sentence. A single annotation
that cannot be used is left out, counted and named (:class:`~.json_files.Problems`).

- ids are numbers (fractions, large ones too) or text; no two are equal.
- categories with the same joints are one class; those with other joints must have no annotation.
- backslashes in file names separate folders; images are also found by the end of their name.
- ``bbox`` that is absent, null, empty or has no extent is made from two or more labelled joints; without, the
  annotation is left out, as is one whose box lies outside its image.
- ``area`` that is absent, null, 0 or text without a number is 0.53 of the box.
- ``keypoints`` is a flat list or one of triples; null stands for joints without label. Numbers may be text.
- labelled joints outside the image stay labelled, as COCO's evaluation counts them. Training leaves them out: to it a
  joint is present where it is in the image.
- ``num_keypoints`` is counted from the visibility flags, whatever the file says.
- ``keypoints_3d`` and ``camera`` are read by :mod:`rle_onestage.data.coco.space`.
- ``iscrowd`` that is absent or null is 0; text such as "1" is read.
"""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, shown
from ...structures.boxes import AREA_OF_BOX
from .arrays import LARGEST_COORDINATE, box_array, crowd_array, keypoint_array, mend_boxes, read_number, stated_areas
from .categories import check_num_joints, keypoint_categories
from .doubts import find_doubts
from .flags import FlagCounts, count_flags
from .image_names import found_elsewhere
from .json_files import (
    Problems,
    first_repeated,
    is_id,
    is_number,
    is_text,
    size_from_file,
    without_garbage_collection,
)
from .space import SpaceLabels, read_space


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
    space: SpaceLabels | None = None  # None: no annotation has joints in space
    camera: Any = None  # that of the whole file, as in it

    def rows(self, shift: float = 0.0) -> Iterator[list[float]]:
        """Keypoints as COCO's flat lists of 3K, their coordinates shifted; one list at a time is made."""
        moved = self.keypoints + np.array([shift, shift, 0.0])
        return (row.ravel().tolist() for row in moved)

    @property
    def num_keypoints(self) -> np.ndarray:
        """Labelled joints of each annotation, (A,)."""
        return (self.keypoints[..., 2] > 0).sum(1)

    @property
    def flags(self) -> FlagCounts:
        """The flags of its people."""
        return count_flags(self.keypoints[~self.crowd, :, 2])


@without_garbage_collection()
def read_keypoints(
    data: dict, source: str, *, image_root: str | None = None, num_joints: int | None = None, images_only: bool = False
) -> KeypointFile:
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
    problems = Problems()
    images, sizes = _images(data["images"], source, image_root, problems)
    if images_only:
        none, no = np.zeros(0), np.zeros(0, bool)
        return KeypointFile(source, [], 1, images, sizes, [], np.zeros((0, 0, 3)), np.zeros((0, 4)), none, no, no,
                            problems)  # fmt: skip
    categories = keypoint_categories(data, source)
    names = list(categories[0]["keypoints"])
    if num_joints is not None:
        check_num_joints(source, len(names), num_joints)
    annotations = _own_annotations(data, source, categories, images, problems)
    keypoints = keypoint_array(annotations, names, source, problems)
    crowd = crowd_array(annotations, source, problems)
    boxes = box_array(annotations, source, problems)
    areas = stated_areas(annotations, source, problems)
    extent = np.array([sizes[a["image_id"]] for a in annotations], float).reshape(-1, 2)
    kept = mend_boxes(annotations, boxes, keypoints, extent, problems)
    if not kept.all():
        annotations = [a for a, keep in zip(annotations, kept) if keep]
        keypoints, boxes, areas, crowd, extent = (each[kept] for each in (keypoints, boxes, areas, crowd, extent))
    measured = np.isfinite(areas)
    areas = np.where(measured, areas, AREA_OF_BOX * boxes[:, 2] * boxes[:, 3])
    category_id = 1 if categories[0].get("id") is None else categories[0]["id"]
    whole = data.get("camera")
    cameras = {i: image.get("camera", whole) for i, image in images.items()}
    space = read_space(annotations, keypoints, crowd, names, cameras, problems)
    file = KeypointFile(source, names, category_id, images, sizes, annotations, keypoints, boxes, areas, measured,
                        crowd, problems, space, whole)  # fmt: skip
    _compare_counts(file)
    problems.doubts += find_doubts(boxes[~crowd], keypoints[~crowd], extent[~crowd])
    return file


def _check_ids(entries: list, keys: list[str], kind: str, source: str) -> list[list]:
    """Each entry of a list is a dictionary with usable ids under ``keys``."""
    try:
        columns = [[entry[key] for entry in entries] for key in keys]
        kinds = {kind for column in columns for kind in set(map(type, column))}
    except (KeyError, TypeError, IndexError):
        kinds = {type(None)}
    if kinds <= {int} or (kinds <= {int, str} and all(is_id(i) for column in columns for i in column)):
        return columns
    for place, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            wanted = " or ".join(f"`{key}`" for key in keys)
            raise DataError(f"{source} has an {kind} without {wanted}: {shown(entry, 80)} (number {place}).")
        for key in keys:
            if not is_id(entry[key]):
                raise DataError(
                    f"{source}: {kind} {shown(entry.get('id', place))} has `{key}` {shown(entry[key])}; an id is a "
                    "number or text."
                )
    return columns


def _images(
    entries: list, source: str, image_root: str | None, problems: Problems
) -> tuple[dict[Any, dict], dict[Any, tuple[float, float]]]:
    (ids,) = _check_ids(entries, ["id"], "image", source)
    if len(set(ids)) < len(ids):
        twice = first_repeated(ids)
        name = next(e.get("file_name") for e in entries if e["id"] == twice)
        raise DataError(f"{source} has the image id {shown(twice)} twice ({shown(name)}); image ids must differ.")
    if not ids:
        raise DataError(f"{source} lists no images.")
    images = {i: _named(entry, source, image_root, problems) for i, entry in zip(ids, entries)}
    if image_root is not None:
        for i, name in found_elsewhere({i: image["file_name"] for i, image in images.items()}, image_root).items():
            problems.add("images found in the image folder by the end of their `file_name`", images[i]["file_name"])
            images[i] = {**images[i], "file_name": name}
    return images, {i: _size(image, source, image_root, problems) for i, image in images.items()}


def _named(image: dict, source: str, image_root: str | None, problems: Problems) -> dict:
    """The entry of an image, its name one that this system can open."""
    name = image.get("file_name")
    if name is None:
        raise DataError(f"{source} has an image without `id` or `file_name`: {shown(image, 80)}.")
    if not is_text(name):
        raise DataError(f"{source}: image {shown(image['id'])} has `file_name` {shown(name)}; it must be a file name.")
    if "\\" in name and os.sep == "/" and not os.path.exists(os.path.join(image_root or "", name)):
        problems.add("images with backslashes in `file_name`, which are taken for folders", name)
        return {**image, "file_name": name.replace("\\", "/")}
    return image


def _size(image: dict, source: str, image_root: str | None, problems: Problems) -> tuple[float, float]:
    """Width and height of an image, infinite where nothing says it."""
    name, height, width = image["file_name"], image.get("height"), image.get("width")
    if height is None or width is None:
        if image_root is None:
            return math.inf, math.inf
        height, width = size_from_file(os.path.join(image_root, name), source)
    if isinstance(height, str) or isinstance(width, str):
        problems.add("images whose size is text, read as numbers", name)
        height, width = (side if (number := read_number(side)) is None else number for side in (height, width))
    if not all(is_number(side) and 1 <= side <= LARGEST_COORDINATE for side in (height, width)):
        raise DataError(
            f"{source} gives image {shown(image['id'])} ({shown(name)}) the size {shown(width, 20)} x "
            f"{shown(height, 20)}; sizes must be positive numbers of pixels, at most {LARGEST_COORDINATE:g}."
        )
    return width, height


def _own_annotations(
    data: dict, source: str, categories: list[dict], images: dict[Any, dict], problems: Problems
) -> list[dict]:
    """Annotations of the categories with keypoints, their ids checked."""
    annotations = data.get("annotations")
    if not isinstance(annotations, list):
        raise DataError(f"{source} has no list `annotations`; use a file with labels.")
    ids, image_ids = _check_ids(annotations, ["id", "image_id"], "annotation", source)
    if len(set(ids)) < len(ids):
        raise DataError(
            f"{source} has the annotation id {shown(first_repeated(ids))} twice; annotation ids must differ."
        )
    if not images.keys() >= set(image_ids):
        number, image_id = next(pair for pair in zip(ids, image_ids) if pair[1] not in images)
        raise DataError(
            f"{source}: annotation {shown(number)} belongs to image {shown(image_id)}, which is not listed in "
            "`images`; add the image or remove the annotation."
        )
    own = _of_categories(annotations, data, source, categories, problems)
    if own and not any("keypoints" in a for a in own):
        raise DataError(f"{source}: none of its {len(own)} annotations has `keypoints`; use a keypoint file.")
    return own


def _of_categories(
    annotations: list[dict], data: dict, source: str, categories: list[dict], problems: Problems
) -> list[dict]:
    """The annotations of some categories; what is another's is counted."""
    own_ids = [category.get("id") for category in categories]
    if None in own_ids and len(data["categories"]) > len(categories):
        raise DataError(
            f"{source}: the category with `keypoints`, {shown(categories[0].get('name'))}, has no `id`, so its "
            "annotations cannot be told from those of the others; give it one."
        )
    if own_ids == [None]:
        return annotations
    known, own = dict(zip(own_ids, categories)), []
    for annotation in annotations:
        number = annotation.get("category_id")
        if number == own_ids[0] or number is None:  # null can only mean a category with joints
            own.append(annotation)
        elif is_text(number) and number == str(own_ids[0]):  # its number as text, which no other category can mean
            own.append(annotation)
            problems.add("annotations with `category_id` as text, taken as the number", annotation["id"])
        elif None in known or (is_id(number) and number in known):
            own.append(annotation)
            other = known.get(number) if is_id(number) else None
            names = [shown(c.get("name", c.get("id")), 30) for c in (other or categories[0], categories[0])]
            what = f"annotations of {names[0]} counted as {names[1]}, as their joints are the same"
            problems.add(what, annotation["id"])
        else:
            problems.add("annotations of a category without keypoints left out", annotation["id"])
    return own


def _compare_counts(file: KeypointFile) -> None:
    """Count the annotations whose ``num_keypoints`` is not what their flags say.

    CrowdPose's files, whose images have a ``crowdIndex``, count the visible joints alone.
    """
    if any("crowdIndex" in image for image in file.images.values()):
        return
    counted = file.num_keypoints.tolist()
    for annotation, number in zip(file.annotations, counted):
        said = annotation.get("num_keypoints", number)
        if type(said) is not int or said != number:
            file.problems.add("annotations with a wrong `num_keypoints`, counted anew", annotation["id"])
