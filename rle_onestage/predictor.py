"""Images in, people out."""

import contextlib
import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import nn

from .data.datasets import get_metadata, get_skeleton
from .data.mapper import TestResize, image_to_tensor
from .engine.checkpoint.named import no_weights
from .engine.models import as_run, build_for_inference
from .errors import ConfigError, DataError, PoseError, shown
from .modeling import RLEOneStage
from .modeling.tables import decoder_of
from .structures import (
    COCO,
    SKELETONS,
    ErrorDensity,
    Skeleton,
    map_joints,
    skeleton_from_category,
    stand_in_oks_sigmas,
)
from .structures.depth_density import SpaceDensity
from .structures.root import read_camera
from .structures.skeleton import STAND_INS
from .utils.safe_files import local_path

logger = logging.getLogger(__name__)

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Category(NamedTuple):
    """What a model finds, as COCO's files call it.

    Attributes:
        id: of the category.
        name: of the category.
    """

    id: int | str = 1
    name: str = "person"


class Predictor:
    """Finds the people in images.

        >>> predictor = Predictor(load_config("configs/quickstart.yaml"), "output/quickstart/model_final.pth")
        >>> people = predictor(cv2.imread("photo.jpg"))
        >>> people.pred_keypoints  # (N, K, 3): x, y in pixels and the expected OKS of each joint

    Args:
        cfg: a config (see ``rle_onestage.engine.setup.load_config``).
        checkpoint: weights; None takes ``MODEL.WEIGHTS``.
        model: a model that is ready, instead of one built from the config and a checkpoint; it runs as it is. One that
            is built here runs with its batch norms fused into the convolutions.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for the convolutions (poses are decoded in float32).

    Attributes:
        cfg: the config.
        model: in evaluation mode.
        device: where it is.
        precision: of its convolutions.
        resize: of the images that it is given.
        image_format: ``BGR`` or ``RGB``, as the model takes them.

    Raises:
        ConfigError: no config, no weights, unknown precision, or a model that needs boxes (``TopDownPose``).
        CheckpointError: the weights cannot be read or do not fit.
    """

    def __init__(
        self,
        cfg: CfgNode,
        checkpoint: str | None = None,
        *,
        model: nn.Module | None = None,
        precision: str = "float32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
        if not isinstance(cfg, CfgNode):
            raise ConfigError(f"cfg is {shown(cfg)}; give a config, as rle_onestage.load_config(path) returns it")
        if model is None:
            weights = checkpoint or cfg.MODEL.WEIGHTS
            if checkpoint:
                local_path(checkpoint, "check Predictor's argument checkpoint")
            if not weights:
                raise ConfigError(no_weights(cfg, ", or Predictor's argument checkpoint"))
            model = as_run(build_for_inference(cfg, weights))
        # Of any type: besides RLEOneStage it may be another architecture of Detectron2, or a stand-in for one.
        self.model: Any = model.eval()
        if getattr(model, "needs_boxes", False):
            raise ConfigError(
                f"{type(model).__name__} needs the boxes of people, and an image alone has none; call the model with "
                "boxes of your own, as the page Two stages of the documentation shows in Python, or give a model that "
                "finds people by itself"
            )
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.precision = precision
        self.resize = TestResize(cfg)
        self.image_format = cfg.INPUT.FORMAT
        self.cfg = cfg

    def __call__(self, image: np.ndarray, camera: Any = None) -> Instances:
        """People of one image.

        Args:
            image: (H, W, 3) uint8 BGR, as ``cv2.imread`` gives it.
            camera: intrinsics of a model with depth, see :func:`rle_onestage.structures.root.read_camera`; None: none.

        Returns:
            N people on the CPU, in the pixels of the image, best score first; the fields are ``pred_boxes``,
            ``scores`` (N,), ``pred_classes`` (N,), ``pred_keypoints`` (N, K, 3), ``pred_keypoint_sigmas`` (N, K, 2),
            ``pred_keypoint_covariances`` (N, K, 2, 2), ``pred_keypoint_presence`` (N, K) and, where it tells them apart
            (:attr:`tells_hidden`), ``pred_keypoint_visibility`` (N, K). A model
            with depth adds ``pred_keypoints_3d`` and ``pred_keypoint_3d_sigmas`` (N, K, 3), in millimetres relative to
            the root, ``pred_pixel_sizes`` (N,), and with a camera ``pred_roots_3d`` (N, 3).

        Raises:
            DataError: the image has another shape or type.
        """
        return self.batch([image], None if camera is None else [camera])[0]

    def batch(self, images: Sequence[np.ndarray], cameras: Sequence[Any] | None = None) -> list[Instances]:
        """People of several images.

        Args:
            images: each (H, W, 3) uint8 BGR; they may differ in size, and the model gets those of one size together.
            cameras: of the images, see :meth:`__call__`; None: none.

        Returns:
            The people of each, see :meth:`__call__`.

        Raises:
            DataError: an image has another shape or type.
        """
        inputs = [self._input(image) for image in images]
        for given, camera in zip(inputs, cameras or ()):
            if camera is not None and read_camera(camera) is None:
                raise ConfigError(
                    f"camera is {shown(camera)}; give its intrinsics in pixels, such as {{'focal': 1145.0, "
                    "'principal_point': [512.0, 515.5]}"
                )
            given["camera"] = camera
        # Padding to the size of another image changes what is found, so that only images of one size go together.
        groups: dict[torch.Size, list[int]] = {}
        for place, given in enumerate(inputs):
            groups.setdefault(given["image"].shape, []).append(place)
        people: dict[int, Instances] = {}
        with torch.no_grad(), self._autocast():
            for places in groups.values():
                outputs = self.model([inputs[place] for place in places])
                people.update(zip(places, (output["instances"].to(torch.device("cpu")) for output in outputs)))
        return [people[place] for place in range(len(inputs))]

    @functools.cached_property
    def skeleton(self) -> Skeleton:
        """The joints, see :func:`skeleton_for`."""
        recorded = getattr(self.model, "recorded_skeleton", None)
        return skeleton_for(self.cfg, getattr(self.model, "joint_names", None), recorded)

    @functools.cached_property
    def category(self) -> Category:
        """What is found, as the config's data sets call it, as far as these are on this machine."""
        for name in (*self.cfg.DATASETS.TRAIN, *self.cfg.DATASETS.TEST):
            with contextlib.suppress(PoseError, AttributeError):
                get_skeleton(self.cfg, name)
                metadata = get_metadata(name)
                return Category(next(iter(metadata.thing_dataset_id_to_contiguous_id)), metadata.thing_classes[0])
        return Category()

    @property
    def error_density(self) -> ErrorDensity:
        """The density of a joint's error about its point, on the CPU.

        ``half_width(0.9) * pred_keypoint_sigmas`` to each side of a point is the interval that holds the coordinate
        with a probability of 0.9.

        Raises:
            ConfigError: the model predicts none.
        """
        decoder = decoder_of(self.model)
        if decoder is None:
            raise ConfigError(
                f"{type(self.model).__name__} has no density of errors; use RLEOneStage, or RLEKeypointHead as its head"
            )
        return decoder.error_density().to("cpu")  # where the people are

    @property
    def tells_hidden(self) -> bool:
        """Whether the model tells hidden joints from visible ones; True for other architectures, which may."""
        return not isinstance(self.model, RLEOneStage) or self.model.tells_hidden

    @property
    def tells_depth(self) -> bool:
        """Whether people come with ``pred_keypoints_3d``; True for other architectures, which may."""
        return not isinstance(self.model, RLEOneStage) or self.model.tells_depth

    @property
    def space_density(self) -> SpaceDensity:
        """Intervals of joints in space, on the CPU.

        ``half_width(0.9) * pred_keypoint_3d_sigmas`` to each side of a point is the interval that holds the coordinate
        with a probability of 0.9.

        Raises:
            ConfigError: the model predicts no depth.
        """
        decoder = decoder_of(self.model)
        density = None if decoder is None else decoder.space_density()
        if density is None:
            raise ConfigError(
                f"{type(self.model).__name__} predicts no depth; set MODEL.RLE_ONESTAGE.DEPTH.ENABLED and train it"
            )
        return SpaceDensity(levels=density.levels.cpu())

    def _input(self, image: np.ndarray) -> dict[str, Any]:
        """An image as the model takes it."""
        check_image(image)
        tensor = image_to_tensor(self.resize(image), self.image_format)
        return {"image": tensor, "height": image.shape[0], "width": image.shape[1]}

    def _autocast(self) -> contextlib.AbstractContextManager:
        dtype = PRECISIONS[self.precision]
        return contextlib.nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)


