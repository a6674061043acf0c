#!/usr/bin/env python3
"""Sets up the environment of the running Python: torch, Detectron2, OpenCV and this package. Standard library only.

What ``make install`` calls. An installed torch, torchvision, OpenCV or Detectron2 >= 0.5 is kept in its version.
A stamp in the environment, written last, lets the next call end at once; it is a hash of all that the result
depends on.
"""

# An older Python must come as far as the sentence that says so.
from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import install_detectron2
from install_detectron2 import InstallError, pip

ROOT = Path(__file__).resolve().parent.parent
MINIMUM_PYTHON = (3, 10)
PACKAGE = "rle-onestage"
STAMP = Path(sys.prefix) / f".{PACKAGE}-stamp"
DEPENDS_ON = (
    "pyproject.toml",
    "constraints-py311.txt",
    "tools/install.py",
    "rle_onestage/cli/install_detectron2.py",
)
MODULES = ("torch", "torchvision", "detectron2", "cv2", "rle_onestage")
# From the first that reads the licence in pyproject.toml to the last with pkg_resources, which the model zoo of
# Detectron2's main branch imports.
SETUPTOOLS = "setuptools>=77,<82"


def check_python() -> None:
    """Raise InstallError if this Python is too old."""
    if sys.version_info[:2] < MINIMUM_PYTHON:
        have, need = (".".join(map(str, v[:2])) for v in (sys.version_info, MINIMUM_PYTHON))
        raise InstallError(f"Python {need} or later is needed, this is {have}: name another, as in PYTHON=python3.11.")


def version_of(name: str) -> str | None:
    """Version of an installed distribution as a string, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def has_setuptools() -> bool:
    """Whether setuptools is there, of 77 or later."""
    major = (version_of("setuptools") or "").split(".")[0]
    return major.isdigit() and int(major) >= 77


def constraints_file() -> Path | None:
    """The file with the tested versions for this Python, or None."""
    path = ROOT / "constraints-py{}{}.txt".format(*sys.version_info[:2])
    return path if path.is_file() else None


def pinned(path: Path, name: str) -> str | None:
    """The version to which the constraints file pins ``name``, or None."""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, version = line.split("#")[0].partition("==")
        if key.strip().lower() == name:
            return version.strip()
    return None


def choose_constraints(folder: str) -> list[str]:
    """Options for pip: the tested versions in an environment of our own, else those of an installed torch."""
    tested = constraints_file()
    present = {name: version_of(name) for name in ("torch", "torchvision")}
    foreign = any(v and not (tested and pinned(tested, name) == v) for name, v in present.items())
    if tested and not foreign:
        return ["-c", str(tested)]
    kept = Path(folder) / "kept.txt"
    kept.write_text("".join(f"{name}=={v}\n" for name, v in present.items() if v))
    return ["-c", str(kept)] if any(present.values()) else []


def key(source: str) -> str:
    """What the result of the set-up depends on, as one hash."""
    digest = hashlib.sha256(f"{sys.prefix}|{sys.version}|{ROOT}|{source}".encode())
    for name in DEPENDS_ON:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_done(source: str) -> bool:
    """True if the stamp is of this set-up and nothing of it was uninstalled since."""
    if not STAMP.is_file() or STAMP.read_text() != key(source):
        return False
    return all(importlib.util.find_spec(name) for name in MODULES) and version_of(PACKAGE) is not None


def imports(code: str) -> str | None:
    """Run ``import ...`` in a new process outside of the checkout; returns the last line of its error, or None."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def install_torch(source: str, constraints: list[str]) -> None:
    """torch and torchvision in one call, because they must match."""
    missing = [name for name in ("torch", "torchvision") if version_of(name) is None]
    # Detectron2's archive and this package are built without isolation, so that nothing is downloaded twice.
    if source or not has_setuptools():
        missing.append(SETUPTOOLS)
    if version_of("wheel") is None:
        missing.append("wheel")
    if missing:
        pip("install", *constraints, *missing)
    problem = imports("import torchvision")
    if problem:
        raise InstallError(
            f"torch {version_of('torch')} and torchvision {version_of('torchvision')} do not load together "
            f"({problem}): install a matching pair from one index ('pip install torch torchvision') and run this again."
        )


def install_opencv(constraints: list[str]) -> None:
    """OpenCV with windows (for the webcam), or the same version without where the machine has no libraries for them."""
    if importlib.util.find_spec("cv2"):
        return
    pip("install", *constraints, "opencv-python>=4.8")
    if imports("import cv2"):
        version = version_of("opencv-python")
        pip("uninstall", "-q", "-y", "opencv-python")
        pip("install", *constraints, f"opencv-python-headless>=4.8,<={version}")


def install(source: str) -> None:
    """Do what is missing; the stamp is written when all of it can be imported."""
    STAMP.unlink(missing_ok=True)
    os.environ.setdefault("PIP_NO_INPUT", "1")
    with tempfile.TemporaryDirectory() as folder:
        install_torch(source, choose_constraints(folder))
        constraints = choose_constraints(folder)
        install_detectron2.install(source, constraints)
        install_opencv(constraints)
        pip("install", "--no-build-isolation", *constraints, "-e", f"{ROOT}[test,lint,docs]")
        # It names opencv-python, which must not stand beside opencv-python-headless; all else that it needs is here.
        pip("install", "--no-deps", *constraints, "trackeval>=1.3")
    problem = imports("import rle_onestage")
    if problem:
        raise InstallError(f"The set-up ended, but 'import rle_onestage' fails: {problem}")
    if os.access(sys.prefix, os.W_OK):
        STAMP.write_text(key(source))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="", help="where Detectron2 comes from: empty, 'upstream' or a path")
    parser.add_argument("--check-python", action="store_true", help="only check the version of this Python")
    args = parser.parse_args()
    try:
        check_python()
        if not args.check_python and not is_done(args.source):
            install(args.source)
    except (InstallError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
