"""The densities in space, by the code of the plane: normalised, differentiable, and reported as they are."""

import math

import pytest
import torch
from modeling_toys import at_limits
from scipy.stats import laplace, norm, qmc
from test_modeling_density import closed_log_z

from rle_onestage.modeling.density import build_density

NAMES = ["rle", "rle_released", "flow", "laplace", "gaussian", "student", "l1", "l2"]


def random_density(seed, *, name="rle", preset="laplace", gain=0.5):
    torch.manual_seed(seed)
    density = build_density(name, preset=preset, hidden=8, dims=3)
    with torch.no_grad():
        for coupling in density.flow.couplings:
            coupling.layers[-1].weight.normal_(std=gain)
    density.refresh()
    return density


def integral(log_f, *, scale=1.0, count=2**15):
    """Of ``exp(log_f)`` times 1, the coordinates and their squares, by scipy's Sobol points under a Laplace law."""
    law = laplace(scale=scale / math.sqrt(2))
    points = law.ppf(qmc.Sobol(3, seed=0).random(count).clip(1e-9, 1 - 1e-9))
    with torch.no_grad():
        ratio = torch.exp(log_f(torch.tensor(points).float()).double() - torch.tensor(law.logpdf(points).sum(1)))
    points = torch.tensor(points)
    return ratio.mean().item(), (ratio[:, None] * points).mean(0), (ratio[:, None] * points**2).mean(0)


@pytest.mark.parametrize("seed, preset", [(1, "laplace"), (2, "gaussian")])
def test_rle_integrates_to_one_and_reports_its_mean_and_spread(seed, preset):
    density = random_density(seed, preset=preset)
    total, first, second = integral(density.log_q)
    assert total == pytest.approx(1, abs=3e-3)
    nodes, weights, mean, std = density.table()
    assert nodes.shape == (1, weights.shape[1], 3) and weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(mean[0].double(), first, atol=5e-3)
    assert torch.allclose(std[0].double(), (second - first**2).sqrt(), rtol=0.01)
    assert torch.allclose(weights[0] @ nodes[0], mean[0], atol=1e-3)
    assert (std - std.mean()).abs().max() > 0.01


@pytest.mark.parametrize("preset", ["laplace", "gaussian"])
@pytest.mark.parametrize("signs, shifts", [([1] * 6, [0] * 6), ([-1] * 6, [0.5, -1, 2, 0, 0, 0]),
                                           ([1, -1, 1, -1, 1, 1], [0.3] * 6)])  # fmt: skip
def test_normaliser_at_the_limits_of_the_log_scales(signs, shifts, preset):
    """Log-scales at a limit of their tanh make G a Gaussian, whose normaliser has a closed form."""
    density = build_density("rle", preset=preset, hidden=4, dims=3)
    mean, std = at_limits(density, signs, shifts)
    expected = sum(closed_log_z(m, s, preset) for m, s in zip(mean, std))
    assert density.log_z().item() == pytest.approx(expected, abs=2e-3)


def test_gradients_are_those_of_differences():
    density = random_density(3)
    weight = density.flow.couplings[2].layers[-1].weight
    e = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((20, 3), 0.7)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    density.refresh(density.TRAINING_TOLERANCE)

    def slope(value, tensor, step=1e-2):
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                tensor += sign * step * direction.expand_as(tensor)
                values.append(value().double().item())
                tensor -= sign * step * direction.expand_as(tensor)
        return (values[0] - values[1]) / (2 * step)

    for value in (density.log_z, lambda: density.nll(e, sigma).mean()):
        (gradient,) = torch.autograd.grad(value(), weight)
        assert (gradient * direction).sum().item() == pytest.approx(slope(value, weight), rel=1e-2, abs=1e-3)
    residual = e.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(density.nll(residual, sigma).mean(), residual)
    direction = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    expected = slope(lambda: density.nll(e, sigma).mean(), e, 1e-3)
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("name", ["laplace", "gaussian", "l2", "flow"])
def test_reported_densities(name):
    density = build_density(name, hidden=4, dims=3)
    density.fitted.fill_(1.5 if name == "l2" else 1)
    e = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))
    scale = 1.5 if name == "l2" else 1.0
    law = laplace(scale=math.sqrt(0.5)) if name == "laplace" else norm(scale=scale)
    assert density.reported_log_q(e).detach().numpy() == pytest.approx(law.logpdf(e.numpy()).sum(-1), abs=1e-4)
    _, _, mean, std = density.table()
    assert torch.allclose(mean, torch.zeros(1, 3), atol=1e-3)
    assert torch.allclose(std, torch.full((1, 3), scale), rtol=3e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [None, [0, 1, 1]])
def test_every_density_trains(name, groups):
    density = build_density(name, hidden=8, dims=3, groups=groups)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    e, joint = torch.randn(30, 3, 3, requires_grad=True), torch.arange(3).expand(30, 3)
    sigma = torch.ones(30, 3, 3, requires_grad=True)
    nll = density.nll(e, sigma, joint=joint)
    assert nll.shape == (30, 3)
    nll.sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in (e, sigma, *density.parameters()))
    assert density.nll(e, sigma, preset_only=True).shape == (30, 3)
