"""Holds the order of the rooms: a file imports only from rooms above its own, and nothing imports the tools."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "rle_onestage"
# From top to bottom, as in CONTRIBUTING.md.
ROOMS = (
    "compat",
    "config",
    "console",
    "errors",
    "structures",
    "utils",
    "data",
    "modeling",
    "evaluation",
    "engine",
    "predictor",
    "video",
    "visualization",
    # What the tools call.
    "calibration",
    "demo",
    "label_errors",
    "labelling",
    # What users call.
    "model_zoo",
    "registration",
    "cli",
)
FORBIDDEN = {("data", "modeling"), ("modeling", "data")}
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))


def room_of(path):
    """The room that a file of the package belongs to; ``__init__`` for the package's own entry."""
    first = path.relative_to(ROOT / PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_names(source, package):
    """Absolute dotted names of what ``source`` imports, anywhere in it; ``package`` resolves relative imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            # "from rle_onestage import data" names a room in its list of names
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms_imported_by(path):
    """The rooms of the package that a file imports."""
    relative = path.relative_to(ROOT).with_suffix("")
    package = ".".join(relative.parts[:-1])
    names = imported_names(path.read_text(encoding="utf-8"), package)
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}


def complaint(room, other):
    """Why ``room`` may not import ``other``, or None."""
    if (room, other) in FORBIDDEN:
        return f"{room} and {other} never import each other"
    if other in ROOMS and ROOMS.index(other) > ROOMS.index(room):
        return f"{other} stands below {room}"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_rooms_above(path):
    room = room_of(path)
    if room == "__init__":
        return
    assert room in ROOMS, f"{room} has no place in the order of the rooms"
    complaints = [complaint(room, other) for other in rooms_imported_by(path)]
    assert not [text for text in complaints if text]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_package_imports_neither_tools_nor_tests(path):
    names = imported_names(path.read_text(encoding="utf-8"), PACKAGE)
    assert not [name for name in names if name.split(".")[0] in ("tools", "tests", "install", "install_detectron2")]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("from ..modeling import head", "rle_onestage.modeling.head"),
        ("from .. import modeling", "rle_onestage.modeling"),
        ("from . import loader", "rle_onestage.data.loader"),
        ("def f():\n    import rle_onestage.modeling.density.flow", "rle_onestage.modeling.density.flow"),
    ],
)
def test_every_form_of_import_is_seen(source, expected):
    assert list(imported_names(source, "rle_onestage.data")) == [expected]


def test_the_rules_bite():
    assert complaint("data", "modeling") and complaint("modeling", "data") and complaint("structures", "engine")
    assert complaint("engine", "data") is None and complaint("data", "data") is None
