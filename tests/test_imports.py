"""Holds the order of the rooms: a file imports only from rooms above its own, and nothing imports the tools.

The package imports no project and not the generator of synthetic people, which may import the package. A project
imports the package and the generator, never another project.
"""

import ast
from pathlib import Path

import pytest
import yaml

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
    "interop",
    "export",
    # What the tools call.
    "calibration",
    "demo",
    "label_errors",
    "labelling",
    # What users call.
    "model_zoo",
    "scale",
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


def modules_in(*folders):
    """Names of the modules and packages that lie in folders, as they can be imported from there."""
    paths = [path for folder in folders for path in folder.iterdir()]
    files = {path.stem for path in paths if path.suffix == ".py"}
    return files | {path.name for path in paths if path.is_dir() and any(path.glob("*.py"))}


def tops(path):
    """First parts of the names that a file imports, relative imports left out."""
    package = ".".join(["self"] * 9)  # deeper than any relative import reaches
    return {name.split(".")[0] for name in imported_names(path.read_text(encoding="utf-8"), package)} - {"self"}


PROJECTS = sorted(path for path in (ROOT / "projects").iterdir() if any(path.rglob("*.py")))
OUTSIDE = {"projects", "datasets", "tests"} | modules_in(ROOT / "tools", ROOT / "tests", ROOT / "datasets")
OF_PROJECTS = {path: modules_in(path, path / "tests") - {"conftest", "tests"} for path in PROJECTS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_package_imports_nothing_of_the_repository_beside_it(path):
    assert not tops(path) & OUTSIDE.union(*OF_PROJECTS.values())


@pytest.mark.parametrize("path", sorted((ROOT / "datasets").rglob("*.py")), ids=lambda path: path.name)
def test_the_generator_imports_itself_and_the_package_alone(path):
    allowed = modules_in(ROOT / "datasets")
    assert not (tops(path) & OUTSIDE.union(*OF_PROJECTS.values())) - allowed


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_project_imports_no_other_project_and_no_config_of_one(project):
    own = OF_PROJECTS[project]
    others = set().union(*(names for other, names in OF_PROJECTS.items() if other != project)) - own
    faults = [str(path) for path in sorted(project.rglob("*.py")) if tops(path) & (others | {"projects", "tools"})]
    for path in sorted(project.rglob("*.yaml")):
        bases = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("_BASE_", [])
        for base in [bases] if isinstance(bases, str) else bases:
            real = (path.parent / base).resolve()
            if project not in real.parents and ROOT / "configs" not in real.parents:
                faults.append(f"{path}: {base}")
    assert not faults


def test_no_two_projects_have_a_module_of_the_same_name():
    """All of them are on pytest's path at once."""
    seen = [name for names in OF_PROJECTS.values() for name in names] + sorted(OUTSIDE)
    assert not {name for name in seen if seen.count(name) > 1} - {"train_net"}  # a script, imported by nobody


def test_pytest_and_the_type_checker_find_every_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not [path.name for path in PROJECTS if text.count(f'"projects/{path.name}"') < 2]


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
