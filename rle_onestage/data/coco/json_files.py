"""COCO-format keypoint files as a whole: reading the JSON, what its values may be, and what is counted on the way.

What the categories say is read in :mod:`.categories`, the annotations in :mod:`.annotations`. Whole columns are checked
at once: a schema of pydantic takes half as long as all the reading, and says nothing of ranges, extents and counts.
"""

import contextlib
import gc
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import DataError, counted_as, cut, shown
from ...utils.images import BlockedImage, UnreadableImage, image_size
from ...utils.label_address import ENDINGS, file_of_labels, labels_are_there, split_address, split_layout
from ...utils.output_files import kind_of
from ...utils.shards import shard_kind
from ..benchmarks import as_coco
from ..shards.reading import read_shards
from ..yolo.reading import address_of, read_yolo
from .doubts import Doubt

logger = logging.getLogger(__name__)
_said: set[tuple[str, str]] = set()  # (source, line)
_held: list[tuple[str, str]] | None = None  # (source, doubt) that wait, see doubts_last()


class Problems:
    """Counts things that were left out or mended, by reason, and remembers their names.

    ``doubts`` are the :class:`~.doubts.Doubt` about a file as a whole. ``notes`` say how things are read that may well
    be as they are.
    """

    def __init__(self) -> None:
        self.names: dict[str, list] = {}
        self.doubts: list[Doubt] = []
        self.notes: list[str] = []

    def add(self, reason: str, name: Any) -> None:
        """Count ``name`` (an annotation, an image) under ``reason``."""
        self.names.setdefault(reason, []).append(name)

    def counts(self) -> dict[str, int]:
        """How often each reason occurred: reason -> number."""
        return {reason: len(names) for reason, names in self.names.items()}

    def merge(self, other: "Problems") -> None:
        """Take over what ``other`` has counted."""
        for reason, names in other.names.items():
            self.names.setdefault(reason, []).extend(names)

    def lines(self, number: int = 5) -> list[str]:
        """One readable line for each reason, with its first few names."""
        return [
            f"{counted_as(len(names), reason)}: {', '.join(map(_short, names[:number]))}"
            + (", ..." if len(names) > number else "")
            for reason, names in self.names.items()
        ]

    def say(self, source: str) -> None:
        """Warn of everything but the notes, each line once in this process: training and evaluation read a file.

        Args:
            source: what to call the file.
        """
        for note in self.notes:
            _say(source, note, logging.INFO)
        for line in self.lines():
            _say(source, line)
        for doubt in self.doubts:
            if _held is None:
                _say(source, doubt.sentence)
            else:
                _held.append((source, doubt.sentence))


def _say(source: str, line: str, level: int = logging.WARNING) -> None:
    """Each line once in this process."""
    if (source, line) not in _said:
        _said.add((source, line))
        logger.log(level, "%s: %s", source, line)


@contextlib.contextmanager
def doubts_last() -> Iterator[None]:
    """Doubts about the files that the block reads are said at its end, but for those that its error is about."""
    global _held
    before, told = _held, ""
    held = _held = []
    try:
        yield
    except DataError as error:
        told = str(error)
        raise
    finally:
        _held = before
        for source, sentence in held:
            if sentence not in told:
                _say(source, sentence)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Millions of small objects are made and kept here; looking through them again and again takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_json(path: str, title: str) -> Any:
    """Parse a JSON file in UTF-8, -16 or -32, with a byte order mark or without.

    Args:
        path: of the file.
        title: what to call it in messages.

    Raises:
        DataError: it cannot be read, is no JSON, or has a key twice in one object.
    """
    kind = kind_of(path)
    if kind not in ("", "an open descriptor"):  # a pipe that nobody writes to would be waited for without end
        raise DataError(f"{title} is {kind}, not a file; check the path")
    try:
        with open(path, "rb") as file, without_garbage_collection():
            return json.loads(file.read(), object_pairs_hook=_distinct)
    except OSError as error:
        raise DataError(f"{title} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{title} is not valid JSON: byte {error.start} is not {error.encoding}; write it again, as UTF-8."
        ) from error
    except RecursionError as error:
        raise DataError(f"{title} is nested too deeply for an annotation or results file; write it again.") from error
    except MemoryError as error:
        raise DataError(f"{title} is too large for the memory of this machine.") from error
    except ValueError as error:
        raise DataError(f"{title} is not valid JSON ({error}); download or write it again.") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON file; Python's own reader lets the last of two equal keys win without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {shown(key)} twice; keep one of them")
    return found


def read_json(path: str, dataset_name: str = "") -> dict:
    """Read a COCO-format file, or one of another layout (:mod:`~rle_onestage.utils.label_address`) in COCO's form.

    Raises:
        DataError: it does not exist (the path and DETECTRON2_DATASETS are named), is not JSON, or has no images; or see
            :func:`~rle_onestage.data.yolo.reading.read_yolo`, :func:`~rle_onestage.data.shards.reading.read_shards` and
            :mod:`rle_onestage.data.benchmarks`.
    """
    title = f"data set {dataset_name!r}" if dataset_name else "the data set"
    address = split_address(path)
    if not labels_are_there(path):
        path = file_of_labels(path)
        root = os.environ.get("DETECTRON2_DATASETS", "not set") or "empty"
        raise DataError(
            f"{title} was not found: there is no annotation file {os.path.abspath(path)} (DETECTRON2_DATASETS is "
            f"{root}); put the data there, or set DETECTRON2_DATASETS to "
            "the folder that has it."
        )
    if address or path.lower().endswith(ENDINGS):
        return read_yolo(address_of(path))
    if shard_kind(path):
        return read_shards(path)
    file, layout = split_layout(path)
    data = load_json(file, f"{file} of {title}")
    if layout:
        return as_coco(layout, data, file, load_json)
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise DataError(f"{path} of {title} is not in COCO's format: it has no list `images`.")
    return data


def check_image_folder(path: str, dataset_name: str) -> None:
    """Raises DataError unless the folder of a data set's images exists."""
    if not os.path.isdir(path):
        raise DataError(
            f"data set {dataset_name!r}: there is no image folder {os.path.abspath(path)}; put the images there, "
            "or set DETECTRON2_DATASETS to the folder that has them."
        )


def _short(name: Any) -> str:
    """An id or a file name in a list of several: plain text as it is, what is long or odd as :func:`~.errors.shown`."""
    return name if is_text(name) and name.isprintable() and len(name) <= 200 else shown(name, 200)


def is_number(value: Any) -> bool:
    """Whether something from a JSON file is a finite number that a float can hold."""
    if type(value) is int:
        return -1e300 < value < 1e300
    return type(value) is float and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Whether something from a JSON file is text that can be a name: in files, logs and paths."""
    if type(value) is not str or not value or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False
    return True


def is_id(value: Any) -> bool:
    """Whether something from a JSON file can be an id: a number or text."""
    return type(value) is int or is_text(value) or is_number(value)


def first_repeated(values: Iterable[Any]) -> Any:
    """The first of some values, which can be keys, that has come before; None where there is none."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def size_from_file(file_name: str, source: str) -> tuple[int, int]:
    """Height and width of an image as it is to be looked at, for a file that does not say them."""
    try:
        return image_size(file_name)
    except BlockedImage:
        raise
    except UnreadableImage as error:
        raise DataError(
            f"{source} has no width and height for {shown(file_name, 200)}, and they cannot be read from the image, "
            f"because {cut(error.reason, 200)}; replace it or remove it."
        ) from error
