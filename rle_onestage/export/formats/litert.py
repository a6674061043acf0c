"""LiteRT, the former TensorFlow Lite: Google's runtime for telephones and small devices."""

import contextlib
import io
import json
import threading
import zipfile
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

_REMEDY = 'pip install "rle-onestage[litert]" in an environment of its own'
_ENTRY = "metadata.json"  # in a ZIP archive at the end of the file, as files of TensorFlow Lite have theirs


class LiteRTRunner(Runner):
    """A file that LiteRT runs on the CPU.

    Args:
        path: of the file.
        options: how it is run.

    Raises:
        MediaError: it is no file of LiteRT and of this package.
        ConfigError: a provider or a precision is given.
    """

    def __init__(self, path: str, options: RunOptions):
        on_cpu_alone(path, options)
        interpreter = optional_package("ai_edge_litert.interpreter", _REMEDY)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = json.loads(archive.read(_ENTRY))
        except (zipfile.BadZipFile, KeyError, ValueError):
            entries = {}
        self.metadata = from_strings(entries, path)
        try:
            self.interpreter = interpreter.Interpreter(path, num_threads=options.threads)
            self.run = self.interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise MediaError(f"LiteRT cannot load {path} ({str(error).strip().splitlines()[0]})") from error
        self._lock = threading.Lock()  # an interpreter takes one image at a time

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            found = self.run(image=np.ascontiguousarray(image))
            return {name: np.array(found[name]) for name in self.metadata["outputs"]}


@FORMATS.register(name="litert")
class LiteRTFormat(Format):
    """One file, with what it says about itself in an archive at its end."""

    ending = ".tflite"
    fixed = True

    def check(self) -> None:
        for name in ("litert_torch", "ai_edge_litert"):
            optional_package(name, _REMEDY)

    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        module = plain_program(graph, image).module()
        for part in module.modules():
            part.training = False  # torch.export leaves it on, and refuses to eval()
        with quiet(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # 70 lines of its progress
            made = optional_package("litert_torch", _REMEDY).convert(
                module, (), sample_kwargs={"image": torch.from_numpy(image)}
            )
        made.export(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_ENTRY, json.dumps(to_strings(metadata)))

    def load(self, path: str, options: RunOptions) -> Runner:
        return LiteRTRunner(path, options)