# By the name of the type, for what is often given instead of an array.
_REMEDIES = {
    "str": "read the file with cv2.imread or rle_onestage.data.read_image",
    "PosixPath": "read the file with cv2.imread or rle_onestage.data.read_image",
    "Tensor": "give tensor.permute(1, 2, 0).numpy() if it is uint8 and BGR",
    "Image": "give numpy.asarray(image.convert('RGB'))[:, :, ::-1]",
    "list": "give several images to Predictor.batch",
    "tuple": "give several images to Predictor.batch",
}


def check_image(image: Any) -> None:
    """Refuse what is no image.

    Args:
        image: should be (H, W, 3) uint8 BGR, of at least one pixel.

    Raises:
        DataError: it is something else; says what to do with it.
    """
    if image is None:
        raise DataError(
            "the image is None, which cv2.imread gives for a file that is missing or no image: check its path, or use "
            "rle_onestage.data.read_image, which says what is wrong"
        )
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"an image must be a numpy array (H, W, 3) uint8 in BGR, not {type(image).__name__}; "
            f"{_REMEDIES.get(type(image).__name__, 'use rle_onestage.data.read_image')}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        remedy = "use cv2.cvtColor to BGR" if image.ndim == 2 or image.shape[-1] in (1, 4) else "check the array"
        raise DataError(f"an image must have the shape (H, W, 3), not {image.shape}; {remedy}")
    if image.dtype != np.uint8:
        raise DataError(f"an image must be uint8 from 0 to 255, not {image.dtype}; scale and convert it first")


