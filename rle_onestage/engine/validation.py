"""Does a config make sense? Values and how they fit together, before anything expensive starts."""

import math

from detectron2.config import CfgNode as CN

from rle_onestage.errors import ConfigError, check_score
from rle_onestage.modeling.build import flow_groups

CHOICES = {
    "MODEL.RLE_ONESTAGE.STYLE": ("fcos", "centernet"),
    "MODEL.RLE_ONESTAGE.DENSITY": ("rle", "rle_released", "laplace", "gaussian", "flow", "l1", "l2"),
    "MODEL.RLE_ONESTAGE.PRESET": ("laplace", "gaussian"),
    "MODEL.RLE_ONESTAGE.SIGMA.FORM": ("softplus", "sigmoid", "box"),
    "MODEL.RLE_ONESTAGE.SIGMA.PER": ("coordinate", "joint"),
    "MODEL.RLE_ONESTAGE.HEAD.CONV": ("full", "separable"),
    "MODEL.RLE_ONESTAGE.ASSIGN.NAME": ("dynamic", "center", "peak"),
    "MODEL.RLE_ONESTAGE.TRUNK.NORM": ("train", "frozen"),
    "SOLVER.OPTIMIZER": ("SGD", "AdamW"),
    "SOLVER.AMP.DTYPE": ("bfloat16", "float16"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("norm", "full_model", "value"),
    "SOLVER.LR_SCHEDULER_NAME": ("WarmupMultiStepLR", "WarmupCosineLR"),
    "SOLVER.WARMUP_METHOD": ("linear", "constant"),
    "INPUT.FORMAT": ("BGR", "RGB"),
}
SHARES = (
    "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH",
    "MODEL.RLE_ONESTAGE.TEST.BOX_NMS",
    "MODEL.RLE_ONESTAGE.TEST.OKS_NMS",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
)
AT_LEAST_ONE = (
    "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS",
    "MODEL.RLE_ONESTAGE.HEAD.CHANNELS",
    "MODEL.RLE_ONESTAGE.HEAD.EMBEDDING",
    "MODEL.RLE_ONESTAGE.TEST.TOPK",
    "MODEL.RLE_ONESTAGE.MOVENET.CHANNELS",
    "INPUT.POSE.COPY_PASTE_MOST",
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.MAX_ITER",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.LOG_PERIOD",
    "TEST.DETECTIONS_PER_IMAGE",
    "TEST.MAX_PEOPLE",
)
NOT_NEGATIVE = (
    "SOLVER.WARMUP_ITERS",
    "SOLVER.WARMUP_FACTOR",
    "SOLVER.WEIGHT_DECAY",
    "SOLVER.EMA.WARMUP",
    "SOLVER.CHECKPOINT_KEEP",
    "SOLVER.TRUNK_MULTIPLIER",
    "TEST.EVAL_PERIOD",
    "DATALOADER.NUM_WORKERS",
)
# Where the builders of this project find what their network starts from.
PRETRAINED_KEYS = {
    "build_timm_fpn_backbone": "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED",
    "build_movenet_backbone": "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED",
}
# Groups in which every number counts or measures something, so that none may be negative.
NOT_NEGATIVE_GROUPS = ("MODEL.RLE_ONESTAGE", "INPUT.POSE")


def get(cfg, name):
    """The value of a dotted key."""
    for part in name.split("."):
        cfg = cfg[part]
    return cfg


def validate(cfg):
    """Check values and their combinations.

    Raises:
        ConfigError: names the key, its value and what it may be.
    """
    for name, choices in CHOICES.items():
        if get(cfg, name) not in choices:
            raise ConfigError(f"{name} is {get(cfg, name)!r}; choose one of {', '.join(choices)}")
    for name in AT_LEAST_ONE:
        if get(cfg, name) < 1:
            raise ConfigError(f"{name} is {get(cfg, name)}; it must be at least 1")
    for name in SHARES:
        check_score(get(cfg, name), name)
    for name in NOT_NEGATIVE:
        if get(cfg, name) < 0:
            raise ConfigError(f"{name} is {get(cfg, name)}; it must not be negative")
    if cfg.MODEL.BACKBONE.FREEZE_AT < -1:
        raise ConfigError(
            f"MODEL.BACKBONE.FREEZE_AT is {cfg.MODEL.BACKBONE.FREEZE_AT}; it must be 0 (nothing), a number of stages, "
            "or -1 (the whole trunk)"
        )
    momentum = cfg.MODEL.RLE_ONESTAGE.TRUNK.NORM_MOMENTUM
    if momentum > 1:
        raise ConfigError(f"MODEL.RLE_ONESTAGE.TRUNK.NORM_MOMENTUM is {momentum}; it must be between 0 and 1")
    for group in NOT_NEGATIVE_GROUPS:
        _check_signs(get(cfg, group), group)
    for key, value in cfg.MODEL.RLE_ONESTAGE.PARTIAL.items():
        if value > 1:
            raise ConfigError(f"MODEL.RLE_ONESTAGE.PARTIAL.{key} is {value}; it must be between 0 and 1")
    _check_trunk(cfg)
    _check_solver(cfg)
    _check_keypoints(cfg)
    _check_style(cfg)
    for name in ("TEST.PRECISE_BN.ENABLED", "TEST.AUG.ENABLED", "MODEL.LOAD_PROPOSALS"):
        if get(cfg, name):
            raise ConfigError(f"{name} is not supported here; set it to False")


def validate_training(cfg):
    """Check what matters only where weights are trained.

    Raises:
        ConfigError: ``MODEL.BACKBONE.FREEZE_AT`` would freeze weights that nobody trained.
    """
    key = PRETRAINED_KEYS.get(cfg.MODEL.BACKBONE.NAME)
    at, norm = cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.RLE_ONESTAGE.TRUNK.NORM
    frozen = f"MODEL.BACKBONE.FREEZE_AT is {at}" if at else f"MODEL.RLE_ONESTAGE.TRUNK.NORM is {norm}"
    if key and (at or norm == "frozen") and not get(cfg, key) and not cfg.MODEL.WEIGHTS:
        raise ConfigError(
            f"{frozen}, which would freeze random weights, because {key} and MODEL.WEIGHTS "
            "name none; set it to 0, or name weights to start from"
        )


def _check_signs(node, prefix):
    for key, value in node.items():
        name = f"{prefix}.{key}"
        if isinstance(value, CN):
            _check_signs(value, name)
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(number, (int, float)) and not isinstance(number, bool) and not number >= 0:
                raise ConfigError(f"{name} is {value}; it must not be negative")


def _check_trunk(cfg):
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


def _check_solver(cfg):
    solver = cfg.SOLVER
    if not (solver.BASE_LR > 0 and math.isfinite(solver.BASE_LR)):
        raise ConfigError(f"SOLVER.BASE_LR is {solver.BASE_LR}; it must be positive")
    if not 0 <= solver.EMA.DECAY < 1:
        raise ConfigError(f"SOLVER.EMA.DECAY is {solver.EMA.DECAY}; it must be at least 0 and below 1")
    if solver.CLIP_GRADIENTS.ENABLED and not solver.CLIP_GRADIENTS.CLIP_VALUE > 0:
        raise ConfigError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_VALUE is {solver.CLIP_GRADIENTS.CLIP_VALUE}; it must be positive"
        )
    if not 0 < solver.LAYER_DECAY <= 1:
        raise ConfigError(f"SOLVER.LAYER_DECAY is {solver.LAYER_DECAY}; it must be above 0 and at most 1 (off)")
    steps = list(solver.STEPS)
    if any(not isinstance(step, int) or step < 0 for step in steps) or steps != sorted(steps):
        raise ConfigError(f"SOLVER.STEPS is {solver.STEPS}; it must be iterations in ascending order")


def _check_keypoints(cfg):
    flow_groups(cfg)
    joints, sigmas = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, cfg.TEST.KEYPOINT_OKS_SIGMAS
    if len(sigmas) not in (0, joints):
        raise ConfigError(
            f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS is {joints}; "
            "give one for each joint, or [] for those of the data set"
        )
    if any(isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not sigma > 0 for sigma in sigmas):
        raise ConfigError(f"TEST.KEYPOINT_OKS_SIGMAS is {list(sigmas)}; every value must be a positive number")


def _check_style(cfg):
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
    if (model.STYLE == "centernet") != (model.ASSIGN.NAME == "peak"):
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.ASSIGN.NAME {model.ASSIGN.NAME!r} does not go with STYLE {model.STYLE!r}; "
            "centernet goes with peak, fcos with dynamic or center"
        )
