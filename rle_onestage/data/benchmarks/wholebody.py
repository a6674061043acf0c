"""COCO-WholeBody's files, whose people have a list of joints for each part of the body beside COCO's ``keypoints``.

See https://github.com/jin-s13/COCO-WholeBody, ``data_format.md``.
"""

from typing import Any

from ...errors import DataError, shown
from ...structures.wholebody import WHOLEBODY, WHOLEBODY_PARTS

# The lists of a person or a result, in the order of the joints, and how many numbers each has.
_KEYS = {
    "keypoints" if part == "body" else f"{part}_kpts": 3 * (end - start)
    for part, (start, end) in WHOLEBODY_PARTS.items()
}
PART_KEYS = tuple(key for key in _KEYS if key != "keypoints")
_FILES = "coco_wholebody_train_v1.0.json or coco_wholebody_val_v1.0.json"


def join_parts(entry: dict[str, Any], name: str, remedy: str) -> list[Any]:
    """The 133 joints of a person or a result as one flat list.

    Args:
        entry: with ``keypoints`` of the body and the lists of :data:`PART_KEYS`.
        name: what to call it in messages, with the file.
        remedy: what to give instead, for messages.

    Raises:
        DataError: a list is missing, or has another length.
    """
    joined: list[Any] = []
    for key, length in _KEYS.items():
        part = entry.get(key)
        if not isinstance(part, list) or len(part) != length:
            found = "is missing" if key not in entry else f"is {shown(part)}"
            raise DataError(f"{name}: `{key}` {found}, but must have {length} numbers; give {remedy}")
        joined += part
    return joined


def wholebody_as_coco(data: Any, source: str) -> dict[str, Any]:
    """The content of a file with the 133 joints as ``keypoints``; see :func:`~.as_coco`.

    ``num_keypoints``, which counts the body alone, is left out, so that all joints are counted.
    """
    if not isinstance(data, dict) or not isinstance(data.get("annotations"), list) or "images" not in data:
        raise DataError(f"{source} is not in COCO-WholeBody's layout: it has no lists `images` and `annotations`; give "
                        f"{_FILES}")  # fmt: skip
    annotations = []
    for place, annotation in enumerate(data["annotations"], start=1):
        if not isinstance(annotation, dict):
            raise DataError(f"{source}: annotation {shown(annotation)} (number {place}) is no object; give {_FILES}")
        if "keypoints" not in annotation and "face_kpts" not in annotation:
            annotations.append(annotation)  # of another category
            continue
        keypoints = join_parts(annotation, f"{source}: annotation {shown(annotation.get('id', place))}", _FILES)
        dropped = {"num_keypoints", *PART_KEYS}
        annotations.append({**{k: v for k, v in annotation.items() if k not in dropped}, "keypoints": keypoints})
    return {**data, "annotations": annotations, "categories": _categories(data)}


def _categories(data: dict[str, Any]) -> list[Any]:
    """The file's categories, those with joints with all 133."""
    listed = data.get("categories")
    listed = listed if isinstance(listed, list) and listed else [{"id": 1, "name": "person", "keypoints": ["nose"]}]
    whole = {
        "keypoints": list(WHOLEBODY.names),
        "skeleton": [[a + 1, b + 1] for a, b in WHOLEBODY.limbs],
        "flip_idx": WHOLEBODY.flip_index,
    }
    return [{**c, **whole} if isinstance(c, dict) and c.get("keypoints") else c for c in listed]
