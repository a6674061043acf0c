"""Optimizer, learning-rate schedule and gradient clipping, from Detectron2's own config keys."""

import bisect
import math

import torch
from torch import nn

from rle_onestage.errors import ConfigError


def build_optimizer(cfg, model):
    """SGD or AdamW over :func:`parameter_groups`.

    Args:
        cfg: reads ``SOLVER``.
        model: the bare module.

    Returns:
        A ``torch.optim.Optimizer``; each group has its ``initial_lr``, which :class:`Schedule` scales.
    """
    solver = cfg.SOLVER
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


def _fastest(optimizer_class, groups, **options):
    """One kernel for all parameters where this torch has it; the loop over hundreds of small tensors costs more."""
    try:
        return optimizer_class(groups, fused=True, **options)
    except (RuntimeError, TypeError):
        return optimizer_class(groups, foreach=True, **options)


def parameter_groups(
    model,
    *,
    lr,
    weight_decay,
    weight_decay_norm=0.0,
    weight_decay_bias=0.0,
    bias_lr_factor=1.0,
    backbone_multiplier=1.0,
    flow_multiplier=1.0,
    trunk_multiplier=1.0,
    layer_decay=1.0,
):
    """Groups of parameters with the same learning rate and weight decay.

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
    groups, seen = {}, set()
    for module_name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            name = f"{module_name}.{key}" if module_name else key
            rate = lr * (backbone_multiplier if name.startswith("backbone.") else 1.0) * trunk.get(parameter, 1.0)
            rate *= flow_multiplier if "flow" in name else 1.0
            decay = weight_decay
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


def _trunk_factors(model, multiplier, layer_decay):
    """Factor of each parameter of the backbone's trunk; that of the topmost stage has one ``layer_decay``."""
    if multiplier == 1.0 and layer_decay == 1.0:
        return {}
    backbone = getattr(model, "backbone", None)
    if not hasattr(backbone, "stages"):
        raise ConfigError(
            f"SOLVER.TRUNK_MULTIPLIER is {multiplier} and SOLVER.LAYER_DECAY {layer_decay}, but this backbone has no "
            "stages that they could be for; set both to 1.0, or MODEL.BACKBONE.NAME to build_timm_fpn_backbone or "
            "build_movenet_backbone"
        )
    factors = {}
    for depth, (_, modules) in enumerate(reversed(backbone.stages()), start=1):
        for module in modules:
            factors.update((parameter, multiplier * layer_decay**depth) for parameter in module.parameters())
    return factors


def _is_norm(module):
    known = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)
    return isinstance(module, known) or type(module).__name__.endswith("Norm")


class Schedule:
    """The learning rate as a pure function of the iteration, so that nothing of it needs to be saved.

    ``WarmupMultiStepLR`` multiplies by ``gamma`` at each of ``steps``; ``WarmupCosineLR`` goes from 1 to ``end`` along
    half a cosine. Over the first ``warmup_iters`` iterations a linear (or constant) warm-up starts at ``warmup_factor``
    and meets the curve where it ends. Same values as Detectron2's ``build_lr_scheduler``.
    """

    def __init__(self, *, name, max_iter, steps, gamma, end, warmup_iters, warmup_factor, warmup_method):
        self.name = name
        self.max_iter = max_iter
        self.steps = [step for step in steps if step <= max_iter]
        self.gamma = gamma
        self.end = end
        self.warmup_iters = min(warmup_iters, max_iter)
        self.warmup_factor = warmup_factor
        self.warmup_method = warmup_method

    @classmethod
    def from_config(cls, cfg):
        """Read ``SOLVER.LR_SCHEDULER_NAME, MAX_ITER, STEPS, GAMMA, BASE_LR_END, WARMUP_*``."""
        solver = cfg.SOLVER
        return cls(
            name=solver.LR_SCHEDULER_NAME,
            max_iter=solver.MAX_ITER,
            steps=solver.STEPS,
            gamma=solver.GAMMA,
            end=solver.BASE_LR_END / solver.BASE_LR,
            warmup_iters=solver.WARMUP_ITERS,
            warmup_factor=solver.WARMUP_FACTOR,
            warmup_method=solver.WARMUP_METHOD,
        )

    def factor(self, iteration):
        """What the initial learning rates are multiplied by at an iteration (from 0)."""
        if iteration >= self.warmup_iters:
            return self._curve(iteration)
        start = self.warmup_factor * self._curve(0)
        if self.warmup_method == "constant":
            return start
        share = iteration / self.warmup_iters
        return start + (self._curve(self.warmup_iters) - start) * share

    def _curve(self, iteration):
        if self.name == "WarmupCosineLR":
            return self.end + 0.5 * (1.0 - self.end) * (1.0 + math.cos(math.pi * iteration / self.max_iter))
        return self.gamma ** bisect.bisect_right(self.steps, iteration)

    def apply(self, optimizer, iteration):
        """Set the learning rates of an iteration; returns that of the first group."""
        factor = self.factor(iteration)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return optimizer.param_groups[0]["lr"]


class GradientClipper:
    """Clips the gradient of the whole model by norm (``norm``, ``full_model``) or each element by ``value``.

    Detectron2 0.5's ``norm`` clips parameter by parameter, which changes the direction of the step; this one keeps it.
    """

    def __init__(self, parameters, *, enabled, clip_type="norm", clip_value=1.0, norm_type=2.0):
        self.parameters = list(parameters)
        self.enabled = enabled
        self.clip_type = clip_type
        self.clip_value = clip_value
        self.norm_type = norm_type

    @classmethod
    def from_config(cls, cfg, model):
        """Read ``SOLVER.CLIP_GRADIENTS``."""
        clip = cfg.SOLVER.CLIP_GRADIENTS
        return cls(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            enabled=clip.ENABLED,
            clip_type=clip.CLIP_TYPE,
            clip_value=clip.CLIP_VALUE,
            norm_type=clip.NORM_TYPE,
        )

    def __call__(self):
        """Clip in place; returns the norm before clipping as a tensor, or None where none was computed."""
        if not self.enabled:
            return None
        if self.clip_type == "value":
            nn.utils.clip_grad_value_([p for p in self.parameters if p.grad is not None], self.clip_value)
            return None
        return nn.utils.clip_grad_norm_(self.parameters, self.clip_value, self.norm_type)
