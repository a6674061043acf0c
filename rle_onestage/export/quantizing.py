"""Convolutions in 8 bits, in an ONNX graph.

ONNX Runtime's own quantizer also rounds the outputs of convolutions. It cannot give signed maps the zero point 0. With
that quantizer, ``people`` in OpenVINO is slower and loses 2.4 AP instead of 0.5.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rle_onestage.errors import PoseError
from rle_onestage.interop.packages import optional_package

from .formats.onnx_graph import REMEDY, drop_unused

# What follows a convolution and cuts its range off: 8 bits are spent on what is left.
_CUTS = ("Relu", "Clip")
_LEVELS = 255  # steps of 8 bits


class Seen(NamedTuple):
    """What a map is, on average of the images.

    Attributes:
        low: the smallest value of an image, at most 0.
        high: the largest value of an image, at least 0.
        mean: (C,) of each channel.
    """

    low: float
    high: float
    mean: np.ndarray


class Scale(NamedTuple):
    """How a map is rounded to 8 bits.

    Attributes:
        step: between two levels.
        zero: () the level of 0, uint8 or int8.
    """

    step: np.ndarray
    zero: np.ndarray


def quantize(path: str, images: Sequence[np.ndarray], *, exact: Sequence[str], outputs: bool) -> None:
    """Put the convolutions of a file in 8 bits, but for those of images and those that are named.

    Scales of the maps are those of an image's smallest and largest values, on average of the images; weights have a
    scale for each channel. Rounding the weights shifts the mean of each output, and the bias is corrected by this shift
    (Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2).
    Decoding and the layers on candidates stay in float32.

    Args:
        path: of the ONNX file, which is replaced.
        images: as the file takes them, to calibrate on.
        exact: names of the weights of layers that stay in float32.
        outputs: round what the convolutions give too: ONNX Runtime computes in 8 bits only between two rounded maps.
            OpenVINO needs
            only rounded inputs, which loses less. It is fast if signed maps have the zero point 0.

    Raises:
        PoseError: the graph has no such convolution, or cannot be run.
    """
    onnx = optional_package("onnx", REMEDY)
    model = onnx.load(path)
    convs = quantized_convs(model, exact)
    if not convs:
        raise PoseError("the model has no convolution that can run in 8 bits; leave out --int8")
    seen = _look(path, model, {name for conv in convs for name in (conv.input[0], _given(model, conv))}, images)
    rounded = {conv.input[0] for conv in convs}
    if outputs:
        rounded |= {_given(model, conv) for conv in convs}
    scales = {name: scale_of(seen[name], signed=not outputs) for name in sorted(rounded)}
    _rewrite(model, convs, scales, seen, outputs)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def quantized_convs(model: Any, exact: Sequence[str]) -> list[Any]:
    """The convolutions that run in 8 bits.

    Args:
        model: of ONNX.
        exact: names of weights that stay in float32.
    """
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in exact and shapes.get(node.input[1], [0, 3])[1] != 3
    ]


def scale_of(seen: Seen, *, signed: bool) -> Scale:
    """How a map is rounded.

    Args:
        seen: what it is.
        signed: a map with negative values has levels from -128 to 127; else all have 0 to 255, 0 being any of them.
    """
    if signed and seen.low < 0:
        step, zero = 2 * max(-seen.low, seen.high) / _LEVELS, np.int8(0)
    else:
        step = (seen.high - seen.low) / _LEVELS
        zero = np.uint8(round(-seen.low / step) if step else 0)
    return Scale(np.array(step or 1, np.float32), np.array(zero))


def round_weights(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (O, ...) as int8 (O, ...), and the step (O,) of each output."""
    step = np.abs(weight).reshape(len(weight), -1).max(1) / (_LEVELS // 2)
    step = np.where(step == 0, 1, step).astype(np.float32)
    return np.round(weight / step.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8), step


def moved_mean(lost: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """By how much rounding the weights of a convolution lowers the mean of its outputs (O,), borders aside.

    Args:
        lost: (O, C / groups, h, w) the weights less what they are rounded to.
        mean: (C,) of each channel of the input.
    """
    groups = len(mean) // lost.shape[1]
    moved = np.einsum("goc,gc->go", lost.sum((2, 3)).reshape(groups, -1, lost.shape[1]), mean.reshape(groups, -1))
    return moved.reshape(-1).astype(np.float32)


def _given(model: Any, conv: Any) -> str:
    """Name of what a convolution gives, after the activation that cuts it off, if that alone reads it."""
    readers = [node for node in model.graph.node if conv.output[0] in node.input]
    return readers[0].output[0] if len(readers) == 1 and readers[0].op_type in _CUTS else conv.output[0]


def _look(path: str, model: Any, names: Iterable[str], images: Sequence[np.ndarray]) -> dict[str, Seen]:
    """What maps are on images.

    Args:
        path: of the file, beside which another one is for a while.
        model: the same; it is not changed.
        names: of the maps.
        images: as the file takes them.

    Raises:
        PoseError: it cannot be run.
    """
    onnx, runtime = optional_package("onnx", REMEDY), optional_package("onnxruntime", REMEDY)
    watched, wanted = onnx.ModelProto(), []
    watched.CopyFrom(model)
    graph, helper = watched.graph, onnx.helper
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 2, 3]), "watched_axes"))
    for name in sorted(names):
        for kind, axes in (("ReduceMin", []), ("ReduceMax", []), ("ReduceMean", ["watched_axes"])):
            wanted.append(f"{name}_{kind}")
            graph.node.append(helper.make_node(kind, [name, *axes], wanted[-1:], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(wanted[-1], onnx.TensorProto.FLOAT, None))
    settings = runtime.SessionOptions()
    settings.log_severity_level, settings.enable_mem_pattern = 3, False
    try:
        session = runtime.InferenceSession(watched.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        found = [session.run(wanted, {"image": image}) for image in images]
    except Exception as error:  # of the types of its C++ part
        raise PoseError(f"{path} cannot be calibrated ({str(error).splitlines()[0]}); leave out --int8") from error
    low, high, mean = ([np.mean(values, 0) for values in list(zip(*found))[part::3]] for part in range(3))
    return {
        name: Seen(min(float(low[place]), 0.0), max(float(high[place]), 0.0), mean[place])
        for place, name in enumerate(sorted(names))
    }


def _rewrite(model: Any, convs: Sequence[Any], scales: dict[str, Scale], seen: dict[str, Seen], outputs: bool) -> None:
    """Round maps and weights of a graph.

    Args:
        model: of ONNX; it is changed.
        convs: whose inputs are rounded.
        scales: of the maps that are rounded, by name.
        seen: of the convolutions' inputs, by name.
        outputs: whether all that read a rounded map get it rounded, and the biases are whole numbers too.
    """
    graph = model.graph
    constants = _Constants(model)
    chosen = {conv.output[0] for conv in convs}
    for node in graph.node:
        alone = node.output[0] in chosen  # whose input is rounded whatever the others read
        for place, name in enumerate(node.input):
            if name in scales and (outputs or (alone and not place)):
                node.input[place] = f"{name}_rounded"
    for conv in convs:
        source = conv.input[0].removesuffix("_rounded")
        _round_conv(conv, scales[source], seen[source].mean, constants, whole_bias=outputs)
    nodes = [*constants.nodes, *_rounded([each.name for each in graph.input], scales, constants)]
    for node in graph.node:
        nodes += [node, *_rounded(node.output, scales, constants)]
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(model)


def _round_conv(conv: Any, scale: Scale, mean: np.ndarray, constants: "_Constants", *, whole_bias: bool) -> None:
    """Round a convolution's weights, and correct its bias.

    Args:
        conv: it is changed.
        scale: of its input.
        mean: (C,) of each channel of its input.
        constants: of the graph.
        whole_bias: the bias is in whole numbers too.
    """
    values = constants[conv.input[1]]
    whole, step = round_weights(values)
    bias = moved_mean(values - whole * step.reshape(-1, 1, 1, 1), mean)
    if len(conv.input) > 2:
        bias = bias + constants[conv.input[2]]
    weight, name = conv.input[1], f"{conv.output[0]}_bias"
    del conv.input[1:]
    conv.input.append(constants.restored(f"{conv.output[0]}_weight", weight, whole, step))
    if whole_bias:
        step = step * scale.step
        limit = 2**31 - 1
        rounded = np.clip(np.round(bias.astype(np.float64) / step), -limit, limit).astype(np.int32)
        conv.input.append(constants.restored(name, name, rounded, step))
    else:
        conv.input.append(constants.add(f"{name}_moved", bias))


def _rounded(names: Iterable[str], scales: dict[str, Scale], constants: "_Constants") -> list[Any]:
    """Nodes that round those of some maps that have a scale."""
    make, nodes = optional_package("onnx", REMEDY).helper.make_node, []
    for name in (each for each in names if each in scales):
        given = [constants.add(f"{name}_step", scales[name].step), constants.add(f"{name}_zero", scales[name].zero)]
        nodes.append(make("QuantizeLinear", [name, *given], [f"{name}_8"]))
        nodes.append(make("DequantizeLinear", [f"{name}_8", *given], [f"{name}_rounded"]))
    return nodes


class _Constants:
    """The constants of a graph.

    Args:
        model: of ONNX; constants that are added become part of it.

    Attributes:
        nodes: that make constants of others.
    """

    def __init__(self, model: Any):
        self.onnx = optional_package("onnx", REMEDY)
        self.graph = model.graph
        self.there = {each.name: each for each in model.graph.initializer}
        self.nodes: list[Any] = []

    def __getitem__(self, name: str) -> np.ndarray:
        return self.onnx.numpy_helper.to_array(self.there[name])

    def add(self, name: str, values: np.ndarray) -> str:
        """Make them part of the graph, once; returns the name."""
        if name not in self.there:
            self.there[name] = self.onnx.numpy_helper.from_array(values, name)
            self.graph.initializer.append(self.there[name])
        return name

    def restored(self, name: str, source: str, whole: np.ndarray, step: np.ndarray) -> str:
        """What whole numbers stand for, under a name of its own.

        Args:
            name: of the node's output.
            source: name of the original constant. Nodes with the same source share its integers.
            whole: (O, ...) integers.
            step: (O,) between two of them.
        """
        given = [
            self.add(f"{source}_whole", whole),
            self.add(f"{source}_step", step.astype(np.float32)),
            self.add(f"{source}_zero", np.zeros(len(step), whole.dtype)),
        ]
        self.nodes.append(self.onnx.helper.make_node("DequantizeLinear", given, [name], axis=0))
        return name
