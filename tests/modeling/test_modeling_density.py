"""The densities: normalised, differentiable, and reported with the mean and spread that their samples have."""

import math

import pytest
import torch
from modeling_toys import grid_integral, skewed, trained_density
from scipy.special import log_ndtr, logsumexp

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.density.presets import log_gaussian, log_laplace
from rle_onestage.modeling.postprocessing import Decoder

NAMES = ["rle", "rle_released", "flow", "laplace", "gaussian", "student", "l1", "l2"]


@pytest.fixture(scope="module")
def trained():
    return trained_density(skewed)


def random_density(seed, preset="laplace", gain=1.0):
    """A flow with weights far from its start; a large gain drives the log-scales to their limits, in jumps."""
    torch.manual_seed(seed)
    density = build_density("rle", preset=preset, hidden=16)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for coupling in density.flow.couplings:
            last = coupling.layers[-1]
            last.weight[0] = gain * torch.randn(16, generator=generator)
            last.weight[1] = 0.3 * torch.randn(16, generator=generator)
    density.refresh()
    return density


MAKERS = {
    "fresh": lambda preset: build_density("rle", preset=preset, hidden=4),
    "random": lambda preset: random_density(3, preset),
    "jumps": lambda preset: random_density(3, preset, gain=30.0),
}


def constant_density(signs, shifts, preset):
    """Every log-scale at a limit of its tanh whatever the condition, so that G is a Gaussian: also its mean and std."""
    density = build_density("rle", preset=preset, hidden=4)
    mean, std = [0.0, 0.0], [1.0, 1.0]
    with torch.no_grad():
        for coupling, sign, shift in zip(density.flow.couplings, signs, shifts):
            coupling.layers[-1].bias.copy_(torch.tensor([20.0 * sign, shift]))
        for coupling, sign, shift in reversed(list(zip(density.flow.couplings, signs, shifts))):
            mean[coupling.active] = mean[coupling.active] * math.exp(sign) + shift
            std[coupling.active] *= math.exp(sign)
    density.refresh()
    return density, mean, std


def closed_log_z(mean, std, preset):
    """Log of the integral of a unit preset times a normal density, one coordinate."""
    if preset == "gaussian":
        return -0.5 * math.log(2 * math.pi * (1 + std**2)) - mean**2 / (2 * (1 + std**2))
    r = math.sqrt(2)
    sides = [sign * r * mean + std**2 + log_ndtr((-sign * mean - r * std**2) / std) for sign in (1, -1)]
    return logsumexp(sides) - 0.5 * math.log(2)


