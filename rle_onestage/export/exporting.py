"""From a config and weights to a file that gives the numbers of PyTorch, or no file."""

import contextlib
import copy
import functools
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from detectron2.config import CfgNode

from rle_onestage.errors import ConfigError, MediaError, counted
from rle_onestage.modeling import RLEOneStage
from rle_onestage.predictor import Predictor

from .formats import FORMATS, FewBits, Format, Runner, RunOptions
from .graph import InputSize, PeopleGraph
from .metadata import metadata_of
from .parity import EXACT, HALF, INT8, Limits, Parity, Reference, check, compare, pytorch

logger = logging.getLogger(__name__)


class ExportOptions(NamedTuple):
    """What is exported.

    Attributes:
        canvas: (height, width) that the network runs at, whatever the image; None: as the config resizes each image.
        rgb: the images are RGB instead of BGR.
        batch: images at once; 0: one image without a batch dimension.
        half: weights are stored in float16.
        calibration: (H, W, 3) uint8 BGR images to run the convolutions in 8 bits; none: they run in float32.
        licence: of the weights; None: that of the package's card for its own weights and for what is trained from
            them, else not stated.
        static: the images have the size of the canvas already, and nothing in the file depends on a size.
    """

    canvas: tuple[int, int] | None = None
    rgb: bool = False
    batch: int = 0
    half: bool = False
    calibration: Sequence[np.ndarray] = ()
    licence: str | None = None
    static: bool = False

    @property
    def limits(self) -> Limits:
        """How far from PyTorch the file may be."""
        if len(self.calibration):
            return INT8
        return HALF if self.half else EXACT


_AS_IT_IS = ExportOptions()
_DOZENS = 24  # images to calibrate on; with fewer there is a warning
_LARGE = 1500  # pixels of the longest side of the largest image that is made for the comparison


class Exported(NamedTuple):
    """What was written.

    Attributes:
        files: the paths.
        parity: with PyTorch; None where this package cannot run the format.
        padding: share of the canvas that is padding, on average of the images; 0 without a fixed one.
        depth_left_out: whether the model has a depth, which no file has.
    """

    files: list[str]
    parity: Parity | None
    padding: float = 0.0
    depth_left_out: bool = False

    @property
    def lines(self) -> list[str]:
        """For the terminal."""
        sizes = ", ".join(f"{file} ({_bytes_of(file) / 1e6:.1f} MB)" for file in self.files)
        lines = [f"{sizes}: {self.parity or 'converted, not run: its numbers are not compared with those of PyTorch'}"]
        if self.padding:
            lines.append(f"{100 * self.padding:.0f} % of what the network sees of these images is padding")
        if self.depth_left_out:
            lines.append("the model's depth is not exported: people of the file lie in the plane")
        return lines


