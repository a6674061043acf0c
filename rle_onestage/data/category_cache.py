"""The category with joints of a file of labels, read once for each version of it, as big files take seconds to read."""

import os

from ..utils.label_address import file_of_labels, labels_are_there, split_address, split_layout
from .coco.categories import keypoint_category
from .coco.json_files import read_json
from .yolo.reading import read_categories

_found: dict[tuple[str, float], dict] = {}  # (path, time of change) -> categories entry


def category_of(path: str, name: str) -> dict:
    """The ``categories`` entry with keypoints of a file.

    Args:
        path: of the file, or address of a split of a YOLO-pose set.
        name: of the data set, for messages.
    """
    if not labels_are_there(path):
        return keypoint_category(read_json(path, name), path)  # which says what is missing
    key = _version(path)
    if key not in _found:
        address = split_address(path)
        data = {"categories": read_categories(address.file)} if address else read_json(path, name)
        _found[key] = keypoint_category(data, path)
    return _found[key]


def remember_category(path: str, category: dict) -> None:
    """Keep the category of a file that was read."""
    _found[_version(path)] = category


def _version(path: str) -> tuple[str, float]:
    """The file that has the categories with the layout that it is read in, and when it was changed."""
    file, layout = file_of_labels(path), split_layout(path).layout
    return f"{os.path.abspath(file)}{':' * bool(layout)}{layout}", os.path.getmtime(file)
