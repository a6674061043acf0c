"""Metrics of a file of results."""

import json
import os
import runpy

import pytest

from rle_onestage.errors import DataError
from rle_onestage.evaluation import format_scores, score_results
from rle_onestage.evaluation.metrics import random_case

TOOLS = os.path.join(os.path.dirname(__file__), "..", "..", "tools")
NAMES = ["left_hand", "right_hand", "head", "left_foot", "right_foot"]


@pytest.fixture
def folder(tmp_path):
    """A folder with labels and results."""
    dataset, results = random_case(seed=4, num_images=6, num_joints=5)
    dataset["categories"] = [{"id": 1, "name": "person", "keypoints": NAMES}]
    (tmp_path / "truth.json").write_text(json.dumps(dataset))
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


def test_scores_of_results_and_of_the_ground_truth(folder, capsys):
    truth, results = str(folder / "truth.json"), str(folder / "results.json")
    assert score_results(truth)["keypoints"]["AP"] == pytest.approx(100)
    scores = score_results(truth, results, oks_sigmas=[0.08] * 5)
    assert 0 < scores["keypoints"]["AP"] < 100 and "left_hand" in format_scores(scores)
    runpy.run_path(os.path.join(TOOLS, "score_results.py"))["main"](
        ["--annotations", truth, "--results", results, "--json", str(folder / "scores.json")]
    )
    assert "AP75" in capsys.readouterr().out and "keypoints" in json.loads((folder / "scores.json").read_text())


def test_results_of_another_set_are_an_error(folder):
    other = folder / "other.json"
    other.write_text(json.dumps([{"image_id": 1, "category_id": 1, "keypoints": [0] * 51, "score": 1.0}]))
    with pytest.raises(DataError, match="17 joints.*5"):
        score_results(str(folder / "truth.json"), str(other))
