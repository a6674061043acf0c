"""What a format has to do, and the registry of all of them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.utils.near import what_is_wrong
from rle_onestage.utils.registry import NamedRegistry

from ..graph import PeopleGraph

# An exporter of your own: a class derived from Format, registered by its name.
FORMATS = NamedRegistry("FORMAT", "--format")


class RunOptions(NamedTuple):
    """How an exported file is run.

    Attributes:
        threads: of the runtime; None: its default.
        providers: execution providers of ONNX Runtime in order of preference, or a device of OpenVINO; none: the CPU.
        precision: of the computation, where the runtime chooses one by itself.
        workers: threads of the caller that look at images at the same time, and share ``threads``.
    """

    threads: int | None = None
    providers: Sequence[str] = ()
    precision: str = "float32"
    workers: int = 1


class FewBits(NamedTuple):
    """How a file is made smaller or faster at the cost of exactness.

    Attributes:
        half: weights are stored in float16.
        calibration: images as the file takes them, to run the convolutions in 8 bits; none: they run in float32.
    """

    half: bool = False
    calibration: Sequence[np.ndarray] = ()


ALL_BITS = FewBits()


class Runner(ABC):
    """An exported file that is loaded.

    Attributes:
        metadata: see :func:`~rle_onestage.export.metadata.metadata_of`.
    """

    metadata: dict[str, Any]

    @abstractmethod
    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name for an image (H, W, 3) uint8, or a batch (B, H, W, 3) where the file takes batches."""


class Format(ABC):
    """One format of exported files.

    Attributes:
        ending: of its files.
        further: endings of files that go with them, under the same name.
        takes_few_bits: whether weights can be stored in float16, and convolutions run in 8 bits.
        fixed: whether all shapes are fixed: a file takes a batch of images of one size, and gives ``count`` too.
        runs: whether this package can run the files, and so compare them with PyTorch.
        folder: whether a file is a folder.
    """

    ending: ClassVar[str]
    further: ClassVar[tuple[str, ...]] = ()
    takes_few_bits: ClassVar[bool] = False
    fixed: ClassVar[bool] = False
    runs: ClassVar[bool] = True
    folder: ClassVar[bool] = False

    def check(self) -> None:  # noqa: B027 -- PyTorch's own formats need nothing
        """Raises MissingPackageError where what it needs is not installed."""

    @abstractmethod
    def save(
        self, graph: PeopleGraph, image: np.ndarray, path: str, metadata: dict[str, Any], bits: FewBits = ALL_BITS
    ) -> None:
        """Write the file.

        Args:
            graph: what it does.
            image: an example of its input.
            path: of the file, with the right ending, where nothing is yet.
            metadata: what it says about itself.
            bits: fewer than float32 has; asked of formats alone that take them.
        """

    @abstractmethod
    def load(self, path: str, options: RunOptions) -> Runner:
        """Load a file.

        Args:
            path: of the file.
            options: how it is run.

        Raises:
            MediaError: it is no file of this format.
        """

    def describe(self, path: str) -> dict[str, Any]:
        """What a file says about itself, see :func:`~rle_onestage.export.metadata.metadata_of`.

        Args:
            path: of the file.

        Raises:
            MediaError: it is no file of this format.
        """
        return self.load(path, RunOptions()).metadata


def on_cpu_alone(path: str, options: RunOptions) -> None:
    """Raises ConfigError where a file is to run elsewhere than on the CPU, or not in float32."""
    if options.providers or options.precision != "float32":
        raise ConfigError(f"{path} runs on the CPU in float32; leave out providers and precision")


def format_of(path: str) -> Format:
    """The format of a file, by its ending.

    Raises:
        MediaError: there is no such format, or no such file.
    """
    for _, made in FORMATS:
        if path.endswith(made.ending):
            if not (made.folder and os.path.isdir(path)) and (wrong := what_is_wrong(path)):
                raise MediaError(f"exported file {path} {wrong}; check its name")
            return made()
    endings = ", ".join(sorted(made.ending for _, made in FORMATS))
    raise MediaError(f"{path} is no exported file; their names end in {endings}")
