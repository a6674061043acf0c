"""Models as configs and checkpoints describe them: built, with their weights, ready to run."""

import contextlib
import difflib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model
from torch import nn

from rle_onestage.data.datasets import register_from_config
from rle_onestage.data.lookup import known_joints
from rle_onestage.engine.checkpoint import load_weights
from rle_onestage.engine.checkpoint.joints import UnfitWeights, recorded_joints, recorded_skeleton, take_oks_sigmas
from rle_onestage.engine.checkpoint.misfit import explain_misfit
from rle_onestage.engine.checkpoint.named import tell_weights
from rle_onestage.engine.checkpoint.origin import recorded_origin
from rle_onestage.errors import CheckpointError, ConfigError, DataError, OwnCodeError, naming_own_modules, shown
from rle_onestage.modeling.backbone.fusion import fuse_batch_norms
from rle_onestage.modeling.correction import DEPENDENCE
from rle_onestage.modeling.meta_arch.build import told_oks_sigmas
from rle_onestage.modeling.meta_arch.rle_onestage import RLEOneStage
from rle_onestage.utils.pretrained import first_line

logger = logging.getLogger("rle_onestage")

_HIDDEN = DEPENDENCE.index("hidden")
# What Detectron2's, timm's and torch's builders raise where sizes or names of the config do not fit one another.
_OF_BUILDERS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def bare(model: nn.Module) -> nn.Module:
    """The architecture without the wrapper for several processes."""
    return model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model


def prepare(model: nn.Module) -> None:
    """Let the model refresh what it derives from its weights, where other weights were put in their place.

    What is trained or loaded needs no call: :class:`~.rle_onestage.RLEOneStage` looks itself, on the way to evaluation
    mode and before it is saved.
    """
    for module in bare(model).modules():  # the model itself, or a head of Detectron2's models
        refresh: Callable[[], None] | None = getattr(module, "prepare_for_inference", None)
        if refresh is not None:
            refresh()


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode, afterwards in the one of before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def build_for_inference(
    cfg: CfgNode,
    weights: str,
    *,
    use_ema: bool = True,
    build_model: Callable[[CfgNode], nn.Module] | None = None,
) -> nn.Module:
    """The config's architecture with the weights of a checkpoint, without what only training needs.

    The log names the weights, see :func:`~.named.tell_weights`.
    Its attributes ``joint_names``, by the config's data sets or else by the checkpoint, ``recorded_skeleton``, by the
    checkpoint, and ``origin`` may be None.

    Args:
        cfg: the config.
        weights: see :func:`rle_onestage.engine.checkpoint.read_checkpoint`.
        use_ema: take the averaged weights where the checkpoint has both.
        build_model: gives the architecture of a config; None: :func:`build_architecture`.

    Raises:
        ConfigError: ``MODEL.META_ARCHITECTURE`` is not registered.
        CheckpointError: the weights cannot be read or do not fit, or are of other joints than the config's data sets.
    """
    tell_weights(cfg, weights)
    # Pretrained weights of the backbone would be replaced at once; do not fetch them.
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.RLE_ONESTAGE.TIMM.PRETRAINED = False
    cfg.MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED = ""
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.SOLVER.TRAIN_ONLY = []
    model: Any = (build_model or build_architecture)(cfg)  # what it has beside a module depends on the architecture
    if hasattr(model, "drop_training_parts"):
        model.drop_training_parts()
    joints = known_joints(cfg)
    try:
        content = load_weights(model, weights, strict=True, use_ema=use_ema, joints=joints)
    except UnfitWeights as error:
        raise CheckpointError(explain_misfit(cfg, weights, error)) from error
    if told_oks_sigmas(cfg) is None:  # a model that was deployed without its data sets
        take_oks_sigmas(model, content)
    model.joint_names, model.origin = joints or recorded_joints(content), recorded_origin(content)
    model.recorded_skeleton = recorded_skeleton(content)
    _warn_of_hidden_joints(model.eval(), weights)
    return model


def _warn_of_hidden_joints(model: nn.Module, weights: str) -> None:
    """Where the correction of sigma needs what the model does not say."""
    if isinstance(model, RLEOneStage) and not model.tells_hidden and bool(model.decoder.dependence[_HIDDEN]):
        logger.warning(
            "The calibration in %s corrects sigma by which joints are hidden, which this model does not tell: all get "
            "the sigmas of visible ones. Set MODEL.RLE_ONESTAGE.HEAD.VISIBILITY True, or calibrate anew.",
            weights,
        )


def as_run(model: nn.Module) -> nn.Module:
    """The model as the predictor runs it: batch norms folded where it is ours, weights laid out channels last.

    Args:
        model: in evaluation mode, without its training's parts.
    """
    if isinstance(model, RLEOneStage):
        model = fuse_batch_norms(model)
    return model.to(memory_format=torch.channels_last)


def _check_defaults() -> None:
    """What a program may set for all tensors of its process: layers of Detectron2 and ours count on torch's own."""
    dtype, device = torch.get_default_dtype(), torch.empty(0).device
    if dtype != torch.float32:
        raise ConfigError(
            f"torch's default dtype is {dtype}, but models compute in float32; call "
            "torch.set_default_dtype(torch.float32)"
        )
    if device.type != "cpu":
        raise ConfigError(
            f"torch's default device is {device}; call torch.set_default_device('cpu'), and name the model's device by "
            "MODEL.DEVICE"
        )


def build_architecture(cfg: CfgNode) -> nn.Module:
    """The architecture that ``MODEL.META_ARCHITECTURE`` names, on ``MODEL.DEVICE``.

    Raises:
        ConfigError: there is none of that name, or no such backbone, or they cannot be built; or torch's defaults are
            other ones than its own.
        OwnCodeError: a function of the user's own fails.
    """
    _check_defaults()
    if cfg.MODEL.META_ARCHITECTURE not in META_ARCH_REGISTRY:
        raise ConfigError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE!r} is not registered; use RLEOneStage")
    name = cfg.MODEL.BACKBONE.NAME
    if name not in BACKBONE_REGISTRY:
        near = difflib.get_close_matches(name, [known for known, _ in BACKBONE_REGISTRY], n=1)
        raise ConfigError(
            f"MODEL.BACKBONE.NAME {shown(name)} is not registered; "
            + (f"did you mean {near[0]}?" if near else "use build_timm_fpn_backbone, or one of Detectron2's")
        )
    # Data sets tell flip pairs and OKS sigmas; what is wrong with one is left to those who read its images.
    with contextlib.suppress(ConfigError, DataError):
        register_from_config(cfg)
    try:
        with naming_own_modules():
            model = build_model(cfg)
    except OwnCodeError:
        raise
    except _OF_BUILDERS as error:
        raise ConfigError(
            f"the model that MODEL describes cannot be built ({type(error).__name__}: {first_line(error)}); check "
            f"{name}, its features and channels, and what was changed last"
        ) from error
    count = sum(parameter.numel() for parameter in model.parameters())
    logger.info("%s with %.2f million parameters", type(model).__name__, count / 1e6)
    return model
