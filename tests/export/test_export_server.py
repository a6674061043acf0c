"""Folders of model servers: what the config says is what the file in them takes and gives."""

import errno
import functools
import importlib.util
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from export_toys import SIDE, toy
from exported_people import save_onnx

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.export import describe, load, write_server
from rle_onestage.export.server import triton_config
from rle_onestage.predictor import Predictor


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """By whether it takes batches the path of a small model's file."""
    folder = tmp_path_factory.mktemp("served")

    @functools.cache
    def made(batched=False):
        return save_onnx(
            Predictor(toy(folder, "fcos")), SIDE, folder / f"{'batches' if batched else 'people'}.onnx", batched=batched
        )

    return made


def tensors(config):
    """Names of inputs and outputs in ``config.pbtxt`` -> (type, dims without the batch, as the model has them)."""
    found = {}
    for name, kind, dims, rest in re.findall(r'put \{ name: "(\w+)" data_type: (\w+) dims: \[ (.*?) \](.*)\}', config):
        found[name] = (kind, [] if "reshape: { shape: [ ] }" in rest else [int(size) for size in dims.split(",")])
    return found


@pytest.mark.parametrize("batched", [False, True])
def test_the_config_of_triton_is_that_of_the_model(batched, exported, tmp_path):
    written = write_server("triton", str(tmp_path), str(exported(batched)))
    assert written == [str(tmp_path / "people" / name) for name in ("1/model.onnx", "config.pbtxt")]
    config = (tmp_path / "people" / "config.pbtxt").read_text()
    assert f"max_batch_size: {2 if batched else 0}\n" in config and ("dynamic_batching" in config) == batched
    image = np.zeros((96, 128, 3), np.uint8)
    outputs = load(written[0]).run(np.stack([image] * 3) if batched else image)
    stated = tensors(config)
    assert stated.pop("image") == ("TYPE_UINT8", [-1, -1, 3]) and set(stated) == set(outputs)
    for name, values in outputs.items():
        kind, dims = stated[name]
        assert kind == {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}[str(values.dtype)]
        given = values.shape[1:] if batched else values.shape
        assert len(given) == len(dims) and all(want in (-1, have) for want, have in zip(dims, given)), name
        assert not batched or len(values) == 3 and -1 not in dims


def test_a_file_of_an_earlier_version_has_images_of_any_size(exported):
    metadata = describe(str(exported()))
    del metadata["size"]["static"], metadata["size"]["colour"]
    assert "dims: [ -1, -1, 3 ]" in triton_config(metadata, ".onnx", "people")


def test_triton_parses_its_config(exported, tmp_path):
    """With the server's own messages, which its client has."""
    found = importlib.util.find_spec("tritonclient")
    if found is None:
        pytest.skip("tritonclient is not installed")
    from google.protobuf import text_format

    place = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"  # without gRPC itself
    spec = importlib.util.spec_from_file_location("model_config_pb2", place)
    messages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(messages)
    write_server("triton", str(tmp_path), str(exported(True)))
    config = text_format.Parse((tmp_path / "people" / "config.pbtxt").read_text(), messages.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("people", "onnxruntime", 2)
    assert [list(each.dims) for each in config.input] == [[-1, -1, 3]]
    assert len(json.loads(config.parameters["joint_names"].string_value)) == 17


def test_openvino_model_server_lists_each_model_once(exported, tmp_path):
    for name in ("people", "others"):
        write_server("ovms", str(tmp_path), str(exported()), name)
    (tmp_path / "others" / "1" / "model.onnx").unlink()
    (tmp_path / "others" / "1").rmdir()
    (tmp_path / "others").rmdir()
    write_server("ovms", str(tmp_path), str(exported()), "others")
    models = [each["config"] for each in json.loads((tmp_path / "config.json").read_text())["model_config_list"]]
    assert [model["name"] for model in models] == ["people", "others"]
    assert all((tmp_path / model["base_path"] / "1" / "model.onnx").is_file() for model in models)


@pytest.mark.parametrize(
    ("server", "name", "error", "sentence"),
    [
        ("torchserve", "people", ConfigError, "server torchserve .* choose triton or ovms"),
        ("triton", "a/b", ConfigError, "'a/b' .from --output. cannot name a model on a server; use letters"),
        ("triton", "there", MediaError, "there exists already"),
        ("ovms", "people", MediaError, "config.json is no config of OpenVINO Model Server"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(server, name, error, sentence, exported, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(error, match=sentence):
        write_server(server, str(tmp_path), str(exported()), name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "there"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("place", ["people", "config.json"])
def test_a_server_whose_folder_fills_up_keeps_what_it_had(place, there, exported, tmp_path, monkeypatch):
    folder, replace = tmp_path / "models", os.replace
    if there:
        write_server("ovms", str(folder), str(exported()), "others")
    before = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(source, target):
        if str(target) == str(folder / place):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("rle_onestage.export.server.os.replace", full)
    with pytest.raises(MediaError, match="models cannot be written .No space left on device.; check --server"):
        write_server("ovms", str(folder), str(exported()))
    assert {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert folder.exists() == there and not (folder / "people").exists()


def test_files_that_servers_do_not_take_are_said(tmp_path):
    with pytest.raises(ConfigError, match="--server triton takes .onnx and .xml files; give --format onnx or openvino"):
        write_server("triton", str(tmp_path / "models"), "people.pt")
    assert not (tmp_path / "models").exists()
