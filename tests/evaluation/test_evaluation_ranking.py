"""AP under other scores: COCO's metrics, powers, bootstrap."""

import math

import numpy as np
import pytest

from rle_onestage.evaluation import GroundTruth, coco_metrics
from rle_onestage.evaluation.metrics import random_case
from rle_onestage.evaluation.ranking import Ranking, choose_powers, compare_scores, powered

SIGMAS = np.linspace(0.03, 0.1, 5)


def case(seed, images=25):
    """Labels with crowds, people without joints and empty images, and their results."""
    dataset, results = random_case(seed=seed, num_images=images, num_joints=5)
    dataset["categories"][0]["keypoints"] = [f"joint{i}" for i in range(5)]
    return GroundTruth(dataset=dataset, num_joints=5), results


def ap_of_pycocotools(truth, results, scores, max_people):
    rescored = [{**r, "score": float(s)} for r, s in zip(results, scores)]
    metrics = coco_metrics(truth.dataset, rescored, "keypoints", SIGMAS, max_people=max_people, backend="pycocotools")
    return metrics["AP"]


@pytest.mark.parametrize("seed, max_people", [(0, 20), (1, 3), (2, 2), (5, 20)])
def test_any_score_gives_the_ap_of_pycocotools(seed, max_people):
    truth, results = case(seed)
    ranking = Ranking(truth, results, SIGMAS, max_people=max_people)
    rng = np.random.default_rng(seed)
    own = np.array([r["score"] for r in results])  # with ties
    for scores in (own, rng.random(len(results)), -own):
        ap = ranking.average_precision(ranking.rank(scores))
        assert 0 < ap < 100
        assert ap == pytest.approx(ap_of_pycocotools(truth, results, scores, max_people), abs=1e-9)


def test_a_weight_of_two_is_the_image_twice():
    truth, results = case(3, images=8)
    scores = np.random.default_rng(0).permutation(len(results)) / len(results)  # no ties
    ranking = Ranking(truth, results, SIGMAS)
    counts = np.random.default_rng(1).integers(0, 3, len(ranking.images))
    weighted = ranking.average_precision(ranking.rank(scores), counts)
    images, annotations, copies = [], [], []
    for image_id, count in zip(ranking.image_ids, counts):
        for number in range(count):
            new = len(images) + 1
            images.append({**truth.images[image_id], "id": new})
            annotations += [{**a, "image_id": new} for a in truth.annotations if a["image_id"] == image_id]
            # The copies come after one another, not in a tie.
            copies += [
                {**r, "image_id": new, "score": s - 1e-9 * number}
                for r, s in zip(results, scores)
                if r["image_id"] == image_id
            ]
    annotations = [{**a, "id": n + 1} for n, a in enumerate(annotations)]
    repeated = {**truth.dataset, "images": images, "annotations": annotations}
    metrics = coco_metrics(repeated, copies, "keypoints", SIGMAS, backend="pycocotools")
    assert weighted == pytest.approx(metrics["AP"], abs=1e-9) and counts.max() == 2


def test_powers_of_the_score():
    factors = np.array([[0.5, 1.0, 0.25], [0.9, 0.0, 0.0]])
    assert powered(factors, (1, 0, 0.5)) == pytest.approx([0.25, 0.0])
    assert powered(factors, (0, 0, 0)) == pytest.approx([1.0, 1.0])


def informed(truth, results, ranking, seed=0):
    """Factors of which the last knows the detection's OKS and the others do not."""
    rng = np.random.default_rng(seed)
    factors = rng.uniform(0.2, 1.0, (len(results), 3))
    for image in ranking.images:
        oks = image.similarity.max(1, initial=0.0)
        factors[image.rows, 2] = (0.9 * oks + 0.1 * rng.random(len(oks))).clip(1e-3, 1)
    return factors


def test_powers_go_to_the_factor_that_knows():
    truth, results = case(6, images=40)
    ranking = Ranking(truth, results, SIGMAS)
    factors = informed(truth, results, ranking)
    powers, tried = choose_powers(ranking, factors, start=(1.0, 0.0, 0.0))
    aps = [ap for _, ap in tried]
    assert aps == sorted(aps, reverse=True) and aps[0] > dict(tried)[1.0, 0.0, 0.0] + 5
    assert powers[0] <= 0.25 and powers[2] == 1
    factors[:, 1] = 1.0  # no quality branch
    assert all(p[1] == 0 for p, _ in choose_powers(ranking, factors, start=(1.0, 0.0, 1.0))[1])
    # Scores that are all the same: the powers in use stay.
    assert choose_powers(ranking, np.ones((len(results), 3)), start=(1.0, 0.5, 1.0))[0] == (1.0, 0.5, 1.0)


def test_bootstrap():
    truth, results = case(6, images=40)
    ranking = Ranking(truth, results, SIGMAS)
    factors = informed(truth, results, ranking)
    scores = {"class": factors[:, 0], "same": 2 * factors[:, 0], "oks": factors[:, 2]}
    table = compare_scores(ranking, scores, baseline="class", resamples=200)
    for row in table.values():
        assert row["AP_interval"][0] < row["AP"] < row["AP_interval"][1]
    # A paired interval: the same order differs by nothing, whatever images are drawn.
    assert table["same"]["difference"] == 0 and table["same"]["difference_interval"] == [0.0, 0.0]
    low, high = table["oks"]["difference_interval"]
    assert 0 < low < table["oks"]["difference"] < high
    assert compare_scores(ranking, scores, baseline="class", resamples=200) == table


def test_nothing_to_rank():
    truth, _ = case(0)
    ranking = Ranking(truth, [], SIGMAS)
    assert ranking.average_precision(ranking.rank(np.zeros(0))) == 0
    assert choose_powers(ranking, np.zeros((0, 3)))[0] == (1.0, 1.0, 1.0)
    nobody = truth.subset([truth.dataset["images"][0]["id"]])
    nobody.dataset["annotations"] = []
    ranking = Ranking(nobody, [], SIGMAS)
    assert math.isnan(compare_scores(ranking, {"a": np.zeros(0)}, baseline="a", resamples=3)["a"]["AP"])
