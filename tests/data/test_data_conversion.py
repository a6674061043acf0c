"""Conversion between COCO's format and YOLO-pose: what returns, what is named as left out, what is refused."""

import json
import math
import os
import re

import numpy as np
import pytest
import yaml
from data_toys import PERSON, person, toy_content, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from yolo_toys import CORNERS, write_image, write_yolo_set

from rle_onestage.cli import main as rle_onestage
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.conversion import yolo_to_coco
from rle_onestage.data.yolo import writing
from rle_onestage.data.yolo.writing import CocoSplit, write_yolo
from rle_onestage.errors import ConfigError, DataError, MediaError
from rle_onestage.evaluation import score_results, stand_ins

NAMES = ["head", "left_paw", "right_paw"]
SIZES = ((1, 1), (3, 7), (64, 48), (640, 427), (4001, 3000))


def convert(root, content, output="yolo", **options):
    """Convert a file with its images as the split val; returns the lines and the address."""
    path, folder = write_set(str(root), content)
    lines = write_yolo([CocoSplit("val", path, folder)], str(root / output), **options)
    return lines, f"{root / output}/data.yaml:val"


@st.composite
def coco_sets(draw):
    """A set of animals of three joints, with joints and boxes anywhere in images of several sizes."""
    share = st.floats(0, 1, allow_subnormal=False)
    images, annotations = [], []
    for number in range(draw(st.integers(1, 3))):
        width, height = draw(st.sampled_from(SIZES))
        images.append({"id": number + 5, "file_name": f"{number}.png", "width": width, "height": height})
        for _ in range(draw(st.integers(0, 2))):
            joints = [(draw(share) * width, draw(share) * height, draw(st.integers(1, 2))) for _ in NAMES[1:]]
            w, h = max(0.01, draw(share) * width), max(0.01, draw(share) * height)
            box = [draw(share) * (width - w), draw(share) * (height - h), w, h]
            one = {"id": len(annotations) + 1, "image_id": number + 5, "category_id": 3, "iscrowd": 0, "bbox": box,
                   "area": 0.5 * w * h, "keypoints": [0, 0, 0, *np.ravel(joints).tolist()]}  # fmt: skip
            if one["keypoints"] not in [a["keypoints"] for a in annotations]:
                annotations.append(one)
    category = {"id": 3, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
    return {"images": images, "annotations": annotations, "categories": [category]}


@settings(max_examples=12, deadline=None)
@given(content=coco_sets())
def test_joints_and_boxes_return(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("round")
    _, address = convert(root, content)
    yolo_to_coco(address, str(root / "back.json"))
    back = read_json(str(root / "back.json"))
    assert [(i["width"], i["height"]) for i in back["images"]] == [(i["width"], i["height"]) for i in content["images"]]
    assert len(back["annotations"]) == len(content["annotations"])
    places = {image["id"]: place for place, image in enumerate(content["images"], start=1)}
    for ours, theirs in zip(back["annotations"], content["annotations"]):
        assert ours["image_id"] == places[theirs["image_id"]]
        for key in ("bbox", "keypoints"):
            assert np.abs(np.subtract(ours[key], theirs[key])).max() < 1e-4
        assert math.isclose(ours["area"], 0.53 * ours["bbox"][2] * ours["bbox"][3])
    category = back["categories"][0]
    assert (category["keypoints"], category["flip_idx"], category["name"]) == (NAMES, [0, 2, 1], "cat")
    assert category["skeleton"] == [[1, 2], [1, 3]] and "oks_sigmas" not in category


def test_own_joints_evaluate_the_same_on_each_side_of_a_round_trip(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(stand_ins, "_said", set())
    rng = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 150} for i in range(1, 6)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [40, 30, 100, 80], "area": 0.53 * 100 * 80,
         "keypoints": np.insert(rng.integers(30, 110, (3, 2)), 2, 2, axis=1).ravel().tolist()} for i in range(1, 6)
    ]  # fmt: skip
    category = {"id": 1, "name": "cat", "keypoints": ["left_ear", "right_ear", "tail"], "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    path, address = str(tmp_path / "own.json"), convert(tmp_path, content)[1]
    (tmp_path / "own.json").write_text(json.dumps(content))
    results = [
        {"image_id": a["image_id"], "category_id": 1, "score": 0.9, "bbox": a["bbox"],
         "keypoints": [v + 1.1 * a["id"] * (place % 3 == 0) for place, v in enumerate(a["keypoints"])]}
        for a in annotations
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(results))
    yolo_to_coco(address, str(tmp_path / "back.json"))
    scores = [score_results(labels, str(tmp_path / "results.json")) for labels in
              (path, address, str(tmp_path / "back.json"))]  # fmt: skip
    assert 5 < scores[0]["keypoints"]["AP"] < 95
    for other in scores[1:]:
        assert other["keypoints"] == pytest.approx(scores[0]["keypoints"], nan_ok=True)
    assert {s["oks_sigmas"]["source"] for s in scores} == {"stand-ins by body part (0.08 elsewhere)"}
    (said,) = [r for r in caplog.records if "stand-ins by body part" in r.getMessage() and r.levelname == "WARNING"]
    assert "left_ear 0.035, right_ear 0.035, tail 0.08" in said.getMessage()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 10**6).map(lambda n: n / 10**6), min_size=8, max_size=8), max_size=3),
    size=st.sampled_from(SIZES[1:4]),
)
def test_rows_return(tmp_path_factory, rows, size):
    root = tmp_path_factory.mktemp("rows")
    text = "".join(
        f"0 {0.25 + r[0] / 2} {0.25 + r[1] / 2} {0.1 + r[2] / 4} {0.1 + r[3] / 4} {r[4]} {r[5]} 2 {r[6]} {r[7]} 1\n"
        for r in rows
    )
    path = write_yolo_set(root, [text], CORNERS, size=size)
    yolo_to_coco(f"{path}:train", str(root / "set.json"))
    write_yolo([CocoSplit("train", str(root / "set.json"), str(root))], str(root / "again"))
    read = [np.array([line.split() for line in lines.splitlines()], float).reshape(-1, 11) for lines in
            (text, (root / "again" / "labels" / "train" / "train" / "000.txt").read_text())]  # fmt: skip
    unique = list(dict.fromkeys(map(tuple, read[0])))
    assert np.abs(np.reshape(unique, (-1, 11)) - read[1]).max(initial=0) <= 1e-8


