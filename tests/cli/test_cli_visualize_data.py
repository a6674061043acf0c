import json
import logging
import os

import cv2
import numpy as np
import pytest
import yaml
from data_toys import person, toy_content, write_set

from rle_onestage.cli.visualize_data import main
from rle_onestage.visualization.labels import to_draw


def arguments(tmp_path, *more):
    content = toy_content(3)
    content["annotations"].append(person(9, 1, box=(5, 5, 30, 50), iscrowd=1))
    path, folder = write_set(str(tmp_path), content)
    config = {
        "DATASETS": {"KEYPOINT_FILES": [["drawn_set", path, folder]], "TRAIN": ["drawn_set"], "TEST": []},
        "DATALOADER": {"NUM_WORKERS": 0},
        "SOLVER": {"IMS_PER_BATCH": 2},
        "MODEL": {"DEVICE": "cpu"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return ["--config-file", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "out"), *more]


@pytest.mark.parametrize("source, count", [("annotation", 3), ("dataloader", 5)])
def test_images_and_page_are_drawn(tmp_path, capsys, source, count):
    main(arguments(tmp_path, "--source", source, "--number", "5", "INPUT.POSE.SIZE", "64", "SEED", "1"))
    files = sorted(os.listdir(tmp_path / "out"))
    assert len(files) == count + 1 and files[-1] == "page.png" and "0000_" in files[0]
    assert cv2.imread(str(tmp_path / "out" / files[0])).std() > 0
    said = capsys.readouterr().out
    assert f"{count} images" in said and ("--number 10 draws more" in said) == (count == 5)
    main(arguments(tmp_path, "--source", source, "--number", "3", "INPUT.POSE.SIZE", "64", "SEED", "1"))
    assert ("--number 6 draws more" in capsys.readouterr().out) == (source == "dataloader")  # which has no end


def test_warnings_of_a_command_without_a_log_say_that_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging, "lastResort", type(logging.lastResort)(logging.WARNING))
    main(arguments(tmp_path, "--source", "annotation", "--number", "1", "INPUT.POSE.SIZE", "64"))
    logging.lastResort.handle(logging.makeLogRecord({"levelname": "WARNING", "levelno": 30, "msg": "no partner"}))
    assert capsys.readouterr().err.endswith("WARNING: no partner\n")


def test_nothing_is_said_of_sets_that_are_not_drawn(tmp_path, caplog):
    main(arguments(tmp_path, "--number", "1", "INPUT.POSE.SIZE", "64", "DATASETS.TEST", "('drawn_set',)"))
    assert "trained on and tested on" not in caplog.text  # which a training warns of


def test_one_image_is_counted_as_one(tmp_path, capsys):
    main(arguments(tmp_path, "--source", "annotation", "--number", "1", "INPUT.POSE.SIZE", "64"))
    assert "1 image is in" in capsys.readouterr().out


def test_images_of_an_earlier_call_are_told(tmp_path, capsys):
    given = arguments(tmp_path, "--source", "annotation", "INPUT.POSE.SIZE", "64")
    main(given)
    assert "earlier call" not in capsys.readouterr().out
    main([*given, "--number", "3"])  # writes all of them again
    assert "earlier call" not in capsys.readouterr().out
    main([*given, "--number", "1"])
    assert capsys.readouterr().out.endswith("\n2 images of an earlier call are there too\n")


@pytest.mark.parametrize("source, count", [("annotation", 2), ("dataloader", 5)])
def test_images_without_people_are_left_out(tmp_path, source, count):
    given = arguments(tmp_path, "--source", source, "--number", "5", "--with-people", "INPUT.POSE.SIZE", "64")
    (path,) = tmp_path.rglob("*.json")
    content = json.loads(path.read_text())
    gone = content["images"][1]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone["id"]]
    path.write_text(json.dumps(content))
    main([*given, "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False"])
    files = [name for name in os.listdir(tmp_path / "out") if name != "page.png"]
    stem = os.path.splitext(gone["file_name"])[0]
    assert len(files) == count and not any(name.endswith(f"_{stem}.jpg") for name in files)


def test_a_damaged_image_is_told_and_left_out(tmp_path, caplog):
    given = arguments(tmp_path, "--source", "annotation", "INPUT.POSE.SIZE", "64")
    damaged = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg"))[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    main(given)
    files = [name for name in os.listdir(tmp_path / "out") if name != "page.png"]
    assert len(files) == 2 and not any(name.endswith(f"_{damaged.stem}.jpg") for name in files)
    assert [record.getMessage() for record in caplog.records if str(damaged) in record.getMessage()]


def test_images_of_which_none_can_be_read_are_one_sentence(tmp_path, capsys):
    given = arguments(tmp_path, "--source", "annotation", "INPUT.POSE.SIZE", "64")
    for path in [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")]:
        path.write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        main(given)
    assert end.value.code == 2 and "cannot be used" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_wrong_joints_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments(tmp_path, "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "5"))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "has 17 joints but the config expects 5" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit) as end:
        main(arguments(tmp_path, "--source", "annotation"))
    assert end.value.code == 2 and "cannot be written" in capsys.readouterr().err


def test_labels_become_what_is_drawn():
    keypoints = np.array([[[5.0, 6, 2], [7, 8, 1], [0, 0, 0]]])
    people = to_draw(np.array([[0.0, 0, 9, 9]]), keypoints, (20, 20))
    assert people.pred_keypoints[0, :, 2].tolist() == [1, 0, 0]
    assert people.pred_keypoint_presence.tolist() == [[1, 1, 0]]
