"""The configuration reference: keys, defaults and comments of ``rle_onestage/config.py``, ranges of the schema.

A page that has the line ``<!-- config-reference -->`` gets it there, as Markdown. ``<!-- renamed-keys -->`` becomes the
rows of a table with the keys of earlier versions.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MARKER, RENAMED_MARKER = "<!-- config-reference -->", "<!-- renamed-keys -->"
ENTRY = "add_rle_onestage_config"


class Comments(NamedTuple):
    """What a config's source says of its keys."""

    order: list[str]
    """Dotted names of keys and groups, in the order of the source."""
    texts: dict[str, str]
    """The comment above, and behind, each of them; names without a comment are missing."""


def read_comments(source: str, entry: str = ENTRY) -> Comments:
    """Read the comments of a module that adds keys to a config.

    Args:
        source: the text of the module.
        entry: the function that adds all keys to its first argument, itself or by functions of the module.
    """
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    comments = Comments([], {})
    _read(functions, functions[entry], [""], source.splitlines(), comments)
    return comments


def _read(functions, function, groups, lines, comments):
    """Follow one function: ``groups`` are the dotted names of what its arguments stand for."""
    known = dict(zip([argument.arg for argument in function.args.args], groups))
    for statement in function.body:
        if isinstance(statement, ast.Assign):
            _note(statement, known, lines, comments)
        elif isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
            name = getattr(call.func, "id", "")
            if name in functions:
                _read(functions, functions[name], [_dotted(node, known) for node in call.args], lines, comments)


def _note(statement, known, lines, comments):
    """Note the keys that an assignment makes, and the names that it gives to groups."""
    keys = [_dotted(target, known) for target in statement.targets if isinstance(target, ast.Attribute)]
    for target in statement.targets:
        if isinstance(target, ast.Name):
            known[target.id] = keys[0] if keys else _dotted(statement.value, known)
    for key in filter(None, keys):
        comments.order.append(key)
        if text := _comment(lines, statement):
            comments.texts[key] = text


def _dotted(node, known):
    """``m.HEAD.NORM`` as the dotted name of the key; None where it is none."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or known.get(node.id) is None:
        return None
    return ".".join([part for part in (known[node.id],) if part] + parts[::-1])


def _comment(lines, statement):
    """The comment lines right above a statement, and the one behind it, as one text."""
    above, line = [], statement.lineno - 2
    while line >= 0 and (text := lines[line].strip()).startswith("#"):
        above.insert(0, text.lstrip("# "))
        line -= 1
    behind = re.search(r"  # (.*)$", lines[statement.end_lineno - 1])
    return " ".join(above + ([behind.group(1)] if behind else []))


def as_markdown(text: str) -> str:
    """A comment as Markdown: nothing in it is markup, keys and quoted names are code."""
    pieces = re.split(r"(`[^`]+`|\b[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)*_?[A-Z0-9]+\b(?:\.\w+)*|\"[^\"]*\")", text)
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pieces[place] = re.sub(r"([\\*_<>\[\]{}|#$])", r"\\\1", piece)
        elif piece.startswith('"') or "_" in piece or "." in piece:
            pieces[place] = f"`{piece}`"
    return "".join(pieces)


def reference() -> str:
    """The whole reference as Markdown, one heading a group, one definition a key."""
    from rle_onestage import config
    from rle_onestage.engine.config.schema import SCHEMA, known_defaults, leaves

    comments = read_comments(inspect.getsource(config))
    values = dict(leaves(known_defaults()))
    ours = [key for name in comments.order for key in values if key == name or _inside(key, name, comments)]
    ours = list(dict.fromkeys(ours))
    theirs = {key: values[key] for key in SCHEMA if key in values and key not in ours}
    lines = list(_groups(ours, values, comments))
    lines += ["## Keys of Detectron2 that this project reads", ""]
    lines += ["Defaults are Detectron2's; the configs in `configs/` set what differs.", ""]
    lines += ["| key | default | value |", "|---|---|---|"]
    lines += [
        f'| <a id="{anchor(key)}"></a>`{key}` | `{value!r}` | {_words(key)} |' for key, value in sorted(theirs.items())
    ]
    return "\n".join(lines) + "\n"


def _inside(key, group, comments):
    """Whether a key belongs to a group that the source makes in one go, from a dictionary."""
    return key.startswith(f"{group}.") and not any(name.startswith(f"{group}.") for name in comments.order)


def _groups(keys: list[str], values: Mapping[str, Any], comments: Comments) -> Iterator[str]:
    """Lines of all keys, under a heading for each group."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    for group, members in groups.items():
        yield from ("", f"## {group or 'Keys outside of groups'}", "")
        if group in comments.texts:
            yield from (as_markdown(comments.texts[group]), "")
        for key in members:
            yield from (f"({anchor(key)})=", "", f"`{key}`", f": Default: `{values[key]!r}`. Value: {_words(key)}.")
            if key in comments.texts:
                yield from ("", f"  {as_markdown(comments.texts[key])}")
            yield ""


def anchor(key: str) -> str:
    """The end of the address of a key on the page: ``#config-solver-max-iter``."""
    return f"config-{re.sub('[^a-z0-9]+', '-', key.lower())}"


def _words(key):
    """What a key may be, in the words of the schema."""
    from rle_onestage.engine.config.schema import SCHEMA

    if key not in SCHEMA:
        return "as the default"
    nothing = " or nothing" if getattr(SCHEMA[key], "nothing", False) else ""
    words = SCHEMA[key].words.replace("''", '`""`')
    return re.sub(r"'([^']+)'", r"`\1`", words) + nothing


def renamed_keys() -> str:
    """The rows of a table: keys, or groups of keys, of earlier versions and their present names."""
    from rle_onestage.engine.config.renamed import RENAMED

    return "\n".join(f"| `{old}` | `{new}` |" for old, new in RENAMED.items())


def replace_markers(app: Any, document: str, source: list[str]) -> None:
    """Put the reference and the renamed keys where a page asks for them (event ``source-read``)."""
    for marker, text in ((MARKER, reference), (RENAMED_MARKER, renamed_keys)):
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", replace_markers)
    return {"parallel_read_safe": True}
