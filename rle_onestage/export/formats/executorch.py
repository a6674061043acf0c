"""ExecuTorch: PyTorch's runtime for telephones and small devices."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rle_onestage.errors import MediaError
from rle_onestage.interop.packages import optional_package

from ..graph import PeopleGraph
from ..metadata import from_strings, to_strings
from .base import ALL_BITS, FORMATS, FewBits, Format, Runner, RunOptions, on_cpu_alone
from .programs import plain_program
from .torch_files import quiet

_REMEDY = 'pip install "rle-onestage[executorch]"'
_ENTRY = "metadata"  # a method of the program that returns it
# What XNNPACK computes: the network. Its own choice has single steps of the decoding too, each of which costs copies.
_GEMMS = ("ConvolutionConfig", "LinearConfig", "AddmmConfig", "MMConfig")
_STEPS = ("HardtanhConfig", "ReLUConfig", "HardswishConfig", "AvgPoolingConfig", "AddConfig")


class ExecuTorchRunner(Runner):
    """A program that ExecuTorch runs on the CPU.

    Args:
        path: of the file.
        options: how it is run; threads are those of the whole process.

    Raises:
        MediaError: it is no program of ExecuTorch and of this package.
        ConfigError: a provider or a precision is given.
    """

    def __init__(self, path: str, options: RunOptions):
        on_cpu_alone(path, options)
        with quiet():
            runtime = optional_package("executorch.runtime", _REMEDY).Runtime.get()
            if options.threads:
                bindings = optional_package("executorch.extension.pybindings.portable_lib", _REMEDY)
                bindings._unsafe_reset_threadpool(options.threads)  # unsafe while a program runs
        try:
            self.program = runtime.load_program(path)
            names = self.program.method_names
            entries = json.loads(self.program.load_method(_ENTRY).execute([])[0]) if _ENTRY in names else {}
            self.metadata = from_strings(entries, path)
            self.method = self.program.load_method("forward")
        except MediaError:
            raise
        except Exception as error:  # of any type, where the program is none of ours
            raise MediaError(f"ExecuTorch cannot load {path} ({str(error).strip().splitlines()[0]})") from error
        self._lock = threading.Lock()  # the memory of a method serves one image at a time

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            found = self.method.execute([torch.from_numpy(np.ascontiguousarray(image))])
            return {name: value.numpy().copy() for name, value in zip(self.metadata["outputs"], found)}


@FORMATS.register(name="executorch")
class ExecuTorchFormat(Format):
    """A program whose network XNNPACK computes."""

    ending = ".pte"
    fixed = True

    def check(self) -> None:
        with quiet():
            for name in ("exir", "runtime"):
                optional_package(f"executorch.{name}", _REMEDY)

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        program = plain_program(graph, image)
        with quiet():
            exir, configs = (
                optional_package(f"executorch.{name}", _REMEDY)
                for name in ("exir", "backends.xnnpack.partition.config")
            )
            partitioner = optional_package("executorch.backends.xnnpack.partition.xnnpack_partitioner", _REMEDY)
            chosen = [getattr(configs.gemm_configs, name) for name in _GEMMS]
            chosen += [getattr(configs.generic_node_configs, name) for name in _STEPS]
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[partitioner.XnnpackPartitioner(configs=chosen)],
                constant_methods={_ENTRY: json.dumps(to_strings(metadata))},
            )  # fmt: skip
            Path(path).write_bytes(lowered.to_executorch().buffer)

    def load(self, path: str, options: RunOptions) -> Runner:
        return ExecuTorchRunner(path, options)
