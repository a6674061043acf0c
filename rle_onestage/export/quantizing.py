"""Convolutions in 8 bits, in an ONNX graph."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rle_onestage.errors import PoseError
from rle_onestage.interop.packages import optional_package

from .formats.onnx_graph import REMEDY

# What follows a convolution and cuts its range off: 8 bits are spent on what is left.
_CUTS = ("Relu", "Clip")


def quantize(path: str, images: Sequence[np.ndarray], *, exact: Sequence[str]) -> None:
    """Put the convolutions of a file in 8 bits, but for those of images and those that are named.

    Scales of the maps are those of an image's largest values, on average of the images and after the activation where
    that cuts them off; weights have a scale for each channel. Decoding and the layers on candidates stay in float32.

    Args:
        path: of the ONNX file, which is replaced.
        images: as the file takes them, to calibrate on.
        exact: names of the weights of layers that stay in float32.

    Raises:
        PoseError: the graph cannot be quantized.
    """
    quantization = optional_package("onnxruntime.quantization", REMEDY)
    onnx = optional_package("onnx", REMEDY)
    model = onnx.load(path)
    target = f"{path}.int8"
    try:
        quantization.quantize_static(
            path, target, _Images(images), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv", *_CUTS], nodes_to_quantize=quantized_nodes(model, exact),
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},
        )  # fmt: skip
    except Exception as error:  # of many types, where a graph is not as the quantizer wants it
        raise PoseError(f"the model cannot be quantized ({str(error).splitlines()[0]}); leave out --int8") from error
    made = onnx.load(target)
    onnx.helper.set_model_props(made, {each.key: each.value for each in model.metadata_props})
    onnx.save(made, path)
    os.remove(target)


def quantized_nodes(model: Any, exact: Sequence[str]) -> list[str]:
    """Names of the convolutions that run in 8 bits, and of the activations that cut off what they give.

    Args:
        model: of ONNX.
        exact: names of weights that stay in float32.
    """
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    convs = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in exact and shapes.get(node.input[1], [0, 3])[1] != 3
    ]
    made = {node.output[0] for node in convs}
    cuts = [node for node in model.graph.node if node.op_type in _CUTS and node.input[0] in made]
    return [node.name for node in (*convs, *cuts)]


class _Images:
    """What the quantizer reads, one image after the other."""

    def __init__(self, images: Sequence[np.ndarray]):
        self.images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}
