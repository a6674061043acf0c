"""Human3.6M's COCO-format files: what is read of them, and what is said of others."""

import json

import numpy as np
import pytest
from data_toys import make_config
from h36m_toys import CAMERAS, subject_files, world, write_h36m

from rle_onestage.data.benchmarks.h36m import action_of, frame_of
from rle_onestage.data.coco.annotations import read_keypoints
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.datasets import get_metadata, load_dataset
from rle_onestage.errors import DataError
from rle_onestage.structures.skeleton import H36M


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return write_h36m(tmp_path)


def test_the_sets_have_their_subjects_and_frames(folder):
    cfg = make_config()
    for name, subjects, frames in (("rle_h36m_train", {1, 5, 6, 7, 8}, {0, 5}), ("rle_h36m_test", {9, 11}, {0})):
        assert get_metadata(name).skeleton == H36M and get_metadata(name).evaluator_type == "h36m"
        records = load_dataset(cfg, name)
        assert len({record["image_id"] for record in records}) == len(records)
        names = [record["file_name"].split("/")[-1] for record in records]
        assert {int(file.split("_")[1]) for file in names} == subjects
        assert {int(file.split("_")[-1][:-4]) - 1 for file in names} == frames
        assert all(len(record["annotations"]) == 1 and "depth" in record["annotations"][0] for record in records)


def test_joints_are_in_the_axes_of_each_camera(folder):
    data = read_json(f"{folder}/Human36M_subject9_data.json:h36m")
    file = read_keypoints(data, "h36m")
    assert not file.problems.counts()
    assert len(file.annotations) == 8
    for i, annotation in enumerate(file.annotations):
        image = file.images[annotation["image_id"]]
        camera = CAMERAS[str(image["cam_idx"])]
        points = world(9, image["action_idx"], image["frame_idx"]) @ np.array(camera["R"]).T + camera["t"]
        assert np.allclose(file.space.points[i], points - points[0], atol=1e-6)
        assert np.allclose(file.space.root[i], points[0])
        pixels = points[:, :2] / points[:, 2:] * camera["f"] + camera["c"]
        assert np.allclose(file.keypoints[i, :, :2], pixels) and (file.keypoints[i, :, 2] == 2).all()


def test_files_with_all_in_one_need_no_others(tmp_path):
    data, cameras, joints = subject_files(5)
    for image, annotation in zip(data["images"], data["annotations"]):
        image["cam_param"] = cameras[str(image["cam_idx"])]
        annotation["keypoints_world"] = joints[str(image["action_idx"])]["1"][str(image["frame_idx"])]
    alone = tmp_path / "alone" / "Human36M_subject5.json"
    alone.parent.mkdir()
    alone.write_text(json.dumps(data))
    beside = write_h36m(tmp_path, [5]) / "Human36M_subject5_data.json"
    one, other = (read_json(f"{path}:h36m") for path in (alone, beside))
    assert [a["keypoints_3d"] for a in one["annotations"]] == [a["keypoints_3d"] for a in other["annotations"]]


@pytest.mark.parametrize("image, action, frame", [
    ({"file_name": "s_09_act_14_subact_01_ca_01_000129.jpg"}, "Walking", 128),
    ({"file_name": "S9/S9_WalkDog_1.54138969/S9_WalkDog_1.54138969_000065.jpg"}, "WalkDog", 64),
    ({"file_name": "x.jpg", "action_name": "Eating", "frame_idx": 7}, "Eating", 7),
    ({"file_name": "x.jpg", "action_idx": 2}, "Directions", 0),
    ({"file_name": "x.jpg"}, "", 0),
])  # fmt: skip
def test_actions_and_frames_by_name_or_number(image, action, frame):
    assert action_of(image) == action and frame_of(image) == frame


def broken(folder, ending, change):
    path = folder / f"Human36M_subject9_{ending}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


@pytest.mark.parametrize("ending, change, words", [
    ("data", lambda c: [1, 2], "not in Human3.6M's layout"),
    ("data", lambda c: {"images": [{"id": 1}], "annotations": []}, "image without `file_name`"),
    ("data", lambda c: {**c, "images": []}, "no frame whose number is a multiple of 1"),
    ("camera", lambda c: {"1": c["1"]}, "_camera entry 2"),
    ("camera", lambda c: {**c, "1": {"R": [1], "t": [0, 0, 0], "f": [1, 1], "c": [0, 0]}}, "is not"),
    ("camera", lambda c: {**c, "1": 5}, "no dictionary"),
    ("joint_3d", lambda c: {"4": c["4"]}, "_joint_3d entry 14, 1, 0"),
    ("joint_3d", lambda c: {**c, "4": {"1": {"0": [[1, 2, 3]] * 5, "5": [[1, 2, 3]] * 5}}}, "17 joints in front"),
    ("joint_3d", lambda c: {**c, "4": {"1": {"0": "none"}}}, "finite numbers"),
])  # fmt: skip
def test_another_layout_is_one_sentence_with_the_remedy(folder, ending, change, words):
    broken(folder, ending, change)
    with pytest.raises(DataError, match="give Human36M_subject1_data.json and its like") as error:
        read_json(f"{folder}/Human36M_subject9_data.json:h36m")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_missing_files_are_named(folder):
    (folder / "Human36M_subject11_camera.json").unlink()
    with pytest.raises(DataError, match="needs .*Human36M_subject11_camera.json, which is not there"):
        read_json(f"{folder}/Human36M_subject9_data.json:h36m_test")
    with pytest.raises(DataError, match="not that of subject 1, with which h36m_train begins"):
        read_json(f"{folder}/Human36M_subject9_data.json:h36m_train")
