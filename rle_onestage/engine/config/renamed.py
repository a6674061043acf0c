"""Config keys of earlier versions, and what they are called now. Files and command lines may still have them."""

import logging
from typing import Any

from detectron2.utils import comm

from rle_onestage.errors import ConfigError

_told: set[tuple[str, str]] = set()
logger = logging.getLogger("rle_onestage")

# Keys, or groups of keys.
RENAMED = {
    "MODEL.RLE_ONESTAGE.SIGMA": "MODEL.RLE_ONESTAGE.SCALE",
    "MODEL.RLE_ONESTAGE.REFINE.SIGMA_INIT": "MODEL.RLE_ONESTAGE.REFINE.SCALE_INIT",
    "MODEL.RLE_ONESTAGE.LOSS.PERSON": "MODEL.RLE_ONESTAGE.LOSS.SCORE",
    "MODEL.RLE_ONESTAGE.TEST.PERSON_POWER": "MODEL.RLE_ONESTAGE.TEST.SCORE_POWER",
}


def current_name(key: str) -> str:
    """What a dotted key is called now; other keys stay."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def rename_values(values: dict[str, Any], lines: dict[str, int], source: str) -> None:
    """Give the keys of one file their present names, with a line in the log for each that was met.

    Args:
        values: nested values of the file; changed in place.
        lines: line of each dotted key; changed in place.
        source: of the values, for messages, e.g. ``config file a.yaml``.

    Raises:
        ConfigError: a key is there under both names.
    """
    for old, new in RENAMED.items():
        *groups, last = old.split(".")
        group: Any = values
        for name in groups:
            group = group.get(name) if isinstance(group, dict) else None
        if not isinstance(group, dict) or last not in group:
            continue
        new_last = new.rsplit(".", 1)[1]  # a key is renamed within its group
        if new_last in group:
            raise _both(source, old, new)
        _tell(source, old, new)
        group[new_last] = group.pop(last)
        for name in [name for name in lines if current_name(name) != name]:
            lines[current_name(name)] = lines.pop(name)


def rename_options(options: list[Any], source: str) -> list[Any]:
    """``[KEY, VALUE, ...]`` with the present names of the keys, with a line in the log for each that was met.

    Args:
        options: from a command line.
        source: of the options, for messages.

    Raises:
        ConfigError: a key is there under both names.
    """
    keys = [str(key) for key in options[0::2]]
    result = list(options)
    for place, key in enumerate(keys):
        new = current_name(key)
        if new == key:
            continue
        if new in keys:
            raise _both(source, key, new)
        _tell(source, key, new)
        result[2 * place] = new
    return result


def _tell(source: str, old: str, new: str) -> None:
    """Once for each process and place: a launcher reads a config before the training does."""
    if (source, old) not in _told and comm.is_main_process():
        logger.warning("%s: the config key %s is %s now", source, old, new)
    _told.add((source, old))


def _both(source: str, old: str, new: str) -> ConfigError:
    return ConfigError(f"{source}: {old} is the earlier name of {new}, and both are given; keep {new} alone")
