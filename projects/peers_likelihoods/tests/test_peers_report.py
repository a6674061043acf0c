"""The report on people whose truth is known, and on toy runs."""

import math

import numpy as np
import pytest
import torch
from peers_likelihoods.differences import over_images
from peers_likelihoods.measures import halves, measure, row_of
from peers_likelihoods.plots import draw_report
from peers_likelihoods.tables import format_report
from peers_likelihoods.trained import find_runs

from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.modeling.density import build_density
from rle_onestage.structures.error_density import ErrorDensity, density_axis


def gaussian_density():
    """The Gaussian's table for three joints."""
    density = build_density("gaussian")
    mean, std = torch.zeros(1, 2), torch.ones(1, 2)
    axis = density_axis(mean, std, 129)
    grid = torch.cartesian_prod(*axis[0])[None]
    log_q = density.reported_log_q(grid).view(1, 129, 129)
    return ErrorDensity(axis=axis, log_q=log_q, mean=mean, std=std, group=torch.zeros(3, dtype=torch.int64))


def people(*, images=60, told=1.0, correlation=0.0, seed=0):
    """People with three joints each, of Gaussian errors; ``told`` times the true sigma is reported."""
    rng = np.random.default_rng(seed)
    count = 2 * images
    std = rng.uniform(2, 12, (count, 3, 1)) * np.ones((count, 3, 2))
    e = rng.normal(size=(count, 3, 2))
    e[..., 1] = correlation * e[..., 0] + math.sqrt(1 - correlation**2) * e[..., 1]
    joints = rng.uniform(0, 200, (count, 3, 2))
    area = np.full(count, 2500.0)
    return Matches(
        predicted=joints - std * e, expected=np.full((count, 3), 0.5), std=told * std, joints=joints,
        visibility=np.full((count, 3), 2), area=area, score=np.full(count, 0.5), predicted_area=area,
        image_id=np.arange(count) // 2, correlation=np.full((count, 3), correlation),
        visible=np.full((count, 3), np.nan), input_area=area,
    )  # fmt: skip


def test_honest_sigmas_hold_what_they_promise_and_need_no_factor():
    density = gaussian_density()
    row = row_of(measure(people(images=800), density, turned=False), density)
    for kind in ("coverage", "ellipse"):
        for level in (50, 80, 90, 95):
            assert row[f"{kind}_{level}"] == pytest.approx(level, abs=2)
    assert row["factor"] == pytest.approx(1, abs=0.03) and row["spearman"] > 0.4


def test_one_factor_mends_sigmas_that_are_all_too_large():
    """As RF-DETR's published ones would be on people of one size."""
    density = gaussian_density()
    row = row_of(measure(people(images=400, told=4.5), density, turned=False), density)
    assert row["coverage_50"] > 95 and row["ellipse_50"] > 95
    assert row["factor"] == pytest.approx(1 / 4.5, rel=0.04)
    assert row["corrected_coverage_80"] == pytest.approx(80, abs=3)
    assert row["corrected_ellipse_80"] == pytest.approx(80, abs=3)
    assert row["nats"] - row["corrected_nats"] > 1


def test_nats_and_ellipses_know_the_correlation_of_each_joint():
    density = gaussian_density()
    matches = people(images=800, correlation=0.9)
    turned, plain = (measure(matches, density, turned=flag) for flag in (True, False))
    gain = plain.nats.mean() - turned.nats.mean()
    assert gain == pytest.approx(-0.5 * math.log(1 - 0.81), abs=0.05)  # the mutual information of x and y
    assert row_of(turned, density)["ellipse_80"] == pytest.approx(80, abs=2)


def test_the_factor_of_an_image_is_fitted_on_others():
    """One half has errors that are three times as large: each half gets what the other needs."""
    density = gaussian_density()
    matches = people(images=400)
    second = halves(matches.image_id)
    matches = matches._replace(std=np.where(second[:, None, None], matches.std / 3, matches.std))
    found = measure(matches, density, turned=False)
    ratio = (found.corrected.std / found.matches.std)[:, 0, 0]
    assert ratio[~second].mean() == pytest.approx(3, rel=0.05) and ratio[second].mean() == pytest.approx(1, rel=0.05)
    assert 0.4 < second.mean() < 0.6
    image = matches.image_id
    assert all(len({s for s, i in zip(second, image) if i == one}) == 1 for one in range(20))


def test_nats_are_compared_over_people_whom_both_found():
    density = gaussian_density()
    own, base = people(told=1.0), people(told=2.0)
    first = measure(Matches(*(field[4:] for field in own)), density, turned=False)
    second = measure(base, density, turned=False)
    found = over_images(first, second, resamples=200)
    assert found["joints"] == 3 * (len(own.area) - 4)
    assert found["difference"] == pytest.approx(first.nats.mean() - second.nats[4:].mean())
    assert found["interval"][0] < found["difference"] < found["interval"][1] < 0
    apart = over_images(first, measure(people(seed=5), density, turned=False))
    assert math.isnan(apart["difference"]) and apart["joints"] == 0


def test_page_and_plot_of_an_unfinished_study(tmp_path):
    density = gaussian_density()
    rows = {}
    for rule, told in (("rle", 1.0), ("rf_detr_published", 3.0)):
        figures = {
            "person_AP": 30.0,
            "own_AP": 31.5,
            **row_of(measure(people(told=told), density, turned=False), density),
        }
        rows[rule] = {"seeds": {1: figures}, "mean": figures, "images": {}, "over_seeds": {}}
    rows["rf_detr_published"]["images"] = {"nats": {"difference": 0.87, "interval": [0.5, 1.25], "joints": 9}}
    report = {"some_val": {"rows": rows, "first_seed": 1, "resamples": 100}}
    page = format_report(report)
    for words in ("## some_val", "| `rle`", "31.5", "+0.87 (+0.50 to +1.25)"):
        assert words in page, words
    assert "IDF1" not in page  # no tracks were measured
    del rows["rf_detr_published"]
    assert "Differences" not in format_report(report)  # from itself
    rows["rf_detr_published"] = {"seeds": {1: figures}, "mean": {**figures, "track_IDF1": 70.0, "track_jitter": 2.5}}
    assert "| 70.0 |" in format_report(report).replace("  ", " ").replace("  ", " ")
    draw_report(report, str(tmp_path / "report.png"))
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_only_finished_runs_are_found_in_the_order_of_the_rules(tmp_path):
    for rule, seed, parts in (
        ("laplace", 2, ("", "class_score")), ("rle", 1, ("", "class_score")), ("rle", 3, ("",)),
        ("rf_detr_published", 1, ("own_score", "class_score")), ("unknown", 1, ("", "class_score")),
    ):  # fmt: skip
        for part in parts:
            folder = tmp_path / rule / f"seed{seed}" / part
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.json").write_text("{}")
    found = find_runs(str(tmp_path))
    assert [(run.rule, run.seed) for run in found] == [("rle", 1), ("laplace", 2), ("rf_detr_published", 1)]
    assert found[2].own.endswith("own_score")
