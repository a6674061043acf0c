"""The set-up: patching and packing Detectron2, the choice of constraints, the stamp, the Makefile's switches."""

import ast
import email
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import install  # noqa: E402
import install_detectron2 as builder  # noqa: E402

# Modules whose distribution has another name.
DISTRIBUTIONS = {"PIL": "Pillow", "yaml": "PyYAML"}
# A source tree in small, with exactly what the patches look for.
SAMPLE = {
    "detectron2/__init__.py": '__version__ = "0.5"\n',
    "detectron2/data.py": "a = [" + ", ".join(["np.bool", "np.int", "np.float", "np.str"] * 4) + ", np.int, np.int]\n"
    "b = np.float32, np.bool_, np.int64, np.interp, Image.LINEAR\n",
    "detectron2/model_zoo/model_zoo.py": "import os\nimport pkg_resources\n\n\ndef f(config_path):\n"
    "    return pkg_resources.resource_filename(\n"
    '        "detectron2.model_zoo", os.path.join("configs", config_path)\n    )\n',
    "detectron2/layers/a.py": "from detectron2 import _C\n",
    "detectron2/layers/b.py": "import os\nfrom detectron2 import _C\n\nprint(_C)\n",
    "detectron2/layers/c.py": "from detectron2 import _C\n",
    "detectron2/evaluation/coco_evaluation.py": "from pycocotools.cocoeval import COCOeval\n"
    "from detectron2.evaluation.fast_eval_api import COCOeval_opt\n",
    "detectron2/export/__init__.py": "# -*- coding: utf-8 -*-\nfrom .api import *\n",
    "detectron2/model_zoo/configs/Base.yaml": b"A: np.bool\n",
}


def write_tree(folder, files=SAMPLE):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def test_patches_change_what_they_name_and_nothing_else():
    patched = builder.apply_patches(SAMPLE)
    assert "[bool, int, float, str, " in patched["detectron2/data.py"]
    assert "np.float32, np.bool_, np.int64, np.interp, Image.BILINEAR" in patched["detectron2/data.py"]
    assert "except ImportError:\n    _C = None" in patched["detectron2/layers/b.py"]
    assert "COCOeval_opt = COCOeval" in patched["detectron2/evaluation/coco_evaluation.py"]
    assert patched["detectron2/__init__.py"] == SAMPLE["detectron2/__init__.py"]
    assert patched["detectron2/model_zoo/configs/Base.yaml"] == SAMPLE["detectron2/model_zoo/configs/Base.yaml"]
    for path, text in patched.items():
        assert (text == SAMPLE[path]) != str(text).endswith(builder.CHANGED), path


def test_patched_model_zoo_finds_its_configs(tmp_path):
    code = builder.apply_patches(SAMPLE)["detectron2/model_zoo/model_zoo.py"]
    scope = {"__file__": str(tmp_path / "model_zoo.py")}
    exec(code, scope)
    assert scope["f"]("a.yaml") == str(tmp_path / "configs" / "a.yaml")


@pytest.mark.parametrize("patch", builder.PATCHES, ids=lambda patch: patch.name)
@pytest.mark.parametrize("surplus", [False, True])
def test_an_unexpected_number_of_hits_fails_loudly(patch, surplus):
    hit = [name for name, text in SAMPLE.items() if _hits(patch, name, text)]
    # One file twice, or none at all.
    files = {name: text for name, text in SAMPLE.items() if name not in hit}
    if surplus:
        files = {**SAMPLE, hit[0]: SAMPLE[hit[0]] * 2}
    with pytest.raises(builder.InstallError, match=f"'{re.escape(patch.name)}' hit"):
        builder.apply_patches(files, patches=[patch])


def _hits(patch, name, text):
    return builder.apply_patches({name: text}, patches=[patch], exact=False)[name] != text


def test_other_versions_are_patched_wherever_a_patch_hits():
    files = {"detectron2/layers/a.py": "from detectron2 import _C\n", "detectron2/b.py": "x = 1\n"}
    patched = builder.apply_patches(files, exact=False)
    assert "_C = None" in patched["detectron2/layers/a.py"] and patched["detectron2/b.py"] == "x = 1\n"


