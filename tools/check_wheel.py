#!/usr/bin/env python3
"""Builds the wheel, installs it into a second environment, and uses it there from an empty folder.

The wheel is built from the source archive, so that both are complete. The second environment borrows what is installed
in this one, torch and Detectron2 above all, but not the checkout: an editable install is a hook of this environment's
start-up, which a borrowed folder does not run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "datasets" / "examples"
# Examples of what the source archive has beside the package.
OF_THE_ARCHIVE = {
    "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "NOTICE", "pyproject.toml", "configs/demo.yaml",
    "datasets/synthetic_people/render.py", "projects/people/README.md", "tests/cli/test_cli.py", "tools/train_net.py",
}  # fmt: skip
CONFIG = """_BASE_: quickstart.yaml
INPUT: {MIN_SIZE_TEST: 128, MAX_SIZE_TEST: 128, POSE: {SIZE: 128}}
MODEL: {RLE_ONESTAGE: {TIMM: {PRETRAINED: False}, FLOW: {WARMUP_ITERS: 2}}}
SOLVER: {IMS_PER_BATCH: 4, MAX_ITER: 4, WARMUP_ITERS: 2, CHECKPOINT_PERIOD: 4}
OUTPUT_DIR: run
"""
SCRIPT = """import cv2
from rle_onestage import model_zoo

people = model_zoo.get_predictor("people", device="cpu")(cv2.imread("image.jpg"))
print(len(people[people.scores > 0.3]), tuple(people.pred_keypoint_sigmas.shape[1:]))
"""


def run(*command: str | int | Path, cwd: Path, **variables: str) -> str:
    """Run a command of the second environment; its output is shown only if it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RLE_ONESTAGE", "DETECTRON2"))}
    start = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**clean, **variables}, capture_output=True, text=True
    )
    name = " ".join([Path(str(command[0])).name, *map(str, command[1:])])
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nerror: '{name}' ended with {done.returncode}")
    print(f"{time.perf_counter() - start:6.1f} s  {name}", flush=True)
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The source archive and the wheel that is built from it: their paths."""
    for left_over in (ROOT / "build", ROOT / "rle_onestage.egg-info"):
        shutil.rmtree(left_over, ignore_errors=True)  # setuptools would take files that are no longer there
    code = f"import setuptools.build_meta as b; b.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, archive, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


def check_files(archive: Path, wheel: Path) -> None:
    """Every config and weight is a file in both; the wheel has nothing but the package."""
    expected = {f"configs/{path.relative_to(ROOT / 'configs').as_posix()}" for path in ROOT.glob("configs/**/*.yaml")}
    expected |= {f"checkpoints/{path.name}" for path in ROOT.glob("rle_onestage/model_zoo/checkpoints/*.*")}
    expected = {f"rle_onestage/model_zoo/{name}" for name in expected} | {"rle_onestage/py.typed"}
    with zipfile.ZipFile(wheel) as opened:
        inside = {info.filename: info for info in opened.infolist()}
    foreign = [name for name in inside if not name.startswith(("rle_onestage/", "rle_onestage-"))]
    links = [name for name, info in inside.items() if (info.external_attr >> 28) == 0o12]
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        files = {member.name.partition("/")[2] for member in members if member.isreg()}
        links += [member.name for member in members if member.issym() or member.islnk()]
    missing = sorted(expected - set(inside)) + sorted((expected | OF_THE_ARCHIVE) - files)
    for problem, names in (("are missing", missing), ("do not belong", foreign), ("are links", links)):
        if names:
            sys.exit(f"error: in the wheel or the source archive {problem}: {', '.join(names[:10])}")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {archive.name}: {archive.stat().st_size / 1e6:.1f} MB")


def make_environment(wheel: Path, folder: Path) -> Path:
    """The second environment, with the wheel in it and the packages of this one within reach."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip()
    borrowed = [path for path in sys.path if path.rstrip("/\\").endswith(("site-packages", "dist-packages"))]
    (Path(own) / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed))
    return python


def use(python: Path, folder: Path) -> None:
    """What a user does first, in an empty folder."""
    place = run(python, "-c", "import rle_onestage; print(rle_onestage.__file__)", cwd=folder).strip()
    if not Path(place).is_relative_to(python.parent.parent):
        sys.exit(f"error: the second environment imports {place}, not the wheel")
    command = python.with_name("rle-onestage")
    print(run(command, "--version", cwd=folder).strip())
    run(command, "install-detectron2", cwd=folder)
    run(command, "demo", "--input", EXAMPLES / "skiers.jpg", "--output", "out", cwd=folder)
    if [path.name for path in (folder / "out").iterdir()] != ["skiers.jpg"]:
        sys.exit("error: the demo did not write its image")
    shutil.copy(EXAMPLES / "skiers.jpg", folder / "image.jpg")
    (folder / "script.py").write_text(SCRIPT)
    print(run(python, "script.py", cwd=folder).strip())
    # The data come from the checkout, as a user has them from elsewhere.
    generator = ROOT / "datasets" / "make_synthetic.py"
    run(sys.executable, generator, "--train", 8, "--val", 4, "--videos", 0, "--size", 128, "--workers", 1,
        "--output", folder / "data" / "synthetic", cwd=folder)  # fmt: skip
    (folder / "my.yaml").write_text(CONFIG)
    run(command, "train", "--config-file", "my.yaml", cwd=folder, DETECTRON2_DATASETS="data")
    run(command, "slim", "run/model_final.pth", "--output", "slim.pth", cwd=folder)
    run(command, "evaluate", "--config-file", "run/config.yaml", "MODEL.WEIGHTS", "slim.pth", cwd=folder,
        DETECTRON2_DATASETS="data")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="", metavar="FOLDER", help="keep the archive and the wheel there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        built, empty = folder / "dist", folder / "empty"
        built.mkdir()
        empty.mkdir()
        archive, wheel = build(built)
        check_files(archive, wheel)
        use(make_environment(wheel, folder / "env"), empty)
        if args.output:
            shutil.copytree(built, args.output, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
