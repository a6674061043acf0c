"""Pages of predictions beside labels."""

import json

import cv2
import numpy as np
import pytest

from rle_onestage.cli.worst_images import main as worst_images
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation.metrics import random_case
from rle_onestage.visualization.results_page import page_of_results

NAMES = ["left_hand", "right_hand", "head", "left_foot", "right_foot"]


@pytest.fixture
def made(tmp_path):
    """A small set with images, its results, and a config that names it."""
    dataset, results = random_case(seed=4, num_images=6, num_joints=5)
    dataset["categories"] = [
        {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 3], [2, 3], [3, 4], [3, 5]]}
    ]
    for image in dataset["images"]:
        cv2.imwrite(str(tmp_path / image["file_name"]), np.full((480, 640, 3), 60, np.uint8))
    (tmp_path / "truth.json").write_text(json.dumps(dataset))
    (tmp_path / "results.json").write_text(json.dumps(results))
    name = f"test_report_{tmp_path.name}"
    files = [[name, str(tmp_path / "truth.json"), str(tmp_path)]]
    options = ["DATASETS.KEYPOINT_FILES", files, "DATASETS.TEST", (name,)]
    options += ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", 5, "TEST.KEYPOINT_OKS_SIGMAS", [0.08] * 5]
    return tmp_path, load_config("", options), name


@pytest.mark.parametrize("order", ["worst", "best", "file"])
def test_page(made, order):
    folder, cfg, name = made
    shown = page_of_results(
        cfg, name, str(folder / "results.json"), str(folder / "out" / "page.png"), count=4, order=order
    )
    oks = [s.oks for s in shown]
    if order != "file":
        assert oks == sorted(oks, reverse=order == "best")
    page = cv2.imread(str(folder / "out" / "page.png"))
    assert len(shown) == 4 and page.shape[1] > 1800 and page.std() > 5


def test_page_without_images_or_results(made):
    folder, cfg, name = made
    with pytest.raises(DataError, match="none.json"):
        page_of_results(cfg, name, str(folder / "none.json"), str(folder / "page.png"))
    for file in folder.glob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match="can be read"):
        page_of_results(cfg, name, str(folder / "results.json"), str(folder / "page.png"))
    assert not (folder / "page.png").exists()


def test_the_command_says_what_it_wrote_and_what_is_missing(made, capsys, monkeypatch):
    folder, _, name = made
    monkeypatch.setattr("rle_onestage.cli.worst_images.start", lambda: None)  # a log that outlives the test
    monkeypatch.chdir(folder)
    config, page = folder / "own.yaml", str(folder / "page.png")
    config.write_text(
        f"DATASETS: {{KEYPOINT_FILES: [[{name}, {folder}/truth.json, {folder}]], TEST: [{name}]}}\n"
        f"MODEL: {{RLE_ONESTAGE: {{NUM_KEYPOINTS: 5}}}}\nOUTPUT_DIR: out\n"
    )
    command = ["--config-file", str(config), "--output", page, "--number", "2"]
    with pytest.raises(SystemExit):
        worst_images([*command])
    said = capsys.readouterr().err
    assert "there is no out/inference/coco_instances_results.json, which an evaluation writes; run" in said
    assert f"with --results; OUTPUT_DIR is looked for in the working directory, {folder}" in said
    worst_images([*command, "--results", str(folder / "results.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ") == ["mean OKS (%)", "labelled people", "image"] and len(lines) == 4
    assert lines[-1] == f"2 images are drawn in {page}"


def test_an_order_that_does_not_exist_is_an_error(made):
    folder, cfg, name = made
    with pytest.raises(ConfigError, match="'random'; choose one of worst, best, file"):
        page_of_results(cfg, name, str(folder / "results.json"), str(folder / "page.png"), order="random")
