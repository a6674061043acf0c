"""Metrics of a file of results."""

import json
import os
import re
import runpy

import numpy as np
import pytest

from rle_onestage import cli, load_config
from rle_onestage.cli.score_results import main
from rle_onestage.data.datasets import register_from_config
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import format_scores, score_results, stand_ins
from rle_onestage.evaluation.metrics import random_case
from rle_onestage.structures.skeleton import COCO

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


def test_stand_in_sigmas_are_said_once_where_ap_is_computed(folder, caplog, monkeypatch):
    monkeypatch.setattr(stand_ins, "_said", set())
    truth, results = str(folder / "truth.json"), str(folder / "results.json")
    score_results(truth, results, oks_sigmas=[0.08] * 5)
    assert "stand-ins" not in caplog.text
    for _ in range(2):
        score_results(truth, results)
    (said,) = [r.getMessage() for r in caplog.records if "stand-ins" in r.getMessage() and r.levelname == "WARNING"]
    assert "of the 5 joints (left_hand 0.08, " in said and "Set TEST.KEYPOINT_OKS_SIGMAS" in said


@pytest.mark.parametrize(
    "own, given, source, warned",
    [
        (None, (), "stand-ins by body part (0.08 elsewhere)", True),
        ([0.2] * 5, (), "1/5 each (`oks_sigmas` of the label file)", True),  # of an earlier convert-dataset
        ([0.1] * 5, (), "`oks_sigmas` of the label file", False),
        ([0.1] * 5, [0.2] * 5, "as given (TEST.KEYPOINT_OKS_SIGMAS or --oks-sigmas)", False),
    ],
)
def test_each_evaluation_says_where_its_oks_sigmas_are_from(folder, caplog, monkeypatch, own, given, source, warned):
    monkeypatch.setattr(stand_ins, "_said", set())
    caplog.set_level("INFO", logger="rle_onestage")
    file = changed(folder, lambda dataset: dataset["categories"][0].update(oks_sigmas=own))
    for _ in range(2):
        scores = score_results(file, str(folder / "results.json"), oks_sigmas=given)
        assert format_scores(scores).startswith(f"OKS sigmas: {source}\n")
    said = [r for r in caplog.records if source in r.getMessage()]
    assert [r.levelname for r in said] == (["WARNING", "INFO"] if warned else ["INFO", "INFO"])


@pytest.mark.parametrize("partial", (True, False))
def test_people_without_labels_are_told_where_a_set_has_them(folder, caplog, partial):
    caplog.set_level("INFO", logger="rle_onestage")
    name, file = f"gym_{partial}", str(folder / "truth.json")
    register_from_config(
        load_config("", ["DATASETS.KEYPOINT_FILES", [[name, file, str(folder), {"partial": partial}]]])
    )
    score_results(file, str(folder / "results.json"), dataset_name=name)
    assert (f"Not everybody is labelled in {name}" in caplog.text) == partial


def test_results_of_another_set_are_an_error(folder):
    other = folder / "other.json"
    other.write_text(json.dumps([{"image_id": 1, "category_id": 1, "keypoints": [0] * 51, "score": 1.0}]))
    with pytest.raises(DataError, match="17 joints.*5"):
        score_results(str(folder / "truth.json"), str(other))


def changed(folder, change):
    """The labels' file after a change of its content."""
    dataset = json.loads((folder / "truth.json").read_text())
    change(dataset)
    (folder / "changed.json").write_text(json.dumps(dataset))
    return str(folder / "changed.json")


def test_nobody_to_be_found_is_an_error(folder):
    with pytest.raises(DataError, match="changed.json has no labelled people"):
        score_results(changed(folder, lambda dataset: dataset.update(annotations=[])))


def test_a_category_whose_number_is_text_is_the_same(folder):
    as_text = changed(folder, lambda dataset: [a.update(category_id="1") for a in dataset["annotations"]])
    results = str(folder / "results.json")
    as_number = score_results(str(folder / "truth.json"), results)["keypoints"]
    np.testing.assert_equal(score_results(as_text, results)["keypoints"], as_number)


def test_scores_that_are_no_probabilities_are_said(folder, caplog):
    results = json.loads((folder / "results.json").read_text())
    (folder / "log.json").write_text(json.dumps([{**r, "score": r["score"] - 5} for r in results]))
    score_results(str(folder / "truth.json"), str(folder / "log.json"))
    assert "no score reaches 0.1" in caplog.text


@pytest.mark.parametrize("number", [0, -1, 10**9, 10**21])
def test_numbers_of_people_that_make_no_sense(folder, number):
    with pytest.raises(ConfigError, match="--max-people"):
        score_results(str(folder / "truth.json"), max_people=number)


