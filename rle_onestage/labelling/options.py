"""When a joint and a person are sure enough to be a label."""

import functools
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import ConfigError, shown
from ..structures.skeleton import split_side

LONGEST_SIDE = 2**14  # pixels: at it, a square image has as many as one that is read has at most


@dataclass(frozen=True)
class Limit:
    """A threshold for joints: one value, and others for some parts of the body.

    Attributes:
        value: for all parts that are not named.
        parts: pairs (part, value), such as ``("eye", 0.05)``; a part has both its sides.
    """

    value: float
    parts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for value in (self.value, *(value for _, value in self.parts)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"a threshold of joints is {value}; give a number of 0 or more")

    @classmethod
    def parse(cls, words: list[str]) -> "Limit":
        """Read ``["0.1", "eye=0.05", "ear=0.05"]``.

        Raises:
            ConfigError: something else is given.
        """
        try:
            named = [word.split("=") for word in words if "=" in word]
            (value,) = (float(word) for word in words if "=" not in word)
            return cls(value, tuple((part.strip().lower(), float(number)) for part, number in named))
        except ValueError as error:
            raise ConfigError(
                f"{' '.join(words)!r} is no threshold; give one number and, where parts differ, "
                "PART=NUMBER, as in: 0.1 eye=0.05"
            ) from error

    def of(self, names: tuple[str, ...]) -> np.ndarray:
        """The threshold of each joint.

        Args:
            names: K joint names.

        Returns:
            (K,).

        Raises:
            ConfigError: a part is not one of the joints'.
        """
        return _values_of(self, tuple(names))


@functools.lru_cache(maxsize=64)  # asked for again with each person
def _values_of(limit: Limit, names: tuple[str, ...]) -> np.ndarray:
    own = [split_side(name)[0] for name in names]
    for part, _ in limit.parts:
        if part not in own:
            there = ", ".join(dict.fromkeys(own))
            raise ConfigError(f"there is no part {part!r} to set a threshold for; use one of {there}")
    chosen = dict(limit.parts)
    values = np.array([chosen.get(part, limit.value) for part in own])
    values.flags.writeable = False
    return values


@dataclass(frozen=True)
class LabelOptions:
    """How images are looked at, and what is sure enough to be a label.

    Attributes:
        sizes: longest sides in pixels at which each image is looked at.
        mirror: whether each size is looked at mirrored too.
        match: detections of two views are one person at this mean of OKS and box IoU.
        min_view_share: a labelled person is found in this share of the views, and in two of them where there are two.
        min_score: lowest score of a labelled person, mean of the views that found it.
        min_joints: fewest kept joints of a labelled person.
        ignore_score: lowest score of an ignore region.
        ignore_regions: whether doubtful detections become ignore regions, or are left out.
        max_sigma: largest fused standard deviation of a kept joint, mean of x and y, as a share of the root of the
            person's area.
        min_oks: smallest expected OKS at that standard deviation.
        min_presence: smallest probability that the joint is in the image.
        max_spread: largest distance of the views from the fused point, root mean square weighted as they are fused, as
            a share of the root of the person's area.
        max_disagreement: the same in the views' own standard deviations.

    Raises:
        ConfigError: a value is out of its range.
    """

    sizes: tuple[int, ...] = (320, 448, 640)
    mirror: bool = True
    match: float = 0.45
    min_view_share: float = 0.5
    min_score: float = 0.4
    min_joints: int = 4
    ignore_score: float = 0.1
    ignore_regions: bool = True
    max_sigma: Limit = Limit(0.1)
    min_oks: Limit = Limit(0.6)
    min_presence: Limit = Limit(0.5)
    max_spread: Limit = Limit(0.07)
    max_disagreement: Limit = Limit(2.0)

    def __post_init__(self) -> None:
        if any(size > LONGEST_SIDE for size in self.sizes):
            most = f"{shown(max(self.sizes))}, more pixels than an image is looked at with"
            raise ConfigError(f"one of the sizes is {most}; give longest sides up to {LONGEST_SIDE}")
        if not self.sizes or any(size < 1 for size in self.sizes) or len(set(self.sizes)) != len(self.sizes):
            raise ConfigError(f"sizes are {list(self.sizes)}; give different longest sides in pixels, such as 320 640")
        for name in ("match", "min_view_share", "min_score", "ignore_score"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}; give a number from 0 to 1")
        if self.min_joints < 1:
            raise ConfigError(f"min_joints is {self.min_joints}; give 1 or more")

    @property
    def number_of_views(self) -> int:
        """How often each image is looked at."""
        return len(self.sizes) * (2 if self.mirror else 1)

    @property
    def views_needed(self) -> int:
        """In how many views a labelled person is found, at least; views that agree need two."""
        return max(math.ceil(self.min_view_share * self.number_of_views - 1e-9), min(2, self.number_of_views))

    def as_dict(self) -> dict:
        """Values to be written down: a limit without parts is its number."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Limit):
        return {"all": value.value, **dict(value.parts)} if value.parts else value.value
    return list(value) if isinstance(value, tuple) else value