def test_what_the_format_has_no_place_for_is_named(tmp_path):
    content = toy_content(3)
    content["annotations"][1]["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    content["annotations"][1]["keypoints"][:2] = [-5, 3]
    content["annotations"][2]["bbox"] = [-3, -3, 90, 30]
    content["annotations"] += [person(9, 0, iscrowd=1), {**content["annotations"][0], "id": 10}]
    content["categories"][0]["oks_sigmas"] = [0.1] * 17
    lines, address = convert(tmp_path, content)
    assert lines[:2] == [
        "val: 3 images, 3 people",
        "val: YOLO-pose has no place for 4 areas (0.53 of the box stands in), 1 segment, 1 crowd or ignore region, "
        "1 joint outside its image, 1 part of a box outside its image, 1 person with the numbers of another, "
        "`oks_sigmas`",
    ]
    back = read_json(address)["annotations"]
    assert back[1]["keypoints"][:3] == [0, 0, 0] and back[1]["keypoints"][3:] != [0] * 48
    assert back[2]["bbox"] == pytest.approx([0, 0, 80, 27], abs=1e-4)


def test_people_without_labelled_joints_keep_their_box_and_are_named(tmp_path):
    content = toy_content(2)
    content["annotations"][0].update(keypoints=[0] * 51, num_keypoints=0)
    lines, address = convert(tmp_path, content)
    assert "val: 1 person has no labelled joint: Ultralytics' own converter leaves such people out" in "\n".join(lines)
    assert [person["num_keypoints"] > 0 for person in read_json(address)["annotations"]] == [False, True]
    content["annotations"][0]["iscrowd"] = 1
    assert "no labelled joint" not in "\n".join(convert(tmp_path / "crowd", content)[0])


def test_the_description_is_one_that_ultralytics_reads(tmp_path):
    convert(tmp_path, toy_content(2))
    content = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert "path" not in content  # beside which the folders are, wherever it is called from
    assert content["val"] == "images/val" and content["kpt_shape"] == [17, 3] and content["names"] == {0: "person"}
    assert content["flip_idx"][:3] == [0, 2, 1] and content["kpt_names"] == {0: PERSON["keypoints"]}
    row = (tmp_path / "yolo" / "labels" / "val" / "001.txt").read_text().split()
    assert len(row) == 5 + 51 and all("e" not in word and 0 <= float(word) <= 2 for word in row)


@pytest.mark.parametrize("link", [False, True])
def test_images_are_copied_or_linked(tmp_path, link):
    content = toy_content(1)
    content["images"][0]["file_name"] = "images/a/0.png"
    path, folder = write_set(str(tmp_path), content, images=False)
    write_image(f"{folder}/images/a/0.png", 80, 60)
    write_yolo([CocoSplit("train", path, folder)], str(tmp_path / "yolo"), link=link)
    copy = tmp_path / "yolo" / "images" / "train" / "a" / "0.png"
    assert copy.is_symlink() == link and copy.read_bytes() == open(f"{folder}/images/a/0.png", "rb").read()
    assert len(read_json(f"{tmp_path}/yolo/data.yaml:train")["annotations"]) == 1


def test_several_splits(tmp_path):
    (train, folder), (val, _) = (write_set(str(tmp_path / name), toy_content(2)) for name in ("a", "b"))
    lines = write_yolo([CocoSplit("train", train, folder), CocoSplit("val", val, folder)], str(tmp_path / "yolo"))
    assert not any("Ultralytics" in line for line in lines)
    assert sorted(os.listdir(tmp_path / "yolo" / "labels")) == ["train", "val"]
    content = toy_content(2)
    content["categories"][0]["keypoints"] = list(reversed(PERSON["keypoints"]))
    other, _ = write_set(str(tmp_path / "c"), content)
    with pytest.raises(DataError, match="c/annotations.json has other joints than .*a/annotations.json"):
        write_yolo([CocoSplit("train", train, folder), CocoSplit("val", other, folder)], str(tmp_path / "new"))
    content = toy_content(2)
    content["categories"][0]["flip_idx"] = list(range(17))
    other, _ = write_set(str(tmp_path / "d"), content)
    with pytest.raises(DataError, match="d/annotations.json has other left/right pairs than .*a/annotations.json"):
        write_yolo([CocoSplit("train", train, folder), CocoSplit("val", other, folder)], str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "yolo").mkdir()
    convert(tmp_path, toy_content(1))  # empty: may be used
    for output, kind in (("yolo", "a folder in use"), ("annotations.json", "a file")):
        with pytest.raises(ConfigError, match=f"is {kind}; name a new or an empty folder with --output"):
            convert(tmp_path, toy_content(1), output)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_fails(tmp_path, monkeypatch, failure):
    write, seen = writing._write_image, []

    def fail(*args):
        seen.append(args)
        if len(seen) == 2:
            raise failure
        write(*args)

    monkeypatch.setattr(writing, "_write_image", fail)
    expected = MediaError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        convert(tmp_path, toy_content(3))
    assert sorted(os.listdir(tmp_path)) == ["annotations.json", "images"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda c: c["images"][0].update(file_name="gone.png"), "image .*gone.png"),
        (lambda c: c["images"][0].update(width=81), "gives .*000.png the size 81 x 60, but it has 80 x 60"),
        (lambda c: c["images"][0].update(file_name="../images/000.png"), "lies outside of"),
        (lambda c: c["images"].append({**c["images"][0], "id": 7, "file_name": "000.jpg"}), "would share a label file"),
        (lambda c: c["images"].append({**c["images"][0], "id": 7}), "would share a label file"),
        (lambda c: c["images"][0].update(file_name="000.gif"), "Ultralytics does not take '000.gif' for an image"),
        (lambda c: c["images"][0].update(file_name=".000.png"), "does not see '.000.png', as a name in it begins with"),
    ],
)
def test_images_that_cannot_be_written(tmp_path, change, sentence):
    content = toy_content(2)
    path, folder = write_set(str(tmp_path), content)
    for name in ("000.jpg", "000.gif", ".000.png"):
        os.link(f"{folder}/000.png", f"{folder}/{name}")
    change(content)
    with open(path, "w") as file:
        json.dump(content, file)
    with pytest.raises(DataError, match=sentence):
        write_yolo([CocoSplit("val", path, folder)], str(tmp_path / "yolo"))
    assert not (tmp_path / "yolo").exists()


