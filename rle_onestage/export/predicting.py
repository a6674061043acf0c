"""An exported file with the interface of :class:`~rle_onestage.predictor.Predictor`."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.errors import ConfigError, DataError
from rle_onestage.predictor import Category, check_image
from rle_onestage.structures import ErrorDensity, Skeleton

from .formats import RunOptions, format_of
from .graph import InputSize
from .metadata import density_from, order_of

_MOST_THREADS = 1024  # a runtime starts all of them, whatever the machine has


class ExportedPredictor:
    """Finds the people in images with an exported file; made by :func:`load`.

    Args:
        path: of the file.
        options: how it is run.

    Attributes:
        metadata: what the file says about itself.
        skeleton: the joints.
        category: what is found.
        tells_hidden: whether hidden joints are told from visible ones.
        tells_depth: False; exported files have no depth.
    """

    tells_depth = False

    def __init__(self, path: str, options: RunOptions):
        self.path = path
        self.run = format_of(path).load(path, options)
        self.metadata = self.run.metadata
        self.precision = options.precision
        self.skeleton = skeleton_from(self.metadata)
        self.category = Category(**self.metadata["category"])
        self.tells_hidden = "visibility" in self.metadata["outputs"]
        self.image_format = self.metadata["image"]["channels"]
        self.device = torch.device("cpu")  # where the people are
        self._density = density_from(self.metadata)
        self._batch: int = self.metadata["image"]["batch"]
        size = self.metadata["size"]
        self._size = InputSize(size["shortest"], size["longest"], size["canvas"], size.get("static", False))
        self._colour = size.get("colour", [])  # files of earlier versions have neither

    def __call__(self, image: np.ndarray) -> Instances:
        """People of one image, see :class:`~rle_onestage.predictor.Predictor`.

        Args:
            image: (H, W, 3) uint8 BGR.

        Raises:
            DataError: the image has another shape or type.
        """
        return self.batch([image])[0]

    def batch(self, images: Iterable[np.ndarray]) -> list[Instances]:
        """People of several images.

        Args:
            images: each (H, W, 3) uint8 BGR; they may differ in size.

        Raises:
            DataError: an image has another shape or type.
        """
        images = list(images)
        for image in images:
            check_image(image)
        return [people for group in self._groups(images) for people in self._people(group)]

    def _groups(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Neighbours of one size (of any, where all are made as large as the canvas), as many as are taken at once."""
        for _, alike in itertools.groupby(images, lambda image: () if self._size.static else image.shape):
            rest = list(alike)
            while rest:
                yield rest[: self._batch or 1]
                rest = rest[self._batch or 1 :]

    def _people(self, images: list[np.ndarray]) -> list[Instances]:
        """Of a group."""
        given = [image if self.image_format == "BGR" else image[:, :, ::-1] for image in images]
        if self._size.static:
            given = [self._size.fit(image, self._colour) for image in given]
        # What is missing of a whole batch is filled up with the last image.
        array = np.stack(given + given[-1:] * (self._batch - len(given))) if self._batch else given[0]
        try:
            outputs = self.run(array)
        except Exception as error:  # of the types of each runtime
            size = "x".join(map(str, images[0].shape[:2]))
            raise DataError(f"{self.path} does not take an image of {size} pixels ({error}); try another") from error
        parts = [outputs]
        if self._batch:
            counts = outputs.pop("count").tolist()
            parts = [{name: of[row, :count] for name, of in outputs.items()} for row, count in enumerate(counts)]
        if self._size.static:
            parts = [self._in_image(part, image) for part, image in zip(parts, images)]
        return [to_instances(part, image.shape[:2]) for part, image in zip(parts, images)]

    def _in_image(self, outputs: dict[str, np.ndarray], image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs on the canvas as outputs in pixels of the image, without people who lie beyond its borders."""
        size = np.array(image.shape[1::-1], np.float32)
        scale = size / np.array(self._size.sides_on_canvas(image)[::-1], np.float32)
        made = dict(outputs)
        made["boxes"] = np.clip(outputs["boxes"] * np.tile(scale, 2), 0, np.tile(size, 2))
        made["keypoints"] = np.concatenate([outputs["keypoints"][..., :2] * scale, outputs["keypoints"][..., 2:]], -1)
        made["sigmas"] = outputs["sigmas"] * scale
        made["covariances"] = outputs["covariances"] * np.outer(scale, scale)
        made["areas"] = outputs["areas"] * scale.prod()
        within = (made["boxes"][:, 2:] > made["boxes"][:, :2]).all(-1)
        return {name: values[within] for name, values in made.items()}

    @property
    def error_density(self) -> ErrorDensity:
        """See :class:`~rle_onestage.predictor.Predictor`."""
        return self._density


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, providers: str | Sequence[str] = (),
    precision: str = "float32", workers: int = 1,
) -> ExportedPredictor:  # fmt: skip
    """Load an exported file.

        >>> people = load("people.onnx", threads=2)(cv2.imread("photo.jpg"))

    Args:
        path: of the file.
        threads: of the runtime; None: its default.
        providers: execution providers of ONNX Runtime, such as ``CUDAExecutionProvider``, or a device of OpenVINO; one,
            or several.
        precision: "float32"; or "bfloat16" for OpenVINO on CPUs that have it.
        workers: threads of the caller that use it at the same time, and share ``threads``.

    Raises:
        MediaError: it is no exported file.
        MissingPackageError: its runtime is not installed.
        ConfigError: an option is not known, or no number of threads; or the file is of Core ML, which is not here.
    """
    for name, count in (("threads", 1 if threads is None else threads), ("workers", workers)):
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_THREADS:
            raise ConfigError(f"{name} is {count!r}; it must be a whole number from 1 to {_MOST_THREADS}")
    names = (providers,) if isinstance(providers, str) else tuple(providers)
    return ExportedPredictor(os.fspath(path).rstrip(os.sep), RunOptions(threads, names, precision, workers))


def to_instances(outputs: dict[str, np.ndarray], size: tuple[int, int]) -> Instances:
    """Outputs by name as Detectron2's ``Instances``.

    Args:
        outputs: of N people.
        size: (height, width) of the image.
    """
    found = {name: torch.from_numpy(np.array(values, np.float32)) for name, values in outputs.items()}
    people = Instances(size)
    people.pred_boxes = Boxes(found["boxes"])
    people.scores = found["scores"]
    people.pred_classes = torch.zeros(len(found["scores"]), dtype=torch.int64)
    people.pred_keypoints = found["keypoints"]
    for name in ("sigmas", "covariances", "presence", "visibility"):
        if name in found:
            people.set(f"pred_keypoint_{name}", found[name])
    people.pred_areas = found["areas"]
    return people


def skeleton_from(metadata: dict[str, Any]) -> Skeleton:
    """The joints that a file names."""
    return Skeleton(
        name=metadata["skeleton"],
        names=tuple(metadata["joint_names"]),
        flip_pairs=tuple((a, b) for a, b in metadata["flip_pairs"]),
        limbs=tuple((a, b) for a, b in metadata["limbs"]),
        oks_sigmas=tuple(metadata["oks_sigmas"]),
        has_oks_sigmas=True,
        oks_source="the exported file",
    )


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What an exported file says about itself, see :func:`~.metadata.metadata_of`.

    Args:
        path: of the file.

    Raises:
        MediaError: it is no exported file.
        MissingPackageError: its runtime is not installed.
    """
    path = os.fspath(path).rstrip(os.sep)  # of a folder that was completed by Tab
    metadata = format_of(path).describe(path)
    return {key: metadata[key] for key in sorted(metadata, key=order_of) if key != "density"}
