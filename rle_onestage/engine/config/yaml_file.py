"""YAML of plain values, read in bounded time and memory, with the line of every key.

``yaml.safe_load`` alone lets the last of two equal keys win, follows aliases without a limit, and fails on tags and
numbers in any way. Here every mistake becomes one :class:`~rle_onestage.errors.ConfigError` with its line.
"""

from typing import Any, NamedTuple, NoReturn

import yaml

from rle_onestage.errors import ConfigError, shown
from rle_onestage.utils.pretrained import first_line

MAX_BYTES = 1_000_000
# Values of a file, those behind aliases counted each time that they are used: the largest config has 600.
MAX_VALUES = 50_000
MAX_DEPTH = 40
# Characters of a key; the names of the keys above it are kept with each, so that a long one would fill the memory.
MAX_KEY = 100
# Characters of a number: 1:1:1:... is one to YAML, whose value takes time by the square of its length.
MAX_NUMBER = 1000
GIVEN = "options given"  # KEY VALUE pairs of a command line, or of a call in Python
_TAG = "tag:yaml.org,2002:"
_NUMBERS = {_TAG + "int", _TAG + "float"}
_PLAIN = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Parsed(NamedTuple):
    """What a file says: nested values, and the line of each key by its dotted name."""

    values: Any
    lines: dict[str, int]


