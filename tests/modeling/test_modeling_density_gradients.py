"""Gradients of the likelihoods: what the formulas say at any residual, near the floor of sigma, under autocast."""

import math

import pytest
import torch

from rle_onestage.modeling.codec import ScaleCodec
from rle_onestage.modeling.density import build_density

FLOOR = 0.02
RESIDUALS = torch.tensor([0.1, 1.0, 10.0, 1e2, 1e3, 1e4])
# Slope of -log q at e > 0 in each coordinate; a fresh flow is a standard normal.
SLOPES = {
    "l1": lambda e: torch.full_like(e, math.sqrt(2)),
    "l2": lambda e: e,
    "laplace": lambda e: torch.full_like(e, math.sqrt(2)),
    "gaussian": lambda e: e,
    "student": lambda e: 6 * e / (2 + 2 * e**2),  # 4 degrees of freedom, and both coordinates are e
    "flow": lambda e: e,
    "rle": lambda e: math.sqrt(2) + e,
    "rle_released": lambda e: 1 + 2 * e,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sigma", [1.0, 1.01 * FLOOR])
@pytest.mark.parametrize("name", SLOPES)
def test_gradients_of_the_network_s_numbers(name, sigma, dtype):
    """By mu ``-slope / sigma``, by the raw number ``(c - slope e) sigma' / sigma``; log sigma enters c times."""
    density, codec = build_density(name, hidden=8), ScaleCodec(form="softplus", floor=FLOOR, init=1.0)
    label = (sigma * RESIDUALS)[:, None, None].expand(-1, 1, 2)
    raw = codec.encode(torch.full_like(label, sigma), torch.ones(len(label))).requires_grad_()
    mu = torch.zeros_like(label, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        spread = codec.decode(raw, torch.ones(len(label)))
        nll = density.nll((label - mu) / spread, spread)
    nll.sum().backward()
    e = RESIDUALS[:, None, None].expand_as(label)
    slope = SLOPES[name](e)
    assert nll.dtype == torch.float32
    assert torch.allclose(mu.grad * sigma, -slope, rtol=5e-3)
    grown = 1 - math.exp(-(sigma - FLOOR))  # derivative of softplus
    expected = ((2 if name == "rle_released" else 1) - slope * e) * grown / sigma
    assert torch.allclose(raw.grad, expected, rtol=5e-3, atol=1e-3 * grown / sigma)


@pytest.mark.parametrize("name", ["flow", "rle", "rle_released"])
def test_a_flow_far_from_its_start_has_the_slopes_of_differences(name):
    torch.manual_seed(0)
    density = build_density(name, hidden=16)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    density.refresh()
    for residual in RESIDUALS.tolist():
        e = (residual * torch.tensor([[1.0, -0.7]])).requires_grad_()
        (gradient,) = torch.autograd.grad(density.nll(e, torch.ones(1, 2)).sum(), e)
        direction, step = torch.tensor([[0.6, 0.8]]), 2e-3 * residual
        with torch.no_grad():
            values = [density.nll(e + sign * step * direction, torch.ones(1, 2)).double().sum() for sign in (1, -1)]
        slope = ((values[0] - values[1]) / (2 * step)).item()
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=0.05, abs=0.05)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_half_precision_are_judged_in_float32(name, dtype):
    """In float16 the square of a residual of 1,000 is beyond the largest number."""
    density = build_density(name, hidden=8)
    e = (RESIDUALS[:, None] * torch.tensor([1.0, -1.0])).to(dtype).requires_grad_()
    sigma = torch.full((6, 2), FLOOR, dtype=dtype)
    nll = density.nll(e, sigma)
    assert torch.equal(nll, density.nll(e.float(), sigma.float())) and nll.isfinite().all()
    nll.sum().backward()
    assert e.grad.isfinite().all()
    assert density.nll(e, sigma, preset_only=True).dtype == torch.float32
