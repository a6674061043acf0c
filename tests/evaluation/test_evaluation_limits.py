"""How many people an image count in AP, and thresholds that are no scores."""

import json
import logging
import os

import pytest
from demo_toys import options

from rle_onestage.cli import train
from rle_onestage.engine.config.conflicts import conflicts
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, check_score
from rle_onestage.evaluation import PoseEvaluator, build_evaluator, coco_metrics, score_results
from rle_onestage.structures.skeleton import COCO

SIGMAS = [0.05, 0.05]


def crowd(people, path=None):
    """A file of one image with so many people of two joints, who stand apart."""
    annotations = [
        {
            "id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [100 * i, 0, 50, 100], "area": 2650,
            "keypoints": [100 * i + 5, 10, 2, 100 * i + 40, 90, 2], "num_keypoints": 2,
        }
        for i in range(people)
    ]  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100 * people, "height": 100}], "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": ["left_a", "right_a"], "skeleton": []}],
    }  # fmt: skip
    if path is not None:
        path.write_text(json.dumps(content))
    return content


def warnings_of(caplog):
    """The records of warnings."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_more_than_20_people_are_said_and_counted_where_asked(tmp_path, caplog):
    file = tmp_path / "crowd.json"
    crowd(30, file)
    with caplog.at_level(logging.WARNING):
        cut = score_results(str(file), oks_sigmas=SIGMAS)
    (record,) = warnings_of(caplog)
    assert "In 1 image of" in record.getMessage() and "the fullest has 30" in record.getMessage()
    assert "66.7" in record.getMessage() and "--max-people" in record.getMessage()
    assert cut["keypoints"]["AR"] == pytest.approx(100 * 20 / 30)
    caplog.clear()
    whole = score_results(str(file), oks_sigmas=SIGMAS, max_people=30)
    assert whole["keypoints"]["AP"] == pytest.approx(100) and not warnings_of(caplog)
    assert whole["best_match"]["OKS"] == pytest.approx(100) and whole["table"]["all"]["count"] == 60


def test_more_than_20_people_that_are_found_are_said(tmp_path, caplog):
    content = crowd(2, tmp_path / "crowd.json")
    person = content["annotations"][0]
    found = [{"image_id": 1, "score": score, "keypoints": person["keypoints"]} for score in [0.5] * 25 + [0.05] * 30]
    (tmp_path / "results.json").write_text(json.dumps(found))
    files = [str(tmp_path / name) for name in ("crowd.json", "results.json")]
    with caplog.at_level(logging.WARNING):
        score_results(*files, oks_sigmas=SIGMAS)
        (said,) = [record.getMessage() for record in caplog.records]
        assert "In 1 image of" in said and "more than 20 results with a score of at least 0.1" in said
        assert "(the fullest has 25)" in said and "Set max_people (--max-people) to 25" in said
        caplog.clear()
        score_results(*files, oks_sigmas=SIGMAS, max_people=25)
    assert not caplog.records


def test_the_flag_of_evaluate_is_the_key():
    args = train._parse(["--max-people", "33", "SEED", "7"], "evaluate", "")
    assert load_config("", args.opts).TEST.MAX_PEOPLE == 33


def test_exactly_20_people_get_no_warning(tmp_path, caplog):
    crowd(20, tmp_path / "crowd.json")
    assert score_results(str(tmp_path / "crowd.json"), oks_sigmas=SIGMAS)["keypoints"]["AP"] == pytest.approx(100)
    assert not warnings_of(caplog)


@pytest.mark.parametrize("backend", ["pycocotools", "faster"])
def test_boxes_of_more_than_100_people_count_too(backend):
    truth = crowd(120)
    results = [{**a, "score": 1.0 - i / 1000} for i, a in enumerate(truth["annotations"])]
    for limit, recall in ((20, 100 * 100 / 120), (120, 100.0)):
        found = coco_metrics(truth, results, "bbox", SIGMAS, max_people=limit, backend=backend)
        assert found["AR"] == pytest.approx(recall)


def test_the_key_reaches_the_evaluator_and_is_checked(monkeypatch):
    monkeypatch.setattr("rle_onestage.evaluation.coco.get_skeleton", lambda cfg, name: COCO)
    cfg = load_config("", ["TEST.MAX_PEOPLE", "70"])
    evaluator = build_evaluator(cfg, "a set")
    assert isinstance(evaluator, PoseEvaluator) and evaluator.max_people == 70
    assert not any("MAX_PEOPLE" in sentence for sentence in conflicts(cfg))
    with pytest.raises(ConfigError, match="TEST.MAX_PEOPLE is 0"):
        load_config("", ["TEST.MAX_PEOPLE", "0"])
    wide = load_config("", ["TEST.MAX_PEOPLE", "300"])
    assert any("TEST.MAX_PEOPLE 300" in s and "DETECTIONS_PER_IMAGE, 100" in s for s in conflicts(wide))


@pytest.mark.parametrize("wrong", [30.0, -0.1, float("nan"), 1.01])
def test_a_threshold_that_is_no_score_is_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"--confidence-threshold.*0 to 1"):
        options(threshold=wrong, output=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"SCORE_THRESH is"):
        load_config("", ["MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", str(wrong)])
    assert not os.path.exists(tmp_path / "out")


def test_percent_is_recognised():
    with pytest.raises(ConfigError, match=r"x is 30; .* \(0.3 for 30 percent\)"):
        check_score(30, "x")
    check_score(0, "x")
    check_score(1, "x")