def test_a_pipe_is_no_file_of_results(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="pipe is a pipe, not a file"):
        score_results(str(folder / "truth.json"), str(folder / "pipe"))


def test_results_of_a_part_of_the_file(folder, caplog):
    """Images without results cost recall, which is said; as a data set the part is scored alone."""
    truth, results = str(folder / "truth.json"), json.loads((folder / "results.json").read_text())
    score_results(truth, str(folder / "results.json"), oks_sigmas=[0.08] * 5)
    assert "no result" not in caplog.text
    images = json.loads((folder / "truth.json").read_text())["images"]
    chosen = [image["id"] for image in images[:3]]
    (folder / "part.json").write_text(json.dumps([r for r in results if r["image_id"] in chosen]))
    cost = score_results(truth, str(folder / "part.json"), oks_sigmas=[0.08] * 5)["keypoints"]["AP"]
    assert "no result for 3 of 6 images with people" in caplog.text and "--dataset" in caplog.text
    limit = float(re.search(r"AP is at most (\d+)\.", caplog.text)[1])
    caplog.clear()
    config = folder / "config.yaml"
    only = {"only": [image["file_name"] for image in images[:3]]}
    sets = [["scored_part", truth, str(folder), only]]
    config.write_text(json.dumps({"VERSION": 2, "DATASETS": {"TEST": ["scored_part"], "KEYPOINT_FILES": sets}}))
    given = ["--config-file", str(config), "--oks-sigmas", *["0.08"] * 5, "--json", str(folder / "scores.json")]
    main([*given, "--results", str(folder / "part.json")])
    alone = json.loads((folder / "scores.json").read_text())["keypoints"]["AP"]
    assert "no result" not in caplog.text and cost < limit < 100 and cost < alone
    main([*given, "--results", str(folder / "results.json")])  # results of the other images are left out
    assert json.loads((folder / "scores.json").read_text())["keypoints"]["AP"] == alone


def test_labels_are_named_once(capsys):
    for given, sentence in (
        (["--annotations", "a.json", "--dataset", "own_val"], "give one of them"),
        ([], "the ground truth is not given; name it with --dataset"),
    ):
        with pytest.raises(SystemExit):
            main(given)
        assert sentence in capsys.readouterr().err


def test_evaluate_scores_a_file_of_results_by_the_name_of_a_data_set(folder, capsys, monkeypatch):
    """Both commands are one, and a set that is registered needs no config."""
    dataset, results = random_case(seed=4, num_images=6, num_joints=17)
    dataset["categories"] = [{"id": 1, "name": "person", "keypoints": list(COCO.names)}]
    place = folder / "coco_micro" / "annotations"
    place.mkdir(parents=True)
    (place / "person_keypoints_val.json").write_text(json.dumps(dataset))
    (folder / "coco.json").write_text(json.dumps(results))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(folder))
    given = ["--results", str(folder / "coco.json"), "--json", str(folder / "out.json")]
    found = []
    for command, more in (
        ("evaluate", ["--dataset", "rle_coco_micro_val"]),
        ("score-results", ["--dataset", "rle_coco_micro_val"]),
        ("evaluate", ["--annotations", str(place / "person_keypoints_val.json")]),
    ):
        cli.main([command, *given, *more])
        found.append(json.loads((folder / "out.json").read_text()))
    assert found[0] == found[1] == found[2] and 0 < found[0]["keypoints"]["AP"] < 100
    capsys.readouterr()
    for changes, sentence in (
        ({"image_id": 3000}, "are of images that"),
        ({"keypoints": [1.0] * 15}, "has 5 joints in `keypoints`, but"),
    ):
        (folder / "coco.json").write_text(json.dumps([{**result, **changes} for result in results]))
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", *given, "--dataset", "rle_coco_micro_val"])
        error = capsys.readouterr().err
        assert end.value.code == 2 and sentence in error and error.count("\n") == 1


def test_the_limit_of_the_config_counts_and_the_flag_before_it(folder, monkeypatch):
    limits = []

    def scored(*args, max_people, **options):
        limits.append(max_people)
        raise DataError("enough")

    monkeypatch.setattr("rle_onestage.evaluation.score_results", scored)
    for more in ([], ["TEST.MAX_PEOPLE", "30"], ["TEST.MAX_PEOPLE", "30", "--max-people", "40"]):
        with pytest.raises(SystemExit):
            main(["--annotations", str(folder / "truth.json"), *more])
    assert limits == [20, 30, 40]
