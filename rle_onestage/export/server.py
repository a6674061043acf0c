"""An exported file in the folders that model servers read: Triton, and OpenVINO Model Server.

The servers are others' and do the work: they load the file, put requests together to batches, and answer over HTTP and
gRPC by the same protocol (KServe's, version 2).
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from typing import Any

from rle_onestage.errors import ConfigError, MediaError

from .predicting import describe

# By the ending of the exported file: the backend of Triton, and the files in a version's folder.
_BACKENDS = {".onnx": ("onnxruntime", (".onnx",)), ".xml": ("openvino", (".xml", ".bin"))}
_TYPES = {"count": "TYPE_INT64"}  # all others are float32


def write_server(server: str, folder: str, file: str, name: str = "people") -> list[str]:
    """Write the folder that a server reads its models from; the exported file is copied into it.

    Args:
        server: "triton" or "ovms".
        folder: of the server's models; it may have others.
        file: the exported file, .onnx or .xml.
        name: of the model, that requests name.

    Returns:
        Paths of what was written.

    Raises:
        ConfigError: there is no such server, or it does not read such files, or the name cannot be used.
        MediaError: the model is there already, the file was not exported by this package, or the folder cannot be
            written, which is then as before.
    """
    ending = os.path.splitext(file)[1]
    check_server(server, folder, ending, name)
    metadata = describe(file)
    new = not os.path.exists(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".rle-server") as made:
            model = os.path.join(made, name)
            os.makedirs(os.path.join(model, "1"))
            for each in _BACKENDS[ending][1]:
                shutil.copyfile(file.removesuffix(ending) + each, os.path.join(model, "1", f"model{each}"))
            if server == "triton":
                _write(os.path.join(model, "config.pbtxt"), triton_config(metadata, ending, name))
            else:
                _write(os.path.join(made, "config.json"), json.dumps(ovms_config(folder, name), indent=2))
            _name_both(made, folder, name, server == "ovms")
    except (OSError, MediaError) as error:
        if new:
            with contextlib.suppress(OSError):  # somebody else's files are in it
                os.rmdir(folder)
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{folder} cannot be written ({error.strerror}); check --server and the space left") from error
    written = [os.path.join(root, each) for root, _, files in os.walk(os.path.join(folder, name)) for each in files]
    return sorted([*written, *([os.path.join(folder, "config.json")] if server == "ovms" else [])])


def _name_both(made: str, folder: str, name: str, listed: bool) -> None:
    """Move a model to its place, and then the config that lists it: a server reads no list of what is not there.

    Args:
        made: where both are.
        folder: of the server's models.
        name: of the model.
        listed: whether there is a ``config.json``.
    """
    os.replace(os.path.join(made, name), os.path.join(folder, name))
    try:
        if listed:
            os.replace(os.path.join(made, "config.json"), os.path.join(folder, "config.json"))
    except OSError:
        os.replace(os.path.join(folder, name), os.path.join(made, name))
        raise


def check_server(server: str, folder: str, ending: str, name: str = "people") -> None:
    """Whether :func:`write_server` can do its work, before a file is exported for it.

    Args:
        server: "triton" or "ovms".
        folder: of the server's models.
        ending: of the exported file.
        name: of the model.

    Raises:
        ConfigError: there is no such server, or it does not read such files, or the name cannot be used.
        MediaError: the model is there already.
    """
    if server not in ("triton", "ovms"):
        raise ConfigError(f"server {server} (--server) is unknown; choose triton or ovms")
    if ending not in _BACKENDS:
        raise ConfigError(f"--server {server} takes {' and '.join(_BACKENDS)} files; give --format onnx or openvino")
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise ConfigError(
            f"{name!r} (from --output) cannot name a model on a server; use letters, digits, _, - and . (not first)"
        )
    there = os.path.join(folder, name)
    if os.path.lexists(there):
        raise MediaError(f"{there} exists already; remove it, or give another folder with --server")


def triton_config(metadata: dict[str, Any], ending: str, name: str) -> str:
    """``config.pbtxt`` of Triton.

    Args:
        metadata: of the exported file.
        ending: of the exported file.
        name: of the model.
    """
    batch: int = metadata["image"]["batch"]  # images at once; 0: the input has no batch
    lines = [f'name: "{name}"', f'backend: "{_BACKENDS[ending][0]}"', f'default_model_filename: "model{ending}"']
    lines.append(f"max_batch_size: {batch}")
    size = metadata["size"]
    height, width = size["canvas"] if size.get("static") else (-1, -1)  # files of earlier versions do not say
    lines.append(f'input {{ name: "image" data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] }}')
    for output, dims in _dims(metadata, batch > 0).items():
        # A tensor (B,) has no dimension beside the batch, and Triton asks for one.
        shape = "dims: [ 1 ] reshape: { shape: [ ] }" if not dims else f"dims: [ {', '.join(map(str, dims))} ]"
        lines.append(f'output {{ name: "{output}" data_type: {_TYPES.get(output, "TYPE_FP32")} {shape} }}')
    if batch:  # of requests with images of one size
        lines.append("dynamic_batching { max_queue_delay_microseconds: 2000 }")
    if ending == ".onnx":  # else memory grows with every new size of image
        lines.append('parameters { key: "enable_mem_pattern" value: { string_value: "0" } }')
    # What a client cannot do without; the server hands it out with the config.
    for key in ("joint_names", "limbs", "image", "intervals"):
        value = json.dumps(json.dumps(metadata[key]))
        lines.append(f'parameters {{ key: "{key}" value: {{ string_value: {value} }} }}')
    return "\n".join(lines) + "\n"


def _dims(metadata: dict[str, Any], batched: bool) -> dict[str, list[int]]:
    """Sizes of each output without the batch; -1 where they depend on the image."""
    people, joints = metadata["max_people"] if batched else -1, len(metadata["joint_names"])
    of_person = {"boxes": [4], "keypoints": [joints, 3], "sigmas": [joints, 2], "covariances": [joints, 2, 2]}
    of_person |= dict.fromkeys(("presence", "visibility"), [joints])
    return {name: [] if name == "count" else [people, *of_person.get(name, [])] for name in metadata["outputs"]}


def ovms_config(folder: str, name: str) -> dict[str, Any]:
    """``config.json`` of OpenVINO Model Server: what is there, and the model.

    Args:
        folder: of the server's models, where the file is or comes to be.
        name: of the model.

    Raises:
        MediaError: the file that is there is none of the server's.
    """
    path = os.path.join(folder, "config.json")
    config: dict[str, Any] = {"model_config_list": []}
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
            others = [each for each in config["model_config_list"] if each["config"]["name"] != name]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MediaError(
                f"{path} is no config of OpenVINO Model Server; remove it, or give another folder"
            ) from error
        config["model_config_list"] = others
    # A relative path is one from the config's folder. By itself OpenVINO takes bfloat16 on some CPUs, which gives other
    # numbers than PyTorch.
    entry = {"name": name, "base_path": name, "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    config["model_config_list"].append({"config": entry})
    return config


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
