"""Coverage of ellipses and regions of highest density, and the correction that makes them hold."""

import math

import numpy as np
import pytest
import torch
from calibration_toys import NAMES, SIGMAS, drawn_matches, laplace_density

from rle_onestage.calibration.correction import corrected_std, fit_correction
from rle_onestage.evaluation.calibration import calibration_table, regions_by_group
from rle_onestage.evaluation.regions import bootstrap_intervals, format_regions
from rle_onestage.structures.error_density import ErrorDensity

LEVELS = (50, 80, 90, 95)


def table_of(matches, density):
    return calibration_table(matches, SIGMAS, NAMES, density)


def corrected(matches, correction):
    """The same people with corrected sigmas, and the density that goes with them."""
    own = laplace_density()
    tables = {"axis": own.axis, "log_q": own.table, "mean": own.mean, "std": own.std, "group": own.group}
    fitted = ErrorDensity(**tables, intervals=correction.intervals, regions=correction.regions)
    return matches._replace(std=corrected_std(matches, correction)), fitted


def test_regions_of_right_sigmas_hold_what_they_say():
    rows = table_of(drawn_matches(6000), laplace_density())
    for name in ("all", "visible", "hidden", "small", "large", *NAMES):
        for level in LEVELS:
            assert rows[name][f"ellipse_{level}"] == pytest.approx(level, abs=2.5)
            assert rows[name][f"hdr_{level}"] == pytest.approx(level, abs=2.5)
    text = format_regions(regions_by_group(rows))
    assert "hidden" in text and "nan" not in text and "ellipse 95 %" in text


def test_an_ellipse_is_turned_with_its_covariance():
    """Errors along a diagonal: turned ellipses hold them, upright ones of the same sigmas do not."""
    matches = drawn_matches(4000)
    rng = np.random.default_rng(4)
    shape = matches.visibility.shape
    along, across = rng.normal(size=(2, *shape)) * [[[math.sqrt(1.9)]], [[math.sqrt(0.1)]]]
    error = np.stack([along + across, along - across], -1) / math.sqrt(2) * matches.std
    matches = matches._replace(predicted=matches.joints - error, correlation=np.full(shape, 0.9))
    axis = torch.linspace(-6, 6, 129)[None, None].expand(1, 2, 129)
    x, y = axis[0, 0][:, None], axis[0, 1][None]
    log_q = -(x**2 - 1.8 * x * y + y**2) / (2 * 0.19) - math.log(2 * math.pi * math.sqrt(0.19))
    one, group = torch.ones(1, 2), torch.zeros(3, dtype=torch.int64)
    density = ErrorDensity(axis=axis, log_q=log_q[None], mean=0 * one, std=one, group=group)
    assert density.correlation[0] == pytest.approx(0.9, abs=0.01)
    turned, upright = table_of(matches, density), table_of(matches._replace(correlation=np.zeros(shape)), density)
    for level in LEVELS:
        assert turned["all"][f"ellipse_{level}"] == pytest.approx(level, abs=2)
        assert turned["all"][f"hdr_{level}"] == pytest.approx(level, abs=2)
    assert upright["all"]["ellipse_50"] > 54 and upright["all"]["ellipse_95"] < 93.5


def test_without_covariances_there_are_no_ellipses():
    matches = drawn_matches(500)
    row = table_of(matches._replace(correlation=np.full_like(matches.correlation, np.nan)), laplace_density())["all"]
    assert math.isnan(row["ellipse_80"]) and row["hdr_80"] == pytest.approx(80, abs=5)
    bare = matches._replace(std=np.full_like(matches.std, np.nan))
    assert math.isnan(table_of(bare, laplace_density())["all"]["hdr_80"])


def test_heavier_tails_cannot_hold_with_one_sigma_but_with_their_own_sizes():
    """Cauchy-like errors: the corrected sigma fits the likelihood; intervals and regions are fitted each by itself."""

    def drawn(seed):
        matches = drawn_matches(6000, seed=seed)
        error = np.random.default_rng(seed).standard_t(1.5, matches.std.shape) * 0.3 * matches.std
        return matches._replace(predicted=matches.joints - error)

    correction = fit_correction(drawn(1), laplace_density())
    matches, fitted = corrected(drawn(2), correction)
    alone, own = (table_of(matches, density)["all"] for density in (laplace_density(), fitted))
    kinds = ("coverage", "ellipse", "hdr")
    assert max(abs(alone[f"{kind}_{level}"] - level) for kind in kinds for level in LEVELS) > 4
    for kind in kinds:
        for level in LEVELS:
            assert own[f"{kind}_{level}"] == pytest.approx(level, abs=2)


def depending(people, seed, *, known=True):
    """Sigma is too small for hidden joints and for large people; visibility is predicted, not perfectly."""
    matches = drawn_matches(people, seed=seed)
    rng = np.random.default_rng(100 + seed)
    visible = np.where(matches.visibility == 2, rng.beta(8, 2, matches.visibility.shape), 0.2)
    hidden = 1 - visible
    size = np.sqrt(matches.area)
    factor = np.exp(0.8 * hidden) * (size[:, None] / 80) ** 0.5
    error = (matches.joints - matches.predicted) * factor[..., None]
    visible = visible if known else np.full_like(visible, np.nan)
    return matches._replace(predicted=matches.joints - error, visible=visible, input_area=4 * matches.area)


def test_the_correction_depends_on_size_and_visibility():
    correction = fit_correction(depending(4000, 1), laplace_density())
    exponent, smallest, largest, hidden = correction.dependence.tolist()
    assert exponent == pytest.approx(0.5, abs=0.06) and hidden == pytest.approx(0.8, abs=0.12)
    assert 80 < smallest < 100 and 300 < largest < 320  # in pixels of the network's input, twice as many a side
    fresh = depending(4000, 2)
    before, after = table_of(fresh, laplace_density()), table_of(*corrected(fresh, correction))
    assert all(before[name]["coverage_80"] < 75 for name in ("hidden", "large"))
    for name in ("visible", "hidden", "small", "large"):
        for kind in ("coverage", "ellipse", "hdr"):
            assert all(after[name][f"{kind}_{level}"] == pytest.approx(level, abs=3.5) for level in LEVELS)


def test_without_predicted_visibility_the_correction_depends_on_size_alone():
    correction = fit_correction(depending(2000, 1, known=False), laplace_density())
    assert correction.dependence[0] == pytest.approx(0.5, abs=0.1) and correction.dependence[3] == 0


def test_bootstrap_intervals_are_those_of_the_images():
    """One image's people are all in or all out: the interval is that of a share of images, not of joints."""
    matches, density = drawn_matches(400), laplace_density()
    inside = np.random.default_rng(1).random(40) < 0.8
    image = np.arange(400) % 40
    near = np.where(inside[image], 0.0, 50.0)[:, None, None]
    matches = matches._replace(predicted=matches.joints - near * matches.std, image_id=image)
    found = bootstrap_intervals(matches, density, resamples=2000)
    assert list(found) == ["all", "visible", "hidden"]
    share, spread = 100 * inside.mean(), 100 * math.sqrt(inside.mean() * (1 - inside.mean()) / 40)
    for key in ("coverage_80", "ellipse_80", "hdr_95"):
        low, high = found["all"][key]
        assert (low, high) == pytest.approx((share - 1.96 * spread, share + 1.96 * spread), abs=3)
    seen = matches._replace(visibility=np.full_like(matches.visibility, 2.0))
    assert list(bootstrap_intervals(seen, density, resamples=10)) == ["all", "visible"]
