"""Rules of another project's, read from a file: what each changes in a config."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from rle_onestage.engine.config.yaml_file import parse_yaml
from rle_onestage.errors import ConfigError

WEIGHTS_OF = "WEIGHTS_OF"


class Rule(NamedTuple):
    """What a loss changes in the config.

    ``options``: ``[KEY, VALUE, ...]`` as on a command line. ``weights_of``: the name of another rule whose weights it
    reads out in another way; "" trains its own.
    """

    options: list[str]
    weights_of: str = ""


def read_rules(path: str) -> dict[str, Rule]:
    """Read a YAML file: name -> mapping of config keys to values, and ``WEIGHTS_OF`` where it trains nothing.

    Raises:
        ConfigError: the file cannot be read or has something else in it.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"--rules {path} is not there; name a YAML file of rules")
    found, _ = parse_yaml(path)
    if not isinstance(found, Mapping) or not all(isinstance(keys, Mapping) for keys in found.values()):
        raise ConfigError(f"--rules {path} must be a mapping of names to mappings of config keys to values")
    rules = {}
    for name, keys in found.items():
        given = [(str(key), _as_text(value)) for key, value in keys.items() if key != WEIGHTS_OF]
        options = [part for pair in given for part in pair]
        rules[str(name)] = Rule(options, str(keys.get(WEIGHTS_OF, "")))
    return rules


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
