"""Exported files as they are opened: what is taken, and what is refused in a sentence."""

import argparse
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from export_toys import photo, toy

from rle_onestage.cli.exported import settle_model
from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.export import describe, export_model, load
from rle_onestage.export.formats import FORMATS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGES = [photo(), photo(64, 64, seed=1), photo(130, 90, seed=2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loaded")


@pytest.fixture(scope="module")
def cfg(folder):
    return toy(folder, "fcos")


@pytest.fixture(scope="module")
def onnx_file(folder, cfg):
    path = str(folder / "small.onnx")
    export_model(cfg, path, images=IMAGES[:1])
    return path


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 10**6])
@pytest.mark.parametrize("option", ["threads", "workers"])
def test_a_number_of_threads_that_cannot_be_is_a_sentence(onnx_file, option, threads):
    """A million threads would be started, and take all memory."""
    with pytest.raises(ConfigError, match=rf"{option} is .*; it must be a whole number from 1 to"):
        load(onnx_file, **{option: threads})


def test_a_path_a_generator_and_one_provider_will_do(onnx_file):
    predictor = load(Path(onnx_file), providers="CPUExecutionProvider")
    assert len(predictor.batch(image for image in IMAGES)) == len(IMAGES)
    assert describe(Path(onnx_file)) == describe(onnx_file)


def test_a_folder_with_the_name_of_a_file_is_a_sentence(folder):
    (folder / "made.onnx").mkdir()
    with pytest.raises(MediaError, match="made.onnx is a folder; check its name"):
        load(str(folder / "made.onnx"))


class Compiled:
    """A model of OpenVINO that computes in bfloat16."""

    def get_property(self, name):
        return ["INFERENCE_PRECISION_HINT"] if name == "SUPPORTED_PROPERTIES" else self

    def to_string(self):
        return "bf16"


def test_openvino_must_compute_in_the_type_that_is_asked_for():
    """On a CPU without float16 it takes bfloat16 without a word."""
    module = pytest.importorskip("rle_onestage.export.formats.openvino")
    runner = module.OpenVinoRunner.__new__(module.OpenVinoRunner)
    runner.compiled = Compiled()
    runner._check_precision("bfloat16")
    with pytest.raises(ConfigError, match="computes in bf16 here instead of float16"):
        runner._check_precision("float16")


@pytest.mark.parametrize(
    "device, wrong", [("CPU", ""), ("AUTO", ""), ("AUTO:CPU", ""), ("AUTO:NPU", "NPU"), ("cpu", "cpu")]
)
def test_devices_of_openvino_that_are_not_there(device, wrong):
    check = pytest.importorskip("rle_onestage.export.formats.openvino")._check_device
    if not wrong:
        check(device, ["CPU"])
    else:
        with pytest.raises(ConfigError, match=f"has no device {wrong}; choose among CPU"):
            check(device, ["CPU"])


@pytest.mark.parametrize("kind, ending", [("onnx", ".onnx"), ("torchscript", ".pt")])
def test_a_disk_that_is_full_is_a_sentence_and_leaves_nothing(folder, cfg, monkeypatch, kind, ending):
    output = folder / f"full_{kind}"
    output.mkdir()

    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FORMATS.get(kind), "save", fill)
    with pytest.raises(MediaError, match="a.* cannot be written .No space left on device.; check --output"):
        export_model(cfg, str(output / f"a{ending}"), kind, images=IMAGES[:1])
    assert os.listdir(output) == []


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torchscript", "torch_export"])
@pytest.mark.parametrize("content", [b"", bytes(1000), b"PK\5\6" + bytes(18), b"<?xml?><net"])
def test_a_file_that_is_none_of_its_format_is_a_sentence_and_no_more(folder, capfd, kind, content):
    if kind == "openvino":
        pytest.importorskip("openvino")
    path = folder / f"none{FORMATS.get(kind).ending}"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=f"{re.escape(str(path))} [^\n]*$"):
        load(str(path))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torchscript", "torch_export"])
def test_a_runtime_says_nothing_of_a_file_or_its_half(folder, cfg, capfd, kind):
    """PyTorch warns of symbols of its own when it loads a program."""
    if kind == "openvino":
        pytest.importorskip("openvino")
    whole, half = (folder / f"{name}{FORMATS.get(kind).ending}" for name in ("whole", "half"))
    export_model(cfg, str(whole), kind, images=IMAGES[:1])
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    capfd.readouterr()
    load(str(whole))
    with pytest.raises(MediaError, match=f"{re.escape(str(half))} [^\n]*$"):
        load(str(half))
    assert capfd.readouterr().err == ""


def test_a_folder_of_its_name_does_not_hide_a_model_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "people").mkdir()
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(model="people", config_file=None)
    settle_model(args)
    assert args.model is None and args.config_file.endswith("demo.yaml")


def test_a_signal_after_two_openvino_files_are_gone_is_no_crash(folder, cfg):
    """Each core of OpenVINO has a stack for signals, and leaves behind that of another core, which may be gone."""
    pytest.importorskip("openvino")
    path = str(folder / "small.xml")
    export_model(cfg, path, "openvino", images=IMAGES[:1])
    program = f"""
import gc, os, signal
from rle_onestage.export import load
first, second = load({path!r}), load({path!r})
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("alive"))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "alive\n", done.stderr
