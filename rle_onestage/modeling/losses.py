"""Losses as free functions; reductions and weights are the criterion's."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss


def varifocal_loss(logits: Tensor, target: Tensor, *, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Zhang et al., "VarifocalNet", CVPR 2021, equation 2: cross entropy, weighted by the target where it is positive.

    Args:
        logits: (...) of any shape.
        target: (...) in [0, 1], 0 for background.
        alpha: weight of the background.
        gamma: exponent of its probability.

    Returns:
        (...) not reduced.
    """
    probability = torch.sigmoid(logits.detach())
    weight = torch.where(target > 0, target, alpha * probability.pow(gamma))
    return weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def giou_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``1 - GIoU`` (Rezatofighi et al., CVPR 2019) of boxes (P, 4) in pixels. Not reduced.

    torchvision's, which is fvcore's without its assertions: these would answer a box that is NaN, before the check of
    the losses can name its images, and wait for the device twice in a step.
    """
    return generalized_box_iou_loss(pred, target)


def zero_of(tensors: Iterable[Tensor]) -> Tensor:
    """0, which gives each of the tensors a gradient of 0 when it is part of a loss."""
    return torch.as_tensor(0.0 * sum(tensor.float().sum() for tensor in tensors))
