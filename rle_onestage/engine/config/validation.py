"""Does a config make sense? Values and how they fit together, before anything expensive starts."""

import re
from typing import Any

from detectron2.config import CfgNode

from rle_onestage.data.transforms.stock import build_augmentations
from rle_onestage.engine.config.files import place_of
from rle_onestage.engine.config.schema import check_values
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.meta_arch.build import assigner_name, flow_groups
from rle_onestage.utils.packaged_files import config_path

# Where the builders of this project find what their network starts from.
PRETRAINED_KEYS = {
    "build_timm_fpn_backbone": "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED",
    "build_movenet_backbone": "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED",
}

_KEY = re.compile(r"[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)+")


def get(cfg: CfgNode, name: str) -> Any:
    """The value of a dotted key."""
    for part in name.split("."):
        cfg = cfg[part]
    return cfg


def validate(cfg: CfgNode) -> None:
    """Check every value by itself (:mod:`.schema`), and how they fit together.

    Raises:
        ConfigError: names the key, its value and what it may be.
    """
    check_values(cfg)
    _check_trunk(cfg)
    _check_solver(cfg)
    _check_keypoints(cfg)
    _check_style(cfg)
    _check_images(cfg)
    if cfg.MODEL.META_ARCHITECTURE == "TopDownPose" and cfg.INPUT.MAPPER == "PoseMapper":
        raise ConfigError(
            "MODEL.META_ARCHITECTURE is TopDownPose, which needs boxes at test; set INPUT.MAPPER to GivenBoxesMapper"
        )


def from_elsewhere(cfg: CfgNode, message: str, config_file: str) -> str:
    """A message about keys, with the places of those that the config file does not give itself.

    Args:
        cfg: that the message is about.
        message: names keys.
        config_file: which is blamed; "" where there is none.
    """
    places: dict[str, str] = {}
    itself = config_path(config_file) if config_file else ""
    for key in dict.fromkeys(_KEY.findall(message)):
        try:
            place = place_of(cfg, key)
        except (KeyError, AttributeError, TypeError):  # the end of a longer name
            continue
        if place and not place.startswith(f"config file {itself},"):
            places[key] = place
    return "; ".join([message, *(f"{key} is from the {place}" for key, place in places.items())])


def validate_training(cfg: CfgNode) -> None:
    """Check what matters only where weights are trained.

    Raises:
        ConfigError: an augmentation of ``INPUT.AUGMENTATIONS`` does not take the values of its options.
    """
    build_augmentations(cfg.INPUT.AUGMENTATIONS)  # by names they were checked before, but only making them tells all


def _check_trunk(cfg: CfgNode) -> None:
    name, at, movenet = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.RLE_ONESTAGE.MOVENET
    if at == -1 and name not in PRETRAINED_KEYS:
        raise ConfigError(
            f"MODEL.BACKBONE.FREEZE_AT is -1 (the whole trunk), which {name} does not know; give a number of stages"
        )
    if name == "build_movenet_backbone":
        if cfg.INPUT.FORMAT != "RGB":
            raise ConfigError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}, but MoveNet's weights want RGB; set it to RGB")
        if len(set(movenet.OUT_FEATURES)) != len(movenet.OUT_FEATURES):
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.MOVENET.OUT_FEATURES is {list(movenet.OUT_FEATURES)}; name each output once"
            )


def _check_solver(cfg: CfgNode) -> None:
    solver = cfg.SOLVER
    if solver.CLIP_GRADIENTS.ENABLED and not solver.CLIP_GRADIENTS.CLIP_VALUE > 0:
        raise ConfigError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_VALUE is {solver.CLIP_GRADIENTS.CLIP_VALUE}; it must be positive"
        )
    if solver.OPTIMIZER == "SGD" and solver.NESTEROV and not solver.MOMENTUM:
        raise ConfigError("SOLVER.NESTEROV is True, but SOLVER.MOMENTUM is 0, without which there is none; raise it")
    reference = solver.REFERENCE_WORLD_SIZE
    if reference and solver.IMS_PER_BATCH % reference:
        raise ConfigError(
            f"SOLVER.REFERENCE_WORLD_SIZE is {reference}, which SOLVER.IMS_PER_BATCH, {solver.IMS_PER_BATCH}, is no "
            "multiple of; set it to 0, or to the number of processes that the schedule is meant for"
        )


def _check_keypoints(cfg: CfgNode) -> None:
    flow_groups(cfg)
    joints, sigmas = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, cfg.TEST.KEYPOINT_OKS_SIGMAS
    if len(sigmas) not in (0, joints):
        raise ConfigError(
            f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS is {joints}; "
            "give one for each joint, or [] for those of the data set"
        )


def _check_style(cfg: CfgNode) -> None:
    model = cfg.MODEL.RLE_ONESTAGE
    if not model.IN_FEATURES:
        raise ConfigError("MODEL.RLE_ONESTAGE.IN_FEATURES is empty; name the backbone's levels, e.g. [p3, p4, p5]")
    heads, channels = model.REFINE.ATTENTION, model.REFINE.CHANNELS
    if heads and channels % heads:
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.REFINE.ATTENTION is {heads}; it must be 0 or divide REFINE.CHANNELS, {channels}"
        )
    if model.STYLE == "centernet" and len(model.IN_FEATURES) != 1:
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.IN_FEATURES is {list(model.IN_FEATURES)}, but STYLE centernet works on one level; "
            "name one, e.g. [p2]"
        )
    name = assigner_name(cfg)
    sizes, levels = model.ASSIGN.LEVEL_SIZES, len(model.IN_FEATURES)
    if name == "center" and len(sizes) < levels - 1:
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.ASSIGN.LEVEL_SIZES is {list(sizes)}, but IN_FEATURES has {levels} levels; give the "
            "largest box side of each level but the last"
        )


def _check_images(cfg: CfgNode) -> None:
    inputs = cfg.INPUT
    if inputs.MIN_SIZE_TRAIN_SAMPLING == "range":
        low, high = inputs.MIN_SIZE_TRAIN[0], inputs.MIN_SIZE_TRAIN[-1]
        if len(inputs.MIN_SIZE_TRAIN) != 2 or not low <= high:
            raise ConfigError(
                f"INPUT.MIN_SIZE_TRAIN is {inputs.MIN_SIZE_TRAIN}, but MIN_SIZE_TRAIN_SAMPLING range takes two sides, "
                "the smaller first"
            )
    crop = inputs.CROP
    if crop.ENABLED and crop.TYPE.startswith("relative") and max(crop.SIZE) > 1:
        raise ConfigError(f"INPUT.CROP.SIZE is {list(crop.SIZE)}; with CROP.TYPE {crop.TYPE} these are shares up to 1")
