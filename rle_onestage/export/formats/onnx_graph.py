"""What is done to an ONNX graph after the export: it becomes smaller, and loads and runs faster."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rle_onestage.interop.packages import optional_package

REMEDY = "pip install 'rle-onestage[onnx]'"
# Weights above this number of values are stored in float16 where that is asked for; tables and constants stay.
_CONVS = ("Conv", "ConvTranspose")
_LARGE = 256


def tidy(
    path: str, strings: Mapping[str, str], shapes: Mapping[str, Sequence[int | str]], *, half: bool = False
) -> None:
    """Fold constants, make paddings part of their convolutions, and write what the file says about itself.

    Args:
        path: of the file, which is replaced.
        strings: the file's metadata.
        shapes: of the outputs, with a name for each side that varies.
        half: weights are stored in float16; they are computed with in float32 all the same.
    """
    onnx = optional_package("onnx", REMEDY)
    folded = f"{path}.folded"
    _fold_constants(path, folded)
    model = onnx.load(folded)
    os.remove(folded)
    fuse_pads(model)
    own_biases(model)
    drop_unused(model)
    if half:
        store_half(model)
    used = {node.domain for node in model.graph.node}
    keep = [(each.domain, each.version) for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*each) for each in keep)
    for output in model.graph.output:
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, shapes[output.name]))
    onnx.helper.set_model_props(model, dict(strings))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fold_constants(source: str, target: str) -> None:
    """By ONNX Runtime, as far as the result is plain ONNX for any machine."""
    runtime = optional_package("onnxruntime", REMEDY)
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath, settings.log_severity_level = target, 3
    runtime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


def fuse_pads(model: Any) -> None:
    """Make a padding with zeros, whose map goes into one convolution alone, part of that convolution.

    Args:
        model: of ONNX; it is changed.
    """
    onnx = optional_package("onnx", REMEDY)
    graph = model.graph
    constants = {each.name: each for each in graph.initializer}
    used = Counter(name for node in graph.node for name in node.input)
    convs = {node.input[0]: node for node in graph.node if node.op_type == "Conv"}
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        conv, sizes = convs.get(pad.output[0]), constants.get(pad.input[1])
        value = constants.get(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
        zero = len(pad.input) < 3 or not pad.input[2] or (value is not None and not onnx.numpy_helper.to_array(value))
        if conv is None or sizes is None or used[pad.output[0]] > 1 or not zero:
            continue
        sides = onnx.numpy_helper.to_array(sizes).reshape(2, -1)
        mode = next((each.s for each in pad.attribute if each.name == "mode"), b"constant")
        if mode != b"constant" or sides[:, :2].any() or sides.min() < 0:
            continue
        for pads in (each for each in conv.attribute if each.name == "pads"):
            pads.ints[:] = (np.array(pads.ints) + sides[:, 2:].ravel()).tolist()
            conv.input[0] = pad.input[0]
            graph.node.remove(pad)


def drop_unused(model: Any) -> None:
    """Remove constants that no node uses, such as the sizes of fused paddings: ONNX Runtime warns of each at loading.

    Args:
        model: of ONNX; it is changed.
    """
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
    for constant in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(constant)


def own_biases(model: Any) -> None:
    """Give every convolution a bias of its own, where two looks at an image share one.

    OpenVINO makes a bias part of its convolution only where nothing else uses it; else it is a pass over the whole map.

    Args:
        model: of ONNX; it is changed.
    """
    constants, used = {each.name: each for each in model.graph.initializer}, Counter[str]()
    for conv in [node for node in model.graph.node if node.op_type in _CONVS and len(node.input) > 2]:
        bias = constants.get(conv.input[2])
        if bias is None:
            continue
        used[bias.name] += 1
        if used[bias.name] > 1:
            conv.input[2] = f"{bias.name}_{used[bias.name]}"
            model.graph.initializer.add().CopyFrom(bias)
            model.graph.initializer[-1].name = conv.input[2]


def store_half(model: Any) -> None:
    """Store the weights of convolutions and linear layers in float16, half the size.

    Args:
        model: of ONNX; it is changed.
    """
    onnx = optional_package("onnx", REMEDY)
    layers = {
        name for node in model.graph.node if node.op_type in (*_CONVS, "Gemm", "MatMul") for name in node.input[1:]
    }
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if weight.name in layers and values.dtype == np.float32 and values.size >= _LARGE:
            name = weight.name
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
