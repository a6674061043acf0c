"""From the config to the parts of the architecture: the only reader of ``cfg`` among the model's files."""

from collections.abc import Sequence

from torch import nn

from ...errors import ConfigError
from ...structures.skeleton import COCO
from ..assignment import CenterAssigner, DynamicAssigner, PeakAssigner
from ..codec import SigmaCodec
from ..criterion import Criterion
from ..density.densities import build_density
from ..head import PoseHead
from ..postprocessing import Decoder
from ..refinement.refiner import JointRefinement
from ..regions import PartialLabels


def oks_sigmas(cfg) -> list[float]:
    """COCO's OKS sigmas of the config's joints.

    ``TEST.KEYPOINT_OKS_SIGMAS``, or COCO's where there are 17 joints, or a stand-in of COCO's mean.

    Raises:
        ConfigError: if their number is not ``MODEL.RLE_ONESTAGE.NUM_KEYPOINTS``.
    """
    joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    given = list(cfg.TEST.KEYPOINT_OKS_SIGMAS)
    if not given:
        coco = list(COCO.oks_sigmas)
        return coco if joints == len(coco) else [sum(coco) / len(coco)] * joints
    if len(given) != joints:
        raise ConfigError(
            f"TEST.KEYPOINT_OKS_SIGMAS has {len(given)} numbers, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS is "
            f"{joints}; give one per joint."
        )
    return given


def flow_groups(cfg) -> list[int] | None:
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


def build_assigner(cfg, sigmas: Sequence[float]):
    """The assigner of the config; ``centernet`` has one only."""
    options = cfg.MODEL.RLE_ONESTAGE
    if options.STYLE == "centernet":
        return PeakAssigner()
    if options.ASSIGN.NAME == "center":
        return CenterAssigner(radius=options.ASSIGN.RADIUS, level_sizes=options.ASSIGN.LEVEL_SIZES)
    return DynamicAssigner(
        topk=options.ASSIGN.TOPK, radius=options.ASSIGN.RADIUS, oks_widen=options.ASSIGN.OKS_WIDEN, sigmas=sigmas
    )


def _check_features(cfg, backbone: nn.Module) -> None:
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


def build_parts(cfg, backbone: nn.Module) -> dict:
    """Keyword arguments of :class:`~.rle_onestage.RLEOneStage`.

    Raises:
        ConfigError: for values that do not fit one another.
    """
    _check_features(cfg, backbone)
    options, shapes, sigmas = cfg.MODEL.RLE_ONESTAGE, backbone.output_shape(), oks_sigmas(cfg)
    codec = {
        "form": options.SIGMA.FORM, "floor": options.SIGMA.FLOOR, "per": options.SIGMA.PER,
        "learned": options.DENSITY not in ("l1", "l2"),
    }  # fmt: skip
    head = _build_head(options, shapes, codec)
    refinement = _build_refinement(options, shapes, codec)
    # Last of what starts at random, so that the network starts from the same weights under every loss of a seed.
    density = build_density(
        options.DENSITY,
        preset=options.PRESET,
        couplings=options.FLOW.COUPLINGS,
        hidden=options.FLOW.HIDDEN,
        groups=flow_groups(cfg),
    )
    return {
        "backbone": backbone,
        "in_features": options.IN_FEATURES,
        "head": head,
        "assigner": build_assigner(cfg, sigmas),
        "criterion": Criterion(
            density=density,
            sigmas=sigmas,
            flow_warmup=options.FLOW.WARMUP_ITERS,
            weights={name.lower(): value for name, value in options.LOSS.items()},
            partial=PartialLabels(options.PARTIAL.BACKGROUND, options.PARTIAL.CONFIDENT),
            heat_stride=shapes[options.REFINE.IN_FEATURE].stride if options.REFINE.STEPS else 1,
        ),
        "decoder": _build_decoder(cfg, sigmas, density),
        "refinement": refinement,
        "refine_features": [options.REFINE.IN_FEATURE, *options.REFINE.CONTEXT_FEATURES],
        "refine_steps": options.REFINE.STEPS,
        "refine_test_steps": max(options.REFINE.STEPS, options.REFINE.TEST_STEPS) if options.REFINE.STEPS else 0,
        "refine_per_person": options.REFINE.PER_PERSON,
        "refine_noise": options.REFINE.NOISE,
        "refine_draws": options.REFINE.NOISE_DRAWS,
        "half_size_from": options.TEST.HALF_SIZE_FROM,
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
        "input_format": cfg.INPUT.FORMAT,
    }


def _build_head(options, shapes: dict, codec: dict) -> PoseHead:
    head = options.HEAD
    return PoseHead(
        in_channels=shapes[options.IN_FEATURES[0]].channels,
        num_levels=len(options.IN_FEATURES),
        num_joints=options.NUM_KEYPOINTS,
        channels=head.CHANNELS,
        num_convs=head.NUM_CONVS,
        conv=head.CONV,
        norm=head.NORM,
        embedding=head.EMBEDDING,
        prior_prob=head.PRIOR_PROB,
        quality=head.QUALITY,
        sigma_codec=SigmaCodec(init=options.SIGMA.INIT, **codec),
    )


def _build_decoder(cfg, sigmas: Sequence[float], density: nn.Module) -> Decoder:
    options, test = cfg.MODEL.RLE_ONESTAGE, cfg.MODEL.RLE_ONESTAGE.TEST
    return Decoder(
        sigmas=sigmas,
        group=density.joint_groups(len(sigmas)),
        topk=test.TOPK,
        score_thresh=test.SCORE_THRESH,
        max_people=cfg.TEST.DETECTIONS_PER_IMAGE,
        box_nms=test.BOX_NMS,
        oks_nms=test.OKS_NMS,
        use_peaks=options.STYLE == "centernet",
        person_power=test.PERSON_POWER,
        quality_power=test.QUALITY_POWER,
        oks_power=test.OKS_POWER,
    )


def _build_refinement(options, shapes: dict, codec: dict) -> JointRefinement | None:
    if not options.REFINE.STEPS:
        return None
    shape = shapes[options.REFINE.IN_FEATURE]
    return JointRefinement(
        in_channels=shape.channels,
        stride=shape.stride,
        num_joints=options.NUM_KEYPOINTS,
        context=[(shapes[name].channels, shapes[name].stride) for name in options.REFINE.CONTEXT_FEATURES],
        channels=options.REFINE.CHANNELS,
        embedding=options.HEAD.EMBEDDING,
        norm=options.HEAD.NORM,
        attention=options.REFINE.ATTENTION,
        search=options.REFINE.SEARCH,
        sigma_codec=SigmaCodec(init=options.REFINE.SIGMA_INIT, **codec),
    )
