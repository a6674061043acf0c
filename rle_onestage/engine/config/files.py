"""Reading configs: YAML files with ``_BASE_`` and ``KEY VALUE`` pairs, checked key by key, never running code.

Detectron2's own ``merge_from_file`` falls back to unsafe YAML and speaks in assertions; here every mistake becomes one
:class:`~rle_onestage.errors.ConfigError` that names the file, the key and the remedy.
"""

import ast
import copy
import difflib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from detectron2.config import CfgNode as CN

from rle_onestage.engine.config.renamed import rename_options, rename_values
from rle_onestage.engine.config.rules import Either
from rle_onestage.engine.config.schema import rule_for, settle, takes_list, takes_names
from rle_onestage.engine.config.yaml_file import GIVEN, parse_list, parse_yaml
from rle_onestage.errors import ConfigError, counted, cut, shown
from rle_onestage.utils.packaged_files import check_config_path, config_path

BASE_KEY = "_BASE_"
_PLACES = "__places__"  # attribute of a group of keys
MAX_FILES = 50  # that a config is made of
MOST_OF_A_KEY = 120  # characters of it that a message has


class ConfigFile(NamedTuple):
    """What a config and its bases say: nested values, and by dotted name of the key who says so, for messages."""

    values: dict[str, Any]
    places: dict[str, str]


def read_yaml(path: str) -> ConfigFile:
    """Read a YAML config and the files that its ``_BASE_`` names (relative to itself), the file's own values on top.

    Where there is no such file, both may name a config that comes with the package, such as
    ``coco/rle_onestage_R50_FPN_1x.yaml``.

    Args:
        path: the file; ``~`` is expanded.

    Raises:
        ConfigError: the file is missing, is no YAML mapping of plain values, or has a key twice; or its ``_BASE_``
            files go in a circle or are too many.
    """
    return _read(path, "", (), {})


def _read(name: str, folder: str, chain: tuple[str, ...], done: dict[str, ConfigFile]) -> ConfigFile:
    path = config_path(name, folder)
    if path in done:
        return done[path]
    if path in chain:
        raise ConfigError(f"config file {path}: its {BASE_KEY} files lead back to itself; remove the circle")
    asked_by = f" (named by {BASE_KEY} of {chain[-1]})" if chain else ""
    if len(done) + len(chain) >= MAX_FILES:
        raise ConfigError(f"config file {path}{asked_by} is one of more than {MAX_FILES}; name fewer by {BASE_KEY}")
    check_config_path(path, name, asked_by)
    loaded, lines = parse_yaml(path)
    loaded = {} if loaded is None else loaded
    if not isinstance(loaded, dict):
        raise ConfigError(f"config file {path}: expected KEY: VALUE lines, found a {type(loaded).__name__}")
    rename_values(loaded, lines, f"config file {path}")
    bases = loaded.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) and "\0" not in base for base in bases):
        raise ConfigError(f"config file {path}: {BASE_KEY} must be a path or a list of paths, not {shown(bases)}")
    merged = ConfigFile({}, {})
    for base in bases:
        below = _read(base, os.path.dirname(path), (*chain, path), done)
        _overlay(merged.values, below.values)
        merged.places.update(below.places)
    _overlay(merged.values, loaded)
    base = f" (a base of {os.path.basename(chain[0])})" if chain else ""
    merged.places.update((name, f"config file {path}, line {line}{base}") for name, line in lines.items())
    done[path] = merged
    return merged


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Groups are copied: a base that is named twice is read once."""
    for key, value in above.items():
        if isinstance(value, dict):
            group = below[key] if isinstance(below.get(key), dict) else {}
            below[key] = group
            _overlay(group, value)
        else:
            below[key] = value


def merge_dict(cfg: CN, values: Mapping, source: str, places: Mapping[str, str], prefix: str = "") -> None:
    """Merge a nested dict into ``cfg`` in place.

    Args:
        cfg: the ``CfgNode`` that has every known key.
        values: nested dict, as :func:`read_yaml` returns it.
        source: what to blame in messages, e.g. ``"config file a.yaml"``.
        places: more exactly, by dotted name of the key.
        prefix: dotted path of ``cfg`` itself.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or its value does not fit the schema.
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        at = places.get(name, source)
        if key not in cfg:
            raise _unknown_key(cfg, str(key), prefix, at)
        if isinstance(cfg[key], CN):
            if not isinstance(value, dict):
                raise ConfigError(f"{at}: {name} is a group of keys, got {shown(value)}; give its keys one by one")
            merge_dict(cfg[key], value, source, places, f"{name}.")
        else:
            cfg[key] = settle(name, _decode(value, cfg[key], name), cfg[key], at)
            _note_place(cfg, key, at)


