import copy
import json
import os
import pickle

import cv2
import numpy as np
import pytest
from data_toys import PERSON, make_config, person, toy_config, toy_content, write_set
from detectron2.data import DatasetCatalog, MetadataCatalog

import rle_onestage  # noqa: F401
from rle_onestage.data import get_skeleton, load_coco_keypoints, load_dataset, register_from_config
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.structures.boxes import AREA_OF_BOX
from rle_onestage.structures.skeleton import COCO

LSPET = os.path.join(os.environ.get("DETECTRON2_DATASETS", "datasets"), "lspet")


def load(tmp_path, content):
    return load_coco_keypoints(*write_set(str(tmp_path), content, images=False))


def one_person(**fields):
    content = toy_content(1)
    content["annotations"] = [person(7, 0, **fields)]
    return content


def test_records_are_detectron2s(tmp_path):
    content = toy_content(2)
    path, folder = write_set(str(tmp_path), content)
    ours, problems = load_coco_keypoints(path, folder)
    assert not problems.counts()
    from detectron2.data.datasets import load_coco_json

    theirs = load_coco_json(path, folder)
    assert len(ours) == len(theirs) == 2
    for a, b in zip(ours, theirs):
        assert {k: a[k] for k in ("file_name", "image_id", "height", "width")} == {
            k: b[k] for k in ("file_name", "image_id", "height", "width")
        }
        for p, q in zip(a["annotations"], b["annotations"]):
            # Shifted by 0.5 once, as Detectron2 does on loading.
            assert p["keypoints"] == q["keypoints"] and p["bbox"] == q["bbox"] and p["bbox_mode"] == q["bbox_mode"]
            assert p["area"] == 0.5 * 20 * 40 and p["category_id"] == 0 and p["iscrowd"] == 0
    assert ours[0]["annotations"][0]["keypoints"][0] == content["annotations"][0]["keypoints"][0] + 0.5


def test_unusable_annotations_are_counted_and_named(tmp_path):
    content = one_person()
    nothing = [0] * 51
    content["categories"].append({"id": 2, "name": "dog"})
    content["annotations"] += [
        person(8, 0, bbox=[5, 5, 0, 9], keypoints=nothing),
        person(9, 0, bbox=[500, 5, 10, 9]),
        {"id": 10, "image_id": 0, "category_id": 2, "bbox": [0, 0, 5, 5]},
        person(11, 0, bbox=[5, 5, 0, 0]),  # mended from its joints
        person(12, 0, keypoints=[90, 5, 2, 5, 5, 3] + nothing[6:]),
    ]
    records, problems = load(tmp_path, content)
    assert [a["id"] for a in records[0]["annotations"]] == [7, 11, 12]
    names = problems.names
    assert names["annotations without a box of positive size left out"] == [8]
    assert names["annotations whose box is outside the image left out"] == [9]
    assert names["annotations of a category without keypoints left out"] == [10]
    assert names["annotations without a box of positive size, box made from the joints"] == [11]
    assert [v for k, v in names.items() if "joints outside" in k] == [[12]]
    assert [v for k, v in names.items() if "visibility other" in k] == [[12]]
    assert records[0]["annotations"][2]["keypoints"][5] == 2
    x, y, w, h = records[0]["annotations"][1]["bbox"]
    joints = np.reshape(records[0]["annotations"][1]["keypoints"], (17, 3))
    assert x < joints[:, 0].min() and x + w > joints[:, 0].max() and y < joints[:, 1].min() and h > 0
    assert any("7" not in line and "8" in line for line in problems.lines())


def test_missing_area_and_keypoints(tmp_path):
    content = one_person()
    bare = person(8, 0)
    del bare["area"], bare["keypoints"], bare["iscrowd"]
    content["annotations"].append(bare)
    annotation = load(tmp_path, content)[0][0]["annotations"][1]
    assert annotation["area"] == pytest.approx(AREA_OF_BOX * 20 * 40)
    assert not any(annotation["keypoints"][2::3]) and annotation["iscrowd"] == 0


def _without(key):
    content = one_person()
    del content[key]
    return content


def _images(**fields):
    content = one_person()
    content["images"][0].update(fields)
    return content


def _twice(key):
    content = one_person()
    content[key].append(copy.deepcopy(content[key][0]))
    return content


