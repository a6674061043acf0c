"""COCO-format keypoint files as a whole: reading the JSON, its category, and what is counted on the way.

What the annotations say is read in :mod:`.annotations`.
"""

import contextlib
import gc
import json
import logging
import math
import os
import reprlib
from typing import Any

from PIL import Image

from ..errors import DataError

# COCO's segments cover about this share of their boxes; used where a file has no `area`.
AREA_OF_BOX = 0.53

_ORIENTATION_TAG, _TURNED = 0x0112, (5, 6, 7, 8)

logger = logging.getLogger(__name__)
_said = set()  # (source, line)


class Problems:
    """Counts things that were left out or mended, by reason, and remembers their names.

    ``doubts`` are the :class:`~.doubts.Doubt` about a file as a whole.
    """

    def __init__(self):
        self.names = {}
        self.doubts = []

    def add(self, reason: str, name: Any) -> None:
        """Count ``name`` (an annotation, an image) under ``reason``."""
        self.names.setdefault(reason, []).append(name)

    def counts(self) -> dict[str, int]:
        """Returns: dict reason -> number."""
        return {reason: len(names) for reason, names in self.names.items()}

    def merge(self, other: "Problems") -> None:
        """Take over what ``other`` has counted."""
        for reason, names in other.names.items():
            self.names.setdefault(reason, []).extend(names)

    def lines(self, shown: int = 5) -> list[str]:
        """One readable line for each reason, with its first few names."""
        return [
            f"{len(names)} {reason}: {', '.join(str(n) for n in names[:shown])}{', ...' if len(names) > shown else ''}"
            for reason, names in self.names.items()
        ]

    def say(self, source: str) -> None:
        """Warn of everything, each line once in this process: a file is read for training and for evaluation.

        Args:
            source: what to call the file.
        """
        for line in [*self.lines(), *(doubt.sentence for doubt in self.doubts)]:
            if (source, line) not in _said:
                _said.add((source, line))
                logger.warning("%s: %s", source, line)


@contextlib.contextmanager
def without_garbage_collection():
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
        with open(path, encoding="utf-8") as file, without_garbage_collection():
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
    categories = data.get("categories")
    listed = categories if isinstance(categories, list) else ()
    categories = (c for c in listed if isinstance(c, dict))
    found = [c for c in categories if isinstance(c.get("keypoints"), (list, dict)) and c["keypoints"]]
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


def shown(value: Any, length: int = 60) -> str:
    """A value of a file, for a message: text in quotes, long ones cut."""
    try:
        text = _cut.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= length else f"{text[:length]}..."


def _cutter() -> reprlib.Repr:
    """``repr`` that neither follows deep nests nor writes out long lists."""
    cut = reprlib.Repr()
    cut.maxlevel, cut.maxlist, cut.maxdict, cut.maxstring, cut.maxlong, cut.maxother = 4, 12, 12, 300, 300, 300
    return cut


_cut = _cutter()


def is_number(value: Any) -> bool:
    """Whether something from a JSON file is a finite number that a float can hold."""
    if type(value) is int:
        return -1e300 < value < 1e300
    return type(value) is float and math.isfinite(value)


def size_from_file(file_name: str, source: str) -> tuple[int, int]:
    """Height and width of an image as it is to be looked at, for a file that does not say them."""
    try:
        with Image.open(file_name) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION_TAG) in _TURNED
    except Exception as error:  # Pillow raises anything on damaged headers, and an error of its own for huge ones
        raise DataError(
            f"{source} has no width and height for {file_name}, and they cannot be read from the image ({error})."
        ) from error
    return (width, height) if turned else (height, width)
