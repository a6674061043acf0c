"""Formats of devices: fixed shapes, what their converters are given, and their files where the packages are installed.

``make test-devices`` runs this file with all of these packages.
"""

import json
import os
import sys

import numpy as np
import pytest
import torch
from export_toys import photo, toy

from rle_onestage.errors import ConfigError, DataError, MediaError, MissingPackageError
from rle_onestage.export import ExportOptions, describe, export_model, load
from rle_onestage.export.exporting import _predictor
from rle_onestage.export.formats import FORMATS
from rle_onestage.export.formats.coreml import _in_words_of_core_ml
from rle_onestage.export.formats.programs import plain_program
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.predictor import Predictor

DEVICES = {"executorch": ".pte", "litert": ".tflite", "coreml": ".mlpackage"}
SIZE = (96, 128)
FIXED = ExportOptions(canvas=SIZE)
IMAGES = [photo(), photo(130, 90, seed=2)]


def installed(kind):
    """The format, if its packages are there."""
    try:
        FORMATS.get(kind)().check()
    except MissingPackageError as error:
        if kind in os.environ.get("TEST_DEVICES", ""):
            raise
        pytest.skip(str(error))
    return FORMATS.get(kind)()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module", params=["refined", "centernet", "movenet"])
def cfg(folder, request):
    return toy(folder, request.param)


@pytest.fixture(scope="module")
def graph(cfg):
    model = _predictor(cfg, cfg.MODEL.WEIGHTS).model.to(memory_format=torch.channels_last)
    return PeopleGraph(model, InputSize(0, 1000, SIZE, True), batched=True).eval()


def same(found, expected):
    """The people of an image; what fills the rows behind them is of no account."""
    assert list(found) == list(expected)
    count = int(expected.pop("count"))
    assert int(found["count"]) == count > 0
    # Scores that are a rounding error apart may change places.
    orders = [part["boxes"][0, :count].sum(-1).argsort() for part in (found, expected)]
    for name, values in expected.items():
        assert torch.allclose(found[name][0, orders[0]], values[0, orders[1]], atol=1e-3, rtol=1e-3), name


def outputs_of(graph, image):
    with torch.no_grad():
        return dict(zip(graph.outputs, graph(torch.from_numpy(image))))


def test_a_plain_program_has_no_channels_last_and_gives_the_same(graph):
    image = graph.size.fit(IMAGES[0], graph.colour)[None]
    program = plain_program(graph, image)
    assert all(tensor.stride() == torch.empty(tensor.shape).stride() for tensor in program.state_dict.values())
    assert torch.channels_last not in [each.kwargs.get("memory_format") for each in program.graph.nodes]
    same(program.module()(image=torch.from_numpy(image)), outputs_of(graph, image))


def test_the_words_of_core_ml_give_the_same(graph):
    image = graph.size.fit(IMAGES[1], graph.colour)[None]
    words = _in_words_of_core_ml()
    program = plain_program(graph, image, planes=True)
    assert {node.target for node in program.run_decompositions().graph.nodes} & set(words)
    program = program.run_decompositions({**torch.export.default_decompositions(), **words})
    assert not {node.target for node in program.graph.nodes} & set(words)
    planes = torch.from_numpy(image).permute(0, 3, 1, 2).float().contiguous()
    same(program.module()(image=planes), outputs_of(graph, image))


