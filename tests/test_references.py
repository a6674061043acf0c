"""Every cross-reference in the code (``:func:``, ``:class:``, ``:mod:`` ...) names something that is there.

As Sphinx resolves them: a bare name is one of its own class or module, a name with a dot in front is the end of a full
name, which no other may share, and anything else is a full name.
"""

import ast
import pydoc
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Folder of a package -> packages whose names its references may end in.
PACKAGES = {ROOT / "rle_onestage": (), ROOT / "datasets" / "synthetic_people": ("rle_onestage",)}
PACKAGES |= {path.parent: ("rle_onestage",) for path in sorted((ROOT / "projects").glob("*/*/__init__.py"))}
ROLE = re.compile(r":(func|class|meth|mod|data|attr|exc|obj):`([^`]*)`")
KINDS = {
    "mod": {"mod"},
    "class": {"class"},
    "exc": {"class"},
    "func": {"func"},
    "meth": {"func"},
    "data": {"data"},
    "attr": {"data", "func"},  # properties too
    "obj": {"mod", "class", "func", "data"},
}


def module_name(path):
    """The dotted name of a file, from the folder that holds its package."""
    top = next(package for package in PACKAGES if package in path.parents)
    parts = path.relative_to(top.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def definitions(path):
    """(full name, kind) of what a file defines."""
    module = module_name(path)
    yield module, "mod"
    yield from _defined(ast.parse(path.read_text(encoding="utf-8")).body, module)


def _defined(body, prefix):
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}.{node.name}", "class"
            yield from _defined(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}.{node.name}", "func"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield f"{prefix}.{name.id}", "data"
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _defined([*node.body, *node.orelse], prefix)


def known(package):
    """Full name -> kind of all that a package defines."""
    return {name: kind for path in sorted(package.rglob("*.py")) for name, kind in definitions(path)}


NAMES = {package: known(package) for package in PACKAGES}
OF_NAME = {package.name: names for package, names in NAMES.items()}
# With those of the packages that its references may name.
ALL_NAMES = {
    package: {name: kind for other in (package.name, *others) for name, kind in OF_NAME[other].items()}
    for package, others in PACKAGES.items()
}


def references(path):
    """(line, role, target, enclosing class or "") of every reference in a file, in comments too."""
    text = path.read_text(encoding="utf-8")
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    for found in ROLE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        around = [node for node in classes if node.lineno <= line <= node.end_lineno]
        owner = max(around, key=lambda node: node.lineno).name if around else ""
        target = re.sub(r"\s+", " ", found[2])
        titled = re.fullmatch(r".*<(.+)>", target)
        yield line, found[1], (titled[1] if titled else target).removeprefix("~").removesuffix("()"), owner


def fault(role, target, module, owner, names):
    """What is wrong with a reference, or "".

    Args:
        role: such as ``func``.
        target: as written, without ``~``.
        module: the name of its module.
        owner: the class around it.
        names: full name -> kind of all that its end may name.
    """
    kinds = KINDS[role]
    if target.startswith("."):
        found = [name for name, kind in names.items() if name.endswith(target) and kind in kinds]
        if target.startswith("..") or not found:
            return "names nothing"
        return "" if len(found) == 1 or module + target in found else f"may be any of {', '.join(found)}"
    own = [*([f"{module}.{owner}.{target}"] if owner else []), f"{module}.{target}", target]
    if any(names.get(name) in kinds for name in own):
        return ""
    # The name of an attribute that a class inherits, of a re-export, or of another library.
    full = [name for name in own if "." in name]
    return "" if any(pydoc.locate(name) is not None for name in full if _inherited(name, names)) else "names nothing"


def _inherited(name, names):
    """Whether a full name may be that of something that is not defined under it: no function that was imported."""
    above = name.rpartition(".")[0]
    return names.get(above) != "mod" or (ROOT / above.replace(".", "/") / "__init__.py").is_file()


FILES = [(package, path) for package in PACKAGES for path in sorted(package.rglob("*.py"))]


@pytest.mark.parametrize("package, path", FILES, ids=lambda value: str(value.relative_to(ROOT)))
def test_references_name_what_is_there(package, path):
    names, faults = ALL_NAMES[package], []
    for line, role, target, owner in references(path):
        if why := fault(role, target, module_name(path), owner, names):
            faults.append(f"line {line}: :{role}:`{target}` {why}")
    assert not faults


@pytest.mark.parametrize(
    "role, target, why",
    [
        ("func", "read_json", "names nothing"),  # imported there, defined elsewhere
        ("func", "load_dataset", ""),
        ("meth", "Source.path", ""),
        ("func", ".json_files.read_json", ""),
        ("func", "..coco.json_files.read_json", "names nothing"),
        ("func", ".coco_json.read_json", "names nothing"),
        ("class", ".json_files.read_json", "names nothing"),
        ("mod", ".coco.json_files", ""),
        ("mod", ".config", "may be any of rle_onestage.config, rle_onestage.engine.config"),
        ("func", "rle_onestage.data.datasets.load_dataset", ""),
        ("func", "rle_onestage.data.load_dataset", ""),
        ("func", "rle_onestage.data.load_datasets", "names nothing"),
        ("class", "torch.nn.Module", ""),
        ("class", "torch.nn.Modul", "names nothing"),
    ],
)
def test_the_rules_bite(role, target, why):
    names = OF_NAME["rle_onestage"]
    assert fault(role, target, "rle_onestage.data.datasets", "", names) == why
