"""How many labelled joints of a file are hidden, and how many visible."""

import os
from typing import NamedTuple

import numpy as np

# Labels tell hidden joints from visible ones where each kind is at least this share of the labelled joints: fewer are
# slips.
LEAST_SHARE = 0.001


class FlagCounts(NamedTuple):
    """How many labelled joints of people, crowds left out, have which flag of COCO's visibility."""

    hidden: int  # 1
    visible: int  # 2

    @property
    def tell(self) -> bool:
        """Whether the labels tell hidden joints from visible ones."""
        return min(self) >= max(1, LEAST_SHARE * sum(self))


def count_flags(visibility: np.ndarray) -> FlagCounts:
    """Count the flags 1 and 2 of an array of any shape."""
    return FlagCounts(int((visibility == 1).sum()), int((visibility == 2).sum()))


_found: dict[tuple[str, float], FlagCounts] = {}  # (path, time of change), as big files take seconds to read


def remember_flags(path: str, flags: FlagCounts) -> None:
    """Keep the flags of a file that was read."""
    _found[_version(path)] = flags


def remembered_flags(path: str) -> FlagCounts | None:
    """The flags of a file; None if this version of it was not read yet."""
    return _found.get(_version(path))


def _version(path: str) -> tuple[str, float]:
    return os.path.abspath(path), os.path.getmtime(path) if os.path.isfile(path) else 0.0
