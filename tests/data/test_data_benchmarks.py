"""Files of benchmarks in their own layouts: what is read of them, for training too, and what is said of others."""

import json

import benchmark_toys as toys
import cv2
import numpy as np
import pytest
from data_toys import make_config
from detectron2.data import DatasetCatalog, MetadataCatalog

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.datasets import get_metadata, load_dataset
from rle_onestage.data.lookup import is_there, set_options
from rle_onestage.errors import DataError
from rle_onestage.structures import COCO, CROWDPOSE, MPII, WHOLEBODY

# Name -> file of labels, folder of images, joints, evaluator_type.
SETS = {
    "rle_crowdpose_train": ("crowdpose/annotations/mmpose_crowdpose_train.json", "crowdpose/images", CROWDPOSE),
    "rle_crowdpose_val": ("crowdpose/annotations/mmpose_crowdpose_val.json", "crowdpose/images", CROWDPOSE),
    "rle_crowdpose_trainval": ("crowdpose/annotations/mmpose_crowdpose_trainval.json", "crowdpose/images", CROWDPOSE),
    "rle_crowdpose_test": ("crowdpose/annotations/mmpose_crowdpose_test.json", "crowdpose/images", CROWDPOSE),
    "rle_ochuman_val": ("ochuman/annotations/ochuman_coco_format_val_range_0.00_1.00.json", "ochuman/images", COCO),
    "rle_ochuman_test": ("ochuman/annotations/ochuman_coco_format_test_range_0.00_1.00.json", "ochuman/images", COCO),
    "rle_coco_wholebody_train": ("coco/annotations/coco_wholebody_train_v1.0.json", "coco/train2017", WHOLEBODY),
    "rle_coco_wholebody_val": ("coco/annotations/coco_wholebody_val_v1.0.json", "coco/val2017", WHOLEBODY),
    "rle_humanart_train": ("HumanArt/annotations/training_humanart.json", "", COCO),
    "rle_humanart_val": ("HumanArt/annotations/validation_humanart.json", "", COCO),
    "rle_mpii_train": ("mpii/annotations/mpii_train.json", "mpii/images", MPII),
    "rle_mpii_val": ("mpii/annotations/mpii_val.json", "mpii/images", MPII),
}


def content_of(name):
    """The labels of a set in its layout."""
    if "crowdpose" in name:
        return toys.crowdpose_case()[0]
    if "wholebody" in name:
        return toys.wholebody_case()[0]
    if "mpii" in name:
        return toys.mpii_case()[0]
    dataset = toys.coco_case()[0]
    for image in dataset["images"]:
        image["file_name"] = ("HumanArt/images/real_human/dance/" if "humanart" in name else "") + image["file_name"]
    return dataset


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_read_in_its_layout(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    file, folder, skeleton = SETS[name]
    metadata = get_metadata(name)
    assert name in DatasetCatalog.list() and not is_there(name)  # registered, with nothing on this machine
    assert metadata.skeleton == skeleton and metadata.keypoint_flip_map == skeleton.flip_map
    cfg = make_config(MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=skeleton.num_joints)
    with pytest.raises(DataError, match=f"'{name}' was not found: there is no annotation file .*{file.split('/')[-1]}"):
        load_dataset(cfg, name)
    content = content_of(name)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(json.dumps(content))
    images = {p["image"] for p in content} if "mpii" in name else {i["file_name"] for i in content["images"]}
    for image in images:
        path = tmp_path / folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((600, 700, 3), np.uint8))
    records = load_dataset(cfg, name)
    assert {record["file_name"] for record in records} == {
        str(tmp_path / "." / folder / image) if folder else f"{tmp_path}/./{image}" for image in images
    }
    assert all((record["height"], record["width"]) == (600, 700) for record in records)
    people = [annotation for record in records for annotation in record["annotations"]]
    assert people and all(len(annotation["keypoints"]) == 3 * skeleton.num_joints for annotation in people)


def test_joints_of_wholebody_are_its_lists_one_behind_the_other(tmp_path):
    dataset = toys.wholebody_case()[0]
    (tmp_path / "w.json").write_text(json.dumps(dataset))
    read = read_json(f"{tmp_path}/w.json:wholebody")
    for before, after in zip(dataset["annotations"], read["annotations"]):
        assert after["keypoints"] == [value for key, _ in toys.PARTS for value in before[key]]
        assert "num_keypoints" not in after and not any(key.endswith("_kpts") for key in after)
    (category,) = read["categories"]
    assert category["keypoints"] == list(WHOLEBODY.names) and category["flip_idx"] == WHOLEBODY.flip_index
    assert read_json(f"{tmp_path}/w.json")["annotations"][0]["num_keypoints"] >= 0  # as COCO's own format: 17 joints