def test_the_command_goes_both_ways(tmp_path, capsys):
    path, folder = write_set(str(tmp_path), toy_content(2))
    rle_onestage(["convert-dataset", "--input", f"val={path}", "--images", folder, "--output", f"{tmp_path}/yolo"])
    rle_onestage(["convert-dataset", "--input", f"{tmp_path}/yolo/data.yaml:val", "--output", f"{tmp_path}/back.json"])
    told = capsys.readouterr().out
    assert "val: 2 images, 2 people" in told and f"back.json: 2 images, 2 people; images are below {tmp_path}" in told
    assert "YOLO-pose says neither area nor crowds" in told and "has no visibility" not in told
    back = json.load(open(tmp_path / "back.json"))
    assert len(back["annotations"]) == 2 and back["annotations"][0]["area_source"] == "box"


def test_a_file_that_goes_to_stdout_is_all_that_goes_there(tmp_path, capfd):
    path = write_yolo_set(tmp_path, [""])
    rle_onestage(["convert-dataset", "--input", f"{path}:train", "--output", "/dev/stdout"])
    told = capfd.readouterr()
    assert len(json.loads(told.out)["images"]) == 1 and "/dev/stdout: 1 image, 0 people" in told.err


def test_images_outside_of_the_folder_are_said(tmp_path):
    write_yolo_set(tmp_path / "elsewhere", ["", ""])
    path = write_yolo_set(tmp_path / "set", [""], {**CORNERS, "train": ["images/train", "../elsewhere/images/train"]})
    lines = yolo_to_coco(f"{path}:train", str(tmp_path / "set.json"))
    assert "2 images lie outside of it and have their whole path" in lines
    assert all(os.path.isfile(tmp_path / "set" / i["file_name"]) for i in read_json(f"{tmp_path}/set.json")["images"])


