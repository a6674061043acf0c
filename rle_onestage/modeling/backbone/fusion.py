"""Batch norm folded into the convolution before it, for inference."""

import copy
import logging

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

logger = logging.getLogger(__name__)

_SIDE = 128  # of the picture on which the model is followed; any will do
_TOLERANCE = 1e-3  # of the largest value of a map


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy of the model in which each batch norm is part of the convolution before it.

    ``w' = w g / s``, ``b' = (b - m) g / s + h`` with the norm's mean m, standard deviation s, gain g and shift h. Which
    norm follows which convolution is found by running the model, so that any backbone will do, and the copy's maps are
    compared with the model's.

    Args:
        model: an :class:`~.rle_onestage.RLEOneStage` in evaluation mode; it is not changed.

    Returns:
        The copy; the model itself, with a warning, if the copy's maps are not the same.
    """
    # On the CPU, whose float32 is float32: GPUs convolve in TF32, which is too coarse to compare by.
    before = copy.deepcopy(model).cpu()
    folded = copy.deepcopy(before)
    for conv, norm in _pairs(folded):
        scale = norm.running_mean.new_ones(len(norm.running_mean))
        gain = scale if norm.weight is None else norm.weight
        shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, gain, shift
        )
        _remove(folded, norm)
    for first, second in zip(_maps(before), _maps(folded)):
        if not (first - second).abs().max() <= _TOLERANCE * first.abs().max().clamp(min=1):
            logger.warning("Batch norms of this backbone cannot be folded into its convolutions; it runs as it is.")
            return model
    return folded.to(model.pixel_mean.device)


def _is_norm(module: nn.Module | None) -> bool:
    frozen = isinstance(module, FrozenBatchNorm2d)
    return frozen or (isinstance(module, nn.BatchNorm2d) and module.running_mean is not None)


def _pairs(model: nn.Module) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Convolutions, each with the norm that is fed by it and by nothing else."""
    made: dict[int, nn.Conv2d] = {}
    kept: list[Tensor] = []  # so that no other tensor gets the identity of one that is gone
    feeds: dict[nn.Module, set] = {}

    def after_conv(conv, _, output):
        made[id(output)] = conv
        kept.append(output)

    def before_norm(norm, inputs):
        feeds.setdefault(norm, set()).add(made.get(id(inputs[0])))

    handles = [m.register_forward_hook(after_conv) for m in model.modules() if isinstance(m, nn.Conv2d)]
    handles += [m.register_forward_pre_hook(before_norm) for m in model.modules() if _is_norm(m)]
    try:
        _maps(model)
    finally:
        for handle in handles:
            handle.remove()
    # Detectron2's convolutions call a norm of their own, before their output can be seen.
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    own = {conv.norm: conv for conv in convs if _is_norm(getattr(conv, "norm", None))}
    fed = {norm: next(iter(found)) for norm, found in feeds.items() if len(found) == 1 and None not in found}
    owners = list(fed.values())
    return [(conv, norm) for norm, conv in {**fed, **own}.items() if owners.count(conv) <= 1]


def _remove(model: nn.Module, norm: nn.Module) -> None:
    """Put in the norm's place what it did besides: timm's norms hold an activation."""
    rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
    for module in model.modules():
        for name, child in module.named_children():
            if child is norm:
                setattr(module, name, None if isinstance(module, nn.Conv2d) else rest)


@torch.no_grad()
def _maps(model: nn.Module) -> list[Tensor]:
    """All maps between pixels and candidates, for a picture of noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.autocast("cpu", enabled=False):
        features = model.backbone(torch.randn(1, 3, _SIDE, _SIDE, generator=generator))
        dense = model.head.dense([features[name] for name in model.in_features])
        sampled = () if model.refinement is None else model.refinement.features(features[model.refine_features[0]])[:2]
    return [*features.values(), *(x for x in dense if x.numel()), *sampled]
