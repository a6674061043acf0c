"""The densities on a line, for depth: normalised, differentiable, and reported as they are."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from scipy.stats import laplace, norm, t

from rle_onestage.modeling.density import LineFlow, build_density

NAMES = ["rle", "rle_released", "flow", "laplace", "gaussian", "student", "l1", "l2"]


def random_density(seed, *, name="rle", preset="laplace", gain=1.0):
    torch.manual_seed(seed)
    density = build_density(name, preset=preset, dims=1)
    with torch.no_grad():
        for layer in density.flow.layers:
            layer.raw.normal_(std=gain)
    density.refresh()
    return density


def integral(log_f, power=0):
    """Of ``exp(log_f)`` times a power of the coordinate, by Simpson's rule on fixed pieces, in float64."""
    places = [-200, -20, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 20, 200]
    total = 0.0
    for a, b in zip(places, places[1:]):
        x = np.linspace(a, b, 2001)
        with torch.no_grad():
            f = torch.exp(log_f(torch.tensor(x[:, None], dtype=torch.float32)).double()).numpy()
        total += simpson(f * x**power, x=x)
    return total


@pytest.mark.parametrize(
    "name, preset", [("rle", "laplace"), ("rle", "gaussian"), ("rle", "student"), ("flow", "laplace")]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_learned_density_integrates_to_one_and_reports_its_mean_and_spread(name, preset, seed):
    density = random_density(seed, name=name, preset=preset, gain=0.6)
    total, first, second = (integral(density.log_q, power) for power in (0, 1, 2))
    assert total == pytest.approx(1, abs=1e-3)
    _, weights, mean, std = density.table()
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert mean.item() == pytest.approx(first, abs=2e-3)
    assert std.item() == pytest.approx(math.sqrt(second - first**2), rel=5e-3)


def test_the_flow_is_its_own_inverse_and_knows_its_determinant():
    torch.manual_seed(0)
    flow = LineFlow(layers=6)
    e = torch.linspace(-8, 8, 101)[:, None]
    assert all(torch.allclose(got, want, atol=1e-5) for got, want in zip(flow.inverse(e), (e, torch.zeros(101))))
    with torch.no_grad():
        for layer in flow.layers:
            layer.raw.normal_(std=0.7)
    e.requires_grad_()
    z, log_det = flow.inverse(e)
    (slope,) = torch.autograd.grad(z.sum(), e)
    assert (slope > 0).all() and torch.allclose(slope[:, 0].log(), log_det, atol=1e-4)
    back, log_det_back = flow(z)
    assert torch.allclose(back, e, atol=1e-3) and torch.allclose(log_det_back, -log_det, atol=1e-3)


def test_normaliser_has_the_gradient_of_differences():
    density = random_density(3, gain=0.6)
    raw = density.flow.layers[2].raw
    for number in range(4):
        (gradient,) = torch.autograd.grad(density.log_z().sum(), raw)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                raw[number] += sign * 1e-2
                values.append(density.log_z().double().item())
                raw[number] -= sign * 1e-2
        assert gradient[number].item() == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.02, abs=1e-3)


def test_a_skewed_law_of_two_peaks_is_learned():
    """What affine layers could not: the likelihood comes near to the law's own entropy."""
    torch.manual_seed(0)
    density = build_density("rle", dims=1)
    optimizer = torch.optim.Adam(density.parameters(), 0.05)

    def draw(count):
        near = torch.rand(count) < 0.7
        return torch.where(near, 0.25 * torch.randn(count), 1.8 + 0.35 * torch.randn(count))[:, None] - 0.5

    for step in range(200):
        e = draw(1000)
        loss = density.nll(e, torch.ones_like(e)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            density.refresh(2e-3)
    density.refresh()
    e = draw(20_000)
    x = e[:, 0].double().numpy() + 0.5
    true = -np.log(0.7 * norm.pdf(x, 0, 0.25) + 0.3 * norm.pdf(x, 1.8, 0.35)).mean()
    best_gaussian = 0.5 * math.log(2 * math.pi * math.e * x.var())
    learned = density.nll(e, torch.ones_like(e)).mean().item()
    assert learned < best_gaussian - 0.15 and learned > true - 0.01
    assert integral(density.log_q) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", ["laplace", "gaussian", "l2", "student"])
def test_reported_densities(name):
    density = build_density(name, dims=1)
    scale = 1.5 if name == "l2" else 1.0
    density.fitted.fill_(scale)
    e = torch.randn(1, 50, 1, generator=torch.Generator().manual_seed(0))
    nu = 4.0
    law = {
        "laplace": laplace(scale=math.sqrt(0.5)), "student": t(nu, scale=math.sqrt((nu - 2) / nu)),
    }.get(name, norm(scale=scale))  # fmt: skip
    assert density.reported_log_q(e).detach().numpy() == pytest.approx(law.logpdf(e[..., 0].numpy()), abs=1e-4)
    assert density.table()[3].item() == pytest.approx(scale, rel=3e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [None, [0, 1, 1]])
def test_every_density_trains(name, groups):
    density = build_density(name, dims=1, groups=groups)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    e, joint = torch.randn(30, 3, 1, requires_grad=True), torch.arange(3).expand(30, 3)
    scale = torch.ones(30, 3, 1, requires_grad=True)
    nll = density.nll(e, scale, joint=joint)
    assert nll.shape == (30, 3)
    nll.sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in (e, scale, *density.parameters()))
    assert density.nll(e, scale, preset_only=True).shape == (30, 3)
