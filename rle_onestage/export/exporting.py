"""From a config and weights to a file that was compared with PyTorch."""

import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.modeling import RLEOneStage
from rle_onestage.predictor import Predictor

from .formats import FORMATS, Format
from .graph import InputSize, PeopleGraph
from .metadata import metadata_of


class ExportOptions(NamedTuple):
    """What is exported.

    Attributes:
        canvas: (height, width) that the network runs at; None: as the config resizes each image.
        rgb: the images are RGB instead of BGR.
        batch: images at once; 0: one image without a batch dimension.
    """

    canvas: tuple[int, int] | None = None
    rgb: bool = False
    batch: int = 0


def export_model(
    cfg: CfgNode, output: str, format: str = "onnx", *, weights: str | None = None,
    options: ExportOptions = ExportOptions(), images: Sequence[np.ndarray] = (),
) -> None:  # fmt: skip
    """Write a model as one file from image to people.

    Args:
        cfg: a config.
        output: the file.
        format: a name of ``FORMATS``.
        weights: a checkpoint; None takes ``MODEL.WEIGHTS``.
        options: what is exported.
        images: (H, W, 3) uint8 BGR, that the file is compared with PyTorch on.

    Raises:
        ConfigError: the format or the options are not known, or the model is not ours.
        CheckpointError: the weights cannot be read or do not fit.
        MediaError: the output exists, or cannot be written.
        MissingPackageError: the format needs a package that is not installed.
    """
    kind: Format = FORMATS.get(format)()
    kind.check()
    check_output(output, kind)
    predictor = Predictor(cfg, weights)
    if not isinstance(predictor.model, RLEOneStage):
        raise ConfigError(f"MODEL.META_ARCHITECTURE {type(predictor.model).__name__} cannot be exported; use RLEOneStage")
    size = InputSize(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, options.canvas)
    graph = PeopleGraph(predictor.model, size, rgb=options.rgb, batched=options.batch > 0).eval()
    metadata = metadata_of(predictor, graph, weights or cfg.MODEL.WEIGHTS, list(cfg.DATASETS.TRAIN))
    example = np.zeros((480, 640, 3), np.uint8)
    if options.batch:
        example = np.stack([example] * options.batch)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(output))) as folder:
        made = os.path.join(folder, os.path.basename(output))
        kind.save(graph, example, made, metadata)
        for name in os.listdir(folder):
            os.replace(os.path.join(folder, name), os.path.join(os.path.dirname(os.path.abspath(output)), name))


def check_output(path: str, kind: Format) -> None:
    """Raises MediaError where a file of a format cannot be written."""
    if not path.endswith(kind.ending):
        raise MediaError(f"{path} does not end in {kind.ending}; give such a name with --output")
    for ending in (kind.ending, *kind.further):
        there = path.removesuffix(kind.ending) + ending
        if os.path.lexists(there):
            raise MediaError(f"{there} exists already; remove it, or give another name with --output")
