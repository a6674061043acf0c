"""OpenVINO's own format, made from the ONNX file."""

import functools
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.interop.packages import optional_package

from ..graph import PeopleGraph
from ..metadata import from_strings, to_strings
from ..quantizing import quantize
from .base import ALL_BITS, FORMATS, FewBits, Format, Runner, RunOptions
from .onnx import OnnxFormat, exact_layers

REMEDY = "pip install 'rle-onestage[openvino]'"
_ENTRY = "rle_onestage"  # of the model's runtime information
_PLUGINS = ("AUTO", "MULTI", "HETERO", "BATCH")  # of other devices, the first one of all
_TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@functools.cache
def _core() -> Any:
    """OpenVINO's core, one for the life of the process.

    Each core sets a stack for signals, and when it goes, sets that of the core before it. If that one is gone already,
    the next signal, such as Ctrl-C, ends the process with a segmentation fault (OpenVINO 2026.4).
    """
    return optional_package("openvino", REMEDY).Core()


class OpenVinoRunner(Runner):
    """A model that OpenVINO has compiled.

    It runs in float32 unless told otherwise: by itself OpenVINO takes bfloat16 on CPUs that have it.

    Args:
        path: of the XML file; the weights lie beside it.
        options: how it is run.

    Raises:
        MediaError: it is no file of OpenVINO and of this package.
        ConfigError: there is no such device, or several are named.
    """

    def __init__(self, path: str, options: RunOptions):
        core, device = _core(), _device(options.providers)
        _check_device(device, core.available_devices)
        if options.precision not in _TYPES:
            raise ConfigError(f"OpenVINO has no precision {options.precision!r}; choose among {', '.join(_TYPES)}")
        settings = {"INFERENCE_PRECISION_HINT": _TYPES[options.precision], "PERFORMANCE_HINT": "LATENCY"}
        if options.threads:
            settings["INFERENCE_NUM_THREADS"] = str(options.threads)
        if options.workers > 1:
            settings["NUM_STREAMS"] = str(options.workers)
        _check_network(path)
        try:
            model = core.read_model(path)
            self.compiled = core.compile_model(model, device, settings)
        except RuntimeError as error:
            raise MediaError(f"OpenVINO cannot load {path} ({str(error).strip().splitlines()[-1]})") from error
        self._check_precision(options.precision)
        entries = model.get_rt_info([_ENTRY]).value if model.has_rt_info([_ENTRY]) else {}
        self.metadata = from_strings(entries, path)
        # By their order: OpenVINO may leave out the last operation of an output, and what remains has several names.
        self.names: list[str] = self.metadata["outputs"]
        self._own = threading.local()  # a request takes one image at a time

    def _check_precision(self, asked: str) -> None:
        """Raises ConfigError where the device takes another type than it is asked for, which OpenVINO does not say."""
        key = "INFERENCE_PRECISION_HINT"
        if key in self.compiled.get_property("SUPPORTED_PROPERTIES"):
            used = self.compiled.get_property(key).to_string()
            if used != _TYPES[asked]:
                raise ConfigError(f"OpenVINO computes in {used} here instead of {asked}; ask for another precision")

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        if not hasattr(self._own, "request"):
            self._own.request = self.compiled.create_infer_request()
        found = self._own.request.infer([np.ascontiguousarray(image)])
        return {name: np.array(found[number]) for number, name in enumerate(self.names)}


def _check_network(path: str) -> None:
    """Raises MediaError where the XML of a network does not begin: OpenVINO would try it as other formats, aloud."""
    try:
        _, root = next(ElementTree.iterparse(path, ["start"]), ("", None))
    except ElementTree.ParseError as error:
        raise MediaError(f"OpenVINO cannot load {path} (it is no XML: {error})") from error
    if root is None or root.tag != "net":
        raise MediaError(f"OpenVINO cannot load {path} (its XML describes no network)")


def _check_device(device: str, there: Sequence[str]) -> None:
    """Raises ConfigError where a device, or one of those of a plugin that uses several, is not there."""
    plugin, _, rest = device.partition(":")
    for name in rest.split(",") if rest and plugin in _PLUGINS else [device]:
        if name.split(".")[0] not in (*there, *(() if rest else _PLUGINS[:1])):
            raise ConfigError(f"OpenVINO has no device {name or repr(name)}; choose among {', '.join(there)}")


def _device(providers: Sequence[str]) -> str:
    """Raises ConfigError where several are named."""
    if len(providers) > 1:
        raise ConfigError(
            f"OpenVINO takes one device, and {', '.join(providers)} are {len(providers)}; give one, or all in their "
            f"order as AUTO:{','.join(providers)}"
        )
    return providers[0] if providers else "CPU"


@FORMATS.register(name="openvino")
class OpenVinoFormat(Format):
    """An XML file with the graph, and its weights beside it."""

    ending = ".xml"
    further = (".bin",)
    takes_few_bits = True

    def check(self) -> None:
        optional_package("openvino", REMEDY)
        OnnxFormat().check()

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        openvino = optional_package("openvino", REMEDY)
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "model.onnx")
            OnnxFormat().save(graph, image, source, metadata)
            if len(bits.calibration):
                quantize(source, bits.calibration, exact=exact_layers(graph, outputs=False), outputs=False)
            model = _core().read_model(source)
            for key, value in to_strings(metadata).items():
                model.set_rt_info(value, [_ENTRY, key])
            openvino.save_model(model, path, compress_to_fp16=bits.half)

    def load(self, path: str, options: RunOptions) -> Runner:
        return OpenVinoRunner(path, options)
