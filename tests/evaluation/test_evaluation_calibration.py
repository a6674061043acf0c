"""Coverage, likelihood, correlations, and the correction of sigma."""

import math

import numpy as np
import pytest
import torch
from calibration_toys import NAMES, SIGMAS, drawn_matches, laplace_density
from scipy import stats

from rle_onestage.calibration.correction import Correction, correct_sigma, fit_constant, fit_correction
from rle_onestage.errors import DataError
from rle_onestage.evaluation.calibration import (
    calibration_table,
    format_calibration,
    joint_oks,
    log_likelihood,
    pearson,
    person_oks,
    reliability,
    spearman,
)
from rle_onestage.structures.error_density import LEVELS


def corrected(matches, correction):
    """The same people with corrected sigmas."""
    area = torch.from_numpy(matches.predicted_area)
    return matches._replace(std=correct_sigma(torch.from_numpy(matches.std), area, correction).numpy())


def with_intervals(density, correction):
    density = density.to("cpu")
    density.intervals = correction.intervals
    return density


def test_right_sigmas_are_calibrated():
    matches, density = drawn_matches(6000), laplace_density()
    table = calibration_table(matches, SIGMAS, NAMES, density)
    assert list(table) == ["all", "visible", "hidden", "small", "medium", "large", *NAMES]
    for row in table.values():
        for level in (50, 80, 90, 95):
            assert row[f"coverage_{level}"] == pytest.approx(level, abs=2)
        assert row["ece"] < 1.5
    labelled = matches.visibility > 0
    assert table["all"]["joints"] == labelled.sum() == sum(table[name]["joints"] for name in NAMES)
    assert table["visible"]["joints"] + table["hidden"]["joints"] == table["all"]["joints"]
    assert sum(table[name]["people"] for name in ("small", "medium", "large")) == table["all"]["people"]
    # Entropy of two Laplace coordinates of standard deviation sigma: 2 + log 2 + log(sigma_x sigma_y).
    entropy = 2 + math.log(2) + np.log(matches.std).sum(-1)[labelled].mean()
    assert table["all"]["nll"] == pytest.approx(entropy, abs=0.03)
    sigma = matches.std[labelled]
    assert table["all"]["sigma_px"] == pytest.approx(sigma.mean())
    assert table["all"]["median_sigma_px"] == pytest.approx(np.median(sigma))
    relative = (matches.std / np.sqrt(matches.area)[:, None, None])[labelled]
    assert table["all"]["sigma_relative"] == pytest.approx(100 * relative.mean())
    text = format_calibration(table)
    assert "hidden" in text and "nan" not in text


def test_wrong_sigmas_are_seen():
    matches, density = drawn_matches(3000, log_scale=math.log(2)), laplace_density()  # half of what they should be
    row = calibration_table(matches, SIGMAS, (), density)["all"]
    # P(|e| < w) of Laplace errors is 1 - exp(-sqrt(2) w); the intervals are half as wide as they should be.
    for level in (0.5, 0.8, 0.9, 0.95):
        assert row[f"coverage_{100 * level:g}"] == pytest.approx(100 * (1 - math.sqrt(1 - level)), abs=2)
    levels = np.arange(1, 20) / 20
    assert row["ece"] == pytest.approx(100 * np.mean(levels - 1 + np.sqrt(1 - levels)), abs=1.5)
    assert reliability(matches, density) == pytest.approx(1 - np.sqrt(1 - levels), abs=0.02)


def test_oks_and_correlations():
    matches = drawn_matches(50)
    own = joint_oks(matches, SIGMAS)
    distance = np.linalg.norm(matches.predicted - matches.joints, axis=-1)
    by_hand = math.exp(-(distance[7, 1] ** 2) / (2 * matches.area[7] * (2 * SIGMAS[1]) ** 2))
    assert own[7, 1] == pytest.approx(by_hand)
    labelled = matches.visibility[7] > 0
    assert person_oks(matches, SIGMAS)[7] == pytest.approx(own[7][labelled].mean())
    row = calibration_table(matches, SIGMAS, ())["all"]
    chosen = matches.visibility > 0
    assert row["joint_pearson"] == pytest.approx(stats.pearsonr(matches.expected[chosen], own[chosen])[0])
    seen = chosen.any(1)
    score, oks = matches.score[seen], person_oks(matches, SIGMAS)[seen]
    assert row["person_spearman"] == pytest.approx(stats.spearmanr(score, oks)[0])


def test_correlations_equal_scipy_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 60), rng.integers(0, 9, 60) + 0.5
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0])
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    for pair in (([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])):
        assert math.isnan(pearson(*pair)) and math.isnan(spearman(*pair))


