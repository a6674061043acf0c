"""From the config to the parts of the architecture: the only reader of ``cfg`` among the model's files."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from ...errors import ConfigError
from ...structures.root import root_weights
from ...structures.skeleton import COCO
from ..assignment import ASSIGNER_REGISTRY, Assigner
from ..codec import ScaleCodec
from ..criterion import Criterion
from ..density import Density, GroupedDensity, density_from_config
from ..density.presets import configured_joint_names, configured_metadata
from ..head import HEAD_REGISTRY
from ..postprocessing import Decoder
from ..refinement.joint_refinement import JointRefinement
from ..refinement.refiner import PoseRefiner
from ..regions import PartialLabels
from ..space.criterion import DepthCriterion
from ..space.decoding import SpaceDecoder

logger = logging.getLogger(__name__)

# Where ``ASSIGN.NAME`` is empty.
STYLE_ASSIGNERS = {"fcos": "dynamic", "centernet": "peak"}


def configured_oks_sigmas(cfg: CfgNode) -> list[float]:
    """OKS sigmas (K,) of the config's joints: those that it tells, else COCO's of 17 joints, or their mean.

    Raises:
        ConfigError: see :func:`told_oks_sigmas`.
    """
    told, joints, coco = told_oks_sigmas(cfg), cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, list(COCO.oks_sigmas)
    if told is not None:
        return told
    return coco if joints == len(coco) else [sum(coco) / len(coco)] * joints


def told_oks_sigmas(cfg: CfgNode) -> list[float] | None:
    """OKS sigmas (K,) by which the config's data sets are evaluated, so that the expected OKS means theirs.

    ``TEST.KEYPOINT_OKS_SIGMAS``, or those of the first data set with as many joints that is on this machine; None where
    there is none.

    Raises:
        ConfigError: the number of those that are given is not ``MODEL.RLE_ONESTAGE.NUM_KEYPOINTS``.
    """
    joints, given = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, list(cfg.TEST.KEYPOINT_OKS_SIGMAS)
    if not given:
        found = ([float(s) for s in data.get("keypoint_oks_sigmas") or []] for data in configured_metadata(cfg))
        return next((sigmas for sigmas in found if len(sigmas) == joints), None)
    if len(given) != joints:
        raise ConfigError(
            f"TEST.KEYPOINT_OKS_SIGMAS has {len(given)} numbers, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS is "
            f"{joints}; give one per joint."
        )
    return given


def flow_groups(cfg: CfgNode) -> list[int] | None:
    """Index of each joint's group from ``MODEL.RLE_ONESTAGE.FLOW.GROUPS``; None where all joints share one density.

    Raises:
        ConfigError: if not every joint is in exactly one group.
    """
    groups, joints = cfg.MODEL.RLE_ONESTAGE.FLOW.GROUPS, cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    if not len(groups):
        return None
    lists = all(isinstance(group, (list, tuple)) and group for group in groups)
    named = [joint for group in groups for joint in group] if lists else []
    if sorted(named, key=str) != sorted(range(joints), key=str):
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.FLOW.GROUPS is {groups}; it must be lists of joint indices in which each of 0 to "
            f"{joints - 1} occurs once, e.g. [[0, 1, 2], [3, 4]] for five joints, or [] for one flow for all"
        )
    number = {joint: index for index, group in enumerate(groups) for joint in group}
    return [number[joint] for joint in range(joints)]


def build_assigner(cfg: CfgNode, oks_sigmas: Sequence[float]) -> Assigner:
    """The assigner that ``MODEL.RLE_ONESTAGE.ASSIGN.NAME`` names, or that of the style.

    Args:
        cfg: the config.
        oks_sigmas: (K,) COCO's OKS constants.

    Raises:
        ConfigError: there is no assigner of the name, or it is for another style.
    """
    cls = ASSIGNER_REGISTRY.get(assigner_name(cfg))
    return cls(**cls.from_config(cfg, oks_sigmas))


def assigner_name(cfg: CfgNode) -> str:
    """The name of the config's assigner.

    Raises:
        ConfigError: it is for another style.
    """
    options = cfg.MODEL.RLE_ONESTAGE
    name = options.ASSIGN.NAME or STYLE_ASSIGNERS[options.STYLE]
    if getattr(ASSIGNER_REGISTRY.get(name), "style", "") not in ("", options.STYLE):
        fitting = [n for n, cls in ASSIGNER_REGISTRY if getattr(cls, "style", "") in ("", options.STYLE)]
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.ASSIGN.NAME {name!r} does not go with STYLE {options.STYLE!r}; choose one of "
            f'{", ".join(fitting)}, or ""'
        )
    return name


def _check_features(cfg: CfgNode, backbone: Backbone) -> None:
    options = cfg.MODEL.RLE_ONESTAGE
    wanted = {"IN_FEATURES": options.IN_FEATURES}
    if options.REFINE.STEPS:
        wanted["REFINE.IN_FEATURE"] = [options.REFINE.IN_FEATURE]
        wanted["REFINE.CONTEXT_FEATURES"] = options.REFINE.CONTEXT_FEATURES
    for key, names in wanted.items():
        for name in names:
            if name not in backbone.output_shape():
                raise ConfigError(
                    f"MODEL.RLE_ONESTAGE.{key} names '{name}', but the backbone '{cfg.MODEL.BACKBONE.NAME}' gives "
                    f"{sorted(backbone.output_shape())}; choose among these."
                )
    if options.STYLE == "centernet" and len(options.IN_FEATURES) != 1:
        raise ConfigError("MODEL.RLE_ONESTAGE.STYLE centernet works on one level; give one name in IN_FEATURES.")


def build_parts(
    cfg: CfgNode,
    backbone: Backbone,
    *,
    criterion: type[Criterion] = Criterion,
    decoder: type[Decoder] = Decoder,
    refinement: type[JointRefinement] = JointRefinement,
) -> dict[str, Any]:
    """Keyword arguments of :class:`~.rle_onestage.RLEOneStage`.

    Args:
        cfg: the config.
        backbone: a Detectron2 backbone.
        criterion: a class of the user's own, for an architecture derived from ours.
        decoder: the same.
        refinement: the same.

    Raises:
        ConfigError: for values that do not fit one another.
    """
    _check_features(cfg, backbone)
    options, shapes, oks_sigmas = cfg.MODEL.RLE_ONESTAGE, backbone.output_shape(), configured_oks_sigmas(cfg)
    head_class = HEAD_REGISTRY.get(options.HEAD.NAME)
    head = head_class(**head_class.from_config(cfg, shapes))
    refiner = _build_refiner(cfg, shapes, refinement)
    # Last of what starts at random, so that the network starts from the same weights under every loss of a seed.
    density = density_from_config(cfg, flow_groups(cfg))
    space_criterion, space_decoder = _build_space(cfg)
    return {
        "backbone": backbone,
        "in_features": options.IN_FEATURES,
        "head": head,
        "assigner": build_assigner(cfg, oks_sigmas),
        "criterion": criterion(
            density=density,
            oks_sigmas=oks_sigmas,
            flow_warmup=options.FLOW.WARMUP_ITERS,
            weights={name.lower(): value for name, value in options.LOSS.items()},
            partial=PartialLabels(options.PARTIAL.BACKGROUND, options.PARTIAL.CONFIDENT),
            heat_stride=shapes[options.REFINE.IN_FEATURE].stride if options.REFINE.STEPS else 1,
            **_unless_none(space=space_criterion),
        ),
        "decoder": build_decoder(cfg, oks_sigmas, density, decoder, **_unless_none(space=space_decoder)),
        "refiner": refiner,
        "half_size_from": options.TEST.HALF_SIZE_FROM,
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
        "input_format": cfg.INPUT.FORMAT,
        "trained": cfg.SOLVER.TRAIN_ONLY,
    }


def _build_space(cfg: CfgNode) -> tuple[DepthCriterion | None, SpaceDecoder | None]:
    """Criterion and decoder of depth; None of a model without."""
    options = cfg.MODEL.RLE_ONESTAGE
    if not options.DEPTH.ENABLED:
        return None, None
    density = density_from_config(cfg, flow_groups(cfg), dims=1, name=options.DEPTH.DENSITY)
    root = configured_root(cfg)
    criterion = DepthCriterion(density=density, root=root, flow_warmup=options.FLOW.WARMUP_ITERS)
    return criterion, SpaceDecoder(group=density.joint_groups(len(root)), root=root)


def _unless_none(**parts: Any) -> dict[str, Any]:
    """Keyword arguments without those that are None: a class of the user's own may not know of them."""
    return {name: part for name, part in parts.items() if part is not None}