@pytest.mark.parametrize(
    "content, words",
    [
        (_without("images"), "no list `images`"),
        (_without("annotations"), "no list `annotations`"),
        (_without("categories"), "no category with `keypoints`"),
        ({**one_person(), "categories": [{"id": 1, "name": "person"}]}, "person_keypoints"),
        ({**one_person(), "categories": [PERSON, {**PERSON, "id": 2, "name": "dog", "keypoints": ["tail"]}],
          "annotations": [person(7, 0), person(8, 0, category_id=2)]},
         r"several categories \('person', 'dog'\) whose joints differ"),
        ({**one_person(), "images": []}, "lists no images"),
        ({**one_person(), "annotations": [{**person(7, 0), "image_id": 99}]}, "annotation 7 belongs to image 99"),
        ({**one_person(), "annotations": [{"id": 3, "image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5]}]},
         "none of its 1"),
        (one_person(keypoints=[1, 2, 2] * 16), "annotation 7 has 48 numbers in `keypoints`, which must be 51"),
        (one_person(keypoints=[float("nan"), 2, 2] * 17), "annotation 7 has NaN or infinity in `keypoints`, joint 'n"),
        (one_person(keypoints=["a", 2, 2] * 17), "annotation 7 has something other than numbers in `keypoints`"),
        (one_person(bbox=[1, 1, -5, 5]), "annotation 7 has a negative size in `bbox`"),
        (one_person(bbox=[1, float("nan"), 5, 5]), "annotation 7 has NaN or infinity in `bbox`"),
        (one_person(bbox=[1, 1, 5]), "annotation 7 has `bbox`"),
        (one_person(area=-1.0), "annotation 7 has a negative size in `area`"),
        (one_person(area=float("inf")), "annotation 7 has NaN or infinity in `area`"),
        (_images(width=0), "image 0 .* the size 0 x 60"),
        (_images(width=None), "no width and height for .* cannot be read"),
        (_twice("annotations"), "annotation id 7 twice"),
        (_twice("images"), "image id 0 twice"),
    ],
)  # fmt: skip
def test_bad_files_are_one_sentence(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as error:
        load(tmp_path, content)
    assert "annotations.json" in str(error.value)


def test_not_found_and_not_json(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/nowhere/sets")
    with pytest.raises(
        DataError, match="'rle_coco_2017_val' was not found: there is no annotation file /nowhere/sets/coco"
    ):
        load_dataset(make_config(), "rle_coco_2017_val")
    with pytest.raises(DataError, match="DETECTRON2_DATASETS is /nowhere/sets"):
        read_json("/nowhere/x.json")
    path = tmp_path / "broken.json"
    path.write_text('{"images": [')
    with pytest.raises(DataError, match="broken.json .* is not valid JSON"):
        read_json(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(str(path))
    path.write_text("[]")
    with pytest.raises(DataError, match="not in COCO's format"):
        read_json(str(path))


def test_size_is_read_from_the_image_where_the_file_has_none(tmp_path):
    content = toy_content(1)
    path, folder = write_set(str(tmp_path), content)
    del content["images"][0]["width"], content["images"][0]["height"]
    with open(path, "w") as file:
        json.dump(content, file)
    record = load_coco_keypoints(path, folder)[0][0]
    assert (record["height"], record["width"]) == (60, 80)


def test_any_file_by_config_alone(tmp_path, caplog):
    names = ["left_hand", "right_hand", "tail"]
    content = toy_content(2)
    content["categories"] = [{"id": 5, "name": "fox", "keypoints": names, "skeleton": [[1, 3], [2, 3]]}]
    for annotation in content["annotations"]:
        annotation.update(category_id=5, keypoints=[12, 12, 2, 20, 20, 1, 0, 0, 0])
    cfg = toy_config(tmp_path, "fox_set", content, MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=3)
    records = load_dataset(cfg, "fox_set")
    assert records[0]["annotations"][0]["keypoints"] == [12.5, 12.5, 2, 20.5, 20.5, 1, 0.5, 0.5, 0]
    skeleton = get_skeleton(cfg, "fox_set")
    assert skeleton.flip_index == [1, 0, 2] and skeleton.limbs == ((0, 2), (1, 2)) and not skeleton.has_oks_sigmas
    metadata = MetadataCatalog.get("fox_set")
    assert metadata.keypoint_names == names and metadata.keypoint_flip_map == [("left_hand", "right_hand")]
    assert metadata.evaluator_type == "coco" and metadata.thing_dataset_id_to_contiguous_id == {5: 0}
    assert [r[:2] for r in metadata.keypoint_connection_rules] == [("left_hand", "tail"), ("right_hand", "tail")]
    cfg.TEST.KEYPOINT_OKS_SIGMAS = [0.1, 0.1, 0.2]
    cfg.DATASETS.KEYPOINT_FLIP_PAIRS = [["left_hand", "tail"]]
    register_from_config(cfg)
    assert metadata.keypoint_oks_sigmas == [0.1, 0.1, 0.2] and metadata.skeleton.has_oks_sigmas
    assert get_skeleton(cfg, "fox_set").flip_index == [2, 1, 0]
    cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS = 17
    with pytest.raises(DataError, match="annotations.json has 3 joints but the config expects 17"):
        load_dataset(cfg, "fox_set")


def test_registration_by_config_is_checked_and_can_be_repeated(tmp_path):
    cfg = toy_config(tmp_path, "again_set")
    register_from_config(cfg)
    register_from_config(cfg)
    assert "again_set" in DatasetCatalog.list()
    cfg.DATASETS.KEYPOINT_FILES = [["again_set", "a.json", str(tmp_path)]]
    register_from_config(cfg)
    assert MetadataCatalog.get("again_set").json_file.endswith("a.json")
    cfg.DATASETS.KEYPOINT_FILES = [["only", "two"]]
    with pytest.raises(ConfigError, match="KEYPOINT_FILES must hold"):
        register_from_config(cfg)
    cfg.DATASETS.KEYPOINT_FILES = [["coco_2017_val", "a.json", "b"]]
    with pytest.raises(ConfigError, match="taken by Detectron2"):
        register_from_config(cfg)
    cfg.DATASETS.KEYPOINT_FILES = []
    with pytest.raises(ConfigError, match="no data set 'no_such_set'.*rle_coco_2017_val"):
        load_dataset(cfg, "no_such_set")


def test_built_in_sets_are_resolved_when_used(tmp_path, monkeypatch):
    metadata = MetadataCatalog.get("rle_synthetic_val")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert metadata.json_file == str(tmp_path / "synthetic" / "annotations" / "person_keypoints_val.json")
    assert metadata.image_root == str(tmp_path / "synthetic" / "val")
    # The joints are known without the files, for drawing.
    assert metadata.skeleton is COCO and metadata.keypoint_names == list(COCO.names)
    assert metadata.thing_classes == ["person"] and metadata.get("stuff_classes") is None
    assert pickle.loads(pickle.dumps(metadata)).keypoint_names == list(COCO.names)
    # Joints that are in a file that is not there are absent for Detectron2's tools, and a sentence for ours.
    lspet = MetadataCatalog.get("rle_lspet_val")
    assert lspet.get("keypoint_names") is None
    with pytest.raises(DataError, match="rle_lspet_val"):
        get_skeleton(make_config(), "rle_lspet_val")


def test_image_folder_that_is_not_there(tmp_path, monkeypatch):
    folder = tmp_path / "coco_micro" / "annotations"
    folder.mkdir(parents=True)
    (folder / "person_keypoints_val.json").write_text(json.dumps(toy_content(1)))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(DataError, match="no image folder .*coco_micro/val"):
        load_dataset(make_config(), "rle_coco_micro_val")


def test_test_dev_needs_no_labels(tmp_path, monkeypatch):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "test2017").mkdir()
    content = {
        "images": [{"id": 3, "file_name": "a.jpg", "height": 5, "width": 6}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert [r["image_id"] for r in load_dataset(make_config(), "rle_coco_2017_test-dev")] == [3]


def test_detectron2s_own_coco_has_a_skeleton():
    skeleton = get_skeleton(make_config(), "keypoints_coco_2017_val")
    assert (
        skeleton.names == COCO.names
        and skeleton.flip_index == COCO.flip_index
        and skeleton.oks_sigmas == COCO.oks_sigmas
    )
    with pytest.raises(DataError, match="no keypoints"):
        get_skeleton(make_config(), "lvis_v1_val")


@pytest.mark.skipif(not os.path.isdir(LSPET), reason="no lspet below DETECTRON2_DATASETS")
def test_lspet_by_config_alone():
    cfg = make_config(
        DATASETS__KEYPOINT_FILES=[["own_lspet", f"{LSPET}/annotations/person_keypoints_val.json", f"{LSPET}/val"]],
        MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=14,
    )
    records = load_dataset(cfg, "own_lspet")
    assert len(records) == 495 and sum(len(r["annotations"]) for r in records) == 495
    assert get_skeleton(cfg, "own_lspet").flip_index == [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13]
    assert cv2.imread(records[0]["file_name"]).shape[:2] == (records[0]["height"], records[0]["width"])
