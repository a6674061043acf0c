"""Scale matrices and precisions against independent formulas."""

import math

import pytest
import torch
from peers_likelihoods.decoders import MatrixDecoder
from peers_likelihoods.matrices import expected_oks, log_trace, matrix_nll, precision_parts, spread_nodes, standardised
from torch.distributions import MultivariateNormal

from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.density.presets import log_gaussian

SCALE = torch.tensor([[3.0, 8.0], [20.0, 5.0], [1.0, 1.0]])
CORRELATION = torch.tensor([0.7, -0.9, 0.0])


def covariances():
    """(3, 2, 2) written out."""
    both = CORRELATION * SCALE.prod(-1)
    rows = [SCALE[:, 0] ** 2, both, both, SCALE[:, 1] ** 2]
    return torch.stack(rows, -1).view(3, 2, 2)


def test_gaussian_under_a_scale_matrix_is_torchs_multivariate_normal():
    torch.manual_seed(0)
    residual = 4 * torch.randn(3, 2)
    expected = -MultivariateNormal(torch.zeros(3, 2), covariances()).log_prob(residual)
    assert torch.allclose(matrix_nll(residual, SCALE, CORRELATION, log_gaussian), expected, atol=1e-4)


def test_standardised_residuals_of_the_matrix_have_unit_covariance():
    torch.manual_seed(0)
    samples = MultivariateNormal(torch.zeros(3, 2), covariances()).sample((40000,))
    e = standardised(samples, SCALE, CORRELATION)
    for k in range(3):
        assert torch.allclose(torch.cov(e[:, k].T), torch.eye(2), atol=0.04)


def test_nodes_are_spread_by_what_standardises():
    nodes = torch.tensor([[1.0, 0.0], [0.3, -2.0]])
    spread = spread_nodes(SCALE, CORRELATION, nodes)  # (3, 2, 2)
    back = standardised(spread, SCALE[:, None], CORRELATION[:, None])
    assert torch.allclose(back, nodes.expand(3, 2, 2), atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_expected_oks_is_that_of_drawn_errors(name):
    """Monte Carlo over the density's own errors; for the Gaussian also its closed form."""
    torch.manual_seed(0)
    density = build_density(name)
    nodes, weights, mean, _ = density.table(MatrixDecoder.TABLE)
    area, oks_sigmas = torch.tensor(900.0), torch.tensor([0.1, 0.05, 0.08])
    found = expected_oks(SCALE, CORRELATION, area, oks_sigmas, nodes[0] - mean, weights[0])
    if name == "gaussian":
        e = torch.randn(200000, 2)
    else:
        e = torch.distributions.Laplace(0.0, 1 / math.sqrt(2)).sample((200000, 2))
    x = SCALE[:, 0] * e[:, None, 0]
    y = SCALE[:, 1] * (CORRELATION * e[:, None, 0] + (1 - CORRELATION**2).sqrt() * e[:, None, 1])
    variance = (2 * oks_sigmas) ** 2 * area
    drawn = torch.exp(-(x**2 + y**2) / (2 * variance)).mean(0)
    assert torch.allclose(found, drawn, atol=0.004)
    if name == "gaussian":
        closed = torch.linalg.det(torch.eye(2) + covariances() / variance[:, None, None]).rsqrt()
        assert torch.allclose(found, closed, atol=0.002)


def test_a_correlation_raises_the_expected_oks():
    """With the same sigmas the error's area is smaller; a decoder that left the correlation out would not see it."""
    density = build_density("gaussian")
    nodes, weights, _, _ = density.table(MatrixDecoder.TABLE)
    scale = torch.full((2, 2), 6.0)
    area, sigmas = torch.tensor(900.0), torch.full((2,), 0.05)
    round_, thin = expected_oks(scale, torch.tensor([0.0, 0.95]), area, sigmas, nodes[0], weights[0])
    assert thin > round_ + 0.05


def test_precision_is_inverted():
    numbers = torch.tensor([[0.4, -1.2, 0.9], [2.0, 3.0, -0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    std, correlation = precision_parts(numbers)
    for (a, b, d), s, c, trace in zip(numbers.tolist(), std, correlation, log_trace(numbers)):
        factor = torch.tensor([[math.exp(a), 0.0], [b, math.exp(d)]], dtype=torch.float64)
        covariance = torch.linalg.inv(factor @ factor.T)
        found = torch.stack([s[0] ** 2, c * s[0] * s[1], c * s[0] * s[1], s[1] ** 2]).view(2, 2)
        assert torch.allclose(found, covariance)
        assert math.exp(trace) == pytest.approx(float(torch.trace(covariance)))