def configured_root(cfg: CfgNode) -> list[float]:
    """Weights (K,) of the joints whose mean is the root, by the joints' names.

    They are those of the config's first data set with as many joints that is on this machine; else COCO's.
    """
    joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    names = next((list(found) for found in configured_joint_names(cfg) if len(found) == joints), list(COCO.names))
    if len(names) != joints:
        names = [f"joint {number}" for number in range(joints)]
    weights, is_hip = root_weights(names)
    if not is_hip:
        logger.warning(
            "None of the joints %s is a pelvis or a pair of hips: depth is relative to the middle of all joints",
            ", ".join(names),
        )
    return weights.tolist()


def build_decoder(
    cfg: CfgNode,
    oks_sigmas: Sequence[float],
    density: Density | GroupedDensity,
    decoder: type[Decoder] = Decoder,
    **other: Any,
) -> Decoder:
    """The decoder that the config describes.

    Args:
        cfg: the config.
        oks_sigmas: (K,) COCO's OKS constants.
        density: whose tables it will have.
        decoder: a class of the user's own.
        other: arguments of the constructor in place of the config's.
    """
    options, test = cfg.MODEL.RLE_ONESTAGE, cfg.MODEL.RLE_ONESTAGE.TEST
    arguments = {
        "oks_sigmas": oks_sigmas,
        "group": density.joint_groups(len(oks_sigmas)),
        "topk": test.TOPK,
        "pre_nms_topk": 0 if options.STYLE == "centernet" else test.PRE_NMS_TOPK,  # peaks are apart
        "score_thresh": test.SCORE_THRESH,
        "max_people": cfg.TEST.DETECTIONS_PER_IMAGE,
        "box_nms": test.BOX_NMS,
        "oks_nms": test.OKS_NMS,
        "use_peaks": options.STYLE == "centernet",
        "score_power": test.SCORE_POWER,
        "quality_power": test.QUALITY_POWER,
        "oks_power": test.OKS_POWER,
    }
    return decoder(**{**arguments, **other})


