"""Errors of joints in space: those of an independent computation, nothing for the labels, and Human3.6M by action."""

import json

import numpy as np
import pytest
import torch
from h36m_toys import write_h36m
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import minimize_scalar
from space_toys import annotation, content, standing

from rle_onestage import cli
from rle_onestage.evaluation import (
    EVALUATOR_REGISTRY,
    GroundTruth,
    PoseEvaluator,
    ground_truth_as_predictions,
    score_results,
)
from rle_onestage.evaluation.space import coverage, joint_distances, match_in_space, n_mpjpe, pa_mpjpe, space_metrics
from rle_onestage.structures.depth_density import SpaceDensity
from rle_onestage.structures.error_density import LEVELS
from rle_onestage.structures.root import root_weights
from rle_onestage.structures.skeleton import COCO, H36M

RNG = np.random.default_rng(0)


def procrustes(own, label):
    """Distances after scipy's orthogonal Procrustes with a size, no mirror: written anew, by another way."""
    a, b = own - own.mean(0), label - label.mean(0)
    turn, _ = orthogonal_procrustes(a, b)
    if np.linalg.det(turn) < 0:  # the best turn proper: flip the direction that matters least
        u, _, vt = np.linalg.svd(a.T @ b)
        u[:, -1] *= -1
        turn = u @ vt
    aligned = a @ turn
    best = minimize_scalar(lambda s: ((s * aligned - b) ** 2).sum())
    return np.linalg.norm(best.x * aligned - b, axis=1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_three_errors_are_those_of_an_independent_computation(mirrored):
    labels = RNG.normal(0, 300, (5, 17, 3))
    labels -= labels[:, :1]
    noise = RNG.normal(0, 60, labels.shape)
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn)) * (-1 if mirrored else 1)
    predicted = 1.4 * (labels + noise) @ turn.T + [100, 200, 300]
    root = np.eye(17)[0]
    for i in range(5):
        moved = predicted[i] - predicted[i, 0]
        expected = np.sqrt(((moved - labels[i]) ** 2).sum(1))
        assert joint_distances(predicted, labels, root)[i] == pytest.approx(expected)
        size = minimize_scalar(lambda s, moved=moved, i=i: ((s * moved - labels[i]) ** 2).sum()).x
        assert n_mpjpe(predicted, labels, root)[i] == pytest.approx(np.linalg.norm(size * moved - labels[i], axis=1),
                                                                    rel=1e-5)  # fmt: skip
        assert pa_mpjpe(predicted, labels)[i] == pytest.approx(procrustes(predicted[i], labels[i]), rel=1e-5)
    assert (pa_mpjpe(predicted, labels).mean() < 110) != mirrored  # the noise is left, a mirror is not undone


def test_joints_without_a_label_do_not_count():
    labels, predicted = RNG.normal(0, 300, (2, 3, 17, 3))
    gaps = labels.copy()
    gaps[:, 5] = np.nan
    keep = np.arange(17) != 5
    root = np.eye(17)[0]
    for function in (lambda p, t: joint_distances(p, t, root), lambda p, t: n_mpjpe(p, t, root), pa_mpjpe):
        assert np.isnan(function(predicted, gaps)[:, 5]).all() and np.isfinite(function(predicted, gaps)[:, keep]).all()
    assert pa_mpjpe(predicted, gaps)[:, keep] == pytest.approx(pa_mpjpe(predicted[:, keep], labels[:, keep]))
    assert np.isnan(pa_mpjpe(predicted, np.full_like(labels, np.nan))).all()


def truth_of(people):
    return GroundTruth(dataset=content(people), num_joints=17)


def test_labels_as_predictions_have_no_error_and_find_everybody():
    people = [[annotation(1, 1, standing()), annotation(2, 1, standing(1, 6000.0) + [600, 0, 0])],
              [annotation(3, 2, standing(2))], []]  # fmt: skip
    truth = truth_of(people)
    table = space_metrics(match_in_space(truth, ground_truth_as_predictions(truth), COCO.names), COCO.names)
    assert [table[key] for key in ("MPJPE", "PA-MPJPE", "N-MPJPE", "depth error", "MRPE")] == pytest.approx([0] * 5)
    assert table["found"] == 100 and table["people"] == 3


def test_people_are_matched_by_their_boxes_and_the_missed_ones_are_said():
    truth = truth_of([[annotation(1, 1, standing()), annotation(2, 1, standing(1, 6000.0) + [900, 0, 0])],
                      [annotation(3, 2, standing(2))]])  # fmt: skip
    results = ground_truth_as_predictions(truth)[:2]
    moved = np.array(results[0]["keypoints_3d"])
    moved[5] += [30, 40, 0]
    results[0]["keypoints_3d"] = moved.ravel().tolist()
    results.append({**results[0], "score": 0.2, "keypoints_3d": (moved + 500).tolist()})  # a duplicate, less sure
    table = space_metrics(match_in_space(truth, results, COCO.names), COCO.names)
    assert table["MPJPE"] == pytest.approx(50 / 34) and table["found"] == pytest.approx(100 * 2 / 3)