@pytest.mark.parametrize("kind", DEVICES)
def test_without_its_size_or_its_packages_nothing_is_written(tmp_path, folder, monkeypatch, kind):
    cfg, output = toy(folder, "fcos"), str(tmp_path / f"a{DEVICES[kind]}")
    with monkeypatch.context() as patch:
        for name in [
            name for name in sys.modules if name.split(".")[0] in ("executorch", "litert_torch", "coremltools")
        ]:
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "meta_path", [])
        with pytest.raises(MissingPackageError, match=rf"is not installed; run pip install .rle-onestage\[{kind}\]"):
            FORMATS.get(kind)().check()
    monkeypatch.setattr(FORMATS.get(kind), "check", lambda self: None)
    with pytest.raises(ConfigError, match=f"files of the format {kind} are for images of one size; .*--size H W"):
        export_model(cfg, output, kind, images=IMAGES)
    with pytest.raises(ConfigError, match=f"--half is not for the format {kind}; use one of onnx, openvino"):
        export_model(cfg, output, kind, images=IMAGES, options=FIXED._replace(half=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["executorch", "litert"])
def test_a_file_of_a_device_gives_the_people_of_pytorch(folder, kind):
    installed(kind)
    cfg, output = toy(folder, "refined"), folder / f"people{DEVICES[kind]}"
    made = export_model(cfg, str(output), kind, images=IMAGES, options=FIXED)
    assert made.parity.found > 0 and made.files == [str(output)]
    predictor = load(output, threads=1)
    assert predictor.metadata["image"]["batch"] == 1 and predictor.metadata["size"]["static"]
    assert describe(output)["joint_names"] == list(Predictor(cfg).skeleton.names)
    square = np.ascontiguousarray(photo(SIZE[0], SIZE[1], seed=5))
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.MIN_SIZE_TEST = 0
    expected = Predictor(cfg)(square)
    found = predictor(square)
    assert len(found) == len(expected) > 0
    assert (found.pred_keypoints - expected.pred_keypoints).abs().max() < 0.05
    assert (predictor(square).scores == found.scores).all()  # the memory of an earlier call is not its result
    with pytest.raises(ConfigError, match="runs on the CPU in float32"):
        load(output, precision="bfloat16")
    with pytest.raises(DataError):
        predictor(square[..., 0])


@pytest.mark.parametrize("kind", ["executorch", "litert"])
@pytest.mark.parametrize("content", [b"", bytes(1000), b"PK\5\6" + bytes(18)])
def test_another_file_of_its_name_is_a_sentence(tmp_path, kind, content):
    installed(kind)
    path = tmp_path / f"none{DEVICES[kind]}"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="none[^\n]*$"):
        load(path)


@pytest.mark.parametrize("methods", [{}, {"metadata": 3}, {"metadata": "[1]"}, {"metadata": "{}"}])
def test_a_program_of_others_is_a_sentence(tmp_path, methods):
    installed("executorch")
    from executorch.exir import to_edge

    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2),))
    path = tmp_path / "foreign.pte"
    path.write_bytes(to_edge({"encode": program}, constant_methods=methods).to_executorch().buffer)
    with pytest.raises(MediaError, match="foreign.pte [^\n]*$"):
        load(path)


@pytest.mark.parametrize("kind", ["executorch", "litert"])
def test_batches_of_rgb(folder, kind):
    installed(kind)
    output, options = folder / f"batch{DEVICES[kind]}", FIXED._replace(batch=2, rgb=True)
    made = export_model(toy(folder, "refined"), str(output), kind, images=IMAGES[:1], options=options)
    assert made.parity.found > 0 and made.parity.share_near == 1
    assert len(load(output).batch(IMAGES + IMAGES[:1])) == 3


def test_core_ml_is_converted_not_run(folder):
    installed("coreml")
    cfg, output = toy(folder, "refined"), folder / "people.mlpackage"
    made = export_model(cfg, str(output), "coreml", images=IMAGES, options=FIXED)
    assert made.parity is None and "converted, not run" in made.lines[0]
    assert json.loads((output / "Manifest.json").read_text())["rootModelIdentifier"]
    said = describe(f"{output}/")
    assert said["size"]["canvas"] == list(SIZE) and said["image"] == {"type": "image", "channels": "BGR", "batch": 1}
    with pytest.raises(ConfigError, match="runs in Core ML on Apple's devices"):
        load(output)
    with pytest.raises(MediaError, match="exists already"):
        export_model(cfg, str(output), "coreml", images=IMAGES, options=FIXED)
    with pytest.raises(ConfigError, match="takes one image at a time, not 2"):
        export_model(cfg, str(folder / "b.mlpackage"), "coreml", images=IMAGES, options=FIXED._replace(batch=2))
    assert not (folder / "b.mlpackage").exists()
