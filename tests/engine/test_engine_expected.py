"""TEST.EXPECTED_RESULTS: wrong names end nothing that has begun, values count when the training is done."""

import os

import engine_toy
import pytest

from rle_onestage.engine import Trainer, evaluate_only, load_config
from rle_onestage.engine.expected import check_best_name, check_expected_names
from rle_onestage.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path, MAX_ITER=4)


def configured(config, expected, *options):
    return load_config(str(config), ["TEST.EXPECTED_RESULTS", str(expected), "TEST.EVAL_PERIOD", "1", *options])


def test_values_are_compared_after_the_training_and_with_eval_only(config, tmp_path):
    cfg = configured(config, [["bbox", "AP", 1000.0, 1.0]])
    with pytest.raises(SystemExit) as caught:
        Trainer(cfg).train()
    assert caught.value.code == 1
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"
    with pytest.raises(SystemExit):
        evaluate_only(cfg, resume=True)
    assert evaluate_only(configured(config, [["bbox", "AP", 0.0, 1000.0]]), resume=True)["bbox"]


@pytest.mark.parametrize(
    "expected, words",
    [
        ([["keypoint", "AP", 1.0, 1.0]], "the task 'keypoint'; choose one of bbox, keypoints"),
        ([["bbox", "AP", 0.0, 1e3], ["keypoints", "AP51", 1.0, 1.0]], "keypoints/'AP51', which .* choose one of AP, "),
    ],
)
def test_a_wrong_name_is_said_before_the_training_begins(config, tmp_path, expected, words):
    cfg = configured(config, expected)
    with pytest.raises(ConfigError, match=words):
        Trainer(cfg).train()
    assert not os.path.exists(tmp_path / "out")
    with pytest.raises(ConfigError, match=words):
        evaluate_only(cfg, resume=True)


@pytest.mark.parametrize(
    "name, sets, words",
    [
        ("keypoint/AP", 1, "BEST_METRIC is 'keypoint/AP', which is no metric .* did you mean keypoints/AP[?] choose"),
        ("AP", 1, "is no metric of the evaluation; .*choose one of bbox/AP, "),
        ("keypoints/AP", 2, "choose one of toy_people/bbox/AP, .*toy_other/bbox/AP"),
        *[(name, 1, "") for name in ("keypoints/AP75", "keypoints/AP-nose", "calibration/ece", "best_match/OKS", "")],
        ("toy_other/keypoints/AP", 2, ""),
        ("keypoint/AP", 0, ""),
    ],
)
def test_the_name_of_the_best_metric_is_looked_at_too(config, name, sets, words):
    cfg = configured(config, [], "TEST.BEST_METRIC", name, "DATASETS.TEST", str(("toy_people", "toy_other")[:sets]))
    check_best_name(cfg, ours=False)
    if not words:
        check_best_name(cfg)
        return
    with pytest.raises(ConfigError, match=words):
        check_best_name(cfg)


def test_a_best_metric_that_is_none_begins_no_training(config, tmp_path):
    cfg = configured(config, [], "TEST.BEST_METRIC", "keypoint/AP")
    with pytest.raises(ConfigError, match="no metric of the evaluation"):
        Trainer(cfg).train()
    assert not os.path.exists(tmp_path / "out")


def test_several_sets_and_none_have_no_such_names(config):
    for names in ("()", "('toy_people', 'toy_people')"):
        with pytest.raises(ConfigError, match="needs one test set"):
            check_expected_names(configured(config, [["bbox", "AP", 1.0, 1.0]], "DATASETS.TEST", names))


def test_names_of_an_evaluator_of_ones_own(config, tmp_path):
    """Are known when it has given them, and then all is saved."""

    class Own(Trainer):
        @classmethod
        def build_evaluator(cls, cfg, dataset_name):
            evaluator = super().build_evaluator(cfg, dataset_name)
            evaluator.evaluate = lambda: {"own": {"PCK": 50.0}}
            return evaluator

    Own(configured(config, [["own", "PCK", 50.0, 0.1]])).train()
    with pytest.raises(ConfigError, match="names own/MAE, which is none of the metrics: own/PCK"):
        Own(configured(config, [["own", "MAE", 50.0, 0.1]])).train()
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"
