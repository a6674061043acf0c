"""Probabilities of joints against the labels: which are compared, and what the metrics say of known cases."""

import math

import numpy as np
import pytest

from rle_onestage.evaluation import GroundTruth
from rle_onestage.evaluation.probabilities import (
    area_under_curve,
    calibration_error,
    format_probabilities,
    joint_claims,
    probability_bins,
    probability_table,
)

NAMES = ["head", "left_hand", "right_hand"]


def labels(flags):
    """One person an image, in the same place; ``flags`` (N, 3) of the joints."""
    joints = [[30, 10], [20, 30], [40, 30]]
    annotations = [
        {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [10, 5, 40, 40], "area": 800, "iscrowd": 0,
         "keypoints": [n for (x, y), v in zip(joints, row) for n in ((x, y, v) if v else (0, 0, 0))]}
        for i, row in enumerate(flags)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 60} for i in range(len(flags))]
    categories = [{"id": 1, "name": "person", "keypoints": NAMES}]
    return GroundTruth(dataset={"images": images, "annotations": annotations, "categories": categories}, num_joints=3)


def result(i, **said):
    keypoints = [30, 10, 0.9, 20, 30, 0.9, 40, 30, 0.9]
    return {"image_id": i, "category_id": 1, "score": 0.9, "bbox": [10, 5, 40, 40], "keypoints": keypoints, **said}


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    said, true = rng.integers(0, 6, 200) / 5, rng.random(200) < 0.3
    difference = said[true][:, None] - said[~true][None]
    expected = ((difference > 0) + 0.5 * (difference == 0)).mean()
    assert area_under_curve(said, true) == pytest.approx(expected)
    assert math.isnan(area_under_curve(said, np.ones(200, bool)))


def test_the_calibration_error_of_honest_and_of_wrong_probabilities():
    rng = np.random.default_rng(0)
    said = rng.random(200_000)
    true = rng.random(200_000) < said
    assert calibration_error(said, true) < 0.01
    assert calibration_error(np.sqrt(said), true) == pytest.approx((np.sqrt(said) - said).mean(), abs=0.01)
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1  # the ends have a bin
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_each_probability_is_compared_where_the_labels_know_it():
    flags = [[2, 1, 0], [2, 2, 1], [1, 2, 2]]
    results = [
        result(i, keypoint_presence=[0.9, 0.8, 0.7], keypoint_visibility=[0.9 if v == 2 else 0.2 for v in row])
        for i, row in enumerate(flags)
    ]
    claims = joint_claims(labels(flags), results)
    assert claims["presence"].known.all() and claims["presence"].true.sum() == 8
    assert claims["visibility"].known.sum() == 8 and not claims["visibility"].known[0, 2]
    bins = probability_bins(claims)["visibility"]
    assert bins["joints"] == [3, 5] and bins["said"] == pytest.approx([0.2, 0.9]) and bins["true"] == [0, 1]
    table = probability_table(claims, NAMES)
    assert list(table) == ["all", *NAMES]
    assert table["all"]["visibility_auc"] == 1 and table["all"]["visibility_joints"] == 8
    assert table["all"]["visibility_share"] == 62.5
    assert table["all"]["visibility_ece"] == pytest.approx(100 * (5 * 0.1 + 3 * 0.2) / 8)
    assert table["head"]["presence_share"] == 100 and math.isnan(table["head"]["presence_auc"])
    assert "right_hand" in format_probabilities(table)


def test_labels_that_do_not_tell_and_results_that_do_not_say():
    flags = [[2, 2, 2], [2, 2, 0]]
    said = {"keypoint_presence": [0.9, 0.8, 0.7], "keypoint_visibility": [0.9, 0.8, 0.7]}
    results = [result(i, **said) for i in range(2)]
    assert list(joint_claims(labels(flags), results)) == ["presence"]  # nobody is hidden
    assert list(joint_claims(labels(flags), results, told=True)) == ["presence", "visibility"]
    assert list(joint_claims(labels(flags), results, absent_known=False)) == []
    assert list(joint_claims(labels([[2, 1, 1]]), [result(0)])) == []
    assert probability_table({}, NAMES) == {}
