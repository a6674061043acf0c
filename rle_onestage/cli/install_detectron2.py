"""Give this Python a Detectron2.

rle-onestage install-detectron2
rle-onestage install-detectron2 --source upstream
rle-onestage install-detectron2 --wheel wheels

Without ``--source``: an installed Detectron2 of 0.5 or later is used as it is; else a pure-Python wheel is built from
the source archive ``detectron2-cdo==0.5`` of the package index. The Python files of that archive are those of the
official tag v0.5; its C++ sources are missing, so it cannot be compiled. ``--source upstream`` installs the official
main branch (git and a C++ compiler needed), ``--source PATH`` a wheel or a checkout: compiled where that works, else as
pure Python.

The patches for current numpy, Pillow and setuptools, and for absent C++ operators, are applied to the files of the
wheel and not at run time: data-loader workers that are spawned would not see a run-time patch.
"""

# Standard library only, nothing of this package: a checkout runs this file before anything is installed, on an older
# Python too, which must come as far as the sentence that says so.
from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ARCHIVE = "detectron2-cdo==0.5"
ARCHIVE_SHA256 = "53c9e79e9cc943e80419c588ea44b5479507a8628ed14a4e06bd093e29311b18"
# From 26.3 on pip refuses every package of the index whose metadata name an address, as an extra of the archive does.
PIP_OF_ARCHIVE = "pip<26.3"
UPSTREAM = "git+https://github.com/facebookresearch/detectron2"
MINIMUM = (0, 5)
LOCAL_VERSION = "+pure1"
DEPENDENCIES = (
    "Pillow>=9.1",
    "matplotlib",
    "pycocotools>=2.0.2",
    "termcolor",
    "yacs>=0.1.8",
    "tabulate",
    "cloudpickle",
    "tqdm",
    "tensorboard",
    "fvcore>=0.1.5,<0.1.6",
    "iopath>=0.1.7,<0.1.10",
    "omegaconf>=2.1,<2.4",
    "hydra-core>=1.1",
    "packaging",
)
PROJECTS = {
    "point_rend": "projects/PointRend/point_rend",
    "deeplab": "projects/DeepLab/deeplab",
    "panoptic_deeplab": "projects/Panoptic-DeepLab/panoptic_deeplab",
}
CHANGED = "\n# Changed by rle-onestage: its rle_onestage/cli/install_detectron2.py says what and why.\n"


class InstallError(Exception):
    """The set-up cannot go on; the message is one sentence that says what to do."""


class Patch(NamedTuple):
    """One replacement: where (regular expression on the path), what, by what, and how often in the archive."""

    name: str
    files: str
    pattern: str
    replacement: str
    hits: int


GUARD = "try:\n    {0}\nexcept ImportError:\n    {1}\n"
PATCHES = (
    # The aliases left numpy in 1.24. "np.float32" and its like do not match.
    Patch("numpy aliases", r"detectron2/.*", r"\bnp\.(bool|int|float|str)\b(?!_)", r"\1", 18),
    # Pillow 10 has no LINEAR.
    Patch("Image.LINEAR", r"detectron2/.*", r"\bImage\.LINEAR\b", "Image.BILINEAR", 1),
    # setuptools 82 has no pkg_resources.
    Patch("import pkg_resources", r"detectron2/model_zoo/.*", r"^import pkg_resources\n", "", 1),
    Patch(
        "pkg_resources.resource_filename",
        r"detectron2/model_zoo/.*",
        r"pkg_resources\.resource_filename\(\s*\"detectron2\.model_zoo\", (os\.path\.join\(.*\))\s*\)",
        r"os.path.join(os.path.dirname(os.path.abspath(__file__)), \1)",
        1,
    ),
    Patch(
        "C++ operators",
        r"detectron2/layers/.*",
        r"^from detectron2 import _C\n",
        GUARD.format("from detectron2 import _C", "_C = None"),
        3,
    ),
    Patch(
        "COCOeval_opt",
        r"detectron2/evaluation/coco_evaluation\.py",
        r"^from detectron2\.evaluation\.fast_eval_api import COCOeval_opt\n",
        GUARD.format("from detectron2.evaluation.fast_eval_api import COCOeval_opt", "COCOeval_opt = COCOeval"),
        1,
    ),
    # export.api needs caffe2's onnx package, which torch no longer has.
    Patch(
        "export.api",
        r"detectron2/export/__init__\.py",
        r"^from \.api import \*\n",
        GUARD.format("from .api import *", "pass"),
        1,
    ),
)


