"""How one split of a YOLO-pose data set is named: ``folder/data.yaml:train``, where COCO's format has a file."""

import os
import re
from typing import NamedTuple

ENDINGS = (".yaml", ".yml")
_ADDRESS = re.compile(r"(?P<file>.+\.ya?ml):(?P<split>\w+)", re.IGNORECASE | re.DOTALL)


class Address(NamedTuple):
    """A split of a data set."""

    file: str  # path of its data.yaml
    split: str  # such as "train"


def split_address(labels: str) -> Address | None:
    """The parts of ``folder/data.yaml:train``; None for paths of other files."""
    found = _ADDRESS.fullmatch(os.fspath(labels))
    return Address(found["file"], found["split"]) if found else None


def labels_are_there(labels: str) -> bool:
    """Whether the file of labels is there: of COCO's format, or the data.yaml of an address."""
    address = split_address(labels)
    return os.path.isfile(address.file if address else labels)
