"""Exported files beside PyTorch on many images, with the comparison that every export makes."""

import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rle_onestage.export import FORMATS, Parity
from rle_onestage.export.exporting import ExportOptions, Given
from rle_onestage.export.formats import RunOptions
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.export.metadata import metadata_of
from rle_onestage.export.parity import EXACT, Outputs, compare, pytorch
from rle_onestage.predictor import Predictor

from .models import Model

# PyTorch with other convolutions: what is left of equality where nothing but the order of sums differs.
AGAIN = "PyTorch without oneDNN"


class Reference:
    """PyTorch's side, computed once for each image and kept.

    Args:
        model: that is asked.
        images: (H, W, 3) uint8 BGR each.
        path: of the .npz file where it is kept.
    """

    def __init__(self, model: Model, images: Sequence[np.ndarray], path: str):
        self.predictor = Predictor(model.cfg)
        self.size = InputSize(model.cfg.INPUT.MIN_SIZE_TEST, model.cfg.INPUT.MAX_SIZE_TEST)
        self.images = images
        self.kept = self._read(path) if os.path.exists(path) else self._compute(path)

    def __call__(self, image: np.ndarray, candidates: bool) -> Outputs:
        """Of one of the images: the very array."""
        number = next(number for number, each in enumerate(self.images) if each is image)
        return self.kept[number, candidates]

    def _compute(self, path: str) -> dict[tuple[int, bool], Outputs]:
        kept = {
            (number, candidates): pytorch(self.predictor, self.size, image, candidates)
            for number, image in enumerate(self.images)
            for candidates in (False, True)
        }
        # Any: NumPy 1.24 does not know the option that the newest types warn of.
        arrays: dict[str, Any] = {
            f"{n} {int(c)} {name}": part for (n, c), found in kept.items() for name, part in found.items()
        }
        with open(f"{path}.part", "wb") as file:
            np.savez(file, **arrays)
        os.replace(f"{path}.part", path)
        return kept

    @staticmethod
    def _read(path: str) -> dict[tuple[int, bool], Outputs]:
        kept: dict[tuple[int, bool], Outputs] = {}
        with np.load(path) as arrays:
            for key in arrays.files:
                number, candidates, name = key.split()
                kept.setdefault((int(number), candidates == "1"), {})[name] = arrays[key]
        return kept


def export_both(reference: Reference, format_name: str, folder: str) -> list[str]:
    """Write the file of a model, and the one that gives all candidates.

    Args:
        reference: of the model.
        format_name: one of ``FORMATS``.
        folder: for the files.

    Returns:
        Their paths.
    """
    kind, predictor, size, paths = FORMATS.get(format_name)(), reference.predictor, reference.size, []
    for name, candidates in (("people", False), ("candidates", True)):
        graph = PeopleGraph(predictor.model, size, candidates=candidates).eval()
        metadata = metadata_of(predictor, graph, "", [])
        metadata["image"]["batch"] = 0
        paths.append(os.path.join(folder, f"{name}{kind.ending}"))
        kind.save(graph, reference.images[0], paths[-1], metadata)
    return paths


def compare_format(reference: Reference, format_name: str) -> dict[str, Any]:
    """Export to a format and compare on all images.

    Args:
        reference: PyTorch's side.
        format_name: one of ``FORMATS``, or ``AGAIN``.

    Returns:
        See :func:`summary`.
    """
    begin = time.time()
    if format_name == AGAIN:
        return summary(
            compare(reference, reference.images, *(_Again(reference, each) for each in (False, True))), begin
        )
    with tempfile.TemporaryDirectory() as folder:
        kind, options = FORMATS.get(format_name)(), RunOptions(threads=1)
        paths = export_both(reference, format_name, folder)
        runs = [Given(kind.load(path, options), ExportOptions()) for path in paths]
        return summary(compare(reference, reference.images, *runs), begin)


class _Again:
    """PyTorch in the place of an exported file."""

    def __init__(self, reference: Reference, candidates: bool):
        self.reference, self.candidates = reference, candidates

    def __call__(self, image: np.ndarray) -> list[tuple[np.ndarray, Outputs]]:
        with torch.backends.mkldnn.flags(enabled=False):
            return [(image, pytorch(self.reference.predictor, self.reference.size, image, self.candidates))]


def summary(parity: Parity, begin: float) -> dict[str, Any]:
    """What the table shows, and more.

    Args:
        parity: of a format.
        begin: when the comparison began, in seconds.

    Returns:
        Counts, shares within the limits of ``EXACT``, largest differences, and what breaks these limits in words.
    """
    parts = {"joints": parity.joints, "sigmas": parity.sigmas, "scores": parity.scores, **parity.others}
    near = {"joints": EXACT.near}
    return {
        "images": parity.images,
        "people": parity.found,
        "people_differing": parity.lost,
        "compared": {name: len(values) for name, values in parts.items()},
        "beyond": {name: int((values > near.get(name, EXACT.of(name))).sum()) for name, values in parts.items()},
        "far": {
            name: int((values > EXACT.outer * near.get(name, EXACT.of(name))).sum()) for name, values in parts.items()
        },
        "largest": {name: float(values.max(initial=0)) for name, values in parts.items()},
        "faults": list(parity.faults),
        "seconds": round(time.time() - begin, 1),
    }
