"""Coverage by size and with and without a correction."""

import json
from pathlib import Path

import cv2
import intervals
import numpy as np
import pytest
import torch
from people_study.coverage import coverage, coverage_table, format_coverage, is_corrected
from people_study.labels import read_set
from people_study.matching import SIZES
from people_study.runs import Ours
from people_toys import JOINTS, row_of_people

from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.structures.error_density import LEVELS, ErrorDensity, density_axis

CONFIG = str(Path(__file__).resolve().parents[3] / "configs" / "demo.yaml")
SIDE = 96


def gaussian_people(*, seed=0, joints=2):
    """People of all sizes with Gaussian errors; sigma is half the truth for hidden joints and for people of 30 px."""
    rng = np.random.default_rng(seed)
    side = np.repeat([30.0, 60.0, 150.0, 300.0], 500)
    shape = (len(side), joints, 2)
    visibility = rng.choice([1.0, 2.0], shape[:2])
    sigma = np.broadcast_to(0.1 * side[:, None, None], shape).copy()
    true = sigma * np.where(side < 48, 2, 1)[:, None, None] * np.where(visibility == 1, 2, 1)[..., None]
    labels = rng.uniform(0, 100, shape)
    one = np.ones(len(side))
    return Matches(
        predicted=labels - rng.normal(size=shape) * true, expected=rng.random(shape[:2]), std=sigma, joints=labels,
        visibility=visibility, area=side**2, score=one, predicted_area=side**2, image_id=one,
        correlation=np.zeros(shape[:2]), visible=np.full(shape[:2], np.nan), input_area=side**2,
    )  # fmt: skip


def gaussian_density(joints):
    axis = density_axis(torch.zeros(1, 2), torch.ones(1, 2), 129)
    log_q = -(axis[:, 0, :, None] ** 2 + axis[:, 1, None, :] ** 2) / 2 - np.log(2 * np.pi)
    group = torch.zeros(joints, dtype=torch.int64)
    return ErrorDensity(axis=axis, log_q=log_q, mean=torch.zeros(1, 2), std=torch.ones(1, 2), group=group)


def test_coverage_is_told_by_size_and_by_visibility():
    table = coverage_table(gaussian_people(), [0.08, 0.05], ["head", "foot"], gaussian_density(2))
    small, *others = SIZES
    assert list(table) == ["all", "visible", "hidden", *SIZES, *(f"hidden, {s}" for s in SIZES), "head", "foot"]
    at = {name: row["coverage_80"] for name, row in table.items()}
    half, quarter = 47.8, 25.2  # within 1.28 standard deviations of half and of a quarter of the truth
    assert at[f"hidden, {small}"] == pytest.approx(quarter, abs=4)
    for name in others:
        assert at[f"hidden, {name}"] == pytest.approx(half, abs=4) and table[name]["people"] == 500
    assert at["visible"] == pytest.approx((80 * 3 + half) / 4, abs=3)
    assert table["head"]["joints"] + table["foot"]["joints"] == table["all"]["joints"] == 4000


@pytest.fixture
def made(tmp_path):
    """A set whose labels are what the model sees in noise, so that people are matched; and its people."""
    cv2.imwrite(str(tmp_path / "row.png"), np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    # One look, so that the same candidates are kept whatever sigma says.
    options = ["MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0", "MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM", "0.0"]
    dataset, _ = row_of_people([0.0])
    dataset["images"][0] |= {"width": 96, "height": 96}
    (tmp_path / "row.json").write_text(json.dumps(dataset))
    model = Ours(CONFIG, SIDE, options=options)
    found = model.results(read_set("row", str(tmp_path / "row.json"), str(tmp_path)))[0]
    keypoints = np.array(found["keypoints"]).reshape(-1, 3)
    keypoints[:, 2] = 2
    annotation = dataset["annotations"][0]
    dataset["annotations"] = [{**annotation, "bbox": found["bbox"], "keypoints": keypoints.ravel().tolist()}]
    (tmp_path / "row.json").write_text(json.dumps(dataset))
    return tmp_path, model, options, [str(tmp_path / "row.json"), str(tmp_path)]


def test_the_correction_is_in_the_one_table_and_not_in_the_other(made):
    folder, model, _, given = made
    decoder, labelled = model.predictor.model.decoder, read_set("row", *given)
    decoder.reset_correction()
    bare = coverage(model, labelled, (1, 1, 1), resamples=5)
    assert not is_corrected(decoder) and not bare["corrected"] and "after" not in bare
    decoder.set_correction(torch.full((17,), np.log(2.0)), torch.ones(17), torch.ones(17, len(LEVELS)))
    assert is_corrected(decoder)
    both = coverage(model, labelled, (1, 1, 1), resamples=5)
    assert both["corrected"] and both["before"]["all"] == pytest.approx(bare["before"]["all"], nan_ok=True)
    key = "median_sigma_px"
    assert both["after"]["all"][key] == pytest.approx(2 * both["before"]["all"][key], rel=1e-3)
    assert not is_corrected(decoder) and "->" in format_coverage(both) and "->" not in format_coverage(bare)


def test_one_command_writes_coverage_and_the_worth_of_the_score(made, capsys):
    folder, _, options, given = made
    flags = ["--config-file", CONFIG, "--side", str(SIDE), "--set", "row", *given, "--output", str(folder / "out")]
    intervals.main([*flags, "--resamples", "5", "--opts", *options])
    (report,) = json.loads((folder / "out" / "intervals.json").read_text())
    assert report["before"]["all"]["coverage_50"] == 100  # the labels are the predictions
    assert report["scores"]["person"]["difference"] == 0 and set(JOINTS) <= set(report["before"])
    assert (folder / "out" / "intervals.md").read_text() in capsys.readouterr().out
