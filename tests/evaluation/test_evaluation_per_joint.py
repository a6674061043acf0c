"""Per-joint errors, best match of labelled people, worst images."""

import math

import numpy as np
import pytest

from rle_onestage.evaluation import GroundTruth, best_match, joint_errors, match_people, worst_images
from rle_onestage.evaluation.coco import PoseEvaluator
from rle_onestage.evaluation.per_joint import format_joint_errors, greedy_match

SIGMAS = [0.08, 0.08]
CATEGORY = {"id": 1, "name": "person", "keypoints": ["head", "foot"]}


def person(number, image_id, x, visibility=(2, 1)):
    joints = [[x + 10, 10, visibility[0]], [x + 10, 90, visibility[1]]]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": 1600.0,
        "bbox": [x, 0, 20, 100],
        "keypoints": sum(joints, []),
        "num_keypoints": sum(v > 0 for v in visibility),
    }


def result(image_id, x, dx=0.0, dy=0.0, score=0.9, sigma=2.0):
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x, 0, 20, 100],
        "score": score,
        "keypoints": [x + 10 + dx, 10 + dy, 0.75, x + 10, 90, 0.5],
        "keypoint_sigmas": [sigma] * 4,
    }


def truth_of(annotations, num_images=3):
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 300} for i in range(1, num_images + 1)]
    return GroundTruth(dataset={"images": images, "annotations": annotations, "categories": [CATEGORY]}, num_joints=2)


def test_greedy_match():
    # The second row wants column 0 too, but that one is taken.
    assert greedy_match(np.array([[0.9, 0.2], [0.8, 0.6]]), 0.5) == [(0, 0), (1, 1)]
    assert greedy_match(np.zeros((3, 0)), 0.5) == []


def test_joint_errors():
    truth = truth_of([person(1, 1, 0), person(2, 1, 100, visibility=(2, 0)), person(3, 2, 0)])
    results = [result(1, 0, dx=3, dy=4), result(1, 100, dx=-6, dy=8), result(3, 0)]
    table = joint_errors(match_people(truth, results), SIGMAS, CATEGORY["keypoints"])
    assert [table[n]["count"] for n in ("head", "foot", "all", "visible", "hidden")] == [2, 1, 3, 2, 1]
    assert table["head"]["mean_px"] == pytest.approx(7.5) and table["head"]["median_relative"] == pytest.approx(18.75)
    oks = np.exp(-np.array([25, 100]) / (2 * 1600 * 0.16**2))
    assert table["head"]["oks"] == pytest.approx(100 * oks.mean())
    assert table["head"]["expected_oks"] == pytest.approx(75) and table["foot"]["oks"] == pytest.approx(100)
    # Residuals (3, 4) and (-6, 8) over sigma 2: mean square over coordinates 6.25 / 2 and 25 / 2.
    assert table["head"]["z_rms"] == pytest.approx(math.sqrt((12.5 + 50) / 2 / 4))
    assert "head" in format_joint_errors(table)


def test_joint_errors_without_matches():
    table = joint_errors(match_people(truth_of([person(1, 1, 0)]), []), SIGMAS, CATEGORY["keypoints"])
    assert table["all"]["count"] == 0 and math.isnan(table["head"]["mean_px"])


def test_best_match_ignores_other_people_and_low_scores():
    truth = truth_of([person(1, 1, 0), person(2, 2, 0)])
    # Image 1: a perfect one among others; image 2: a perfect one below the threshold.
    results = [result(1, 200, score=0.99), result(1, 0, score=0.3), result(2, 0, score=0.05)]
    scores = best_match(truth, results, SIGMAS, score_threshold=0.1)
    assert scores["people"] == 2 and scores["OKS"] == pytest.approx(50) and scores["OKS75"] == pytest.approx(50)
    assert best_match(truth, results, SIGMAS, score_threshold=0.0)["OKS"] == pytest.approx(100)
    assert math.isnan(best_match(truth_of([]), results, SIGMAS)["OKS"])


def test_worst_images_are_ordered_and_unmatched_people_count():
    truth = truth_of([person(1, 1, 0), person(2, 2, 0), person(3, 2, 100), person(4, 3, 0)])
    results = [result(1, 0, dx=5), result(2, 0), result(3, 0)]
    worst = worst_images(truth, results, SIGMAS, 2)
    assert [w.image_id for w in worst] == [2, 1]
    assert worst[0].oks == pytest.approx(0.5, abs=1e-6) and worst[0].people == 2 and worst[0].file_name == "2.jpg"


def test_somebody_without_a_label_takes_nobodys_prediction():
    truth = truth_of([person(1, 1, 0), person(2, 1, 40)])
    # The first is between both, and nearer to the second person, whose own prediction is nearer still.
    results = [result(1, 22, score=0.99), result(1, 0, score=0.3), result(1, 40, score=0.2)]
    assert 0 < worst_images(truth, results[:1], SIGMAS, 1)[0].oks < 0.5
    assert worst_images(truth, results, SIGMAS, 1)[0].oks == pytest.approx(1)


def test_predictions_of_all_processes_are_gathered(monkeypatch):
    evaluator = PoseEvaluator.__new__(PoseEvaluator)
    evaluator.distributed = True
    evaluator._image_ids, evaluator._results = [1], [{"score": 0.1}]
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    monkeypatch.setattr("detectron2.utils.comm.synchronize", lambda: None)
    monkeypatch.setattr("detectron2.utils.comm.gather", lambda data, dst: [data, ([2], [{"score": 0.2}])])
    assert evaluator._gather() == ([1, 2], [{"score": 0.1}, {"score": 0.2}])
    monkeypatch.setattr("detectron2.utils.comm.gather", lambda data, dst: [])
    assert evaluator._gather() == ([], [])