def export_model(
    cfg: CfgNode,
    output: str,
    format: str = "onnx",
    *,
    images: Sequence[np.ndarray],
    weights: str | None = None,
    options: ExportOptions = _AS_IT_IS,
) -> Exported:
    """Write a model as one file from image to people, after a comparison with PyTorch.

    Args:
        cfg: a config.
        output: the file; its name has the ending of the format.
        format: a name of ``FORMATS``.
        images: (H, W, 3) uint8 BGR each, to compare on; images made of the first one are added.
        weights: a checkpoint; None takes ``MODEL.WEIGHTS``.
        options: what is exported.

    Raises:
        ConfigError: the format or the options are not known, or the model is not ours.
        CheckpointError: the weights cannot be read or do not fit.
        MediaError: the output exists, or cannot be written.
        MissingPackageError: the format needs a package that is not installed.
        NotEqualError: the file does not give PyTorch's numbers; there is none then.
    """
    kind: Format = FORMATS.get(format)()
    kind.check()
    check_output(output, kind)
    _check_bits(format, kind, options)
    options = _with_fixed_shapes(format, kind, options)
    weights = weights or cfg.MODEL.WEIGHTS
    predictor = _predictor(cfg, weights)
    canvas = _canvas(options, predictor)
    size = InputSize(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, canvas, options.static)
    graphs = [
        PeopleGraph(predictor.model, size, rgb=options.rgb, batched=options.batch > 0, candidates=everybody).eval()
        for everybody in (False, True)
    ]
    metadata = metadata_of(predictor, graphs[0], weights, list(cfg.DATASETS.TRAIN), options.licence)
    metadata["image"]["batch"] = options.batch
    metadata["weights_in"] = "int8" if len(options.calibration) else "float16" if options.half else "float32"
    seen, calibration = (
        _fitted(graphs[0], each, options) for each in ([*images, *derived(images[0])], options.calibration)
    )
    bits = FewBits(options.half, [_example(image, options) for image in calibration])
    done = "comparing with PyTorch" if kind.runs else "no comparison"
    logger.info("Converting to %s, then %s on %s", format, done, counted(len(seen), "image"))
    with _folder_beside(output) as made:
        paths = [os.path.join(made, f"{name}{kind.ending}") for name in ("people", "candidates")]
        for graph, path in list(zip(graphs, paths))[: 2 if kind.runs else 1]:
            kind.save(graph, _example(seen[0], options), path, metadata, bits)
        parity = None
        if kind.runs:
            parity = _compared(kind, paths, functools.partial(pytorch, predictor, size), seen, options)
            check(parity, output)
        padding = float(np.mean([size.padding(image) for image in images]))
        return Exported(_move(paths[0], output, kind), parity, padding, predictor.tells_depth)


def _compared(
    kind: Format, paths: Sequence[str], reference: Reference, images: Sequence[np.ndarray], options: ExportOptions
) -> Parity:
    """Files of people and of all candidates beside PyTorch; closed at the end, as some systems rename no open file."""
    runners = [Given(kind.load(path, RunOptions()), options) for path in paths]
    return compare(reference, images, *runners, limits=options.limits)


@contextlib.contextmanager
def _folder_beside(output: str) -> Iterator[str]:
    """A folder for what is not complete yet. Raises MediaError where it or a file in it cannot be written."""
    try:
        with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(output)), prefix=".rle-export") as made:
            yield made
    except OSError as error:
        raise MediaError(f"{output} cannot be written ({error.strerror or error}); check --output") from error


def _check_bits(format: str, kind: Format, options: ExportOptions) -> None:
    """Raises ConfigError where a format does not take fewer bits, and they are asked for; warns of few images."""
    for flag, given in (("half", options.half), ("int8", len(options.calibration))):
        if given and not kind.takes_few_bits:
            able = ", ".join(name for name, each in FORMATS if each.takes_few_bits)
            raise ConfigError(f"--{flag} is not for the format {format}; use one of {able}, or leave it out")
    if 0 < len(options.calibration) < _DOZENS:
        logger.warning(
            "--int8 is calibrated on %s only; give %d or more like those that the model will see, or AP may drop",
            counted(len(options.calibration), "image"),
            _DOZENS,
        )


def _with_fixed_shapes(format: str, kind: Format, options: ExportOptions) -> ExportOptions:
    """Options as a format takes them. Raises ConfigError where its shapes are fixed, and the size is not given."""
    if not kind.fixed:
        return options
    if options.canvas is None:
        raise ConfigError(f"files of the format {format} are for images of one size; give it with --size H W")
    return options._replace(static=True, batch=max(1, options.batch))


def _fitted(graph: PeopleGraph, images: Sequence[np.ndarray], options: ExportOptions) -> Sequence[np.ndarray]:
    """BGR images (H, W, 3) as a static file takes them; as they are for any other file."""
    if not graph.size.static:
        return images
    colour = graph.colour[:: -1 if options.rgb else 1]  # in BGR
    return [graph.size.fit(image, colour) for image in images]


