"""The category of a COCO-format keypoint file: its joints and limbs, and the categories that have the same joints."""

import logging
from typing import Any

from ...errors import DataError, shown
from ...structures.category_extras import category_oks_sigmas, category_pairs
from .json_files import first_repeated, is_id, is_text

logger = logging.getLogger(__name__)
_said: set[tuple[str, str]] = set()


def keypoint_category(data: dict, path: str) -> dict:
    """The ``categories`` entry that has keypoints, its joint names as a list of text, its limbs as COCO has them.

    Several entries with the same joints (cats and dogs) are one class, whose id and name are those of the first. Where
    joints differ, those without annotations are left out.

    Args:
        data: the parsed file; not changed.
        path: for messages.

    Returns:
        A copy of the entry. Joint names that the file gives as a dictionary, number -> name or name -> number, are in
        the order of the numbers. Limbs that count joints from 0, or name them, are pairs of numbers from 1; those that
        make no sense are left out with a warning, as they are for drawing alone.

    Raises:
        DataError: there is none, or there are several with different joints, or one that makes no sense.
    """
    return keypoint_categories(data, path)[0]


def keypoint_categories(data: dict, path: str) -> list[dict]:
    """All ``categories`` entries that have keypoints, which are the same in each; see :func:`keypoint_category`."""
    listed = data.get("categories")
    listed = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    found = [{**c, "keypoints": _joint_names(c, path)} for c in listed if c.get("keypoints") not in (None, [], {})]
    if not found:
        raise DataError(
            f"{path} has no category with `keypoints`; use a keypoint file (such as person_keypoints_*.json), or add "
            "the joint names to its `categories` entry."
        )
    if any(category["keypoints"] != found[0]["keypoints"] for category in found):
        found = _of_annotations(found, data, path)
    for category in found:
        category["skeleton"] = _limbs(category, path)
        _check_extras(category, path)
        if category["keypoints"] != found[0]["keypoints"]:
            names = ", ".join(shown(c.get("name", c.get("id")), 30) for c in found[:5])
            raise DataError(
                f"{path} has keypoints in several categories ({names}{', ...' if len(found) > 5 else ''}) whose joints "
                "differ; keep one of them in the file."
            )
        if category.get("id") is not None and not is_id(category["id"]):
            raise DataError(f"{path}: a category has `id` {shown(category['id'])}; an id is a number or text.")
    return found


def _check_extras(category: dict, path: str) -> None:
    """Raises DataError where what a category says of a mirror and of OKS sigmas does not fit its joints."""
    try:
        category_pairs(category, len(category["keypoints"]))
        category_oks_sigmas(category, len(category["keypoints"]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _of_annotations(found: list[dict], data: dict, path: str) -> list[dict]:
    """The categories that have annotations, as a labelling tool exports all that a project has; all where none has."""
    annotations = data.get("annotations")
    listed = annotations if isinstance(annotations, list) else []
    ids = {str(a.get("category_id")) for a in listed if isinstance(a, dict)}
    kept = [category for category in found if str(category.get("id")) in ids]
    left_out = [shown(category.get("name", category.get("id")), 30) for category in found if category not in kept]
    if not kept or not left_out:
        return found
    _say(path, f"categories without annotations are left out: {', '.join(left_out[:5])}")
    return kept


def _joint_names(category: dict, path: str) -> list[str]:
    where = f"{path}: category {shown(category.get('name', category.get('id')), 30)}"
    names = category["keypoints"]
    if isinstance(names, dict):
        names = _in_order(names)
    if not isinstance(names, list):
        raise DataError(
            f"{where} has `keypoints` {shown(category['keypoints'])}; it must be a list of joint names, or a "
            "dictionary of numbers and names."
        )
    for number, name in enumerate(names, start=1):
        if not is_text(name):
            raise DataError(f"{where} calls joint {number} {shown(name)}; a joint's name is text.")
    if len(set(names)) < len(names):
        raise DataError(f"{where} has the joint {shown(first_repeated(names))} twice; joint names must differ.")
    return names


def _limbs(category: dict, path: str) -> list[list[int]]:
    """Pairs of joint numbers from 1."""
    listed, names = category.get("skeleton") or [], category["keypoints"]
    if not isinstance(listed, list):
        _say(path, f"`skeleton` is {shown(listed)} and no list of pairs of joints; no limbs are drawn")
        return []
    place = {name: i for i, name in enumerate(names, start=1)}
    pairs = [limb for limb in listed if isinstance(limb, list) and len(limb) == 2]
    from_zero = any(type(joint) is int and joint == 0 for limb in pairs for joint in limb)
    limbs: dict[tuple[int, ...], None] = {}  # in their order
    wrong = [limb for limb in listed if not (isinstance(limb, list) and len(limb) == 2)]
    for limb in pairs:
        ends = [end for joint in limb if (end := _joint(joint, place, from_zero)) is not None]
        if len(ends) < 2:
            wrong.append(limb)
        else:
            limbs[tuple(ends)] = None
    if wrong:
        _say(path, f"{len(wrong)} of {len(listed)} limbs in `skeleton` are no pairs of its {len(names)} joints and are "
                   f"not drawn, the first is {shown(wrong[0])}")  # fmt: skip
    elif from_zero:
        _say(path, "the limbs in `skeleton` count joints from 0, where COCO's count from 1; they are read so")
    return [list(limb) for limb in limbs]


def _joint(joint: Any, place: dict[str, int], from_zero: bool) -> int | None:
    """The number from 1 of a joint that is given by number or name; None where there is no such joint."""
    if isinstance(joint, str):
        return place.get(joint)
    number = joint + from_zero if type(joint) is int else 0
    return number if 1 <= number <= len(place) else None


def _say(path: str, what: str) -> None:
    if (path, what) not in _said:
        _said.add((path, what))
        logger.warning("%s: %s.", path, what)


def _in_order(names: dict) -> list | None:
    """The names of number -> name or name -> number, in the order of the numbers; None where that is not clear."""
    for pairs in (names.items(), [(value, key) for key, value in names.items()]):
        numbered = [(number, name) for key, name in pairs if (number := _number(key)) is not None]
        if len(numbered) == len(names):
            numbered.sort(key=lambda pair: pair[0])
            first = numbered[0][0]
            counted = [number for number, _ in numbered] == list(range(first, first + len(numbered)))
            return [name for _, name in numbered] if first in (0, 1) and counted else None
    return None


def _number(value: Any) -> int | None:
    """A whole number, also as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if type(value) is int else None


def check_num_joints(path: str, found: int, expected: int) -> None:
    """Raises DataError when a file has another number of joints than the config."""
    if found != expected:
        raise DataError(
            f"{path} has {found} joints but the config expects {expected}; set MODEL.RLE_ONESTAGE.NUM_KEYPOINTS "
            f"{found} or choose another data set."
        )
