"""The comparison with a peer: the data set, the peer's labels, and a peer that is played by a small script."""

import json
import os
import stat
import sys

import cv2
import forked_python
import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import TINY
from yolo_comparison import report as h2h
from yolo_comparison import training
from yolo_comparison.models import Peer
from yolo_comparison.sets import annotations_file, make_sets, merge

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import head_to_head  # noqa: E402
import ultralytics_peer  # noqa: E402

# Finds one person in every image, where the labels have it, and takes no time.
FAKE_PEER = """#!{python}
import json, os, sys
args = dict(zip(sys.argv[3::2], sys.argv[4::2]))
if sys.argv[2] == "serve":
    print("a banner")
    print(json.dumps(dict(parameters_M=2.5, gflops=7.0)), flush=True)
    for line in sys.stdin:
        print(json.dumps(dict(ms=5.0, people=1)), flush=True)
elif sys.argv[2] == "train":
    os.makedirs(args["--output"])
    open(args["--output"] + "/results.csv", "w").write("epoch,time\\n1,50.0\\n2,52.0\\n3,70.0\\n")
else:
    data = json.load(open(args["--data"] + "/annotations/person_keypoints_" + args["--split"] + ".json"))
    rows = [dict(image_id=a["image_id"], category_id=1, keypoints=a["keypoints"], bbox=a["bbox"], score=0.9)
            for a in data["annotations"]]
    json.dump(rows, open(args["--results"], "w"))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("h2h"))
    make_sets(folder, train=4, val=2, size=64, crowded_share=0.25, workers=1)
    return folder


@pytest.fixture(scope="module")
def peer_python(tmp_path_factory):
    path = tmp_path_factory.mktemp("peer") / "python"
    path.write_text(FAKE_PEER.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_sets_hold_both_kinds_with_their_labels(root):
    train = json.load(open(annotations_file(root, "train")))
    names = [image["file_name"] for image in train["images"]]
    assert [name.split("_")[0] for name in names] == ["general"] * 3 + ["crowded"]
    assert sorted(os.listdir(os.path.join(root, "train"))) == sorted(names)
    source = json.load(open(annotations_file(os.path.join(root, "made", "crowded"), "train")))
    last = [a["keypoints"] for a in train["annotations"] if a["image_id"] == train["images"][-1]["id"]]
    assert last == [a["keypoints"] for a in source["annotations"]]
    for kind in ("images", "annotations"):
        numbers = [each["id"] for each in train[kind]]
        assert len(set(numbers)) == len(numbers)
    assert all(
        image["file_name"].startswith("crowded")
        for image in json.load(open(annotations_file(root, "val_crowded")))["images"]
    )


def test_merging_takes_the_first_images_only(root, tmp_path):
    merge([("a", root, "val", 1), ("b", root, "val", 2)], str(tmp_path), "both")
    data = json.load(open(annotations_file(str(tmp_path), "both")))
    assert [image["id"] for image in data["images"]] == [1, 2, 3]
    assert {a["image_id"] for a in data["annotations"]} <= {1, 2, 3}


@pytest.mark.parametrize("change", [{"train": 0}, {"crowded_share": 1.5}])
def test_bad_numbers_are_explained(tmp_path, change):
    with pytest.raises(ConfigError, match="--train and --val"):
        make_sets(str(tmp_path), **{"train": 1, "val": 1, "size": 64, "crowded_share": 0.5, **change})


def test_label_lines_by_hand():
    annotation = {"bbox": [10, 20, 40, 60], "keypoints": [20, 30, 2, 0, 0, 0, 40, 50, 1]}
    lines = ultralytics_peer.label_lines([annotation, {**annotation, "iscrowd": 1}], 100, 200)
    assert lines == ["0 0.3 0.25 0.4 0.3 0.2 0.15 2 0 0 0 0.4 0.25 1"]
    assert ultralytics_peer.flip_index(["nose", "left_eye", "right_eye"]) == [0, 2, 1]


def test_report_of_both_sides(root, peer_python, tmp_path, capsys):
    weights, output = tmp_path / "model.pth", tmp_path / "report"
    torch.manual_seed(0)
    config = tmp_path / "c.yaml"
    config.write_text(load_config("", [*TINY, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0]).dump())
    torch.save({"model": build_model(load_config(str(config))).state_dict()}, weights)
    threads = torch.get_num_threads()
    try:
        head_to_head.main([
            "report", "--root", root, "--output", str(output), "--size", "64", "--threads", "1", "--rounds", "2",
            "--ours", "ours", str(config), str(weights), "--peer-python", peer_python, "--peers", "fake", "fake.pt",
        ])  # fmt: skip
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(1)
    report = json.load(open(output / "head_to_head.json"))
    for split in ("val", "val_crowded"):
        assert report["scores"][split]["fake"]["AP"] == pytest.approx(100.0, abs=0.1)
        assert report["scores"][split]["ours"]["AP"] < 50
        assert cv2.imread(str(output / f"images_{split}.jpg")) is not None
    assert report["latency"]["fake"] == {"ms": 5.0, "rounds": [5.0, 5.0], "people": 1}
    assert report["latency"]["ours"]["ms"] > 0 and report["cost"]["fake"] == {"parameters_M": 2.5, "gflops": 7.0}
    assert report["cost"]["ours"]["gflops"] > 0
    table = (output / "head_to_head.md").read_text()
    assert table.strip() in capsys.readouterr().out and "| fake " in table


def test_latency_is_in_turn():
    class Model:
        def __init__(self, name, log):
            self.name, self.log = name, log

        def ask(self, _):
            self.log.append(self.name)
            return float(len(self.log)), 0

    log = []
    h2h.latencies([Model("a", log), Model("b", log)], "x.png", rounds=2, calls=2)
    assert "".join(log[2 * h2h.WARMUP :]) == "aabbaabb"


def test_a_peer_that_does_not_start_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be started"):
        Peer("p", str(tmp_path / "missing"), "w.pt", size=64, threads=1)
    with pytest.raises(ConfigError, match="the peer p ended"):
        Peer("p", sys.executable, str(tmp_path / "missing.pt"), size=64, threads=1)


def test_training_rates_in_turn(root, peer_python, tmp_path, monkeypatch, capsys):
    """The peer's second epoch has 1.2 images rounded to 1 in two seconds; ours really trains."""
    config = tmp_path / "c.yaml"
    files = [["h2h_rates_train", "annotations/person_keypoints_train.json", "train"]]
    options = ["DATASETS.KEYPOINT_FILES", files, "DATASETS.TRAIN", ("h2h_rates_train",), "SOLVER.IMS_PER_BATCH", 2]
    config.write_text(load_config("", [*TINY, *options]).dump())
    monkeypatch.setattr(training, "ITERATIONS", 15)
    monkeypatch.setattr(training, "subprocess", forked_python)
    main = ["training", "--root", root, "--size", "64", "--processes", "1", "--rounds", "1", "--output",
            str(tmp_path / "r.json"), "--ours", "ours", str(config), "--peer-python", peer_python]  # fmt: skip
    head_to_head.main([*main, "--peers", "fake", "fake.yaml"])
    found = json.load(open(tmp_path / "r.json"))
    assert found["fake"] == {"images_per_second": 0.5, "rounds": [0.5]}
    assert found["ours"]["images_per_second"] > 0
    assert "| fake " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        head_to_head.main([*main, "--peers", "ours", "fake.yaml"])
    assert "every name must be different" in capsys.readouterr().err
