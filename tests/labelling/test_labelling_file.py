"""The file of labels that a model made, and the tool."""

import json
import logging
import os
import signal

import pytest
from label_toys import HEIGHT, WIDTH, Knows, at, person, write_images

from rle_onestage.cli.label_images import main
from rle_onestage.errors import MediaError
from rle_onestage.labelling import LabelOptions, Limit, label_images
from rle_onestage.labelling.images import relative_names
from rle_onestage.structures.skeleton import COCO


def test_the_file_is_coco_and_says_how_it_was_made(tmp_path):
    people = {7: [person(at(20, 10), sigma=[2.0, 3.0], correlation=0.25), person(at(200, 10), score=0.2)], 12: []}
    write_images(tmp_path / "a" / "b", people)
    output = tmp_path / "labels.json"
    options = LabelOptions(sizes=(64,), max_sigma=Limit(0.1, (("eye", 0.05),)))
    code = label_images(
        Knows(people), [str(tmp_path / "a" / "b")], str(output), options=options, image_root=str(tmp_path / "a"),
        info={"weights": "w.pth"},
    )  # fmt: skip
    file = json.loads(output.read_text())
    assert code == 0 and not list(tmp_path.glob("*.tmp*"))
    assert file["images"] == [
        {"id": 12, "file_name": "b/12.png", "width": WIDTH, "height": HEIGHT},
        {"id": 7, "file_name": "b/7.png", "width": WIDTH, "height": HEIGHT},
    ]
    assert file["info"]["weights"] == "w.pth" and file["info"]["options"]["max_sigma"] == {"all": 0.1, "eye": 0.05}
    labelled, ignored = file["annotations"]
    assert (labelled["id"], labelled["image_id"], labelled["category_id"], labelled["iscrowd"]) == (1, 7, 1, 0)
    assert (ignored["id"], ignored["image_id"], ignored["iscrowd"], ignored["num_keypoints"]) == (2, 7, 1, 0)
    assert labelled["num_keypoints"] == 17 and labelled["score"] == 0.9 and labelled["source"] == "rle-onestage"
    assert labelled["keypoint_sigmas"] == [2.0, 3.0] * 17 and ignored["keypoint_sigmas"] == [0.0] * 34
    assert labelled["keypoint_covariances"] == [4.0, 1.5, 9.0] * 17 and ignored["keypoint_covariances"] == [0.0] * 51
    assert labelled["keypoints"][:3] == [69.5, 24.5, 2] and set(ignored["keypoints"]) == {0}
    (category,) = file["categories"]
    assert category["keypoints"] == list(COCO.names) and category["skeleton"][0] == [16, 14]
    assert all(isinstance(a["segmentation"], list) for a in file["annotations"])


def test_joints_on_the_border_are_pixels_of_the_image(tmp_path):
    """Pixel indices go from 0 to the width less 1, and the outer half of a border pixel is that pixel."""
    joints = at(20, 10)
    joints[9], joints[10], joints[15] = [WIDTH - 0.2, 100.0], [0.2, 100.0], [100.0, HEIGHT - 0.3]
    write_images(tmp_path, [1])
    label_images(Knows({1: [person(joints)]}), [str(tmp_path)], str(tmp_path / "l.json"))
    keypoints = json.loads((tmp_path / "l.json").read_text())["annotations"][0]["keypoints"]
    assert keypoints[27:30] == [WIDTH - 1, 99.5, 2] and keypoints[30:33] == [0, 99.5, 2]
    assert keypoints[45:48] == [99.5, HEIGHT - 1, 2]


def test_the_same_file_twice(tmp_path):
    people = {n: [person(at(20 + n, 10), sigma=3.0)] for n in range(1, 4)}
    files, outputs = write_images(tmp_path / "images", people), [tmp_path / "a.json", tmp_path / "b.json"]
    for output in outputs:
        label_images(Knows(people), files, str(output), limit=2)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert [image["id"] for image in json.loads(outputs[0].read_text())["images"]] == [1, 2]


def test_unreadable_images_are_named_and_left_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "propagate", True)  # a tool's log may have turned it off
    files = write_images(tmp_path, [1, 2])
    (tmp_path / "3.png").write_bytes(b"not an image")
    output = tmp_path / "out" / "labels.json"
    with caplog.at_level("INFO", logger="rle_onestage"):
        label_images(Knows({1: [], 2: []}), [*files, str(tmp_path / "3.png")], str(output))
    file = json.loads(output.read_text())
    assert [image["id"] for image in file["images"]] == [1, 2] and file["annotations"] == []
    assert "3.png" in caplog.text and "1 image left out" in caplog.text
    with pytest.raises(MediaError, match=r"cannot be used as an image \("):
        label_images(Knows({}), [str(tmp_path / "3.png")], str(tmp_path / "none.json"))
    assert not (tmp_path / "none.json").exists()


