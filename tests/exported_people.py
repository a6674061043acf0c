"""The shipped model as an exported file for small images, made once for all tests."""

import functools
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from rle_onestage import Predictor, load_config, model_zoo
from rle_onestage.export import FORMATS
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.export.metadata import metadata_of

ROOT = Path(__file__).resolve().parents[1]
SIZE = 256
_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def predictor():
    """The shipped model on images of at most ``SIZE`` pixels."""
    cfg = load_config(model_zoo.get_config_file("people"), ["INPUT.MIN_SIZE_TEST", SIZE, "INPUT.MAX_SIZE_TEST", SIZE])
    return Predictor(cfg)


@functools.cache
def exported():
    """Path of :func:`predictor` as an ONNX file; skips the test where ONNX is not installed."""
    return save_onnx(predictor(), SIZE, Path(_FOLDER.name) / "people.onnx")


def save_onnx(model, size, path, *, batched=False):
    """Write a :class:`Predictor` as an ONNX file for images of at most ``size`` pixels, without a comparison.

    Returns:
        The path.
    """
    return save_people(model, size, path, "onnx", batched=batched)


@functools.cache
def exported_openvino():
    """As :func:`exported`, as an OpenVINO file with its weights beside it."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    return save_people(predictor(), SIZE, Path(_FOLDER.name) / "people.xml", "openvino")


def save_people(model, size, path, format_name, *, batched=False):
    """As :func:`save_onnx`, in a format of ``FORMATS``."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="the extra onnx is not installed")
    graph = PeopleGraph(model.model, InputSize(size, size), batched=batched).eval()
    example = np.zeros((2, 96, 128, 3) if batched else (96, 128, 3), np.uint8)
    metadata = metadata_of(model, graph, "people.pth", [])
    metadata["image"]["batch"] = 2 if batched else 0
    FORMATS.get(format_name)().save(graph, example, str(path), metadata)
    return path


def office():
    """The example image: (H, W, 3) uint8 BGR."""
    return cv2.imread(str(ROOT / "datasets" / "examples" / "office.jpg"))
