"""The peers' losses against formulas written out by hand."""

import math

import pytest
import torch
from peers_likelihoods.decoders import published_factor
from peers_likelihoods.losses import clamped, rf_detr_loss, rf_detr_score, yolo26_sum
from peers_likelihoods.matrices import precision_parts
from torch.distributions import MultivariateNormal


def test_rf_detr_loss_by_hand():
    """A joint 6 px right of and 8 px below its label, on a box of 20 x 5 px: 0.6 and 0.8 of the root of 100."""
    precision = torch.tensor([[math.log(2.0), 0.5, math.log(3.0)]])
    found = rf_detr_loss(torch.tensor([[6.0, 8.0]]), precision, torch.tensor([100.0]))
    first, second = 2 * 0.6 + 0.5 * 0.8, 3 * 0.8
    assert float(found) == pytest.approx(0.6 + 0.8 + (first**2 + second**2) / 2 - math.log(2) - math.log(3))


def test_rf_detr_likelihood_is_a_gaussian_of_the_residual_over_the_root_of_the_area():
    torch.manual_seed(0)
    residual, numbers, area = 9 * torch.randn(5, 2), torch.randn(5, 3), 50 + 400 * torch.rand(5)
    d = residual / area.sqrt()[:, None]
    a, b, c = numbers.unbind(-1)
    factor = torch.stack([a.exp(), torch.zeros(5), b, c.exp()], -1).view(5, 2, 2)
    normal = MultivariateNormal(torch.zeros(5, 2), precision_matrix=factor @ factor.mT)
    expected = d.abs().sum(-1) - normal.log_prob(d) - math.log(2 * math.pi)
    assert torch.allclose(rf_detr_loss(residual, numbers, area), expected, atol=1e-4)


def test_published_covariance_is_too_large_by_the_area():
    """The precision that is best for errors of 4 px, read out: with the area 4 px, as published 4.5 times that.

    The person's box has 5 % of the image; the loss is the judge of what is best.
    """
    torch.manual_seed(0)
    side, truth = 200.0, 4.0
    area = torch.tensor(0.05 * side**2)
    residual = truth * torch.randn(20000, 2)
    numbers = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = rf_detr_loss(residual, numbers.expand(20000, 3), area.expand(20000)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    std = precision_parts(numbers.detach())[0]
    right = std * area.sqrt()
    published = std * side  # the precision's inverse, times the image's sides
    assert torch.allclose(right, torch.full((2,), truth), rtol=0.03)
    assert torch.allclose(published / right, published_factor(torch.tensor(side), area).expand(2))
    assert float(published_factor(torch.tensor(side), area)) == pytest.approx(4.472, abs=1e-3)


def test_rf_detr_score_by_hand():
    traces, presence = torch.tensor([0.01, 0.04]), torch.tensor([0.9, 0.3])
    mean = (0.9 * 0.01 + 0.3 * 0.04) / 1.2
    lowered = 0.8 * mean**-0.2
    found = rf_detr_score(torch.tensor(0.8), traces.log(), presence)
    assert float(found) == pytest.approx(lowered / (1 + lowered), rel=1e-5)


def test_yolo26_sum_by_hand():
    """Log sigma and the joint's log G enter twice."""
    e, scale, log_g = torch.tensor([[0.5, -2.0]]), torch.tensor([[0.2, 0.6]]), torch.tensor([-1.5])
    x = math.log(0.2) + 1.5 + math.log(2 * 0.2) + 0.5
    y = math.log(0.6) + 1.5 + math.log(2 * 0.6) + 2.0
    assert float(yolo26_sum(e, scale, log_g)) == pytest.approx(x + y, rel=1e-5)


@pytest.mark.parametrize("values, kept", [([[3.0, -1.0]], True), ([[3.0, -4.0]], False)])
def test_yolo26_has_no_gradient_where_the_mean_is_negative(values, kept):
    values = torch.tensor(values, requires_grad=True)
    clamped(values, torch.tensor([[1.0, 1.0]])).sum().backward()
    assert torch.equal(values.grad, torch.full((1, 2), float(kept)))


def test_clamping_looks_at_what_counts():
    values = torch.tensor([[3.0, -4.0]])
    assert clamped(values, torch.tensor([[1.0, 0.5]])).abs().sum() > 0
    assert clamped(values, torch.tensor([[1.0, 1.0]])).abs().sum() == 0