@pytest.mark.parametrize("preset", ["laplace", "gaussian"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_rle_integrates_to_one(make, preset):
    density = make(preset)
    assert grid_integral(density.log_q)[1].sum().item() == pytest.approx(1, abs=1e-3)


def test_trained_rle_integrates_to_one_and_fits(trained):
    assert grid_integral(trained.log_q)[1].sum().item() == pytest.approx(1, abs=1e-3)
    e = skewed(4000)
    assert trained.log_q(e).mean() > trained.preset(e).mean() + 0.5


@pytest.mark.parametrize("preset", ["laplace", "gaussian"])
@pytest.mark.parametrize(
    "signs, shifts",
    [
        ([1] * 6, [0] * 6),
        ([-1] * 6, [0] * 6),
        ([1, -1] * 3, [0] * 6),
        ([1, 1, 1, -1, -1, -1], [0.5] * 6),
        ([1] * 6, [3] * 6),
        ([-1] * 6, [2, -1, 0.5, 0, 0, 0]),
        # Peaks of width 0.05 far out, one of them across the border of two cells.
        ([-1] * 6, [7, -7, 0, 0, 0, 0]),
        ([-1] * 6, [20, 0, 0, 0, 0, 0]),
    ],
)
def test_normaliser_at_the_limits_of_the_log_scales(signs, shifts, preset):
    density, mean, std = constant_density(signs, shifts, preset)
    expected = sum(closed_log_z(m, s, preset) for m, s in zip(mean, std))
    assert density.log_z().item() == pytest.approx(expected, abs=1e-3)


def test_normaliser_has_the_gradient_of_differences():
    density = random_density(5)
    weight = density.flow.couplings[2].layers[-1].weight
    (gradient,) = torch.autograd.grad(density.log_z(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    step, values = 1e-2, []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
            values.append(density.log_z().double().item())
            weight -= sign * step * direction
    slope = (values[0] - values[1]) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-2, abs=1e-4)


def test_nodes_of_training_stay_good_between_refreshes(trained):
    """The coarser nodes of training, and the drift of the flow until they are placed anew."""
    drifted = build_density("rle", hidden=16)
    drifted.load_state_dict(trained.state_dict())
    drifted.refresh(drifted.TRAINING_TOLERANCE)
    assert drifted.log_z().item() == pytest.approx(trained.log_z().item(), abs=5e-3)
    optimizer = torch.optim.AdamW(drifted.parameters(), 2e-3)
    for _ in range(25):
        e = skewed(500)
        optimizer.zero_grad()
        drifted.nll(e, torch.ones_like(e)).mean().backward()
        optimizer.step()
    before = drifted.log_z().item()
    drifted.refresh()
    assert before == pytest.approx(drifted.log_z().item(), abs=1e-2)


def test_nodes_travel_with_the_weights(trained):
    other = build_density("rle", hidden=16)
    other.load_state_dict(trained.state_dict())
    assert other.cubature.used == trained.cubature.used
    e = skewed(100)
    assert torch.equal(other.log_q(e), trained.log_q(e))


def test_reported_mean_and_spread_are_those_of_samples(trained):
    """Samples of q drawn by resampling the independent grid; sigma is what the decoder reports."""
    nodes, mass = grid_integral(trained.log_q)
    chosen = torch.multinomial(mass, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    samples = nodes[chosen]
    decoder = Decoder(
        oks_sigmas=[0.05], group=[0], topk=1, pre_nms_topk=0, score_thresh=0, max_people=1, box_nms=1, oks_nms=1,
        use_peaks=False, score_power=1, quality_power=0, oks_power=1,
    )  # fmt: skip
    decoder.set_density(trained)
    assert torch.allclose(decoder.mean[0].double(), samples.mean(0), atol=0.01)
    assert torch.allclose(decoder.std[0].double(), samples.std(0), rtol=0.02)
    # And near those of the law it was trained on: standard deviations of 0.707 and 0.354.
    assert torch.allclose(decoder.std[0], torch.tensor([0.5, 0.125]).sqrt(), rtol=0.2)
    assert decoder.weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(decoder.weights[0] @ decoder.nodes[0], torch.zeros(2), atol=1e-4)


@pytest.mark.parametrize("name", ["laplace", "gaussian", "l2", "rle"])
def test_presets_have_unit_variance_and_rle_starts_without_bias(name):
    nodes, weights, mean, std = (table[0] for table in build_density(name).table())
    assert torch.allclose(mean, torch.zeros(2), atol=1e-3)
    if name != "rle":
        assert torch.allclose(std, torch.ones(2), atol=2e-3)
    assert weights.sum().item() == pytest.approx(1, abs=1e-5) and len(nodes) == len(weights)


def test_nll_by_hand():
    e, sigma = torch.tensor([[1.0, -2.0]]), torch.tensor([[2.0, 0.5]])
    laplace = 3 * math.sqrt(2) + math.log(2)
    gaussian = 2.5 + math.log(2 * math.pi)
    for name, value in (("laplace", laplace), ("l1", laplace), ("gaussian", gaussian), ("l2", gaussian)):
        # The two log sigma cancel: log 2 + log 0.5 = 0.
        assert build_density(name).nll(e, sigma).item() == pytest.approx(value, abs=1e-5)
        assert build_density(name).nll(e, 3 * sigma).item() == pytest.approx(value + 2 * math.log(3), abs=1e-5)
    # A fresh flow is a standard normal.
    assert build_density("flow").nll(e, sigma).item() == pytest.approx(gaussian, abs=1e-5)
    fresh = laplace + gaussian + 2 * closed_log_z(0.0, 1.0, "laplace")
    assert build_density("rle").nll(e, sigma).item() == pytest.approx(fresh, abs=1e-3)
    assert build_density("rle").nll(e, sigma, preset_only=True).item() == pytest.approx(laplace, abs=1e-5)


def test_a_narrow_sigma_gives_a_negative_loss():
    density = build_density("rle")
    assert density.nll(torch.zeros(1, 2), torch.full((1, 2), 0.02)).item() < -5


def test_fixed_sigma_follows_the_residuals():
    density = build_density("l1")
    for _ in range(800):
        density.fit(3 * torch.ones(10, 2))
    assert density.table()[3][0].tolist() == pytest.approx([3, 3], rel=0.01)
    learned = build_density("laplace")
    learned.fit(3 * torch.ones(10, 2))
    assert learned.fitted == 1


@pytest.mark.parametrize("preset", ["laplace", "gaussian"])
def test_released_form_is_the_authors(preset):
    """Their code, one coordinate after the other: log_phi is two-dimensional and enters once for each."""
    density = build_density("rle_released", preset=preset, hidden=8)
    with torch.no_grad():
        for coupling in density.flow.couplings:
            coupling.layers[-1].weight.normal_(std=0.3)
    e, sigma = torch.randn(20, 2), torch.rand(20, 2) + 0.1
    log_phi = density.flow.log_prob(e)
    expected = torch.zeros(20)
    for axis in range(2):
        nf_loss = sigma[:, axis].log() - log_phi
        if preset == "laplace":
            q_loss = torch.log(2 * sigma[:, axis]) + e[:, axis].abs()
        else:
            q_loss = torch.log(sigma[:, axis] * math.sqrt(2 * math.pi)) + 0.5 * e[:, axis] ** 2
        expected += nf_loss + q_loss
    assert torch.allclose(density.nll(e, sigma), expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e4, 1.0, 0.0])
def test_gradients_are_finite_for_any_residual(name, scale):
    density = build_density(name, hidden=8)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    density.refresh()
    mu = torch.zeros(50, 2, requires_grad=True)
    sigma = torch.full((50, 2), 0.16, requires_grad=True)
    loss = density.nll((scale * torch.randn(50, 2) - mu) / sigma, sigma).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(x.grad).all() for x in (mu, sigma, *density.parameters()))


def test_presets_by_scipy():
    from scipy.stats import laplace, norm

    e = torch.randn(10, 2, dtype=torch.float64)
    assert log_laplace(e).numpy() == pytest.approx(laplace(scale=1 / math.sqrt(2)).logpdf(e.numpy()).sum(1))
    assert log_gaussian(e).numpy() == pytest.approx(norm().logpdf(e.numpy()).sum(1))


def test_unknown_name():
    with pytest.raises(ConfigError, match=r"'rlee'; did you mean rle\? choose one of .*rle, "):
        build_density("rlee")