def test_without_sigmas_density_or_people():
    matches, density = drawn_matches(30), laplace_density()
    bare = matches._replace(std=np.full_like(matches.std, np.nan))
    row = calibration_table(bare, SIGMAS, NAMES, density)["all"]  # Detectron2's own Keypoint R-CNN
    assert math.isnan(row["nll"]) and math.isnan(row["sigma_px"]) and math.isfinite(row["joint_pearson"])
    row = calibration_table(matches, SIGMAS, NAMES)["all"]
    assert math.isnan(row["coverage_90"]) and math.isfinite(row["sigma_px"])
    nobody = type(matches)(*(field[:0] for field in matches))
    table = calibration_table(nobody, SIGMAS, NAMES, density)
    assert table["all"]["joints"] == 0 and all(math.isnan(table["head"][k]) for k in ("nll", "ece", "joint_pearson"))
    assert "head" in format_calibration(table)
    one = type(matches)(*(field[:1] for field in matches))
    assert math.isfinite(calibration_table(one, SIGMAS, NAMES, density)["all"]["nll"])


def test_correction_is_recovered():
    true = {"log_scale": np.array([0.3, -0.2, 0.5]), "power": np.array([1.2, 0.8, 1.1])}
    density = laplace_density()
    correction = fit_correction(drawn_matches(3000, seed=1, **true), density)
    assert correction.power.numpy() == pytest.approx(true["power"], abs=0.05)
    assert correction.log_scale.numpy() == pytest.approx(true["log_scale"], abs=0.15)
    fresh = drawn_matches(3000, seed=2, **true)
    after = calibration_table(corrected(fresh, correction), SIGMAS, NAMES, with_intervals(density, correction))
    before = calibration_table(fresh, SIGMAS, NAMES, density)
    for row in (after[name] for name in ("all", "visible", *NAMES)):
        assert all(row[f"coverage_{level}"] == pytest.approx(level, abs=2.5) for level in (50, 80, 90, 95))
    assert after["all"]["nll"] < before["all"]["nll"] - 0.1 and after["all"]["ece"] < before["all"]["ece"]
    # Nothing more likely is near: in float64 the optimum is one of the penalised likelihood, all but of the bare one.
    exact = log_likelihood(corrected(fresh, Correction(*map(torch.tensor, true.values()), None)), density)
    assert after["all"]["nll"] == pytest.approx(-exact[fresh.visibility > 0].mean(), abs=0.01)


def test_right_sigmas_stay():
    correction = fit_correction(drawn_matches(3000), laplace_density())
    assert correction.power.numpy() == pytest.approx([1, 1, 1], abs=0.04)
    assert correction.log_scale.numpy() == pytest.approx([0, 0, 0], abs=0.12)
    own = torch.stack([laplace_density().half_width(level) for level in LEVELS], 1)
    torch.testing.assert_close(correction.intervals, own, rtol=0.1, atol=0.01)
    assert (correction.intervals.diff(dim=1) > 0).all()


def test_a_joint_with_few_labels_follows_the_others():
    matches = drawn_matches(2000, log_scale=0.5)
    visibility = matches.visibility.copy()
    visibility[:, 1] = 0
    unlabelled = fit_correction(matches._replace(visibility=visibility), laplace_density())
    shared = unlabelled.log_scale[[0, 2]].mean()
    assert unlabelled.log_scale[1] == pytest.approx(float(shared), abs=0.05)
    # One absurd label does not carry its joint away.
    visibility[0, 1] = 2
    joints = matches.joints.copy()
    joints[0, 1] += 500
    absurd = fit_correction(matches._replace(visibility=visibility, joints=joints), laplace_density())
    one = [correct_sigma(torch.full((1, 3, 2), 5.0), torch.tensor([1e4]), c)[0, 1, 0] for c in (unlabelled, absurd)]
    assert math.log(one[1] / one[0]) == pytest.approx(0, abs=0.1)


def test_nothing_to_fit_to():
    matches, density = drawn_matches(20), laplace_density()
    nobody = type(matches)(*(field[:0] for field in matches))
    with pytest.raises(DataError, match="no labelled joint"):
        fit_correction(nobody, density)
    with pytest.raises(DataError, match="keypoint_sigmas"):
        fit_correction(matches._replace(std=np.full_like(matches.std, np.nan)), density)
    one = type(matches)(*(field[:1, ...] for field in matches))._replace(visibility=np.array([[0.0, 2.0, 0.0]]))
    assert torch.isfinite(fit_correction(one, density).log_scale).all()
    still = one._replace(predicted=one.joints)  # no error at all
    assert all(torch.isfinite(part).all() for part in fit_correction(still, density))


@pytest.mark.parametrize("relative", [False, True])
def test_best_constant_sigma(relative):
    matches, density = drawn_matches(400), laplace_density()
    constant = fit_constant(matches, density, relative=relative)
    # The most likely Laplace density has the mean absolute error for its scale.
    error = np.abs(matches.joints - matches.predicted)
    if relative:
        error = error / np.sqrt(matches.area)[:, None, None]
    for k in range(3):
        scale = error[matches.visibility[:, k] > 0, k].mean()
        assert constant.sigma[k] == pytest.approx(math.sqrt(2) * scale, rel=2e-3)
    nll = calibration_table(constant.of(matches), SIGMAS, (), density)["all"]["nll"]
    assert nll > calibration_table(matches, SIGMAS, (), density)["all"]["nll"] + 0.2
    visibility = matches.visibility.copy()
    visibility[:, 2] = 0
    sigma = fit_constant(matches._replace(visibility=visibility), density, relative=relative).sigma
    assert min(sigma[:2]) < sigma[2] < max(sigma[:2])
