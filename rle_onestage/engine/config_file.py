"""Reading configs: YAML files with ``_BASE_`` and ``KEY VALUE`` pairs, checked key by key, never running code.

Detectron2's own ``merge_from_file`` falls back to unsafe YAML and speaks in assertions; here every mistake becomes one
:class:`~rle_onestage.errors.ConfigError` that names the file, the key and the remedy.
"""

import ast
import difflib
import os

import yaml
from detectron2.config import CfgNode as CN

from rle_onestage.errors import ConfigError

BASE_KEY = "_BASE_"
# Keys whose values are of several types, whatever the present one is.
EITHER = {"MODEL.RLE_ONESTAGE.TIMM.PRETRAINED": (bool, str, type(None))}


def read_yaml(path, _chain=()):
    """Read a YAML config and the files that its ``_BASE_`` names (relative to itself), the file's own values on top.

    Args:
        path: the file; ``~`` is expanded.

    Returns:
        A plain nested dict.

    Raises:
        ConfigError: the file is missing, is no YAML mapping, holds Python tags, or its ``_BASE_`` files go in a circle.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if path in _chain:
        raise ConfigError(f"config file {path}: its {BASE_KEY} files lead back to itself; remove the circle")
    asked_by = f" (named by {BASE_KEY} of {_chain[-1]})" if _chain else ""
    if not os.path.isfile(path):
        raise ConfigError(f"config file {path}{asked_by} does not exist; check --config-file")
    loaded = _parse_yaml(path)
    bases = loaded.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"config file {path}: {BASE_KEY} must be a path or a list of paths")
    merged = {}
    for base in bases:
        base_path = os.path.join(os.path.dirname(path), os.path.expanduser(base))
        _overlay(merged, read_yaml(base_path, (*_chain, path)))
    _overlay(merged, loaded)
    return merged


def _parse_yaml(path):
    try:
        with open(path, encoding="utf-8") as file:
            loaded = yaml.safe_load(file)
    except yaml.constructor.ConstructorError as error:
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"config file {path}: {problem}; configs hold plain values only, no Python tags") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigError(f"config file {path}{where}: not valid YAML ({problem}); correct the syntax there") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"config file {path} cannot be read ({error}); check that it is a readable text file"
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"config file {path}: expected KEY: VALUE lines, found a {type(loaded).__name__}")
    return loaded


def _overlay(below, above):
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


def merge_dict(cfg, values, source, prefix=""):
    """Merge a nested dict into ``cfg`` in place.

    Args:
        cfg: the ``CfgNode`` that has every known key.
        values: nested dict, as :func:`read_yaml` returns it.
        source: what to blame in messages, e.g. ``"config file a.yaml"``.
        prefix: dotted path of ``cfg`` itself.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named) or has a value of another type.
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in cfg:
            raise _unknown_key(cfg, str(key), prefix, source)
        if isinstance(cfg[key], CN):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {name} is a group of keys, got {value!r}; give its keys one by one")
            merge_dict(cfg[key], value, source, f"{name}.")
        else:
            cfg[key] = _coerce(cfg[key], _decode(value, cfg[key], name), name, source)


def merge_options(cfg, options):
    """Merge ``[KEY, VALUE, KEY, VALUE, ...]`` from the command line into ``cfg`` in place.

    Values are Python literals (``0.1``, ``"('a',)"``, ``True``) or else plain strings.

    Raises:
        ConfigError: odd number of items, unknown key, or a value of another type.
    """
    source = "command line"
    options = list(options or [])
    flags = [item for item in options if str(item).startswith("--")]
    if flags:
        raise ConfigError(f"{source}: {flags[0]} stands among the KEY VALUE options; put all flags before them")
    if len(options) % 2:
        raise ConfigError(
            f"{source}: options come as KEY VALUE pairs, but there are {len(options)} items; "
            f"the last one, {options[-1]!r}, has no partner"
        )
    for key, raw in zip(options[0::2], options[1::2]):
        parts, node, prefix = str(key).split("."), cfg, ""
        for part in parts[:-1]:
            if part not in node:
                raise _unknown_key(cfg, str(key), "", source)
            node, prefix = node[part], f"{prefix}{part}."
            if not isinstance(node, CN):
                raise ConfigError(f"{source}: {key} is not a key, because {prefix[:-1]} is a value")
        if parts[-1] not in node:
            raise _unknown_key(cfg, str(key), "", source)
        if isinstance(node[parts[-1]], CN):
            raise ConfigError(
                f"{source}: {key} is a group of keys; set one of them, e.g. {_example_key(node, parts, key)}"
            )
        node[parts[-1]] = _coerce(node[parts[-1]], _decode(raw, node[parts[-1]], str(key)), str(key), source)


def _example_key(node, parts, key):
    return f"{key}.{next(iter(node[parts[-1]]), '...')}"


def _decode(raw, current, name):
    if not isinstance(raw, str) or (isinstance(current, str) and name not in EITHER):
        return raw
    try:
        return ast.literal_eval(raw)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return raw


def _coerce(current, value, name, source):
    """The value in the type of ``current``, where that loses nothing."""
    if name in EITHER:
        if isinstance(value, EITHER[name]):
            return value
        kinds = " or ".join(kind.__name__ for kind in EITHER[name][:-1])
        raise ConfigError(f"{source}: {name} must be of type {kinds}, got {type(value).__name__} {value!r}")
    if value is None or current is None or type(value) is type(current):
        return value
    if isinstance(current, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(current, list) and isinstance(value, tuple):
        return list(value)
    if isinstance(current, float):
        # YAML reads 1e-4 (no dot) as a string, and 1 as an int; both mean a float here.
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                pass
    expected = type(current).__name__
    raise ConfigError(
        f"{source}: {name} must be of type {expected} (as in {current!r}), got {type(value).__name__} {value!r}"
    )


def _all_keys(cfg, prefix=""):
    for key, value in cfg.items():
        yield f"{prefix}{key}"
        if isinstance(value, CN):
            yield from _all_keys(value, f"{prefix}{key}.")


def _unknown_key(cfg, key, prefix, source):
    names = [f"{prefix}{name}" for name in _all_keys(cfg)]
    near = difflib.get_close_matches(f"{prefix}{key}", names, n=1, cutoff=0.5)
    if not near:
        # The right leaf in the wrong group: compare the last parts alone.
        leaves = {name.rsplit(".", 1)[-1]: name for name in names}
        near = [leaves[leaf] for leaf in difflib.get_close_matches(key.rsplit(".", 1)[-1], leaves, n=1, cutoff=0.7)]
    remedy = f"did you mean {near[0]}?" if near else "see rle_onestage/config.py for the keys there are"
    return ConfigError(f"{source}: there is no config key {prefix}{key}; {remedy}")
