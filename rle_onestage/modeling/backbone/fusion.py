"""Batch norms fused into the convolutions before them, for inference."""

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard

import torch
from detectron2.layers import FrozenBatchNorm2d
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

if TYPE_CHECKING:
    from ..meta_arch.rle_onestage import RLEOneStage

logger = logging.getLogger(__name__)

_SIDE = 128  # of the image on which the model is followed; any will do
_TOLERANCE = 1e-3  # of the largest value of a map


def fuse_batch_norms(model: "RLEOneStage") -> "RLEOneStage":
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
    fused = copy.deepcopy(before)
    for conv, norm in _pairs(fused):
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None  # by _is_norm
        gain = torch.ones_like(mean) if norm.weight is None else norm.weight
        shift = torch.zeros_like(mean) if norm.bias is None else norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, mean, variance, norm.eps, gain, shift, transpose=conv.transposed
        )
        _remove(fused, norm)
    if not _alike(_maps(before), _maps(fused)):
        logger.warning("Batch norms of this backbone cannot be fused into its convolutions; it runs as it is.")
        return model
    return fused.to(model.device)


def _alike(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether two lists of maps are the same but for rounding."""
    return all((a - b).abs().max() <= _TOLERANCE * a.abs().max().clamp(min=1) for a, b in zip(first, second))


def fuse_pixel_std(model: "RLEOneStage", flip: bool) -> bool:
    """Make the division by ``pixel_std`` part of the convolution that sees the image.

    The mean is not made part of it, because what is beyond the image is 0 after the normalisation.

    Args:
        model: in evaluation mode; it is changed.
        flip: the convolution shall take its channels in the reverse order too.

    Returns:
        Whether it was possible: where it was not, the model is as before.
    """
    convs = [m for m in model.backbone.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[1] == 3]
    if len(convs) != 1:
        return False
    before, weight, std = _maps(model), convs[0].weight.data, model.pixel_std.reshape(3, 1, 1)
    convs[0].weight.data = (weight / std).flip(1) if flip else weight / std
    after = _maps(model, lambda image: (image * std).flip(1) if flip else image * std)
    if _alike(before, after):
        return True
    convs[0].weight.data = weight
    return False


def _is_norm(module: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether it is a batch norm with statistics; Detectron2's frozen ones have the same attributes."""
    frozen = isinstance(module, FrozenBatchNorm2d)
    return frozen or (isinstance(module, nn.BatchNorm2d) and module.running_mean is not None)


def _is_conv(module: nn.Module | None) -> TypeGuard[_ConvNd]:
    """Whether a norm can be part of it: PyTorch's fusion takes no transposed convolution of groups."""
    return isinstance(module, _ConvNd) and not (module.transposed and module.groups > 1)


def _pairs(model: "RLEOneStage") -> list[tuple[_ConvNd, nn.BatchNorm2d]]:
    """Convolutions, each with the norm that is fed by it and by nothing else."""
    made: dict[int, _ConvNd] = {}
    kept: list[Tensor] = []  # so that no other tensor gets the identity of one that is gone
    feeds: dict[nn.BatchNorm2d, set[_ConvNd | None]] = {}

    def after_conv(conv: _ConvNd, _: object, output: Tensor) -> None:
        made[id(output)] = conv
        kept.append(output)

    def before_norm(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        feeds.setdefault(norm, set()).add(made.get(id(inputs[0])))

    handles = [m.register_forward_hook(after_conv) for m in model.modules() if _is_conv(m)]
    handles += [m.register_forward_pre_hook(before_norm) for m in model.modules() if _is_norm(m)]
    try:
        _maps(model)
    finally:
        for handle in handles:
            handle.remove()
    # Detectron2's convolutions call a norm of their own, before their output can be seen.
    convs = [m for m in model.modules() if _is_conv(m)]
    owned = ((getattr(conv, "norm", None), conv) for conv in convs)
    own = {norm: conv for norm, conv in owned if _is_norm(norm)}
    alone = ((norm, next(iter(found))) for norm, found in feeds.items() if len(found) == 1)
    fed = {norm: conv for norm, conv in alone if conv is not None}
    owners = list(fed.values())
    return [(conv, norm) for norm, conv in {**fed, **own}.items() if owners.count(conv) <= 1]


def _remove(model: nn.Module, norm: nn.Module) -> None:
    """Put in the norm's place what it did besides: timm's norms hold an activation."""
    rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
    for module in model.modules():
        for name, child in module.named_children():
            if child is norm:
                setattr(module, name, None if isinstance(module, nn.Conv2d) else rest)


@torch.no_grad()
def _maps(model: "RLEOneStage", change: Callable[[Tensor], Tensor] = lambda image: image) -> list[Tensor]:
    """All maps between pixels and candidates, for a image of noise, to which something may be done before."""
    generator = torch.Generator().manual_seed(0)
    with torch.autocast("cpu", enabled=False):
        features = model.backbone(change(torch.randn(1, 3, _SIDE, _SIDE, generator=generator)))
        dense = model.head.dense([features[name] for name in model.in_features])
        maps = None if model.refiner is None else model.refiner.maps(features)
    sampled = [] if maps is None else [maps.feature.cells, maps.heat]
    return [*features.values(), *(x for x in dense if x.numel()), *sampled]
