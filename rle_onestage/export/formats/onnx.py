"""ONNX, run by ONNX Runtime."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.interop.packages import optional_package

from ...modeling.backbone.movenet import MoveNet, MoveNetPyramid
from ..graph import PeopleGraph
from ..metadata import from_strings, to_strings
from ..quantizing import quantize
from .base import ALL_BITS, FORMATS, FewBits, Format, Runner, RunOptions
from .onnx_graph import REMEDY, tidy

OPSET = 18


class OnnxRunner(Runner):
    """A session of ONNX Runtime.

    Args:
        path: of the file.
        options: how it is run.

    Raises:
        MediaError: it is no ONNX file of this package.
        ConfigError: there is no such execution provider.
    """

    def __init__(self, path: str, options: RunOptions):
        runtime = optional_package("onnxruntime", REMEDY)
        given, there = list(options.providers) or ["CPUExecutionProvider"], runtime.get_available_providers()
        if missing := [name for name in given if name not in there]:
            raise ConfigError(f"ONNX Runtime has no execution provider {missing[0]}; choose among {', '.join(there)}")
        if options.precision != "float32":
            raise ConfigError(
                f"ONNX Runtime computes in the types of {path}, so precision {options.precision!r} has no effect; "
                "leave it out"
            )
        settings = runtime.SessionOptions()
        settings.log_severity_level = 3  # errors alone
        # A pattern is kept for each size of image, so memory would grow with every new one; it saves no time.
        settings.enable_mem_pattern = False
        # Else its threads wait busily for tens of milliseconds after an image, and take a core from what comes next:
        # OpenCV, PyTorch or another file (two files in turn, two threads: 20 and 25 ms instead of 40 and 47). A file
        # alone is as fast with it.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        if options.threads:
            settings.intra_op_num_threads = max(1, options.threads // options.workers)
        try:
            self.session = runtime.InferenceSession(path, settings, providers=given)
        except Exception as error:  # of the types of its C++ part
            raise MediaError(f"ONNX Runtime cannot load {path} ({str(error).splitlines()[0]})") from error
        self.metadata = from_strings(self.session.get_modelmeta().custom_metadata_map, path)
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.names, self.session.run(None, {"image": np.ascontiguousarray(image)})))


@FORMATS.register(name="onnx")
class OnnxFormat(Format):
    """One file with its weights, of an opset that runtimes of 2023 know."""

    ending = ".onnx"
    takes_few_bits = True

    def check(self) -> None:
        for name in ("onnx", "onnxruntime"):
            optional_package(name, REMEDY)

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        first = {0: "batch"} if graph.batched else {}
        given = first if graph.size.static else first | {len(first): "height", len(first) + 1: "width"}
        axes = {"image": given} | {name: first or {0: "people"} for name in graph.outputs}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing, which the comparison with PyTorch checks
            torch.onnx.export(
                graph, (torch.from_numpy(image),), path, dynamo=False, opset_version=OPSET, input_names=["image"],
                output_names=graph.outputs, dynamic_axes=axes,
            )  # fmt: skip
            found = graph(torch.from_numpy(image))
        # Tracing knows the sides of most outputs by invented names alone.
        shapes = {
            name: [*axes[name].values(), *value.shape[len(axes[name]) :]] for name, value in zip(graph.outputs, found)
        }
        tidy(path, to_strings(metadata), shapes, half=bits.half)
        if len(bits.calibration):
            quantize(path, bits.calibration, exact=exact_layers(graph, outputs=True), outputs=True)

    def load(self, path: str, options: RunOptions) -> Runner:
        return OnnxRunner(path, options)


def exact_layers(graph: PeopleGraph, *, outputs: bool) -> list[str]:
    """Find the layers for which 8 bits are too coarse.

    They are the layers whose outputs are decoded into people. In MoveNet they are also the layers that read the sums of
    its pyramid, where the largest values of two channels differ by up to a factor of 100. If outputs are rounded too,
    they are the whole head and the layers between MoveNet and it, which take little of the time.

    Args:
        graph: what is exported.
        outputs: what the convolutions give is rounded, not only what they read.

    Returns:
        Names of the parameters of these layers, as they stand in the file.
    """
    model = graph.model
    exact: list[nn.Module] = [model.head] if outputs else [model.head.score, model.head.box]
    if model.refiner is not None:
        exact.append(model.refiner.refinement.heat)
    for part in model.modules():
        if isinstance(part, MoveNet):
            exact += [part.pyramid.depthwise, part.pyramid.pointwise]
        if isinstance(part, MoveNetPyramid) and outputs:
            exact += [part.neck, part.extra]
    weights = {id(value) for part in exact for value in part.parameters()}
    return [f"model.{name}" for name, value in model.named_parameters() if id(value) in weights]
