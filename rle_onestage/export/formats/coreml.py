"""Core ML: what runs models on Apple's devices. Files are made anywhere, and run there alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.interop.packages import optional_package

from ..graph import PeopleGraph
from ..metadata import from_strings, to_strings
from .base import ALL_BITS, FORMATS, FewBits, Format, Runner, RunOptions
from .programs import plain_program
from .torch_files import quiet

_REMEDY = 'pip install "rle-onestage[coreml]"'


@FORMATS.register(name="coreml")
class CoreMLFormat(Format):
    """A package of an ML program in float32, whose input is an image of Apple's libraries."""

    ending = ".mlpackage"
    fixed = True
    runs = False
    folder = True

    def check(self) -> None:
        with quiet("coremltools"):
            optional_package("coremltools", _REMEDY)

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        if len(image) != 1:
            raise ConfigError(f"Core ML takes one image at a time, not {len(image)}; leave out --batch")
        with quiet("coremltools"):
            tools = optional_package("coremltools", _REMEDY)
            steps = {**torch.export.default_decompositions(), **_in_words_of_core_ml()}
            program = plain_program(graph, image, planes=True).run_decompositions(steps)
            pools = (torch.ops.aten.max_pool2d_with_indices.default, torch.ops.aten.avg_pool2d.default)
            for node in program.graph.nodes:
                if node.target in pools and len(node.args) == 2:
                    node.args = (*node.args, node.args[1])  # strides, which the converter does not take as given
            colours = getattr(tools.colorlayout, graph.channels)
            model = tools.convert(
                program,
                inputs=[tools.ImageType(name="image", shape=(1, 3, *image.shape[1:3]), color_layout=colours)],
                outputs=[tools.TensorType(name=name) for name in graph.outputs],
                minimum_deployment_target=tools.target.iOS17,
                compute_precision=tools.precision.FLOAT32,
            )
        image_of = {"type": "image", "channels": graph.channels, "batch": 1}
        model.user_defined_metadata.update(to_strings(metadata | {"image": image_of}))
        model.save(path)

    def load(self, path: str, options: RunOptions) -> Runner:
        raise ConfigError(f"{path} runs in Core ML on Apple's devices, not here; export another format too")

    def describe(self, path: str) -> dict[str, Any]:
        with quiet("coremltools"):
            tools = optional_package("coremltools", _REMEDY)
        try:
            strings = tools.models.MLModel(path, skip_model_load=True).user_defined_metadata
        except Exception as error:  # of any type, where it is none of theirs
            raise MediaError(f"Core ML's tools cannot read {path} ({str(error).strip().splitlines()[0]})") from error
        return from_strings(dict(strings), path)


def _in_words_of_core_ml() -> dict[Any, Callable[..., Tensor]]:
    """Steps that the converter of coremltools 9 does not know, by others that it knows."""
    aten = torch.ops.aten
    return {
        aten.alias.default: lambda x: x.clone(),
        aten.__and__.Tensor: lambda x, y: torch.logical_and(_truth(x), _truth(y)),
        aten.__or__.Tensor: lambda x, y: torch.logical_or(_truth(x), _truth(y)),
        aten.prod.default: lambda x: _product(x.flatten(), 0),
        aten.prod.dim_int: _product,
        aten.where.ScalarOther: lambda condition, x, other: torch.where(condition, x, torch.full_like(x, other)),
        # Whole numbers as limits are none of its types.
        aten.hardtanh.default: lambda x, low=-1.0, high=1.0: x.clamp(float(low), float(high)),
    }


def _product(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    first, *rest = x.unbind(dim)
    for part in rest:
        first = first * part
    return first.unsqueeze(dim) if keepdim else first


def _truth(x: Tensor) -> Tensor:
    assert x.dtype == torch.bool, "bits of whole numbers have no words in Core ML"
    return x