def test_a_joint_without_a_place_moves_nothing_where_the_middle_of_all_is_the_root():
    names, points = [f"marker{k}" for k in range(17)], standing()
    one = annotation(1, 1, points)
    one["keypoints_3d"][15] = None  # an ankle, far from the middle
    truth = GroundTruth(dataset=content([[one]], names=names), num_joints=17)
    (result,) = ground_truth_as_predictions(truth)
    result["keypoints_3d"] = (points - points.mean(0)).ravel().tolist()
    table = space_metrics(match_in_space(truth, [result], names), names)
    assert [table[key] for key in ("MPJPE", "depth error")] == pytest.approx([0, 0], abs=1e-9)


def test_coverage_counts_depths_within_the_intervals():
    truth = truth_of([[annotation(i, 1, standing(i, 4000.0) + [0, 0, 0])] for i in (1,)])
    results = ground_truth_as_predictions(truth)
    error = np.zeros((17, 3))
    error[:, 2] = np.linspace(-2, 2, 17)
    results[0]["keypoints_3d"] = (np.array(results[0]["keypoints_3d"]) + error).tolist()
    results[0]["keypoint_3d_sigmas"] = np.ones((17, 3)).ravel().tolist()
    matches = match_in_space(truth, results, COCO.names)
    density = SpaceDensity(levels=2 * torch.tensor(LEVELS).expand(17, 3, -1))
    for level in (0.5, 0.8):
        assert coverage(matches, density, level)[2] == pytest.approx(
            (np.abs(error[:, 2]) <= 2 * level).mean(), abs=0.01
        )
    assert space_metrics(matches, COCO.names)["depth error"] == pytest.approx(np.abs(error[:, 2]).mean())


def test_a_file_of_results_is_scored_in_space_by_the_command(tmp_path, capsys):
    labels, results = tmp_path / "labels.json", tmp_path / "results.json"
    data = content([[annotation(1, 1, standing())]])
    labels.write_text(json.dumps(data))
    truth = truth_of([[annotation(1, 1, standing())]])
    found = ground_truth_as_predictions(truth)
    found[0]["keypoints_3d"] = np.ravel(np.array(found[0]["keypoints_3d"]) * 1.1).tolist()
    results.write_text(json.dumps(found))
    scores = score_results(str(labels), str(results))["pose_3d"]
    size = np.linalg.norm(standing() - root_weights(COCO.names)[0] @ standing(), axis=1).mean()
    assert scores["MPJPE"] == pytest.approx(0.1 * size) and scores["N-MPJPE"] == pytest.approx(0, abs=1e-6)
    cli.main(["evaluate", "--annotations", str(labels), "--results", str(results)])
    assert "pose_3d" in capsys.readouterr().out
    found[0]["keypoints_3d"] = found[0]["keypoints_3d"][:-1]
    results.write_text(json.dumps(found))
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--annotations", str(labels), "--results", str(results)])
    assert "keypoints_3d" in capsys.readouterr().err


def test_human36m_is_scored_by_action(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_h36m(tmp_path)
    evaluator = EVALUATOR_REGISTRY.get("H36MEvaluator")("rle_h36m_test", distributed=False)
    assert isinstance(evaluator, PoseEvaluator) and evaluator.skeleton == H36M
    truth = GroundTruth.of_dataset("rle_h36m_test", 17)
    results, factor = ground_truth_as_predictions(truth), {}
    assert len(results) == 8  # two subjects, two actions, two cameras, the one frame of 64
    for result in results:
        action = truth.images[result["image_id"]]["action"]
        factor[action] = 1.1 if action == "Eating" else 1.2
        result["keypoints_3d"] = (np.array(result["keypoints_3d"]) * factor[action]).tolist()
    worse = [{**r, "score": 0.1, "keypoints_3d": (np.array(r["keypoints_3d"]) + RNG.normal(0, 99, (17, 3))).tolist()}
             for r in results]  # fmt: skip
    evaluator._image_ids, evaluator._results = list(truth.images), [*worse, *results]
    scores = evaluator.evaluate()
    by_action = scores["MPJPE by action"]
    assert set(by_action) == {"Eating", "Walking", "mean"}
    for action in factor:
        people = [
            np.array(a["points_3d"]) for a in truth.annotations if truth.images[a["image_id"]]["action"] == action
        ]
        expected = np.mean([np.linalg.norm(p, axis=1).mean() for p in people]) * (factor[action] - 1)
        assert by_action[action] == pytest.approx(expected)
    assert by_action["mean"] == pytest.approx((by_action["Eating"] + by_action["Walking"]) / 2)
    assert scores["N-MPJPE by action"]["mean"] == pytest.approx(0, abs=1e-6)
    assert scores["PA-MPJPE by action"]["mean"] == pytest.approx(0, abs=1e-6)
    assert scores["pose_3d"]["people"] == 8 and scores["keypoints"]["AP"] == pytest.approx(100)