def test_a_patch_that_breaks_the_syntax_is_named():
    patch = builder.Patch("bad", r"detectron2/.*", "x", "(", 1)
    with pytest.raises(builder.InstallError, match=r"detectron2/a\.py"):
        builder.apply_patches({"detectron2/a.py": "x = 1\n"}, patches=[patch])


def test_wheel_installs_and_its_record_fits(tmp_path):
    tree = write_tree(tmp_path / "tree", {**SAMPLE, "projects/DeepLab/deeplab/__init__.py": "x = 1\n"})
    (tree / "LICENSE").write_text("Apache\n")
    wheel = builder.build_wheel(tree, tmp_path, exact=True)
    assert wheel.name == "detectron2-0.5+pure1-py3-none-any.whl"
    again = tmp_path / "again"
    again.mkdir()
    assert builder.build_wheel(tree, again, exact=True).read_bytes() == wheel.read_bytes()
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (found,) = importlib.metadata.distributions(path=[str(target)])
    assert (found.metadata["Name"], found.version) == ("detectron2", "0.5+pure1")
    assert sorted(found.requires) == sorted(builder.DEPENDENCIES)
    for file in found.files:
        if file.hash:
            assert file.size == (target / file).stat().st_size, file
    names = {str(file) for file in found.files}
    assert {"detectron2/projects/deeplab/__init__.py", "detectron2/model_zoo/configs/Base.yaml"} <= names


def test_metadata_reads_as_a_mail_header(tmp_path):
    wheel = builder.write_wheel({"detectron2/__init__.py": ""}, "0.5+pure1", "Apache\n", tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        header = email.message_from_bytes(archive.read("detectron2-0.5+pure1.dist-info/METADATA"))
    assert header["Version"] == "0.5+pure1" and not header.defects and not header.get_payload()


@pytest.mark.parametrize(
    "version, expected",
    [("0.5", True), ("0.6", True), ("0.10.1", True), ("1.0", True), ("0.4.1", False), ("?", False), (None, False)],
)
def test_recent_enough(version, expected):
    assert builder.recent_enough(version) is expected


def test_a_wrong_archive_is_refused(tmp_path):
    archive = tmp_path / "detectron2_cdo-0.5.tar.gz"
    archive.write_bytes(b"something else")
    with pytest.raises(builder.InstallError, match="sha256"):
        builder.check_archive(archive)


@pytest.fixture
def pip_calls(monkeypatch):
    calls = []
    monkeypatch.setattr(builder, "pip", lambda *arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize("version, older", [("23.2.1", False), ("26.2.1", False), ("26.3", True), ("27.0.dev0", True)])
def test_a_pip_that_refuses_the_archive_has_an_older_one_download_it(monkeypatch, tmp_path, version, older):
    def download(*arguments):
        assert arguments[-1] == "pip<26.3"
        (tmp_path / "pip-26.2.1-py3-none-any.whl").touch()

    monkeypatch.setattr(builder, "pip", download)
    monkeypatch.setattr(builder.importlib.metadata, "version", {"pip": version}.get)
    expected = (str(tmp_path / "pip-26.2.1-py3-none-any.whl/pip"),) if older else ("-m", "pip")
    assert builder.pip_of_archive(tmp_path) == expected


@pytest.mark.slow  # downloads
def test_the_newest_pip_gets_the_archive(tmp_path):
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "--target", str(tmp_path / "newest"), "pip"], check=True)
    command = [sys.executable, str(ROOT / "tools" / "install_detectron2.py"), "--wheel", str(tmp_path / "wheels")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "newest")})
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["detectron2-0.5+pure1-py3-none-any.whl"]


def test_an_installed_detectron2_is_used_as_it_is(pip_calls, monkeypatch):
    monkeypatch.setattr(builder, "installed_version", lambda: "0.6")
    builder.install("", [])
    assert pip_calls == []