def parse_yaml(path: str) -> Parsed:
    """Read a YAML file of plain values: mappings, lists, text, numbers, True, False and nothing.

    Args:
        path: of a regular file.

    Returns:
        The values, and the line (from 1) of each key.

    Raises:
        ConfigError: it cannot be read, is no YAML, is too large, has a key twice or a value of another kind.
    """
    text = _read(path)
    loader = _Loader(text, path)
    try:
        root = loader.get_single_node()
        return Parsed(None, {}) if root is None else Parsed(loader.value_of(root), _lines(root))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = first_line(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed")
        raise ConfigError(f"config file {path}{where}: not valid YAML ({problem}); correct the syntax there") from error
    except (RecursionError, ValueError, IndexError, KeyError, OverflowError) as error:  # of the parser, in odd syntax
        raise ConfigError(f"config file {path}: not valid YAML ({first_line(error)}); correct its syntax") from error
    finally:
        loader.dispose()


def parse_list(text: str, *, names: bool = False) -> list[Any] | None:
    """The list that words of a command line stand for: ``a``, ``a,b``, ``(a, b)``, ``[a],[b]`` or ``[a, {c: 1}]``.

    Args:
        text: the words.
        names: whether its values are text, also ``2017`` and ``yes``.

    Returns:
        The list of plain values; None where the text is none.
    """
    text = text.strip()
    closing = {"(": ")", "[": "]"}.get(text[:1])
    if len(text) > MAX_BYTES or (closing and text[-1:] != closing):
        return None
    inner = _flow_list(text[1:-1] if closing else text, names)
    return _flow_list(text, names) if inner is None and closing == "]" else inner


def _flow_list(text: str, names: bool) -> list[Any] | None:
    """What :func:`parse_list` gives, of the text between the brackets."""
    try:
        loader = _Loader(f"[{text}]", GIVEN)
        root = loader.get_single_node()
        if names and root is not None and all(isinstance(item, yaml.ScalarNode) for item in root.value):
            return [item.value for item in root.value]
        values = None if root is None else loader.value_of(root)
    except (yaml.YAMLError, ConfigError, RecursionError, ValueError, IndexError, KeyError, OverflowError):
        return None
    return values if isinstance(values, list) else None


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"config file {path} has more than {MAX_BYTES} bytes, unlike any config; check the name")
        return raw.decode(next((name for start, name in _ENCODINGS if raw.startswith(start)), "utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"config file {path} cannot be read ({first_line(error)}); check that it is a readable text file"
        ) from error


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer,
              yaml.constructor.SafeConstructor, yaml.resolver.Resolver):  # fmt: skip
    """PyYAML's own pure-Python stages up to the nodes; values are made of them here, with limits."""

    # Text that looks like a date stays text: no key has a date, and 2020-13-45 is none.
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in kinds if tag not in (_TAG + "timestamp", _TAG + "value")]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, path: str):
        self.path, self.count, self.depth = path, 0, 0
        try:
            yaml.reader.Reader.__init__(self, text)
        except yaml.YAMLError as error:
            problem = first_line(error)
            raise ConfigError(f"config file {path}: not valid YAML ({problem}); remove that character") from error
        for stage in (yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer,
                      yaml.constructor.SafeConstructor, yaml.resolver.Resolver):  # fmt: skip
            stage.__init__(self)

    def fail(self, node: Any, what: str) -> NoReturn:
        raise ConfigError(f"config file {self.path}, line {node.start_mark.line + 1}: {what}")

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """As PyYAML's, but no deeper and no more than a config can be."""
        self.depth += 1
        self._count(self.peek_event())
        if self.depth > MAX_DEPTH:
            self.fail(self.peek_event(), f"values lie in more than {MAX_DEPTH} others; a config is flatter")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _count(self, at: Any) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            self.fail(at, f"more than {MAX_VALUES} values, those behind aliases (*name) included; write fewer")

    def value_of(self, root: yaml.Node) -> Any:
        """The plain value of a node. Aliases are written out, and counted as if they stood there."""
        self.count = 0
        return self._value(root, ())

    def _value(self, node: Any, above: tuple) -> Any:
        self._count(node)
        if node in above:
            self.fail(node, "an alias (*name) stands inside of what it names; write the value out")
        if node.tag not in _PLAIN:
            self.fail(node, f"the tag {shown(node.tag)} is not allowed; configs hold plain values only, no Python tags")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*above, node)) for item in node.value]
        try:
            if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
                raise ValueError
            return self.yaml_constructors[node.tag](self, node)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError, yaml.YAMLError) as error:
            kind = node.tag.removeprefix(_TAG)
            text = shown(node.value)
            raise ConfigError(
                f"config file {self.path}, line {node.start_mark.line + 1}: {text} cannot be read as {kind}; write the "
                "value plainly, or in quotes for text"
            ) from error

    def _mapping(self, node: yaml.MappingNode, above: tuple) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                self._merge(merged, self._value(value_node, above), value_node)
                continue
            if isinstance(key_node, yaml.ScalarNode) and len(key_node.value) > MAX_KEY:
                self.fail(key_node, f"the key {shown(key_node.value)} has more than {MAX_KEY} characters; shorten it")
            key = self._value(key_node, above)
            if not isinstance(key, (str, int, float)) and key is not None:
                self.fail(key_node, f"{shown(key)} cannot be a key; keys are words")
            if key in result:
                self.fail(key_node, f"the key {shown(key)} is there twice in one group; keep one of them")
            result[key] = self._value(value_node, above)
        return {**merged, **result}

    def _merge(self, merged: dict[Any, Any], value: Any, node: yaml.Node) -> None:
        for mapping in value if isinstance(value, list) else [value]:
            if not isinstance(mapping, dict):
                self.fail(node, "<< takes groups of keys")
            for key, inner in mapping.items():
                merged.setdefault(key, inner)


def _lines(root: yaml.Node | None) -> dict[str, int]:
    """The line of each key by its dotted name; keys from aliases have the line of the alias's own text."""
    found: dict[str, int] = {}
    todo: list[tuple[str, Any]] = [("", root)]
    while todo:
        prefix, node = todo.pop()
        for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{prefix}{key_node.value}"
            if isinstance(key_node, yaml.ScalarNode) and name not in found and len(found) < MAX_VALUES:
                found[name] = key_node.start_mark.line + 1
                todo.append((f"{name}.", value_node))
    return found