def test_the_input_is_not_overwritten(tmp_path):
    path = write_yolo_set(tmp_path, [""])
    before = open(path).read()
    os.symlink(path, tmp_path / "link.json")
    for output in (path, str(tmp_path / "link.json")):
        with pytest.raises(ConfigError, match="is the input and would be overwritten"):
            yolo_to_coco(f"{path}:train", output)
    assert open(path).read() == before


def test_a_file_of_the_output_is_kept(tmp_path, caplog):
    path, output = write_yolo_set(tmp_path, [""]), tmp_path / "set.json"
    output.write_text("corrected")
    for _ in range(2):  # the second time nothing is lost
        yolo_to_coco(f"{path}:train", str(output))
    assert (tmp_path / "set_earlier.json").read_text() == "corrected" and json.loads(output.read_text())["images"]
    assert not (tmp_path / "set_earlier_2.json").exists() and "the earlier file is" in caplog.text


def test_results_are_scored_against_a_split(tmp_path, capsys):
    _, address = convert(tmp_path, toy_content(3))
    rle_onestage(["score-results", "--annotations", address])
    assert capsys.readouterr().out.count("100.0") >= 6
    with pytest.raises(SystemExit):
        rle_onestage(["score-results", "--annotations", f"{tmp_path}/nodata.yaml:val"])
    assert "nodata.yaml does not exist; check --annotations" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (
            ["--input", "a.json", "--images", "i"],
            "--input a.json does not say which split a file becomes; write train=F",
        ),
        (["--input", "val=", "--images", "i"], "--input val= does not say which split a file becomes"),
        (["--input", "val=a.json", "val=b.json", "--images", "i"], "--input names a split twice"),
        (["--input", "val=a.json"], "--images is missing; give the folder of the images of a.json"),
        (
            ["--input", "val=d.yaml:val"],
            "gives a name to a YOLO-pose set, which has its own; leave the name out: d.yaml:val",
        ),
        (["--input", "data.yaml:val", "val=b.json"], "one split of a YOLO-pose set becomes one file"),
        (["--input", "data.yaml:val", "--images", "i"], "one split of a YOLO-pose set becomes one file"),
        (["--input", "data.yaml:val"], "file data.yaml does not exist; check --input"),
        (["--input", "data.yaml"], "file data.yaml does not exist; check --input"),
        (["--input", "val=a.json", "--images", "i"], "a.json"),
    ],
)
def test_wrong_command_lines(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        rle_onestage(["convert-dataset", *words, "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(sentence, error) and not os.listdir(tmp_path)


def test_a_set_without_visibility_says_so(tmp_path):
    path = write_yolo_set(tmp_path, ["0 0.5 0.5 0.5 0.5 0.25 0.5 0 0\n"], {**CORNERS, "kpt_shape": [2, 2]})
    lines = yolo_to_coco(f"{path}:train", str(tmp_path / "set.json"))
    assert any("no visibility: every labelled joint is written as visible" in line for line in lines)
    with pytest.raises(DataError, match="has the splits train; say which, such as .*data.yaml:val"):
        yolo_to_coco(path, str(tmp_path / "set.json"))