def test_a_checkout_without_a_compiler_becomes_pure_python(pip_calls, monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "find_compiler", lambda: None)
    builder.install(str(write_tree(tmp_path)), [])
    assert [call[-1].rsplit("/")[-1] for call in pip_calls] == ["detectron2-0.5+pure1-py3-none-any.whl"]


def test_a_source_that_is_nothing_is_named(pip_calls, tmp_path):
    with pytest.raises(builder.InstallError, match="nowhere"):
        builder.install(str(tmp_path / "nowhere"), [])
    with pytest.raises(builder.InstallError, match="not a checkout"):
        builder.install(str(tmp_path), [])
    assert pip_calls == []


@pytest.mark.parametrize("fresh", [True, False])
def test_tested_versions_only_in_an_environment_without_another_torch(fresh, monkeypatch, tmp_path):
    tested = tmp_path / "constraints.txt"
    tested.write_text("# made for a test\ntorch==2.15.0\ntorchvision==0.29.2  # its pair\n")
    monkeypatch.setattr(install, "constraints_file", lambda: tested)
    monkeypatch.setattr(install, "version_of", lambda name: None if fresh else {"torch": "2.6.0+cpu"}.get(name))
    option, path = install.choose_constraints(tmp_path)
    assert option == "-c"
    if fresh:
        assert path == str(tested)
    else:
        assert Path(path).read_text() == "torch==2.6.0+cpu\n"


def test_constraints_name_each_package_once_and_one_opencv():
    for path in ROOT.glob("constraints-*.txt"):
        lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        names = [line.partition("==")[0].lower() for line in lines if line]
        assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
        assert [name for name in names if name.startswith("opencv")] == ["opencv-python"]