def test_whatever_fails_with_an_image_costs_that_image_alone(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "propagate", True)

    def people(number, size, mirrored):
        if number == 2:
            raise ZeroDivisionError("by nothing")
        return [person(at(20, 10))]

    files, output = write_images(tmp_path, [1, 2, 3]), tmp_path / "l.json"
    assert label_images(Knows(people), files, str(output), options=LabelOptions(sizes=(64,))) == 1
    assert [image["id"] for image in json.loads(output.read_text())["images"]] == [1, 3]
    assert "2.png: ZeroDivisionError: by nothing" in caplog.text


def test_what_is_done_when_interrupted_is_written(tmp_path):
    """A signal during the second image of three: the file has two, and the exit code says why."""

    def people(number, size, mirrored):
        if number == 2 and mirrored:
            os.kill(os.getpid(), signal.SIGTERM)
        return [person(at(20, 10))]

    files = write_images(tmp_path, [1, 2, 3])
    code = label_images(Knows(people), files, str(tmp_path / "l.json"), options=LabelOptions(sizes=(64,)))
    file = json.loads((tmp_path / "l.json").read_text())
    assert code == 128 + signal.SIGTERM and [image["id"] for image in file["images"]] == [1, 2]
    assert [a["image_id"] for a in file["annotations"]] == [1, 2]


def test_names_are_relative_to_a_folder(tmp_path):
    files = [str(tmp_path / "a" / "1.png"), str(tmp_path / "b" / "2.png")]
    assert relative_names(files, None) == ["a/1.png", "b/2.png"]
    assert relative_names(files[:1], None) == ["1.png"]
    (tmp_path / "a").mkdir()
    with pytest.raises(MediaError, match="2.png is not below"):
        relative_names(files, str(tmp_path / "a"))
    with pytest.raises(MediaError, match="does not exist"):
        relative_names(files, str(tmp_path / "c"))


def test_outputs_that_would_destroy_something(tmp_path):
    files = write_images(tmp_path, [1])
    long = str(tmp_path / ("n" * 300))
    for output, message in ((files[0], "overwritten"), (str(tmp_path), "is a folder"), (long, "File name too long")):
        with pytest.raises(MediaError, match=message):
            label_images(Knows({1: []}), files, output)


def test_a_label_file_that_was_corrected_by_hand_is_kept(tmp_path, caplog):
    write_images(tmp_path / "images", [1])
    output, arguments = tmp_path / "labels.json", ([str(tmp_path / "images")], str(tmp_path / "labels.json"))
    predictor = Knows({1: [person(at(20, 10))]})
    label_images(predictor, *arguments)
    made = output.read_bytes()
    label_images(predictor, *arguments)  # nothing is lost
    assert sorted(os.listdir(tmp_path)) == ["images", "labels.json"]
    for text in (b"corrected", b"again"):
        output.write_bytes(text)
        label_images(predictor, *arguments)
    assert output.read_bytes() == made
    assert (tmp_path / "labels_earlier.json").read_bytes() == b"corrected"
    assert (tmp_path / "labels_earlier_2.json").read_bytes() == b"again"
    assert caplog.text.count("was there already: the earlier file is") == 2


def run_tool(monkeypatch, predictor, arguments):
    # The test's own log in place of one on pytest's output, which would outlive it.
    monkeypatch.setattr("detectron2.utils.logger.setup_logger", lambda **options: None)
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "propagate", True)
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: predictor)
    return main(arguments)


def test_tool_labels_and_compares(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO", logger="rle_onestage")
    people = {n: [person(at(20, 10)), person(at(180, 10), score=0.3)] for n in (1, 2)}
    write_images(tmp_path / "images", people)
    truth, output = str(tmp_path / "truth.json"), str(tmp_path / "labels.json")
    label_images(Knows(people), [str(tmp_path / "images")], truth, options=LabelOptions(sizes=(64,), min_score=0.2))
    given = ["--input", str(tmp_path / "images"), "--sizes", "64", "--output", output]
    assert run_tool(monkeypatch, Knows(people), [*given, "--max-sigma", "0.1", "eye=0.05"]) == 0
    assert "people with" in caplog.text
    assert (
        "longest sides of 64 px, as it is and mirrored" in caplog.text and "Size of images at test" not in caplog.text
    )
    file = json.loads((tmp_path / "labels.json").read_text())
    assert [a["iscrowd"] for a in file["annotations"]] == [0, 1, 0, 1]
    assert file["info"]["options"]["sizes"] == [64] and file["info"]["weights"].endswith(".pth")
    assert run_tool(monkeypatch, None, ["--labels", output, "--score-against", truth, "--teacher"]) == 0
    table = capsys.readouterr().out
    assert "50 / 50 / 0 / 0 %" in table and "60 / 30 / 6 / 5 %" in table
    for wrong, needed in ((["--labels", output], "--score-against"), (["--input", output], "--output")):
        with pytest.raises(SystemExit) as stopped:
            run_tool(monkeypatch, None, wrong)
        assert stopped.value.code == 2 and needed in capsys.readouterr().err
