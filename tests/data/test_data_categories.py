"""What an annotation file says of its joints and files, in the ways that programs write it, and what is said of it."""

import json
import os

import cv2
import numpy as np
import pytest
from data_toys import PERSON, person, toy_content, write_set
from PIL import Image

from rle_onestage.data import load_coco_keypoints
from rle_onestage.data.coco.categories import keypoint_category
from rle_onestage.data.coco.json_files import Problems, read_json
from rle_onestage.errors import DataError, shown
from rle_onestage.utils.images import UnreadableImage, read_image


def category_of(**fields):
    category = {"id": 1, "name": "cat", "keypoints": ["a", "b", "c"], **fields}
    return keypoint_category({"categories": [category]}, "f.json")


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"keypoints": 3}, "category 'cat' has `keypoints` 3; it must be a list of joint names, or a dictionary"),
        ({"keypoints": {"0": "a", "2": "b"}}, "must be a list of joint names, or a dictionary"),
        ({"keypoints": {"a": "x", "b": "y"}}, "must be a list of joint names, or a dictionary"),
        ({"keypoints": {"a": 5, "b": 6}}, "must be a list of joint names, or a dictionary"),
        ({"keypoints": {"0": 1, "1": 2}}, "calls joint 1 1; a joint's name is text"),
        ({"keypoints": ["a", None]}, "calls joint 2 None; a joint's name is text"),
        ({"keypoints": ["a", ["b"]]}, r"calls joint 2 \['b'\]"),
        ({"keypoints": ["a", "\ud800"]}, "calls joint 2 "),
        ({"keypoints": ["a", "b", "a"]}, "has the joint 'a' twice"),
        ({"keypoints": []}, "no category with `keypoints`"),
        ({"id": True}, "a category has `id` True"),
        ({"flip_idx": [1, 2, 0]}, "category 'cat': `flip_idx` gives joint 0 the number 1, and joint 1 the number 2"),
        ({"flip_idx": [0, 1]}, "category 'cat': `flip_idx` has 2 numbers"),
        ({"oks_sigmas": [0.1, 0.1]}, "category 'cat' has `oks_sigmas` .*one number above 0 for each of 3 joints"),
        ({"oks_sigmas": [0.1, 0, 0.1]}, "category 'cat' has `oks_sigmas`"),
    ],
)
def test_joints_that_make_no_sense_are_one_sentence(fields, words):
    with pytest.raises(DataError, match=f"^f.json.*{words}"):
        category_of(**fields)


@pytest.mark.parametrize(
    "skeleton, limbs, words",
    [
        ([[1, 2], [2, 3]], [[1, 2], [2, 3]], None),
        ([[0, 1], [1, 2]], [[1, 2], [2, 3]], "count joints from 0"),
        ([["a", "c"], ["b", "c"]], [[1, 3], [2, 3]], None),
        ([[1, 2], [1, 4], [True, 2], [1.5, 2], [1], 7], [[1, 2]], r"5 of 6 limbs .* its 3 joints .* the first is \[1"),
        ([[0, 1], [2, 3]], [[1, 2]], r"1 of 2 limbs .* \[2, 3\]"),
        ([["a", "z"]], [], "1 of 1 limbs"),
        ([[1, 2]] * 9, [[1, 2]], None),
        (1, [], "`skeleton` is 1 and no list"),
        (None, [], None),
    ],
)
def test_limbs_are_read_as_they_are_meant_and_never_in_the_way(skeleton, limbs, words, caplog):
    name = f"{skeleton}.json"
    for _ in range(2):
        category = {"id": 1, "name": "cat", "keypoints": ["a", "b", "c"], "skeleton": skeleton}
        data = {"categories": [category]}
        assert keypoint_category(data, name)["skeleton"] == limbs
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == (words is not None)
    if words:
        caplog.clear()
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(said[0])


def test_classes_with_the_same_joints_are_one_with_a_count(tmp_path):
    content = toy_content(3)
    content["categories"].append({**PERSON, "id": 2, "name": "dog"})
    content["annotations"][0]["category_id"] = content["annotations"][1]["category_id"] = 2
    path, folder = write_set(str(tmp_path), content, images=False)
    records, problems = load_coco_keypoints(path, folder)
    assert sum(len(r["annotations"]) for r in records) == 3
    assert problems.lines() == [
        "2 annotations of 'dog' counted as 'person', as their joints are the same: 100, 101"
    ]  # fmt: skip
    content["categories"][1]["keypoints"] = list(reversed(PERSON["keypoints"]))
    with pytest.raises(DataError, match=r"\('person', 'dog'\) whose joints differ"):
        load_coco_keypoints(path, folder, data=content)


def test_backslashes_are_folders_unless_a_file_has_that_name(tmp_path):
    content = toy_content(2)
    for image, name in zip(content["images"], ("sub\\000.png", "odd\\001.png")):
        image["file_name"] = name
    path, folder = write_set(str(tmp_path), content, images=False)
    os.makedirs(os.path.join(folder, "sub"))
    for name in ("sub/000.png", "odd\\001.png"):
        cv2.imwrite(os.path.join(folder, name), np.zeros((60, 80, 3), np.uint8))
    records, problems = load_coco_keypoints(path, folder)
    assert [os.path.relpath(r["file_name"], folder) for r in records] == ["sub/000.png", "odd\\001.png"]
    assert problems.lines() == [
        "1 image with backslashes in `file_name`, which are taken for folders: sub\\000.png"
    ]  # fmt: skip


def test_a_size_as_stored_is_told_from_another_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (60, 80)).save(tmp_path / "b.jpg")
    with pytest.raises(UnreadableImage, match="turns it to 60 x 80 but .* 80 x 60, the size as stored"):
        read_image(str(tmp_path / "a.jpg"), 80, 60)
    with pytest.raises(UnreadableImage) as error:
        read_image(str(tmp_path / "b.jpg"), 80, 60)
    assert "EXIF" not in str(error.value)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"[" * 100000, "is nested too deeply"),
        (b'{"images": "\xff\xfe"}', "is not valid JSON: byte 12 is not utf-8; write it again, as UTF-8"),
        (b"{'images': []}", "is not valid JSON"),
        (b'{"images": [' + b"9" * 5000 + b"]}", "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b"[]", "no list `images`"),
    ],
)
def test_what_is_no_json_is_one_sentence(tmp_path, data, words):
    path = tmp_path / "set.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as error:
        read_json(str(path))
    assert len(str(error.value)) < 300 + len(str(path))


def test_long_and_odd_values_are_cut():
    deep = []
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**6)), 10**5000, {"a": "b" * 999}):
        assert len(shown(value)) <= 63
    problems = Problems()
    problems.add("odd", "x" * 10**6)
    problems.add("odd", "\ud800")
    (line,) = problems.lines()
    assert len(line) < 250 and line.encode()


def test_null_is_no_number_and_false_is_no_list():
    content = toy_content(1)
    for fields in ({"keypoints": 0}, {"keypoints": False}, {"keypoints": ""}, {"bbox": 0}, {"bbox": ""}, {"bbox": {}}):
        content["annotations"] = [person(7, 0, **fields)]
        with pytest.raises(DataError, match=f"annotation 7 has `{next(iter(fields))}`"):
            load_coco_keypoints("f.json", "nowhere", data=json.loads(json.dumps(content)))