def apply_patches(
    files: Mapping[str, str | bytes], patches: Sequence[Patch] = PATCHES, exact: bool = True
) -> dict[str, str | bytes]:
    """Patch the Python files among ``files`` (path -> text or bytes) and return a new dict.

    With ``exact`` every patch must hit as often as it says, so that an unexpected archive fails loudly.
    Without it (checkouts of any version) a patch applies wherever it hits.

    Raises:
        InstallError: a patch hit another number of times, or a patched file is no longer Python.
    """
    result = dict(files)
    for patch in patches:
        hits = 0
        for path, text in result.items():
            if not path.endswith(".py") or not re.fullmatch(patch.files, path):
                continue
            text, count = re.subn(patch.pattern, patch.replacement, _text(text), flags=re.MULTILINE)
            if count:
                hits += count
                result[path] = text
        if exact and hits != patch.hits:
            raise InstallError(
                f"Patch '{patch.name}' hit {hits} times, not {patch.hits}: this is not the Detectron2 source that was "
                "tested; install Detectron2 yourself and run the set-up again."
            )
    for path, text in result.items():
        if text != files[path]:
            result[path] = changed = _text(text) + CHANGED
            try:
                compile(changed, path, "exec")
            except SyntaxError as error:
                raise InstallError(f"Patching broke {path} ({error}); install a Detectron2 wheel instead.") from error
    return result


def _text(data: str | bytes) -> str:
    return data.decode("utf-8") if isinstance(data, bytes) else data


def read_sources(root: str | Path) -> dict[str, str | bytes]:
    """Read what belongs into the wheel from an unpacked source tree: path in the wheel -> text (.py) or bytes."""
    root = Path(root)
    folders = [(root / "detectron2", "detectron2")]
    folders += [(root / folder, f"detectron2/projects/{name}") for name, folder in PROJECTS.items()]
    configs = root / "configs"  # in a git checkout; an archive has them inside the package already
    if configs.is_dir():
        folders.append((configs, "detectron2/model_zoo/configs"))
    files = {}
    for folder, target in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.suffix not in (".py", ".yaml"):
                continue
            name = str(PurePosixPath(target, path.relative_to(folder).as_posix()))
            files[name] = path.read_text(encoding="utf-8") if path.suffix == ".py" else path.read_bytes()
    if "detectron2/__init__.py" not in files:
        raise InstallError(f"{root} is not a source tree of Detectron2: it has no detectron2/__init__.py.")
    return files


def version_in(text: str) -> str | None:
    """The ``__version__`` of an ``__init__.py`` as a string, or None."""
    found = re.search(r"^__version__\s*=\s*[\"']([^\"']+)", text, flags=re.MULTILINE)
    return found.group(1) if found else None


def write_wheel(files: Mapping[str, str | bytes], version: str, licence: str | bytes, folder: str | Path) -> Path:
    """Write ``files`` as a pure-Python wheel into ``folder`` and return its path; same input, same bytes."""
    info = f"detectron2-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {line}\n" for line in DEPENDENCIES)
    members = dict(files)
    members[f"{info}/LICENSE"] = licence
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: detectron2\nVersion: {version}\n"
        "Summary: Detectron2 by FAIR, pure Python: without its C++ operators\n"
        "Home-page: https://github.com/facebookresearch/detectron2\nLicense: Apache-2.0\n"
        f"Requires-Python: >=3.8\n{requires}"
    )
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: rle-onestage\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    path = Path(folder) / f"detectron2-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in members.items():
            data = data.encode("utf-8") if isinstance(data, str) else data
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}\n")
            wheel.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        record.append(f"{info}/RECORD,,\n")
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(record), zipfile.ZIP_DEFLATED)
    return path


def build_wheel(root: str | Path, folder: str | Path, exact: bool) -> Path:
    """Patch the source tree ``root`` and write its wheel into ``folder``; see :func:`apply_patches` for ``exact``."""
    files = read_sources(root)
    version = (version_in(_text(files["detectron2/__init__.py"])) or "0.0") + LOCAL_VERSION
    licence = next((p.read_bytes() for p in Path(root).glob("LICENSE*")), b"Apache-2.0\n")
    return write_wheel(apply_patches(files, exact=exact), version, licence, folder)


def pip(*arguments: str, program: Sequence[str] = ("-m", "pip")) -> None:
    """Run pip of this Python; its own output says what went wrong.

    Args:
        arguments: of pip.
        program: arguments of this Python that start pip.

    Raises:
        InstallError: pip failed.
    """
    if importlib.util.find_spec("pip") is None:
        raise InstallError("This environment has no pip: run 'python -m ensurepip' in it and this command again.")
    command = [sys.executable, *program, "--disable-pip-version-check", *arguments]
    if subprocess.run(command).returncode:
        raise InstallError(f"'pip {' '.join(arguments)}' failed (its message stands above).")


def check_archive(path: str | Path, expected: str = ARCHIVE_SHA256) -> None:
    """Raise InstallError unless the file has the expected sha256."""
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if digest != expected:
        raise InstallError(f"{path} has sha256 {digest}, not {expected}: delete it and run the set-up again.")


def install_builders(constraints: Sequence[str]) -> None:
    """Install setuptools and wheel where they are missing: what is built without isolation needs both."""
    missing = [name for name in ("setuptools", "wheel") if importlib.util.find_spec(name) is None]
    if missing:
        pip("install", "-q", *constraints, *missing)


