"""The schema of the config: the type, range and choices of every key of ours, and of Detectron2's that are read here.

Ranges are wide: they keep out what cannot work (a probability of 2) or would take all memory (a million channels), not
what is unusual. How keys fit together is checked in :mod:`.validation`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.config import CfgNode as CN

from rle_onestage.config import add_rle_onestage_config
from rle_onestage.data.mapper import MAPPER_REGISTRY
from rle_onestage.data.transforms.stock import augmentation_entries
from rle_onestage.engine.config.named_parts import Entries, ModuleName, Registered, keypoint_files
from rle_onestage.engine.config.rules import (
    Checked,
    Choice,
    Either,
    Flag,
    Items,
    Like,
    Misfit,
    Number,
    Text,
    choice,
    real,
    share,
    whole,
)
from rle_onestage.engine.registries import HOOK_REGISTRY
from rle_onestage.errors import ConfigError, shown
from rle_onestage.evaluation.registry import EVALUATOR_REGISTRY
from rle_onestage.modeling.assignment import ASSIGNER_REGISTRY
from rle_onestage.modeling.density import DENSITY_REGISTRY
from rle_onestage.modeling.head import HEAD_REGISTRY

_CHANNELS = whole(1, 8192)
_SIDE = whole(0, 32_768)  # of images, pixels
_COUNT = whole(1, 10**9)
_FACTOR = real(0, 1e6)
_NAME, _NAMES = Text(some=True), Items(Text(some=True), most=1000)
_NORM = choice("GN", "BN")
_D2_NORM = choice("", "BN", "SyncBN", "FrozenBN", "GN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N", "LN")
_RESULT: tuple[Text | Number, ...] = (_NAME, _NAME, Number(), real())  # of TEST.EXPECTED_RESULTS
_LEVELS = Items(choice(*(f"p{n}" for n in range(1, 8))), least=1, most=7)

MODEL_KEYS = {
    "STYLE": choice("fcos", "centernet"),
    "NUM_KEYPOINTS": whole(1, 1000),
    "IN_FEATURES": Items(_NAME, most=20),
    "HEAD.NAME": Registered(HEAD_REGISTRY),
    "HEAD.CHANNELS": _CHANNELS,
    "HEAD.NUM_CONVS": whole(0, 32),
    "HEAD.CONV": choice("full", "separable"),
    "HEAD.NORM": _NORM,
    "HEAD.EMBEDDING": _CHANNELS,
    "HEAD.PRIOR_PROB": share(above=True, below=True),
    "HEAD.QUALITY": Flag(),
    "HEAD.VISIBILITY": Flag(),
    "TIMM.NAME": _NAME,
    "TIMM.PRETRAINED": Either((Flag(), Text()), nothing=True),
    "TIMM.FPN_CHANNELS": _CHANNELS,
    "TIMM.FINE_CHANNELS": whole(0, 8192),
    "TIMM.FINE_DECONV": Flag(),
    "TIMM.OUT_FEATURES": _LEVELS,
    "TIMM.NORM": _NORM,
    "TIMM.DROP_PATH": share(below=True),
    "TRUNK.NORM": choice("train", "frozen"),
    "TRUNK.NORM_MOMENTUM": share(),
    "MOVENET.PRETRAINED": Text(),
    "MOVENET.HEADS": Flag(),
    "MOVENET.CHANNELS": _CHANNELS,
    "MOVENET.OUT_FEATURES": Items(_NAME, least=1, most=20),
    "MOVENET.NORM": _NORM,
    "SCALE.FLOOR": real(0, 1e4),
    "SCALE.INIT": real(0, 1e4, above=True),
    "SCALE.FORM": choice("softplus", "sigmoid", "box"),
    "SCALE.PER": choice("coordinate", "joint"),
    "DENSITY": Registered(DENSITY_REGISTRY),
    "PRESET": choice("laplace", "gaussian", "student"),
    "STUDENT.GROUPS": choice("pairs", "each", "all"),
    "FLOW.COUPLINGS": whole(1, 64),
    "FLOW.HIDDEN": whole(1, 4096),
    "FLOW.GROUPS": Items(Items(whole(0, 999), least=1)),
    "FLOW.WARMUP_ITERS": whole(0, 10**9),
    "DEPTH.ENABLED": Flag(),
    "DEPTH.DENSITY": Registered(DENSITY_REGISTRY, or_empty=True),
    "REFINE.STEPS": whole(0, 20),
    "REFINE.TEST_STEPS": whole(0, 20),
    "REFINE.IN_FEATURE": _NAME,
    "REFINE.CONTEXT_FEATURES": Items(_NAME, most=20),
    "REFINE.CHANNELS": _CHANNELS,
    "REFINE.MAP_CHANNELS": whole(0, 8192),
    "REFINE.ATTENTION": whole(0, 8192),
    "REFINE.SEARCH": Flag(),
    "REFINE.NOISE": real(0, 1e3),
    "REFINE.NOISE_DRAWS": whole(0, 100),
    "REFINE.SCALE_INIT": real(0, 1e4, above=True),
    "REFINE.PER_PERSON": whole(0, 1000),
    "ASSIGN.NAME": Registered(ASSIGNER_REGISTRY, or_empty=True),
    "ASSIGN.TOPK": whole(1, 10_000),
    "ASSIGN.RADIUS": real(0, 1e4, above=True),
    "ASSIGN.LEVEL_SIZES": Items(real(0, 1e6, above=True), most=20, ascending=True),
    "ASSIGN.OKS_WIDEN": real(0, 1e4, above=True),
    **{
        f"LOSS.{name}": _FACTOR
        for name in ("SCORE", "BOX", "QUALITY", "POSE", "REFINE", "PRESENCE", "VISIBILITY", "DEPTH", "SIZE", "HEATMAP")
    },
    "PARTIAL.BACKGROUND": share(),
    "PARTIAL.CONFIDENT": share(),
    "TEST.TOPK": whole(1, 10_000),
    "TEST.PRE_NMS_TOPK": whole(0, 10_000),
    "TEST.SCORE_THRESH": share(),
    "TEST.BOX_NMS": share(),
    "TEST.OKS_NMS": share(),
    "TEST.HALF_SIZE_FROM": real(0, 1e6),
    "TEST.SCORE_POWER": real(0, 100),
    "TEST.QUALITY_POWER": real(0, 100),
    "TEST.OKS_POWER": real(0, 100),
    "TWO_STAGE.POOLING": choice("mean", "flat", "soft_argmax"),
    "TWO_STAGE.CONV_DIMS": Items(_CHANNELS, most=32),
    "TWO_STAGE.OKS_POWER": real(0, 100),
    "TWO_STAGE.DECONV_DIMS": Items(_CHANNELS, least=1, most=6),
    "TOP_DOWN.CROP_SIZE": Items(whole(8, 4096), exactly=2),
    "TOP_DOWN.PADDING": real(0.1, 10),
    "TOP_DOWN.SCALE_JITTER": share(below=True),
    "TOP_DOWN.SHIFT_JITTER": share(),
    "TOP_DOWN.FLIP_TEST": Flag(),
}
DATA_KEYS = {
    "DATASETS.KEYPOINT_FILES": Checked("a list of [name, annotations, images, {option: value}]", keypoint_files),
    "DATASETS.TRAIN_WEIGHTS": Items(Either((_FACTOR, Items(_FACTOR, exactly=2)))),
    "DATASETS.KEYPOINT_FLIP_PAIRS": Items(Items(_NAME, exactly=2)),
    "DATASETS.TRAIN": _NAMES,
    "DATASETS.TEST": _NAMES,
    "INPUT.MAPPER": Registered(MAPPER_REGISTRY),
    "INPUT.AUGMENTATIONS": Checked("a list of [name, {option: value}]", augmentation_entries),
    "INPUT.POSE.SIZE": _SIDE,
    "INPUT.POSE.AFFINE_PROB": share(),
    "INPUT.POSE.SCALE": Items(real(0, 100, above=True), exactly=2, ascending=True),
    "INPUT.POSE.ROTATE": real(0, 360),
    "INPUT.POSE.TRANSLATE": real(0, 10),
    "INPUT.POSE.FLIP_PROB": share(),
    "INPUT.POSE.MOSAIC_PROB": share(),
    "INPUT.POSE.MOSAIC_OFF": share(),
    "INPUT.POSE.COPY_PASTE_PROB": share(),
    "INPUT.POSE.COPY_PASTE_MOST": whole(1, 1000),
    "INPUT.POSE.ERASE_PROB": share(),
    **{f"INPUT.POSE.DEGRADE.{name}": share() for name in ("GREY", "LOW_RESOLUTION", "BLUR", "NOISE", "JPEG")},
    "INPUT.POSE.BRIGHTNESS": share(),
    "INPUT.POSE.CONTRAST": share(),
    "INPUT.POSE.SATURATION": share(),
    "INPUT.POSE.HUE": real(0, 360),
    "INPUT.POSE.MAX_UNREADABLE": share(),
    "INPUT.POSE.CACHE_MB": whole(0, 10**7),
    "INPUT.MIN_SIZE_TRAIN": Items(_SIDE, least=1, most=1000),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": choice("choice", "range"),
    "INPUT.MAX_SIZE_TRAIN": whole(1, 32_768),
    "INPUT.MIN_SIZE_TEST": _SIDE,
    "INPUT.MAX_SIZE_TEST": whole(1, 32_768),
    "INPUT.RANDOM_FLIP": choice("horizontal", "none"),
    "INPUT.CROP.ENABLED": Flag(),
    "INPUT.CROP.TYPE": choice("relative", "relative_range", "absolute", "absolute_range"),
    "INPUT.CROP.SIZE": Items(Either((whole(1, 32_768), real(0, 32_768, above=True))), exactly=2),
    "INPUT.FORMAT": choice("BGR", "RGB"),
    "DATALOADER.NUM_WORKERS": whole(0, 256),
    "DATALOADER.ASPECT_RATIO_GROUPING": Flag(),
    "DATALOADER.SAMPLER_TRAIN": Text(),
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": Flag(),
}
SOLVER_KEYS = {
    "OPTIMIZER": choice("SGD", "AdamW"),
    "BASE_LR": real(0, 1e6, above=True),
    "BASE_LR_END": real(0, 1e6),
    **{
        name: _FACTOR
        for name in (
            "BACKBONE_MULTIPLIER",
            "TRUNK_MULTIPLIER",
            "FLOW_MULTIPLIER",
            "BIAS_LR_FACTOR",
            "WARMUP_FACTOR",
            "WEIGHT_DECAY",
            "WEIGHT_DECAY_NORM",
            "WEIGHT_DECAY_BIAS",
            "GAMMA",
        )
    },  # fmt: skip
    "LAYER_DECAY": share(above=True),
    "TRAIN_ONLY": _NAMES,
    "EMA.ENABLED": Flag(),
    "EMA.DECAY": share(below=True),
    "EMA.WARMUP": whole(0, 10**9),
    "AMP.ENABLED": Flag(),
    "AMP.DTYPE": choice("bfloat16", "float16"),
    "HOOKS": Entries(HOOK_REGISTRY),
    "LOG_PERIOD": _COUNT,
    "CHECKPOINT_PERIOD": _COUNT,
    "CHECKPOINT_KEEP": whole(0, 10**9),
    "MAX_ITER": _COUNT,
    "IMS_PER_BATCH": whole(1, 65_536),
    "REFERENCE_WORLD_SIZE": whole(0, 65_536),
    "STEPS": Items(whole(0, 10**9), ascending=True),
    "WARMUP_ITERS": whole(0, 10**9),
    "WARMUP_METHOD": choice("linear", "constant"),
    "MOMENTUM": share(below=True),
    "NESTEROV": Flag(),
    "LR_SCHEDULER_NAME": choice("WarmupMultiStepLR", "WarmupCosineLR"),
    "CLIP_GRADIENTS.ENABLED": Flag(),
    "CLIP_GRADIENTS.CLIP_TYPE": choice("norm", "full_model", "value"),
    "CLIP_GRADIENTS.CLIP_VALUE": real(0, 1e12),
    "CLIP_GRADIENTS.NORM_TYPE": real(0, above=True, infinite=True),
}
OTHER_KEYS = {
    "VERSION": choice(2),
    "IMPORTS": Items(ModuleName(), most=100),
    "OUTPUT_DIR": _NAME,
    "SEED": whole(-(2**63), 2**63 - 1),
    "CUDNN_BENCHMARK": Flag(),
    "MODEL.META_ARCHITECTURE": _NAME,
    "MODEL.DEVICE": _NAME,
    "MODEL.WEIGHTS": Text(),
    "MODEL.PIXEL_MEAN": Items(Number(-1e6, 1e6), exactly=3),
    "MODEL.PIXEL_STD": Items(real(0, 1e6, above=True), exactly=3),
    "MODEL.KEYPOINT_ON": Flag(),
    "MODEL.BACKBONE.NAME": _NAME,
    "MODEL.BACKBONE.FREEZE_AT": whole(-1, 1000),
    "MODEL.FPN.IN_FEATURES": _NAMES,
    "MODEL.FPN.OUT_CHANNELS": _CHANNELS,
    "MODEL.FPN.NORM": _D2_NORM,
    "MODEL.FPN.FUSE_TYPE": choice("sum", "avg"),
    "MODEL.RESNETS.DEPTH": choice(18, 34, 50, 101, 152),
    "MODEL.RESNETS.OUT_FEATURES": Items(choice("stem", "res2", "res3", "res4", "res5"), least=1, most=5),
    "MODEL.RESNETS.NUM_GROUPS": whole(1, 1024),
    "MODEL.RESNETS.NORM": _D2_NORM,
    "MODEL.RESNETS.WIDTH_PER_GROUP": whole(1, 1024),
    "MODEL.RESNETS.STRIDE_IN_1X1": Flag(),
    "MODEL.RESNETS.RES5_DILATION": choice(1, 2),
    "MODEL.RESNETS.RES2_OUT_CHANNELS": whole(1, 4096),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": whole(1, 4096),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": share(),
    "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE": whole(0, 1000),
    "TEST.USE_EMA": Flag(),
    "TEST.EVALUATORS": Entries(EVALUATOR_REGISTRY),
    "TEST.MAX_PEOPLE": whole(1, 100_000),
    "TEST.BEST_METRIC": Text(),
    "TEST.EVAL_PERIOD": whole(0, 10**9),
    "TEST.DETECTIONS_PER_IMAGE": whole(1, 10_000),
    "TEST.KEYPOINT_OKS_SIGMAS": Items(real(0, 100, above=True), most=1000),
    "TEST.EXPECTED_RESULTS": Checked("a list of [task, metric, expected, tolerance]", lambda value: _expected(value)),
    **{f"{name}.ENABLED": Choice((False,)) for name in ("TEST.PRECISE_BN", "TEST.AUG")},
    "MODEL.LOAD_PROPOSALS": Choice((False,)),
}
SCHEMA: dict[str, Any] = {
    **{f"MODEL.RLE_ONESTAGE.{name}": rule for name, rule in MODEL_KEYS.items()},
    **DATA_KEYS,
    **{f"SOLVER.{name}": rule for name, rule in SOLVER_KEYS.items()},
    **OTHER_KEYS,
}


def _expected(value: Any) -> list:
    if not isinstance(value, (list, tuple)):
        raise Misfit
    for entry in value:
        try:
            if not isinstance(entry, (list, tuple)) or len(entry) != len(_RESULT):
                raise Misfit
            for rule, part in zip(_RESULT, entry):
                rule.settle(part)
        except Misfit as misfit:
            raise Misfit(
                f"an entry is {shown(entry)}; give [task, metric, expected, tolerance], e.g. [bbox, AP, 38.5, 0.2]"
            ) from misfit
    return list(value)


def rule_for(name: str, default: Any) -> Any:
    """The rule of a key; keys that this project does not read take what is of their default's type."""
    return SCHEMA.get(name) or Like(default)