def without(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What a config file says, without some keys.

    Args:
        values: nested dict, as :func:`read_yaml` returns it.
        names: dotted keys.
    """
    kept = copy.deepcopy(dict(values))
    for name in names:
        *groups, key = name.split(".")
        node: Any = kept
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(key, None)
    return kept


def merge_options(cfg: CN, options: Sequence[Any] | None) -> None:
    """Merge ``[KEY, VALUE, KEY, VALUE, ...]`` of a command line or a call into ``cfg`` in place.

    Values are Python literals (``0.1``, ``"('a',)"``, ``True``) or else plain strings. A list may also be written as in
    YAML (``[a, b]``), with commas alone (``a,b``), or as its one value (``a``).

    Raises:
        ConfigError: odd number of items, unknown key, or a value that does not fit the schema.
    """
    source = GIVEN
    options = list(options or [])
    _check_pairs(options)
    options = rename_options(options, source)
    for key, raw in zip(options[0::2], options[1::2]):
        parts, node, prefix = str(key).split("."), cfg, ""
        for part in parts[:-1]:
            if part not in node:
                raise _unknown_key(cfg, str(key), "", source)
            node, prefix = node[part], f"{prefix}{part}."
            if not isinstance(node, CN):
                raise ConfigError(
                    f"{source}: {cut(str(key), MOST_OF_A_KEY)} is not a key, because {prefix[:-1]} is a value"
                )
        if parts[-1] not in node:
            raise _unknown_key(cfg, str(key), "", source)
        if isinstance(node[parts[-1]], CN):
            raise ConfigError(
                f"{source}: {key} is a group of keys; set one of them, e.g. {_example_key(node, parts, key)}"
            )
        current = node[parts[-1]]
        value = _decode(raw, current, str(key))
        rule = rule_for(str(key), current)
        if isinstance(raw, str) and value is not None and takes_list(rule):
            value = _as_list(raw, value, str(key), names=takes_names(rule))
        node[parts[-1]] = settle(str(key), value, current, source)
        _note_place(node, parts[-1], source)


def _check_pairs(options: Sequence[Any]) -> None:
    """Raises ConfigError unless the options of a command line are KEY VALUE pairs, as far as that can be seen."""
    place = next((place for place, item in enumerate(options) if str(item).startswith("--")), None)
    if place is not None:
        flag = cut(str(options[place]), MOST_OF_A_KEY)
        after = f" after {cut(str(options[place - 1]), MOST_OF_A_KEY)}" if place else ""
        raise ConfigError(f"{GIVEN}: {flag} stands among the KEY VALUE options{after}; put flags before them")
    joined = next((str(item) for item in options[0::2] if "=" in str(item)), None)
    if joined is not None:
        key, _, value = cut(joined, MOST_OF_A_KEY).partition("=")
        raise ConfigError(f"{GIVEN}: {key}={value} is one word; write the key and its value apart: {key} {value}")
    file = next((str(item) for item in options[0::2] if str(item).lower().endswith((".yaml", ".yml"))), None)
    if file is not None:
        file = cut(file, MOST_OF_A_KEY)
        raise ConfigError(f"{GIVEN}: {file} stands where a key is due; did you mean --config-file {file}?")
    if len(options) % 2:
        hint = "; a list is one word, such as a,b or \"['a', 'b']\"" if len(options) > 1 else ""
        raise ConfigError(
            f"{GIVEN}: they come as KEY VALUE pairs, not as {counted(len(options), 'item')}; "
            f"the last one, {shown(options[-1])}, has no partner{hint}"
        )


def _note_place(group: CN, key: str, place: str) -> None:
    """Remember where a value was given. Copies of the config know it too."""
    group.__dict__.setdefault(_PLACES, {})[key] = (group[key], place)


def place_of(cfg: CN, key: str) -> str | None:
    """Where the value of a key was given, such as ``config file a.yaml, line 3``; None for defaults and later values.

    Args:
        cfg: a config of :func:`merge_dict` and :func:`merge_options`, or a copy of one.
        key: dotted.
    """
    *groups, last = key.split(".")
    for name in groups:
        cfg = cfg[name]
    value, place = cfg.__dict__.get(_PLACES, {}).get(last, (None, None))
    return place if value == cfg[last] else None


def _example_key(node: CN, parts: Sequence[str], key: Any) -> str:
    return f"{key}.{next(iter(node[parts[-1]]), '...')}"


def _decode(raw: Any, current: Any, name: str) -> Any:
    """Text that stands for a Python literal, where the key takes other than text."""
    if not isinstance(raw, str) or (isinstance(current, str) and not isinstance(rule_for(name, current), Either)):
        return raw
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and literals
            return ast.literal_eval(raw)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return raw


def _as_list(raw: str, value: Any, name: str, *, names: bool) -> Any:
    """The list that a word of the command line stands for, where its key takes one.

    Args:
        raw: the word.
        value: as a Python literal, or else the word.
        name: of the key.
        names: whether the list is one of text, also where its words look like numbers.

    Raises:
        ConfigError: it is none.
    """
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if value is not raw and not (names and all(isinstance(number, (int, float)) for number in numbers)):
        return [value] if isinstance(value, (str, int, float)) else value
    found = parse_list(raw, names=names)
    if found is None:
        raise ConfigError(
            f"{GIVEN}: {name} is {shown(raw)}, which is no list; write {name} a,b or {name} \"['a', 'b']\""
        )
    return found


def _all_keys(cfg: CN, prefix: str = "") -> Iterator[str]:
    for key, value in cfg.items():
        yield f"{prefix}{key}"
        if isinstance(value, CN):
            yield from _all_keys(value, f"{prefix}{key}.")


def _unknown_key(cfg: CN, key: str, prefix: str, source: str) -> ConfigError:
    names, key = [f"{prefix}{name}" for name in _all_keys(cfg)], cut(str(key), MOST_OF_A_KEY)
    near = difflib.get_close_matches(f"{prefix}{key}", names, n=1, cutoff=0.5)
    if not near:
        # The right leaf in the wrong group: compare the last parts alone.
        leaves = {name.rsplit(".", 1)[-1]: name for name in names}
        near = [leaves[leaf] for leaf in difflib.get_close_matches(key.rsplit(".", 1)[-1], leaves, n=1, cutoff=0.7)]
    remedy = f"did you mean {near[0]}?" if near else "see rle_onestage/config.py for the keys there are"
    return ConfigError(f"{source}: there is no config key {prefix}{key}; {remedy}")
