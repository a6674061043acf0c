"""COCO-keypoint exports of labelling tools, as they come; samples after what public reports of the tools show."""

import json
import os

import pytest
from yolo_toys import write_image

from rle_onestage.data import load_coco_keypoints
from rle_onestage.errors import DataError

NAMES = ["head", "left_paw", "right_paw", "tail"]


def cvat():
    """An export of CVAT, COCO Keypoints 1.0: three joints of a cat, one of them occluded, one outside."""
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "box", "supercategory": "", "keypoints": [], "skeleton": []},
            {"id": 2, "name": "cat", "supercategory": "", "keypoints": list(NAMES), "skeleton": [[2, 1], [3, 1]]},
        ],
        "images": [
            {"id": 1, "width": 64, "height": 64, "file_name": "clip 1/frame_000000.png", "license": 0, "flickr_url": "",
             "coco_url": "", "date_captured": 0},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [], "area": 1000.0, "iscrowd": 0,
             "bbox": [10.0, 10.0, 40.0, 25.0], "attributes": {"occluded": False, "track_id": 0, "keyframe": True},
             "num_keypoints": 3, "keypoints": [10.5, 10.0, 2, 50.0, 35.0, 1, 30.0, 30.0, 2, 90.0, 30.0, 0]},
        ],
    }  # fmt: skip


def label_studio():
    """An export of Label Studio: a rectangle and the joints are two annotations, ids count from 0, there is no area."""
    return {
        "images": [{"width": 64, "height": 64, "id": 0, "file_name": "images/3f2a1b4c-cat%201.png"}],
        "categories": [
            {"id": 0, "name": "Cat"},
            {"id": 1, "name": "default", "supercategory": "default", "keypoints": list(NAMES), "skeleton": []},
        ],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 0, "segmentation": [], "bbox": [8.0, 9.0, 45.0, 40.0], "ignore": 0,
             "iscrowd": 0, "area": 1800.0},
            {"id": 1, "image_id": 0, "category_id": 1, "keypoints": [10, 10, 2, 50, 35, 2, 30, 30, 2, 0, 0, 0],
             "num_keypoints": 3, "bbox": [10, 10, 40, 25], "iscrowd": 0},
        ],
        "info": {"year": 2025, "version": "1.0", "contributor": "Label Studio", "date_created": "2025-06-01"},
    }  # fmt: skip


def load(tmp_path, content, images=("3f2a1b4c-cat 1.png", "clip 1/frame_000000.png")):
    """Records of an export whose image folder has some images, and what was left out."""
    for image in images:
        write_image(f"{tmp_path}/images/{image}")
    (tmp_path / "export.json").write_text(json.dumps(content))
    records, problems = load_coco_keypoints(str(tmp_path / "export.json"), str(tmp_path / "images"))
    assert all(os.path.isfile(record["file_name"]) for record in records)
    return records, problems.counts()


def people(records):
    return [annotation for record in records for annotation in record["annotations"]]


def test_cvat(tmp_path):
    records, problems = load(tmp_path, cvat())
    (cat,) = people(records)
    assert cat["bbox"] == [10, 10, 40, 25] and cat["area"] == 1000 and not problems
    assert cat["keypoints"][2::3] == [2, 1, 2, 0] and cat["keypoints"][:2] == [11, 10.5]


def test_cvat_tracks_that_left_the_image(tmp_path):
    content = cvat()
    content["annotations"].append({**content["annotations"][0], "id": 2, "keypoints": [], "num_keypoints": 0, "area": 0,
                                   "bbox": [0, 0, 0, 0]})  # fmt: skip
    records, problems = load(tmp_path, content)
    assert len(people(records)) == 1 and problems["annotations without a box of positive size left out"] == 1


