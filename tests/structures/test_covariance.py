"""Covariances against Monte Carlo: a resize, a mirror; their numbers in files, and the ellipse that is drawn."""

import math

import numpy as np
import pytest
import torch

from rle_onestage.structures.covariance import (
    correlation_of,
    covariance_of,
    ellipse_axes,
    mahalanobis,
    mirrored_covariances,
    packed,
    unpacked,
)


def errors(count=200_000, correlation=0.7):
    """Errors (n, 2) that are no Gaussian's: skewed, heavy in the tails, with a correlation."""
    rng = np.random.default_rng(0)
    first, second = rng.laplace(size=count), rng.gamma(2.0, size=count)
    mixed = correlation * first / math.sqrt(2) + math.sqrt(1 - correlation**2) * second / math.sqrt(2)
    return np.stack([3 * first / math.sqrt(2), 5 * mixed], -1)


def test_sigmas_are_the_roots_of_the_diagonal_to_the_last_bit():
    """By NumPy, whose roots are rounded correctly; torch's own are off by a bit once in 100,000."""
    generator = torch.Generator().manual_seed(0)
    sigmas = torch.rand(5000, 2, generator=generator) * torch.logspace(-3, 3, 5000)[:, None]
    covariance = covariance_of(sigmas, torch.rand(5000, generator=generator) * 2 - 1)
    np.testing.assert_array_equal(np.sqrt(covariance.diagonal(dim1=-2, dim2=-1).numpy()), sigmas.numpy())
    assert torch.equal(covariance, covariance.mT)


def test_a_resize_by_different_factors_is_that_of_the_errors():
    drawn, factors = errors(), np.array([0.4, 2.5])
    before = np.cov(drawn.T)
    sigmas = torch.from_numpy(np.sqrt(np.diag(before)) * factors)
    after = covariance_of(sigmas, torch.from_numpy(correlation_of(before)))
    np.testing.assert_allclose(after.numpy(), np.cov((drawn * factors).T), rtol=1e-6)


def test_a_mirror_changes_the_sign_between_x_and_y_and_swaps_the_sides():
    left, right = errors(correlation=0.7), errors(correlation=-0.2)
    covariances = torch.from_numpy(np.stack([np.cov(left.T), np.cov(right.T)]))
    mirrored = mirrored_covariances(covariances[None], [1, 0])[0].numpy()
    for found, drawn in zip(mirrored, (right, left)):
        np.testing.assert_allclose(found, np.cov((drawn * [-1, 1]).T), rtol=1e-6)


def test_numbers_in_files_and_the_correlation():
    covariance = np.array([[[4.0, 3.0], [3.0, 9.0]], [[0.0, 0.0], [0.0, 1.0]], np.full((2, 2), np.nan)])
    assert packed(covariance)[0].tolist() == [4, 3, 9]
    np.testing.assert_array_equal(unpacked(packed(covariance)), covariance)
    np.testing.assert_array_equal(correlation_of(covariance), [0.5, 0.0, np.nan])


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, math.pi / 2])
def test_the_ellipse_is_turned_as_the_covariance_is(angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    covariance = turn @ np.diag([9.0, 1.0]) @ turn.T
    a, b, found = ellipse_axes(covariance)
    sides = np.array([[math.cos(found), -math.sin(found)], [math.sin(found), math.cos(found)]]) @ np.diag([a, b])
    np.testing.assert_allclose(sides @ sides.T, covariance, atol=1e-12)
    # The end of the longer half-axis lies one standard deviation out.
    z = torch.from_numpy(turn @ [3.0, 0.0] / np.sqrt(np.diag(covariance)))
    assert mahalanobis(z, torch.tensor(float(correlation_of(covariance)))) == pytest.approx(1)


def test_an_upright_ellipse_keeps_its_axes():
    assert ellipse_axes(np.diag([1.0, 9.0])) == (1.0, 3.0, 0.0)
