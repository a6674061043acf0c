import importlib.util
import os

import cv2
import numpy as np
import pytest
import yaml
from data_toys import person, toy_content, write_set

TOOL = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "visualize_data.py")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("visualize_data", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    return ["--config-file", str(tmp_path / "config.yaml"), "--output-dir", str(tmp_path / "out"), *more]


@pytest.mark.parametrize("source, count", [("annotation", 3), ("dataloader", 5)])
def test_pictures_and_page_are_drawn(tool, tmp_path, capsys, source, count):
    tool.main(arguments(tmp_path, "--source", source, "--num", "5", "INPUT.POSE.SIZE", "64", "SEED", "1"))
    files = sorted(os.listdir(tmp_path / "out"))
    assert len(files) == count + 1 and files[-1] == "page.png" and "0000_" in files[0]
    assert cv2.imread(str(tmp_path / "out" / files[0])).std() > 0
    assert f"{count} pictures" in capsys.readouterr().out


def test_wrong_joints_are_one_sentence(tool, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        tool.main(arguments(tmp_path, "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "5"))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "has 17 joints but the config expects 5" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_is_one_sentence(tool, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit) as end:
        tool.main(arguments(tmp_path, "--source", "annotation"))
    assert end.value.code == 2 and "cannot be written" in capsys.readouterr().err


def test_labels_become_what_is_drawn(tool):
    keypoints = np.array([[[5.0, 6, 2], [7, 8, 1], [0, 0, 0]]])
    people = tool.to_draw(np.array([[0.0, 0, 9, 9]]), keypoints, (20, 20))
    assert people.pred_keypoints[0, :, 2].tolist() == [1, 0, 0]
    assert people.pred_keypoint_presence.tolist() == [[1, 1, 0]]
