"""Losses by hand and by finite differences."""

import math

import pytest
import torch

from rle_onestage.modeling.losses import giou_loss, varifocal_loss
from rle_onestage.structures.boxes import box_iou


def test_varifocal_by_hand():
    logits, target = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([0.8, 0.0, 1.0])
    p = torch.sigmoid(logits).tolist()
    expected = [0.8 * math.log(2), 0.75 * p[1] ** 2 * -math.log(1 - p[1]), -math.log(p[2])]
    assert varifocal_loss(logits, target).tolist() == pytest.approx(expected, rel=1e-4)


def test_varifocal_is_least_at_the_target():
    target = torch.tensor([0.3])
    logits = torch.logit(target).requires_grad_()
    varifocal_loss(logits, target).sum().backward()
    assert logits.grad.item() == pytest.approx(0, abs=1e-6)


def test_iou_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 2, 2], [1, 1, 1, 1]])
    b = torch.tensor([[1.0, 1, 3, 3], [2, 0, 3, 1], [0, 0, 2, 2], [1, 1, 1, 1]])
    assert box_iou(a, b).tolist() == pytest.approx([1 / 7, 0, 1, 0])
    assert giou_loss(a, b).tolist() == pytest.approx([1 - 1 / 7 + 2 / 9, 4 / 3, 0, 1])


@pytest.mark.parametrize("shift", [0.0, 0.7, 5.0])
def test_giou_gradient_by_differences(shift):
    pred = torch.tensor([[0.1, 0.2, 2.3, 2.4]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64) + shift
    assert torch.autograd.gradcheck(lambda p: giou_loss(p, target), pred)


def test_giou_of_far_and_flat_boxes_is_finite():
    pred = torch.tensor([[0.0, 0, 0, 0], [1e4, 1e4, 1e4 + 1, 1e4 + 1]], requires_grad=True)
    giou_loss(pred, torch.tensor([[5.0, 5, 5, 5], [0, 0, 1, 1]])).sum().backward()
    assert torch.isfinite(pred.grad).all()


def test_a_box_that_is_nan_is_a_loss_that_is_nan():
    """Which training answers by naming the images."""
    box = torch.tensor([[0.0, 0, 1, 1]])
    assert giou_loss(torch.full((1, 4), float("nan")), box).isnan().all()
    assert giou_loss(box[:0], box[:0]).shape == (0,)