def test_a_project_of_cvat_with_another_skeleton(tmp_path, caplog):
    content = cvat()
    hand = {"id": 3, "name": "hand", "supercategory": "", "keypoints": ["thumb", "palm"], "skeleton": [[1, 2]]}
    content["categories"].insert(0, hand)
    assert len(people(load(tmp_path, content)[0])) == 1
    assert "categories without annotations are left out: 'hand'" in caplog.text
    content["annotations"].append({**content["annotations"][0], "id": 2, "category_id": 3, "keypoints": [1, 2, 2] * 2})
    with pytest.raises(DataError, match=r"keypoints in several categories \('hand', 'cat'\) whose joints differ"):
        load(tmp_path, content)


def test_an_element_that_cvat_leaves_out_is_one_sentence(tmp_path):
    content = cvat()
    content["annotations"][0]["keypoints"] = content["annotations"][0]["keypoints"][:9]
    with pytest.raises(DataError, match="annotation 1 has 9 numbers in `keypoints`, which must be 12"):
        load(tmp_path, content)


def test_label_studio(tmp_path):
    records, problems = load(tmp_path, label_studio())
    (cat,) = people(records)
    assert cat["bbox"] == [10, 10, 40, 25] and cat["area"] == pytest.approx(530) and cat["area_from_box"]
    assert cat["keypoints"][:3] == [10.5, 10.5, 2]
    assert problems["annotations of a category without keypoints left out"] == 1  # the rectangle


@pytest.mark.parametrize("change", [{"bbox": []}, {"bbox": [10, 10, 40, 0]}, {"bbox": None}, {"bbox": [0, 0, 0, 0]}])
def test_label_studio_without_a_box(tmp_path, change):
    content = label_studio()
    content["annotations"][1].update(change)
    (cat,) = people(load(tmp_path, content)[0])
    assert cat["bbox"] == pytest.approx([5.7, 7.5, 49.6, 31])  # of the joints, widened


def test_numbers_as_text(tmp_path):
    content = label_studio()
    plain = people(load(tmp_path, content)[0])
    one, image = content["annotations"][1], content["images"][0]
    one.update({key: list(map(str, one[key])) for key in ("bbox", "keypoints")})
    image.update(width="64", height="64.0")
    records, problems = load(tmp_path, content)
    assert people(records) == plain
    assert {problems[f"annotations with text in `{key}`, read as numbers"] for key in ("bbox", "keypoints")} == {1}
    one["keypoints"][0] = "ten"
    with pytest.raises(DataError, match="annotation 1 has something other than numbers in `keypoints`: 'ten'"):
        load(tmp_path, content)


@pytest.mark.parametrize(
    "name",
    ["images/3f2a1b4c-cat 1.png", "images/3f2a1b4c-cat%201.png", "/data/upload/4/3f2a1b4c-cat%201.png",
     "..\\..\\label-studio\\media\\upload\\4\\3f2a1b4c-cat 1.png", "/data/local-files/?d=own/3f2a1b4c-cat%201.png"],
)  # fmt: skip
def test_names_of_images(tmp_path, name):
    content = label_studio()
    content["images"][0]["file_name"] = name
    records, problems = load(tmp_path, content)
    assert records[0]["file_name"] == f"{tmp_path}/images/3f2a1b4c-cat 1.png"
    assert problems["images found in the image folder by the end of their `file_name`"] == 1


def test_two_images_never_share_a_file(tmp_path):
    content = label_studio()
    content["images"] = [
        {**content["images"][0], "id": i, "file_name": f"{name}/a.png"} for i, name in enumerate("xyz")
    ]
    (tmp_path / "export.json").write_text(json.dumps(content))
    for image in ("a.png", "z/a.png"):
        write_image(f"{tmp_path}/images/{image}")
    records, problems = load_coco_keypoints(str(tmp_path / "export.json"), str(tmp_path / "images"))
    found = [os.path.relpath(record["file_name"], tmp_path / "images") for record in records]
    assert found == ["x/a.png", "y/a.png", "z/a.png"] and not any("by the end" in line for line in problems.counts())
