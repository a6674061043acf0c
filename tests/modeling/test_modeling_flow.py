"""RealNVP: invertible, with the right determinant, trained in every weight, and in float32."""

import math

import pytest
import torch
from modeling_toys import grid_integral

from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.density.flow import RealNVP


def random_flow(seed=0, *, couplings=6, hidden=16, gain=0.5, dims=2):
    torch.manual_seed(seed)
    flow = RealNVP(couplings=couplings, hidden=hidden, dims=dims)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += gain * torch.randn(parameter.shape, generator=generator)
    return flow


@pytest.mark.parametrize("couplings, dims", [(1, 2), (2, 2), (6, 2), (7, 2), (6, 3)])
def test_inverse(couplings, dims):
    flow = random_flow(couplings=couplings, gain=0.25, dims=dims)
    e = torch.randn(200, 3, dims)
    z, log_det = flow.inverse(e)
    back, log_det_back = flow(z)
    assert (back - e).abs().max() < 1e-5
    assert (log_det + log_det_back).abs().max() < 1e-5
    assert z.shape == e.shape and log_det.shape == (200, 3)
    assert (z - e).abs().max() > 0.1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("direction", ["inverse", "forward"])
def test_log_determinant_is_autograds(direction, dims):
    flow = random_flow(1, dims=dims, gain=0.3)
    for point in torch.randn(10, dims):
        jacobian = torch.autograd.functional.jacobian(lambda x: getattr(flow, direction)(x)[0], point)
        log_det = getattr(flow, direction)(point)[1]
        assert log_det.item() == pytest.approx(torch.linalg.det(jacobian).abs().log().item(), abs=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_log_prob_is_the_change_of_variables(dims):
    flow = random_flow(2, dims=dims)
    e = torch.randn(50, dims)
    z, log_det = flow.inverse(e)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    assert torch.allclose(flow.log_prob(e), base + log_det, atol=1e-5)


def test_starts_as_a_standard_normal():
    flow = RealNVP()
    assert flow.log_prob(torch.zeros(1, 2)).item() == pytest.approx(-math.log(2 * math.pi))
    assert len(flow.couplings) == 6 and [c.active for c in flow.couplings] == [0, 1] * 3
    space = RealNVP(dims=3)
    assert space.log_prob(torch.zeros(1, 3)).item() == pytest.approx(-1.5 * math.log(2 * math.pi))
    assert [c.active for c in space.couplings] == [0, 1, 2] * 2 and space.sample(4).shape == (4, 3)


@pytest.mark.parametrize("name", ["rle", "flow", "rle_released"])
def test_every_parameter_gets_a_gradient(name):
    density = build_density(name, hidden=8)
    # At the start the last layers are zero, and hide those before them.
    density.flow.load_state_dict(random_flow(hidden=8).state_dict())
    density.refresh()
    density.nll(torch.randn(100, 2), torch.ones(100, 2)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in density.parameters())


def test_float32_under_autocast():
    density = build_density("rle", hidden=8)
    density.flow.load_state_dict(random_flow(hidden=8).state_dict())
    e, sigma = torch.randn(40, 2), torch.ones(40, 2)
    plain = density.nll(e, sigma)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = density.nll(e, sigma)
        assert density.flow.log_prob(e.bfloat16()).dtype == torch.float32
    assert mixed.dtype == torch.float32 and torch.equal(mixed, plain)


def test_samples_follow_the_density():
    flow = random_flow(3, gain=0.2)
    samples = flow.sample(20_000, torch.Generator().manual_seed(0))
    # The expectation of exp(-|e|^2 / 2), by samples of the flow and by an integral.
    nodes, mass = grid_integral(flow.log_prob, count=400)
    expected = (mass * torch.exp(-0.5 * nodes.square().sum(1))).sum()
    assert torch.exp(-0.5 * samples.square().sum(1)).mean().item() == pytest.approx(expected.item(), rel=0.02)
    assert not samples.requires_grad
    assert torch.equal(samples, flow.sample(20_000, torch.Generator().manual_seed(0)))


def test_save_and_load(tmp_path):
    flow, other = random_flow(4), RealNVP(hidden=16)
    torch.save(flow.state_dict(), tmp_path / "flow.pth")
    other.load_state_dict(torch.load(tmp_path / "flow.pth", weights_only=True))
    e = torch.randn(20, 2)
    assert torch.equal(flow.log_prob(e), other.log_prob(e))