def takes_list(rule: Any) -> bool:
    """Whether the values that a rule takes are lists."""
    return set(rule.kinds.split(" or ")) <= {"list", "tuple"}


def takes_names(rule: Any) -> bool:
    """Whether the values that a rule takes are lists of text."""
    return isinstance(rule, Items) and rule.each.kinds == "str"


def settle(name: str, value: Any, default: Any, source: str = "") -> Any:
    """A value of the config in the type that its key has.

    Args:
        name: of the key, dotted.
        value: as it was given.
        default: the key's, whose type counts.
        source: where it was given, for messages, e.g. ``config file a.yaml, line 3``.

    Raises:
        ConfigError: it is of another type, out of range, or none of the choices.
    """
    rule, where = rule_for(name, default), f"{source}: " if source else ""
    try:
        return rule.settle(value, default)
    except Misfit as misfit:
        reason = str(misfit)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error
    if reason:
        raise ConfigError(f"{where}{name} is {shown(value)}; {reason}")
    if value is None:
        raise ConfigError(f"{where}{name} has no value (None); it must be of type {rule.kinds}: {rule.words}")
    example = f", such as [{shown(value)}]" if takes_list(rule) and isinstance(value, (str, int, float)) else ""
    raise ConfigError(
        f"{where}{name} must be of type {rule.kinds}, got {type(value).__name__} {shown(value)}; give {rule.words}"
        f"{example}"
    )


def leaves(cfg: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every key that is no group."""
    for key, value in cfg.items():
        if isinstance(value, CN):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_values(cfg: CN) -> None:
    """Check every value of a config by itself.

    Raises:
        ConfigError: names the key, its value, and what it may be.
    """
    for name, value in leaves(cfg):
        settle(name, value, value)


def known_defaults() -> CN:
    """Detectron2's keys and ours, at their defaults."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_rle_onestage_config(cfg)
    return cfg