def skeleton_for(cfg: CfgNode, joints: Sequence[str] | None = None, recorded: Skeleton | None = None) -> Skeleton:
    """The joints that a config's model predicts, also where its data sets are not on this machine.

    Looked for in the data sets of the config; else those that the checkpoint describes or names; else COCO's for 17
    joints, CrowdPose's for 14, MPII's for 16 (with a warning), else joints without names and limbs.

    Args:
        cfg: the config.
        joints: names that came with the weights, or None.
        recorded: what else did, or None.
    """
    reasons = []
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        try:
            return get_skeleton(cfg, name)
        except DataError as error:
            reasons.append(str(error))
    if recorded is not None:
        given = tuple(cfg.TEST.KEYPOINT_OKS_SIGMAS)
        return replace(recorded, oks_sigmas=given, has_oks_sigmas=True) if given else recorded
    if joints:
        return _named_skeleton(cfg, joints)
    number = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    if number == COCO.num_joints:
        return COCO
    if reasons:
        logger.warning("%s", reasons[0])
    for skeleton in SKELETONS.values():
        if skeleton.num_joints == number:
            logger.warning(
                "The %d joints are drawn as those of %s; set DATASETS.TEST to name them", number, skeleton.name
            )
            return skeleton
    logger.warning("The %d joints are drawn without names and limbs; set DATASETS.TEST to name them", number)
    names = tuple(f"joint{i}" for i in range(number))
    return Skeleton("unknown", names, (), (), stand_in_oks_sigmas(names), False, STAND_INS)


def _named_skeleton(cfg: CfgNode, joints: Sequence[str]) -> Skeleton:
    """The built-in skeleton of these joints; else one with the limbs of the built-in one that has most of them."""
    for skeleton in SKELETONS.values():
        if list(skeleton.names) == list(joints):
            return skeleton
    limbs: list[tuple[int, int]] = []
    for skeleton in SKELETONS.values():
        place = map_joints(joints, skeleton.names)
        found = [(place[a] + 1, place[b] + 1) for a, b in skeleton.limbs if min(place[a], place[b]) >= 0]
        limbs = max(limbs, found, key=len)
    category = {"name": "checkpoint", "keypoints": joints, "skeleton": limbs}
    return skeleton_from_category(category, cfg.DATASETS.KEYPOINT_FLIP_PAIRS, cfg.TEST.KEYPOINT_OKS_SIGMAS)
