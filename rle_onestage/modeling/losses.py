"""Losses as free functions; reductions and weights are the criterion's."""

import torch
from torch import Tensor
from torch.nn import functional as F


def varifocal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Zhang et al., "VarifocalNet", CVPR 2021, equation 2: cross entropy, weighted by the target where it is positive.

    Args:
        logits: (...). target: (...) in [0, 1], 0 for background.

    Returns:
        (...) not reduced.
    """
    probability = torch.sigmoid(logits.detach())
    weight = torch.where(target > 0, target, alpha * probability.pow(gamma))
    return weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def paired_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al., CVPR 2019) of boxes (..., 4) with boxes (..., 4), broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    union = area_a + area_b - intersection
    iou = intersection / union.clamp(min=1e-6)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def giou_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``1 - GIoU`` of boxes (..., 4) in pixels. Not reduced."""
    return 1 - paired_iou(pred, target)[1]
