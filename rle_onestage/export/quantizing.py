"""Convolutions in 8 bits, in an ONNX graph."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rle_onestage.errors import PoseError
from rle_onestage.interop.packages import optional_package

from .formats.onnx_graph import REMEDY


def quantize(path: str, images: Sequence[np.ndarray], *, last: Sequence[str]) -> None:
    """Put the convolutions of a file in 8 bits, but for the first ones and those that speak.

    Scales of the maps are those of the largest values that are seen on the images; weights have a scale for each
    channel. Decoding and the layers on candidates stay in float32.

    Args:
        path: of the ONNX file, which is replaced.
        images: as the file takes them, to calibrate on.
        last: names of the weights of layers that stay in float32.

    Raises:
        PoseError: the graph cannot be quantized.
    """
    quantization = optional_package("onnxruntime.quantization", REMEDY)
    onnx = optional_package("onnx", REMEDY)
    model = onnx.load(path)
    target = f"{path}.int8"
    try:
        quantization.quantize_static(
            path, target, _Images(images), quant_format=quantization.QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            per_channel=True, nodes_to_exclude=kept_in_float(model, last),
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
    except Exception as error:  # of many types, where a graph is not as the quantizer wants it
        raise PoseError(f"the model cannot be quantized ({str(error).splitlines()[0]}); leave out --int8") from error
    made = onnx.load(target)
    onnx.helper.set_model_props(made, {each.key: each.value for each in model.metadata_props})
    onnx.save(made, path)
    os.remove(target)


def kept_in_float(model: Any, last: Sequence[str]) -> list[str]:
    """Names of the convolutions of a graph that stay in float32: of images, and those whose weights are named.

    Args:
        model: of ONNX.
        last: names of weights.
    """
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return [node.name for node in convs if node.input[1] in last or shapes.get(node.input[1], [0, 3])[1] == 3]


class _Images:
    """What the quantizer reads, one image after the other."""

    def __init__(self, images: Sequence[np.ndarray]):
        self.images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}
