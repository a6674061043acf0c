"""How labels are named that are no file of COCO's format.

One split of a YOLO-pose data set is ``folder/data.yaml:train``. A JSON file of another layout has the layout behind its
name, ``folder/mpii_val.json:mpii``. Shards that carry their labels are a path or a pattern,
``folder/train-*.tar``.
"""

import os
import re
from typing import NamedTuple

from .shards import shard_kind, shards_of

ENDINGS = (".yaml", ".yml")
# Of JSON files: rle_onestage.data.benchmarks reads them.
LAYOUTS = ("wholebody", "mpii", "h36m", "h36m_train", "h36m_test")
_LAYOUT = re.compile(rf"(?P<file>.+\.json):(?P<layout>{'|'.join(LAYOUTS)})", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"(?P<file>.+\.ya?ml):(?P<split>\w+)", re.IGNORECASE | re.DOTALL)


class Address(NamedTuple):
    """A split of a data set."""

    file: str  # path of its data.yaml
    split: str  # such as "train"


def split_address(labels: str) -> Address | None:
    """The parts of ``folder/data.yaml:train``; None for paths of other files."""
    found = _ADDRESS.fullmatch(os.fspath(labels))
    return Address(found["file"], found["split"]) if found else None


class LabelFile(NamedTuple):
    """A JSON file of labels."""

    file: str
    layout: str  # one of LAYOUTS; "" for COCO's format


def split_layout(labels: str) -> LabelFile:
    """The parts of ``folder/mpii_val.json:mpii``; other paths are files of COCO's format."""
    found = _LAYOUT.fullmatch(os.fspath(labels))
    return LabelFile(found["file"], found["layout"].lower()) if found else LabelFile(labels, "")


def file_of_labels(labels: str) -> str:
    """The file that must be there: of COCO's format or another layout, the data.yaml of an address, the first shard."""
    if shard_kind(labels):
        return next(iter(shards_of(labels)), labels)
    address = split_address(labels)
    return address.file if address else split_layout(labels).file


def labels_are_there(labels: str) -> bool:
    """Whether the file of labels is there, see :func:`file_of_labels`."""
    return os.path.isfile(file_of_labels(labels))