def test_opencv_without_windows_has_the_version_of_that_with(monkeypatch):
    calls = []
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(install, "pip", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(install, "imports", lambda code: "ImportError: libGL.so.1")
    monkeypatch.setattr(install, "version_of", {"opencv-python": "4.9.1.2"}.get)
    install.install_opencv(["-c", "file"])
    assert calls[1][0] == "uninstall" and calls[1][-1] == "opencv-python"
    assert calls[2] == ("install", "-c", "file", "opencv-python-headless>=4.8,<=4.9.1.2")


def test_the_stamp_depends_on_files_and_source(monkeypatch, tmp_path):
    for name in install.DEPENDS_ON:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    before = install.key("")
    assert before == install.key("") != install.key("upstream")
    (tmp_path / "pyproject.toml").write_text("changed\n")
    assert install.key("") != before


def test_a_set_up_that_fails_midway_leaves_no_stamp(monkeypatch, tmp_path):
    stamp = tmp_path / "stamp"
    stamp.write_text("of an earlier set-up")
    monkeypatch.setattr(install, "STAMP", stamp)
    monkeypatch.setattr(install, "install_torch", lambda *arguments: None)

    def fail(*arguments):
        raise builder.InstallError("no network")

    monkeypatch.setattr(builder, "install", fail)
    with pytest.raises(builder.InstallError):
        install.install("")
    assert not stamp.exists() and not install.is_done("")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("name", ["tools/install.py", "tools/install_detectron2.py", builder.__file__])
def test_a_python_that_is_too_old_comes_as_far_as_the_sentence(name):
    """Python 3.8 and 3.9 read what the set-up runs first: none of its syntax is newer, and no hint is evaluated."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    futures = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"
               for alias in node.names}  # fmt: skip
    hints = [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]
    assert not hints or "annotations" in futures


def test_makefile_switches():
    def plan(*arguments):
        command = ["make", "--no-print-directory", "-n", "install", *arguments]
        # "make test VENV=..." hands its own switches down in MAKEFLAGS.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        clean.pop("DETECTRON2", None)
        return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout

    active = plan("VENV=", "PYTHON=some-python")
    assert "some-python tools/install.py" in active and "venv" not in active
    fresh = plan("VENV=no/such/folder", "PYTHON=some-python", "DETECTRON2=upstream")
    assert 'some-python -m venv "no/such/folder"' in fresh
    assert 'no/such/folder/bin/python tools/install.py --source "upstream"' in fresh


def test_workflows_call_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflows = "".join(path.read_text() for path in (ROOT / ".github" / "workflows").iterdir())
    called = set(re.findall(r"\bmake ([a-z-]+)", workflows))
    assert called and called <= targets


@pytest.mark.parametrize("ap, verdict", [(36.4, "as it should be"), (4.0, "unusual: 35 to 38 was expected")])
def test_the_quick_start_ends_with_what_came_out(tmp_path, ap, verdict):
    (tmp_path / "metrics.json").write_text(json.dumps({"keypoints": {"AP": ap}}))
    script = [sys.executable, str(ROOT / "tools/quickstart_summary.py"), str(tmp_path)]
    said = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert f"It ends at {ap} AP" in said and verdict in said and f"{tmp_path}/model_final.pth" in said
    assert (ROOT / "docs/own_joints.md").exists() and "docs/own_joints.md" in said


@pytest.mark.parametrize("missing, remedy", [("detectron2", "make install"), ("cv2", "opencv-python")])
def test_import_says_in_one_line_what_is_missing(missing, remedy):
    # A finder that finds nothing stands for an environment without the package.
    code = (
        "import importlib.machinery, sys\n"
        "class Finder(importlib.machinery.PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        f"        return None if name.split('.')[0] == '{missing}' else super().find_spec(name, path, target)\n"
        "sys.meta_path = [f for f in sys.meta_path if f is not importlib.machinery.PathFinder] + [Finder]\n"
        "import rle_onestage\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: rle_onestage needs") and remedy in last


def test_a_torchvision_that_does_not_fit_is_a_sentence(tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    demo = ["demo", "--input", "datasets/examples/office.jpg", "--output", str(tmp_path / "out")]
    command = [sys.executable, "-m", "rle_onestage.cli", *demo]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert "Traceback" not in done.stderr and "(operator torchvision::nms does not exist; torch 2." in done.stderr
    assert "run 'pip install --force-reinstall torch torchvision'" in done.stderr


def test_import_is_silent_and_leaves_no_filter_of_warnings():
    """Filters that numpy, torch and others set when they are imported are theirs."""
    image = ROOT / "datasets" / "examples" / "office.jpg"
    code = (
        "import warnings, rle_onestage\n"
        "from rle_onestage.data import read_image\n"
        f"read_image({str(image)!r})\n"
        "patterns = [pattern for f in warnings.filters for pattern in (f[1], f[3]) if pattern is not None]\n"
        "print([p for p in patterns if 'script' in str(p) or 'PIL' in str(p)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_requirements_are_what_the_package_imports():
    """Both ways; Detectron2 (which brings fvcore), OpenCV and TrackEval have their own rules, others are extras."""
    imported = set()
    for path in (ROOT / "rle_onestage").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    own_rules = {"rle_onestage", "detectron2", "fvcore", "cv2", "faster_coco_eval", "pillow_heif", "trackeval"}
    own_rules |= {"supervision", "fiftyone", "pyarrow"}
    needed = {DISTRIBUTIONS.get(name, name) for name in imported - set(sys.stdlib_module_names) - own_rules}
    source = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = source[source.index("\ndependencies = [") : source.index("[project.optional-dependencies]")]
    assert needed == {re.match(r"[\w-]+", name).group() for name in re.findall(r'^ +"([^"]+)",', listed, re.M)}


def test_the_table_of_extras_is_that_of_the_package():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/installation.md").read_text(encoding="utf-8").split("| extra | brings |")[1].split("\n## ")[0]
    named = [
        name for row in page.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")
    ]
    assert sorted(named) == sorted(project["optional-dependencies"])
    extras = project["optional-dependencies"]
    assert extras["export"] == extras["openvino"] and set(extras["onnx"]) < set(extras["openvino"])  # as the table says


def test_setup_names_no_detectron2_and_the_version_is_one():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r'^ *"detectron2', project, re.M) and "__version__" in project
    import rle_onestage

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(\d[^\]]*)\]", changes, re.M).group(1) == rle_onestage.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {rle_onestage.__version__}\n" in citation
