"""Thresholds, joints and worst images, on one image whose metrics are counted by hand."""

import json
import math

import cv2
import numpy as np
import pytest
from people_study.joints import joint_table
from people_study.labels import read_set
from people_study.matching import match
from people_study.operating import curve, images_with_people
from people_study.worst import draw_worst, mistakes
from people_toys import random_set, row_of_people

from rle_onestage.errors import DataError
from rle_onestage.evaluation import coco_metrics
from rle_onestage.evaluation.operating import at_threshold, best_threshold


@pytest.fixture
def row(tmp_path):
    """Five people: three found (scores 0.9, 0.8, 0.6), one missed by far (0.7), one without a detection.

    Below these stands a ghost of score 0.2, in a second image without people.
    """
    dataset, results = row_of_people([0.0, 0.01, 0.9, 0.02, None])
    dataset["images"].append({"id": 2, "file_name": "empty.png", "width": 200, "height": 100})
    results.append({**results[0], "image_id": 2, "score": 0.2})
    path = tmp_path / "row.json"
    path.write_text(json.dumps(dataset))
    for image in dataset["images"]:
        cv2.imwrite(str(tmp_path / image["file_name"]), np.zeros((image["height"], image["width"], 3), np.uint8))
    return read_set("row", str(path), str(tmp_path)), results


def test_precision_and_recall_are_those_counted_by_hand(row):
    found = curve(match(*row))
    assert found.threshold.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.2])
    assert found.right.tolist() == [1, 2, 2, 3, 3] and found.wrong.tolist() == [0, 0, 1, 1, 2]
    best = best_threshold(found)
    assert best["threshold"] == pytest.approx(0.6) and best["precision"] == pytest.approx(75)
    assert best["recall"] == pytest.approx(60) and best["f1"] == pytest.approx(200 * 3 / 9)
    assert at_threshold(found, 0.75) == {
        "threshold": 0.75, "precision": 100.0, "recall": pytest.approx(40), "f1": pytest.approx(400 / 7),
        "right": 2.0, "wrong": 0.0, "people": 5.0,
    }  # fmt: skip
    above = at_threshold(found, 0.95)
    assert above["recall"] == 0 and math.isnan(above["precision"])


def test_a_threshold_is_as_if_lower_detections_were_not_there(tmp_path):
    labelled, results = random_set(tmp_path, seed=3, images=30)
    found = curve(match(labelled, results))
    for threshold in (0.25, 0.5, 0.8):
        kept = [r for r in results if r["score"] >= threshold]
        alone = coco_metrics(labelled.truth.dataset, kept, "keypoints", labelled.skeleton.oks_sigmas)
        assert at_threshold(found, threshold)["recall"] == pytest.approx(alone["AR50"])
        assert at_threshold(found, threshold) == {
            **at_threshold(curve(match(labelled, kept)), 0.0), "threshold": threshold
        }  # fmt: skip


def test_detections_of_crowds_are_neither_right_nor_wrong(row):
    labelled, results = row
    labelled.truth.annotations[0]["iscrowd"] = 1
    point = at_threshold(curve(match(labelled, results)), 0.6)
    assert (point["right"], point["wrong"], point["people"]) == (2, 1, 4)


def test_no_threshold_is_best_where_nothing_is_right(row):
    labelled, results = row
    with pytest.raises(DataError, match="no detection of the set is right"):
        best_threshold(curve(match(labelled, results[2:3])))


def test_images_without_people_are_counted_by_their_highest_score():
    results = [{"image_id": i, "score": s} for i, s in ((1, 0.4), (1, 0.9), (2, 0.3), (4, 0.5), (9, 1.0))]
    found = images_with_people(results, [1, 2, 3, 4], 0.5)
    assert (found["images"], found["with_people"], found["share"]) == (4, 2, 50.0)
    assert found["highest"] == [(1, 0.9), (4, 0.5), (2, 0.3), (3, 0.0)]


def test_joints_of_missed_people_count_as_not_reached(row):
    labelled, results = row
    table = joint_table(labelled, results, match(labelled, results))
    assert table["nose"]["labelled"] == 5 and table["nose"]["count"] == 3
    assert table["all"]["labelled"] == 85 and table["all"]["reached"] == pytest.approx(60)
    # Errors of 0, 1 and 2 % of the root of the area.
    assert table["left_hip"]["mean_relative"] == pytest.approx(1) and table["visible"]["count"] == 51
    assert table["hidden"]["labelled"] == 0 and math.isnan(table["hidden"]["reached"])


def test_the_worst_image_comes_first_and_is_drawn(row, tmp_path):
    labelled, results = row
    matching = match(labelled, results)
    first, second = mistakes(labelled, results, matching, 0.1)
    assert (first.file_name, first.people, first.missed, first.wrong, first.quality) == ("empty.png", 0, 0, 1, 0)
    assert (second.missed, second.wrong) == (2, 1) and 0.6 < second.quality < 6 / 9 and 0.9 < second.oks < 1
    (first, second) = mistakes(labelled, results, matching, 0.65)
    assert (first.file_name, first.missed, first.wrong) == ("row.png", 3, 1) and second.quality == 1
    page = tmp_path / "pages" / "worst.jpg"
    draw_worst(labelled, results, [first, second], 0.65, str(page))
    assert cv2.imread(str(page)).std() > 10
    with pytest.raises(DataError, match="set row has no image folder"):
        draw_worst(labelled._replace(folder=None), results, [first], 0.65, str(page))