def _build_refiner(
    cfg: CfgNode, shapes: Mapping[str, ShapeSpec], refinement: type[JointRefinement]
) -> PoseRefiner | None:
    refine = cfg.MODEL.RLE_ONESTAGE.REFINE
    if not refine.STEPS:
        return None
    return PoseRefiner(
        refinement=_build_refinement(cfg, shapes, refinement),
        in_features=[refine.IN_FEATURE, *refine.CONTEXT_FEATURES],
        steps=refine.STEPS,
        test_steps=max(refine.STEPS, refine.TEST_STEPS),
        per_person=refine.PER_PERSON,
        noise=refine.NOISE,
        noise_draws=refine.NOISE_DRAWS,
    )


def _build_refinement(
    cfg: CfgNode, shapes: Mapping[str, ShapeSpec], refinement: type[JointRefinement]
) -> JointRefinement:
    options = cfg.MODEL.RLE_ONESTAGE
    shape = shapes[options.REFINE.IN_FEATURE]
    return refinement(
        in_channels=shape.channels,
        stride=shape.stride,
        num_joints=options.NUM_KEYPOINTS,
        context=[(shapes[name].channels, shapes[name].stride) for name in options.REFINE.CONTEXT_FEATURES],
        channels=options.REFINE.CHANNELS,
        map_channels=options.REFINE.MAP_CHANNELS,
        embedding=options.HEAD.EMBEDDING,
        norm=options.HEAD.NORM,
        attention=options.REFINE.ATTENTION,
        search=options.REFINE.SEARCH,
        **ScaleCodec.of_depth(cfg, init=options.REFINE.SCALE_INIT),
        visibility=options.HEAD.VISIBILITY,
        scale_codec=ScaleCodec.from_config(cfg, init=options.REFINE.SCALE_INIT),
    )
