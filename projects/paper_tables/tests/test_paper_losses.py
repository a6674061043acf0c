"""The tables of the losses on people whose truth is known, and on toy runs."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from paper_tables import comparison
from paper_tables.comparison import over_images
from paper_tables.measures import Measured, correlations, pck
from paper_tables.tables import format_report, planned
from paper_tables.trained import LOSSES, Trained, find_runs

from rle_onestage.errors import DataError
from rle_onestage.evaluation.per_joint import Matches

NAMES = ["left_shoulder", "right_hip", "nose"]
SIGMAS = [0.08, 0.08, 0.08]


def people(errors, *, expected=None, score=None, visibility=2):
    """A person for each row of errors (S, 3) to the right, in pixels, with a torso of 50 px."""
    errors = np.asarray(errors, float)
    count = len(errors)
    joints = np.tile(np.array([[0.0, 0.0], [30.0, 40.0], [10.0, 5.0]]), (count, 1, 1))
    predicted = joints.copy()
    predicted[..., 0] += errors
    none = np.full((count, 3), np.nan)
    return Matches(
        predicted=predicted, expected=none if expected is None else np.asarray(expected, float), std=none[..., None],
        joints=joints, visibility=np.full((count, 3), visibility), area=np.full(count, 2500.0),
        score=np.ones(count) if score is None else np.asarray(score, float), predicted_area=np.ones(count),
        image_id=np.arange(count), correlation=none, visible=none, input_area=np.ones(count),
    )  # fmt: skip


def test_pck_counts_shares_of_the_torso():
    assert pck(people([[0, 4.9, 5.1], [9.9, 10.1, 30]]), NAMES) == pytest.approx({"PCK_10": 200 / 6, "PCK_20": 400 / 6})
    hidden = people([[0, 0, 0], [90, 90, 90]])
    hidden.visibility[1, 1] = 0  # a person without a labelled torso does not count
    assert pck(hidden, NAMES) == {"PCK_10": 100, "PCK_20": 100}
    assert pck(hidden, ["a", "b", "c"]) == {} and math.isnan(pck(people(np.zeros((0, 3))), NAMES)["PCK_10"])


def test_confidence_that_knows_the_oks_has_a_correlation_of_1():
    oks = [[1, math.exp(-0.5), math.exp(-2)]] * 2
    errors = [[0, 8, 16], [0, 8, 16]]  # one and two standard deviations of 2 * 0.08 * 50 px
    found = correlations(people(errors, expected=oks, score=[0.5, 0.5]), SIGMAS)
    assert found["r_joint"] == pytest.approx(1) and math.isnan(found["r_person"])
    ranked = correlations(people([[0, 0, 0], [8, 8, 8]], score=[0.9, 0.1]), SIGMAS)
    assert ranked["r_person"] == pytest.approx(1)


def measured(values, nats=None):
    """A run whose AP is the mean of a number of each image."""
    values = np.asarray(values, float)
    ranking = SimpleNamespace(
        images=list(values), average_precision=lambda ranked, weights: float(weights @ values / weights.sum())
    )
    return Measured({}, ranking, None, nats)


def test_images_are_paired():
    noise = np.random.default_rng(0).normal(size=200)
    sums = np.stack([100 + 50 * noise, np.full(200, 10.0)], 1)
    own = measured(30 + 5 * noise, sums - [1.0, 0.0])
    found = over_images(own, measured(29 + 5 * noise, sums), resamples=50)
    assert found["AP"]["difference"] == pytest.approx(1) and found["AP"]["interval"] == pytest.approx([1, 1])
    assert found["nats"]["difference"] == pytest.approx(-0.1) and found["nats"]["interval"] == pytest.approx([-0.1] * 2)
    apart = over_images(measured(30 + 5 * noise[::-1]), measured(30 + 5 * noise), resamples=50)
    assert apart["AP"]["interval"][0] < 0 < apart["AP"]["interval"][1] and "nats" not in apart


@pytest.mark.parametrize("baseline, other, sign", [("rle", "laplace", -1), ("laplace", "rle", 1)])
def test_differences_are_from_the_baseline(baseline, other, sign, monkeypatch):
    """AP of rle is 2 higher than that of laplace in seed 1, and 4 higher in seed 2."""
    precision = {("rle", 1): 22.0, ("laplace", 1): 20.0, ("rle", 2): 24.0, ("laplace", 2): 20.0}

    def measure(run, dataset):
        value = precision[run.loss, run.seed]
        return measured([value] * 5)._replace(figures={"AP": value})

    monkeypatch.setattr(comparison, "measure", measure)
    runs = [Trained(loss, seed, "", "") for loss, seed in precision]
    found = comparison.compare_set(runs, "any", baseline=baseline, resamples=9)
    assert found["baseline"] == baseline and "images" not in found["rows"][baseline]
    assert found["rows"][other]["images"]["AP"]["difference"] == 2 * sign  # of the first seed
    assert found["rows"][other]["over_seeds"]["AP"]["difference"] == 3 * sign


def row(**figures):
    """A loss with one seed."""
    return {"seeds": {1: figures}, "mean": figures, "sd": {}}


def test_an_unfinished_table_says_so_and_has_the_papers_column():
    rows = {"rle": row(AP=12.34, nats=7.5, r_person=0.5), "rle_student": row(AP=13.0), "simplepose": row(AP=20.0)}
    rows["simplepose"]["images"] = {"AP": {"difference": 7.66, "interval": [6.0, 9.0]}}
    page = format_report({"some_val": {"rows": rows, "baseline": "laplace", "first_seed": 1, "resamples": 9}})
    assert f"**unfinished**: 3 of {planned(LOSSES)}" in page and planned(LOSSES) == 20
    for words in ("70.5", "12.3", "0.553", "0.479", "+7.7 (+6.0 to +9.0)", "`rle_student`", "`laplace`"):
        assert words in page, words
    whole = {loss: {**row(AP=1.0), "seeds": {s: {} for s in range(3)}} for loss in LOSSES}
    whole = {"rows": whole, "baseline": "rle", "first_seed": 1, "resamples": 9}
    assert "is finished" in format_report({"some_val": whole})


def write_run(folder, metrics):
    """A run as it lies on the disk."""
    folder.mkdir(parents=True)
    (folder / "model_final.pth").write_text("")
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))


def test_finished_runs_are_found_in_the_order_of_the_table(tmp_path):
    metrics = {"keypoints": {"AP": 1.0}}
    for name, found in (
        ("laplace/seed2", metrics),
        ("rle/seed1", metrics),
        ("l1/seed1", None),
        ("other/seed1", metrics),
    ):
        write_run(tmp_path / name, found)
    runs = find_runs(str(tmp_path))
    assert [(run.loss, run.seed) for run in runs] == [("rle", 1), ("laplace", 2)]
    assert runs[0].metrics("any")["keypoints"]["AP"] == 1.0
    (tmp_path / "rle" / "seed1" / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match="no metrics of any"):
        runs[0].metrics("any")
    assert not find_runs(str(tmp_path / "nothing"))