def pip_of_archive(folder: Path) -> Sequence[str]:
    """Arguments of this Python that start a pip which downloads the archive: the installed one, or an older one."""
    installed = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("pip"))
    if installed and tuple(map(int, installed.groups())) < (26, 3):
        return ("-m", "pip")
    pip("download", "-q", "--no-deps", "-d", str(folder), PIP_OF_ARCHIVE)
    (wheel,) = folder.glob("pip-*.whl")  # pip runs from its wheel
    return (str(wheel / "pip"),)


def download_archive(folder: str | Path, constraints: Sequence[str] = ()) -> Path:
    """Download the source archive from the package index and return the folder it was unpacked to.

    pip runs the archive's setup.py to learn its name (which imports torch, hence no build isolation); with the hash in
    a requirements file, pip checks it before that.
    """
    if importlib.util.find_spec("torch") is None:
        raise InstallError("Detectron2 needs torch, which is not there: run 'pip install torch torchvision' first.")
    install_builders(constraints)
    folder = Path(folder)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{ARCHIVE} --hash=sha256:{ARCHIVE_SHA256}\n")
    pip("download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes",
        "-d", str(folder), "-r", str(requirements), program=pip_of_archive(folder))  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    check_archive(archive)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:
            tar.extractall(folder)
    return archive.with_name(archive.name[: -len(".tar.gz")])


def installed_version() -> str | None:
    """Version of the Detectron2 that this Python would import, as a string, or None. Nothing of it is run."""
    spec = importlib.util.find_spec("detectron2")
    if spec is None or not spec.origin:
        return None
    return version_in(Path(spec.origin).read_text(encoding="utf-8")) or "unknown"


def recent_enough(version: str | None) -> bool:
    """True for a version string of 0.5 or later."""
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    return numbers is not None and tuple(map(int, numbers.groups())) >= MINIMUM


def find_compiler() -> str | None:
    """Path of a C++ compiler that torch's extension builder would use, or None."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl"]
    return next((found for name in names if name and (found := shutil.which(name.split()[0]))), None)


def install_checkout(path: Path, constraints: Sequence[str]) -> None:
    """Install the checkout ``path`` with compiled operators where they compile, else as a pure-Python wheel."""
    if not (path / "detectron2" / "__init__.py").is_file():
        raise InstallError(f"{path} is not a checkout of Detectron2: it has no detectron2/__init__.py.")
    with tempfile.TemporaryDirectory() as folder:
        if find_compiler() and (path / "setup.py").is_file():
            # A copy, because the build writes into the tree that it builds.
            copy = Path(folder) / "detectron2"
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns(".git", "build", "*.so", "*.egg-info"))
            install_builders(constraints)
            try:
                pip("install", "--no-build-isolation", *constraints, str(copy))
                return
            except InstallError as error:
                print(f"{error} Going on without the C++ operators.", file=sys.stderr, flush=True)
        else:
            print("No C++ compiler was found: going on without the C++ operators.", file=sys.stderr, flush=True)
        pip("install", *constraints, str(build_wheel(path, folder, exact=False)))


def install(source: str, constraints: Sequence[str]) -> None:
    """Install Detectron2 from ``source`` (empty, "upstream" or a path); ``constraints`` are options for pip."""
    if not source:
        version = installed_version()
        if recent_enough(version):
            print(f"Detectron2 {version} is installed and used as it is.")
            return
        with tempfile.TemporaryDirectory() as folder:
            pip("install", *constraints, str(build_wheel(download_archive(folder, constraints), folder, exact=True)))
    elif source == "upstream":
        install_builders(constraints)
        pip("install", "--no-build-isolation", *constraints, UPSTREAM)
    else:
        path = Path(source).expanduser().resolve()
        if path.is_dir():
            install_checkout(path, constraints)
        elif path.suffix == ".whl" and path.is_file():
            pip("install", "--force-reinstall", "--no-deps", str(path))
            pip("install", *constraints, str(path))
        else:
            raise InstallError(f"DETECTRON2={source}: neither 'upstream', nor a wheel, nor a folder with a checkout.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="rle-onestage install-detectron2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", default="", help="'upstream', or the path of a wheel or checkout")
    parser.add_argument("-c", "--constraint", action="append", default=[], help="constraints file for pip")
    parser.add_argument("--wheel", metavar="FOLDER", help="only build the pure-Python wheel into FOLDER")
    args = parser.parse_args(arguments)
    constraints = [option for path in args.constraint for option in ("-c", path)]
    try:
        if args.wheel:
            with tempfile.TemporaryDirectory() as folder:
                root = args.source or download_archive(folder, constraints)
                os.makedirs(args.wheel, exist_ok=True)
                print(build_wheel(root, args.wheel, exact=not args.source))
        else:
            install(args.source, constraints)
    except (InstallError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