def test_pixels_of_mpii_count_from_1(tmp_path):
    people = toys.mpii_case()[0]
    (tmp_path / "m.json").write_text(json.dumps(people))
    read = read_json(f"{tmp_path}/m.json:mpii")
    assert [image["id"] for image in read["images"]] == list(range(5, 11))
    for person, annotation in zip(people, read["annotations"]):
        joints = np.reshape(annotation["keypoints"], (16, 3))
        flags = np.array(person["joints_vis"])
        assert (joints[:, 2] == 2 * flags).all()
        np.testing.assert_allclose(joints[flags > 0, :2], np.array(person["joints"])[flags > 0] - 1)
    assert read["images"][0]["people"][1]["center"] == [value - 1 for value in people[1]["center"]]
    named = [{**person, "image": f"im{person['image']}"} for person in people]
    (tmp_path / "m.json").write_text(json.dumps(named))
    assert read_json(f"{tmp_path}/m.json:mpii")["images"][0]["id"] == named[0]["image"]


@pytest.mark.parametrize(
    "layout, change, sentence",
    [
        ("mpii", lambda people: {"images": []}, "is not in MPII's layout, a list of people; give mpii_train.json"),
        ("mpii", lambda people: [], "is not in MPII's layout"),
        ("mpii", lambda people: [{**people[0], "image": None}], "person 1 has no `image` with the name of a file"),
        ("mpii", lambda people: [people[0], 3], "person 2 has no `image`"),
        ("mpii", lambda people: [{**people[0], "joints": [[1, 2]] * 17}], "`joints` .*must be 16 x 2 finite numbers"),
        ("mpii", lambda people: [{**people[0], "joints_vis": None}], "`joints_vis` .*must be 16 finite numbers"),
        ("mpii", lambda people: [{**people[0], "scale": -1}], "`scale` -1; it must be above 0"),
        ("mpii", lambda people: [{**people[0], "scale": "big"}], "`scale` 'big'; it must be 1 finite"),
        ("wholebody", lambda dataset: [1], "is not in COCO-WholeBody's layout"),
        ("wholebody", lambda dataset: toys.coco_case()[0], "annotation 1: `foot_kpts` is missing, but must have 18"),
        ("wholebody", lambda dataset: {**dataset, "annotations": [{**dataset["annotations"][0], "face_kpts": [1]}]},
         "`face_kpts` is .*1.*, but must have 204 numbers"),
        ("wholebody", lambda dataset: {**dataset, "annotations": [5]}, r"annotation 5 \(number 1\) is no object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_another_layout_is_one_sentence(layout, change, sentence, tmp_path):
    content = change(content_of(layout))
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"(?s)labels.json.*{sentence}") as error:
        read_json(f"{tmp_path}/labels.json:{layout}")
    assert str(error.value).count("\n") == 0


def test_a_file_of_ones_own_in_another_layout(tmp_path):
    """An address in the config: joints and way of scoring come from the layout."""
    people = toys.mpii_case()[0]
    (tmp_path / "own.json").write_text(json.dumps(people))
    sets = [["own_mpii", f"{tmp_path}/own.json:mpii", str(tmp_path)]]
    cfg = make_config(DATASETS__KEYPOINT_FILES=sets, MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=16)
    for person in people:
        cv2.imwrite(str(tmp_path / person["image"]), np.zeros((60, 70, 3), np.uint8))
    assert len(load_dataset(cfg, "own_mpii")) == 6
    metadata = MetadataCatalog.get("own_mpii")
    assert metadata.evaluator_type == "mpii" and metadata.skeleton.names == MPII.names


def test_what_the_labels_of_a_set_leave_open():
    assert set_options("rle_mpii_train").partial and set_options("rle_mpii_train").hidden == "unknown"
    assert set_options("rle_crowdpose_train").area == "box" and not set_options("rle_coco_wholebody_train").partial
    types = [
        get_metadata(name).evaluator_type for name in ("rle_coco_2017_val", "rle_humanart_val", "rle_crowdpose_val")
    ]
    assert types == ["coco", "coco", "crowdpose"]
