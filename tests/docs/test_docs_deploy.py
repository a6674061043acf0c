"""The page's programs in other languages, and in Python without this package, find whom the package finds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser_pages import copy_runtime, node_modules, seen_on
from doc_pages import ROOT, blocks
from exported_people import exported, exported_openvino

from rle_onestage.export import load

PAGE = ROOT / "docs" / "deploy.md"
# Refuses all modules but those of Python itself, numpy, Pillow and the runtime.
ALONE = """
import importlib.abc, runpy, sys
class Alone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        first = name.split(".")[0]
        if first not in {"numpy", sys.argv[2], "PIL", "__main__", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"{name} is not in this environment", name=name)
sys.meta_path.insert(0, Alone())
runpy.run_path(sys.argv[1], run_name="__main__")
assert not {"torch", "cv2", "detectron2", "rle_onestage"} & set(sys.modules)
"""


@pytest.fixture
def workplace(tmp_path):
    """A folder with the model and an image, whose pixels all readers give alike although its name is a JPEG's."""
    shutil.copy(exported(), tmp_path / "people.onnx")
    image = cv2.imread(str(ROOT / "datasets" / "examples" / "skiers.jpg"))
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    cv2.imwrite(str(tmp_path / "a.ppm"), image)
    return tmp_path


def check(told, workplace):
    """Each line of a program is a person of the package: score, and the nose with its sigmas."""
    people = load(str(workplace / "people.onnx"))(cv2.imread(str(workplace / "a.ppm")))
    people = people[people.scores >= 0.28]
    nose = np.concatenate([people.pred_keypoints[:, 0, :2], people.pred_keypoint_sigmas[:, 0]], 1)
    lines = [[float(number) for number in re.findall(r"\d+\.\d+", line)] for line in told.splitlines()]
    assert len(lines) == len(people) >= 3
    assert np.abs(np.array(lines)[:, 0] - people.scores.numpy()).max() < 2e-3
    assert np.abs(np.array(lines)[:, 1:] - nose).max() < 0.11


def run(command, workplace, **options):
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=500, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_python_with_a_runtime_and_numpy_alone(workplace, runtime):
    (program,) = [block for block in blocks(PAGE, "python") if f"import {runtime}\n" in block]
    (workplace / "program.py").write_text(program)
    if runtime == "openvino":
        for ending in (".xml", ".bin"):
            shutil.copy(exported_openvino().with_suffix(ending), workplace)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = run([sys.executable, "-c", ALONE, "program.py", runtime], workplace, env=environment)
    check(told, workplace)
    assert all(", nose at " in line for line in told.splitlines()) and "nose at" not in program  # by the file itself


def test_the_environment_refuses_this_package(workplace):
    """Else the test above would prove nothing."""
    (workplace / "program.py").write_text("import rle_onestage")
    with pytest.raises(AssertionError, match="rle_onestage is not in this environment"):
        run([sys.executable, "-c", ALONE, "program.py", "onnxruntime"], workplace)


def test_cpp(workplace):
    """ONNX Runtime's headers are where the compiler looks (CPLUS_INCLUDE_PATH), its library in Python's package."""
    compiler = shutil.which("g++")
    (program,) = blocks(PAGE, "cpp")
    (workplace / "people.cpp").write_text(program)
    command = [compiler, "-std=c++17", "-Wall", "-Werror", "-I/usr/include/onnxruntime", "people.cpp"]
    include = ["-E", "-x", "c++", "-I/usr/include/onnxruntime", "-include", "onnxruntime_cxx_api.h", os.devnull]
    if not compiler or subprocess.run([compiler, *include], capture_output=True).returncode:
        pytest.skip("no g++, or no headers of ONNX Runtime")
    import onnxruntime

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (workplace / name).symlink_to(library)
    run([*command, "-L.", "-lonnxruntime", f"-Wl,-rpath,{workplace}", "-o", "people"], workplace)
    check(run(["./people", "people.onnx", "a.ppm"], workplace), workplace)


def test_javascript_in_a_browser(workplace):
    node_modules()
    copy_runtime(workplace)
    (page,) = blocks(PAGE, "html")
    (workplace / "index.html").write_text(page)
    check(seen_on(workplace, "index.html", "people.textContent"), workplace)
