"""Optimizer, learning-rate schedule and gradient clipping, from Detectron2's own config keys."""

import bisect
import logging
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver.lr_scheduler import LRMultiplier, WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler, MultiStepParamScheduler
from torch import Tensor, nn

from rle_onestage.errors import ConfigError

logger = logging.getLogger("rle_onestage")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW over :func:`parameter_groups`.

    Args:
        cfg: reads ``SOLVER``.
        model: the bare module.

    Returns:
        The optimizer; each group has its ``initial_lr``, which the schedule multiplies.
    """
    solver = cfg.SOLVER
    count = sum(parameter.numel() for parameter in model.parameters())
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    if solver.TRAIN_ONLY:
        logger.info("%s of %s parameters are trained (SOLVER.TRAIN_ONLY)", f"{count - frozen:,}", f"{count:,}")
    elif frozen:
        logger.info("%s of its parameters are frozen (not trained)", f"{frozen:,}")
    groups = parameter_groups(
        model,
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        backbone_multiplier=solver.BACKBONE_MULTIPLIER,
        flow_multiplier=solver.FLOW_MULTIPLIER,
        trunk_multiplier=solver.TRUNK_MULTIPLIER,
        layer_decay=solver.LAYER_DECAY,
    )
    if solver.OPTIMIZER == "AdamW":
        return _fastest(torch.optim.AdamW, groups, lr=solver.BASE_LR)
    return _fastest(torch.optim.SGD, groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)


def _fastest(optimizer_class: type, groups: list[dict[str, Any]], **options: Any) -> torch.optim.Optimizer:
    """One kernel for all parameters where this torch has it; the loop over hundreds of small tensors costs more."""
    try:
        return optimizer_class(groups, fused=True, **options)
    except (RuntimeError, TypeError):
        return optimizer_class(groups, foreach=True, **options)


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    weight_decay_norm: float | None = 0.0,
    weight_decay_bias: float | None = 0.0,
    bias_lr_factor: float = 1.0,
    backbone_multiplier: float = 1.0,
    flow_multiplier: float = 1.0,
    trunk_multiplier: float = 1.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of parameters with the same learning rate and weight decay.

    Detectron2's ``get_default_optimizer_params`` makes a group of each parameter and knows no trunk.

    Biases (named ``bias``, as in Detectron2) have ``weight_decay_bias``; parameters of normalisations, every other
    scalar or vector (learned scales), and ``nn.Embedding`` have ``weight_decay_norm``; a decay of None means
    ``weight_decay``. The learning rate is multiplied by ``backbone_multiplier`` for names that start with
    ``backbone.``, by ``flow_multiplier`` for names that contain ``flow``, by ``bias_lr_factor`` for biases, and in the
    backbone's trunk by ``trunk_multiplier`` and, once for each stage from the top down, by ``layer_decay``.

    Returns:
        A list of dicts ``{params, lr, initial_lr, weight_decay}``, as few as possible, in the order of the model.

    Raises:
        ConfigError: the model has nothing to train; or its backbone has no trunk that the factors could be for.
    """
    trunk = _trunk_factors(model, trunk_multiplier, layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            name = f"{module_name}.{key}" if module_name else key
            rate = lr * (backbone_multiplier if name.startswith("backbone.") else 1.0) * trunk.get(parameter, 1.0)
            rate *= flow_multiplier if "flow" in name else 1.0
            decay: float | None = weight_decay
            if key == "bias":
                rate *= bias_lr_factor
                decay = weight_decay_bias
            elif _is_norm(module) or parameter.ndim <= 1 or isinstance(module, nn.Embedding):
                decay = weight_decay_norm
            decay = weight_decay if decay is None else decay
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ConfigError("the model has no parameter to train; lower MODEL.BACKBONE.FREEZE_AT")
    return [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _trunk_factors(model: nn.Module, multiplier: float, layer_decay: float) -> dict[nn.Parameter, float]:
    """Factor of each parameter of the backbone's trunk; that of the topmost stage has one ``layer_decay``."""
    if multiplier == 1.0 and layer_decay == 1.0:
        return {}
    backbone: Any = getattr(model, "backbone", None)
    if not hasattr(backbone, "stages"):
        raise ConfigError(
            f"SOLVER.TRUNK_MULTIPLIER is {multiplier} and SOLVER.LAYER_DECAY {layer_decay}, but this backbone has no "
            "stages that they could be for; set both to 1.0, or MODEL.BACKBONE.NAME to build_timm_fpn_backbone or "
            "build_movenet_backbone"
        )
    factors: dict[nn.Parameter, float] = {}
    for depth, (_, modules) in enumerate(reversed(backbone.stages()), start=1):
        for module in modules:
            factors.update((parameter, multiplier * layer_decay**depth) for parameter in module.parameters())
    return factors


def _is_norm(module: nn.Module) -> bool:
    known = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)
    return isinstance(module, known) or type(module).__name__.endswith("Norm")


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """Detectron2's schedule of ``SOLVER.LR_SCHEDULER_NAME``: a function of the iteration alone.

    ``WarmupMultiStepLR`` multiplies by ``GAMMA`` at each of ``STEPS``; ``WarmupCosineLR`` goes along half a cosine from
    1 to ``BASE_LR_END / BASE_LR`` (which Detectron2 0.5's own builder does not know). Over the first ``WARMUP_ITERS``
    iterations a linear (or constant) warm-up starts at ``WARMUP_FACTOR`` and meets the curve where it ends.

    Args:
        cfg: reads ``SOLVER``.
        optimizer: whose rates are multiplied.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR":
        curve = CosineParamScheduler(1.0, solver.BASE_LR_END / solver.BASE_LR)
    else:
        # fvcore wants steps within the training, each once; GAMMA counts as often as the config names one.
        steps = sorted({step for step in solver.STEPS if 0 < step < solver.MAX_ITER})
        values = [solver.GAMMA ** bisect.bisect_right(solver.STEPS, start) for start in (0, *steps)]
        curve = MultiStepParamScheduler(values, milestones=steps, num_updates=solver.MAX_ITER)
    warmup = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
    curve = WarmupParamScheduler(curve, solver.WARMUP_FACTOR, warmup, solver.WARMUP_METHOD)
    return LRMultiplier(optimizer, curve, max_iter=solver.MAX_ITER)


class GradientClipper:
    """Clips the gradient of the whole model by norm (``norm``, ``full_model``) or each element by ``value``.

    Detectron2 0.5's ``norm`` clips parameter by parameter, which changes the direction of the step; this one keeps it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        enabled: bool,
        clip_type: str = "norm",
        clip_value: float = 1.0,
        norm_type: float = 2.0,
    ):
        self.parameters = list(parameters)
        self.enabled = enabled
        self.clip_type = clip_type
        self.clip_value = clip_value
        self.norm_type = norm_type

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> "GradientClipper":
        """Read ``SOLVER.CLIP_GRADIENTS``."""
        clip = cfg.SOLVER.CLIP_GRADIENTS
        return cls(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            enabled=clip.ENABLED,
            clip_type=clip.CLIP_TYPE,
            clip_value=clip.CLIP_VALUE,
            norm_type=clip.NORM_TYPE,
        )

    def __call__(self) -> Tensor | None:
        """Clip in place; returns the norm before clipping as a tensor, or None where none was computed."""
        if not self.enabled:
            return None
        if self.clip_type == "value":
            nn.utils.clip_grad_value_([p for p in self.parameters if p.grad is not None], self.clip_value)
            return None
        return nn.utils.clip_grad_norm_(self.parameters, self.clip_value, self.norm_type)
