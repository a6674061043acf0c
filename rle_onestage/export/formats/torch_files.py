"""TorchScript and torch.export: for C++ and for what compiles PyTorch's own graphs."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rle_onestage.errors import MediaError

from ..graph import PeopleGraph
from ..metadata import from_strings, to_strings
from .base import ALL_BITS, FORMATS, FewBits, Format, Runner, RunOptions, on_cpu_alone

_ENTRY = "metadata.json"


class TorchRunner(Runner):
    """A graph that PyTorch runs.

    Args:
        path: of the file.
        options: how it is run; threads are those of the whole process.
        read: gives the function of a path, and fills in the files that came with it.

    Raises:
        MediaError: it is no file of this kind and of this package.
        ConfigError: it runs on the CPU and in float32 alone.
    """

    def __init__(self, path: str, options: RunOptions, read: Callable[[str, dict[str, str]], Callable]):
        on_cpu_alone(path, options)
        if options.threads:
            torch.set_num_threads(options.threads)
        files = {_ENTRY: ""}
        try:
            with quiet():
                self.function = read(path, files)
            text = files[_ENTRY]
            entries = json.loads(text) if text else {}
        except Exception as error:  # of any type, where the file is none of theirs
            reason = str(error).strip().splitlines()[0].partition(" Please check the warnings")[0]
            raise MediaError(
                f"PyTorch cannot load {path} ({reason}); give a file that `rle-onestage export` made with this version "
                "of PyTorch or an earlier one"
            ) from error
        self.metadata = from_strings(entries, path)

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = self.function(torch.from_numpy(np.ascontiguousarray(image)))
        return {name: value.numpy() for name, value in zip(self.metadata["outputs"], found)}


@FORMATS.register(name="torchscript")
class TorchScriptFormat(Format):
    """By tracing; PyTorch has announced that it will end one day."""

    ending = ".pt"

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        with torch.no_grad(), quiet():  # tracing warns of what the comparison with PyTorch checks
            traced = torch.jit.trace(graph, (torch.from_numpy(image),), check_trace=False)
            # By way of memory: on a full disk torch's own writer ends the process.
            torch.jit.save(traced, made := io.BytesIO(), _extra_files={_ENTRY: json.dumps(to_strings(metadata))})
        Path(path).write_bytes(made.getvalue())

    def load(self, path: str, options: RunOptions) -> Runner:
        return TorchRunner(path, options, lambda path, files: torch.jit.load(path, "cpu", _extra_files=files))


@FORMATS.register(name="torch_export")
class TorchExportFormat(Format):
    """A program of torch.export, for AOTInductor and the like."""

    ending = ".pt2"

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        sizes = {} if graph.size.static else {axis + graph.batched: torch.export.Dim.DYNAMIC for axis in (0, 1)}
        with torch.no_grad(), quiet():
            program = torch.export.export(graph, (torch.from_numpy(image),), dynamic_shapes=(sizes,))
            torch.export.save(program, made := io.BytesIO(), extra_files={_ENTRY: json.dumps(to_strings(metadata))})
        Path(path).write_bytes(made.getvalue())

    def load(self, path: str, options: RunOptions) -> Runner:
        return TorchRunner(path, options, lambda path, files: torch.export.load(path, extra_files=files).module())


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Without what PyTorch prints about itself: warnings, and tracebacks of errors that it raises anyway.

    Args:
        loggers: of other packages, which are silent too.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, ("torch", *loggers))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