def derived(image: np.ndarray) -> list[np.ndarray]:
    """Images of other shapes than one that a graph is traced with, so that no size of it stays in the graph.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        It as a portrait (or as a landscape), large, so that it shrinks for the network, and with odd sides.
    """
    height, width = image.shape[:2]
    larger = min(3.0, _LARGE / max(height, width))
    odd = image[: height * 3 // 4 | 1, : width * 3 // 4 | 1]
    made = [image.transpose(1, 0, 2), odd]
    if larger > 1:
        made.append(cv2.resize(image, None, fx=larger, fy=larger, interpolation=cv2.INTER_LINEAR))
    return [np.ascontiguousarray(each) for each in made]


class Given:
    """An exported file that is given BGR images one by one, whatever it takes.

    Args:
        runner: of the file.
        options: that it was exported with.
    """

    def __init__(self, runner: Runner, options: ExportOptions):
        self.runner, self.options = runner, options

    def __call__(self, image: np.ndarray) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """An image (H, W, 3) uint8 BGR with its outputs; in a batch its flips too, so that rows which mix are seen."""
        if not self.options.batch:
            return [(image, self.runner(_example(image, self.options)))]
        rows = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]][: self.options.batch]
        batch = np.stack([rows[number % len(rows)] for number in range(self.options.batch)])
        outputs = self.runner(np.ascontiguousarray(batch[..., ::-1] if self.options.rgb else batch))
        counts = outputs.pop("count").tolist()
        parts = [{name: values[row, :count] for name, values in outputs.items()} for row, count in enumerate(counts)]
        return [(np.ascontiguousarray(batch[row]), part) for row, part in enumerate(parts)]


def _example(image: np.ndarray, options: ExportOptions) -> np.ndarray:
    image = image[:, :, ::-1] if options.rgb else image
    return np.ascontiguousarray(np.stack([image] * options.batch) if options.batch else image)


def _predictor(cfg: CfgNode, weights: str) -> Predictor:
    """What the file is compared with, on the CPU.

    Raises:
        ConfigError: its architecture is not ours.
    """
    cfg = copy.deepcopy(cfg)
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    if cfg.MODEL.META_ARCHITECTURE != RLEOneStage.__name__:
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} cannot be exported; use one with RLEOneStage"
        )
    return Predictor(cfg, weights)


def _canvas(options: ExportOptions, predictor: Predictor) -> tuple[int, int] | None:
    """Raises ConfigError where a canvas is not of whole strides of the backbone, or is not given but needed."""
    canvas = options.canvas
    if options.static and canvas is None:
        raise ConfigError("--static needs the size of the images; give it with --size H W")
    side = max(predictor.model.backbone.size_divisibility, 1)
    if canvas is not None and (min(canvas) < 1 or any(length % side for length in canvas)):
        near = " ".join(str(-(-max(length, 1) // side) * side) for length in canvas)
        raise ConfigError(f"--size {canvas[0]} {canvas[1]} must be multiples of {side}; give --size {near}")
    return canvas


def check_output(path: str, kind: Format) -> None:
    """Raises MediaError where a file of a format cannot be written."""
    if not path.endswith(kind.ending):
        other = [f", or --format {name}" for name, each in FORMATS if path.endswith(each.ending)]
        raise MediaError(f"{path} does not end in {kind.ending}; give such a name with --output{''.join(other[:1])}")
    for ending in (kind.ending, *kind.further):
        there = path.removesuffix(kind.ending) + ending
        if os.path.lexists(there):
            raise MediaError(f"{there} exists already; remove it, or give another name with --output")
    folder = os.path.dirname(os.path.abspath(path))
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise MediaError(f"{path} cannot be written, check the folder {folder}; or give another one with --output")


def _bytes_of(file: str) -> int:
    """Size of a file, or of all files in a folder."""
    parts = [os.path.join(folder, name) for folder, _, names in os.walk(file) for name in names] or [file]
    return sum(map(os.path.getsize, parts))


def _move(made: str, output: str, kind: Format) -> list[str]:
    """Give a file, and those that go with it, their names; the one that is named last is complete then."""
    files: list[str] = []
    for ending in (*kind.further, kind.ending):
        path = output.removesuffix(kind.ending) + ending
        try:
            os.replace(made.removesuffix(kind.ending) + ending, path)
        except OSError as error:
            for named in files:  # half a model is none
                os.remove(named)
            raise MediaError(f"{path} cannot be written ({error.strerror}); check --output") from error
        files.append(path)
    return files[::-1]
