"""What torchrun, or a script in its place, says of a process in the environment."""

import os
from typing import NamedTuple

from rle_onestage.errors import ConfigError, shown


class Place(NamedTuple):
    """The place of a process among those of a training.

    Attributes:
        rank: its number among all of them.
        world_size: how many there are.
        local_rank: its number among those of this machine.
        local_size: how many of them are on this machine.
    """

    rank: int
    world_size: int
    local_rank: int
    local_size: int


def place_from_environment() -> Place:
    """The place that ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and ``LOCAL_WORLD_SIZE`` name; 0 of 1 without them.

    Raises:
        ConfigError: one is no number, or they do not fit together.
    """
    place = Place(
        _number("RANK", 0), _number("WORLD_SIZE", 1), _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    )
    if not place.rank < place.world_size:
        numbers = f"RANK {place.rank} and WORLD_SIZE {place.world_size}"
        raise ConfigError(f"the environment has {numbers}, which do not fit; unset them, or start with torchrun")
    return place


def _number(name: str, absent: int) -> int:
    text = os.environ.get(name, str(absent))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"the environment variable {name} is {shown(text)}, which is no number; unset it")
    return int(text)
