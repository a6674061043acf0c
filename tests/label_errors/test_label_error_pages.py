"""Label errors from images to pages: mirrored views, what is drawn, and the command."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from label_error_toys import (
    ARMS,
    HEIGHT,
    LEGS,
    POSE,
    SIGMA,
    WIDTH,
    annotation_of,
    case_of,
    decoder,
    image_file,
    swapped,
    truth_of,
)
from torch import nn

from rle_onestage.cli.label_errors import main
from rle_onestage.label_errors import Views, search
from rle_onestage.label_errors.pages import LABEL, MODEL, PANEL, TEXT, drawn
from rle_onestage.structures.skeleton import COCO


class Fake(nn.Module):
    """Finds ``POSE`` in a image whose marker is left, its mirror image where it is right."""

    def __init__(self):
        super().__init__()
        self.decoder = decoder()

    def forward(self, inputs):
        out = []
        for item in inputs:
            height, width = item["height"], item["width"]
            points, visibility = torch.tensor(POSE), torch.linspace(0, 1, 17)
            if item["image"][:, 0, 0].sum() < item["image"][:, 0, -1].sum():
                points = points[COCO.flip_index]
                points[:, 0] = width - points[:, 0]
                visibility = visibility[COCO.flip_index]
            people = Instances((height, width))
            people.pred_boxes = Boxes(torch.cat([points.min(0).values - 5, points.max(0).values + 5])[None])
            people.scores, people.pred_classes = torch.tensor([0.9]), torch.zeros(1, dtype=torch.long)
            people.pred_keypoints = torch.cat([points, torch.full((17, 1), 0.9)], 1)[None]
            people.pred_keypoint_sigmas = torch.full((1, 17, 2), SIGMA)
            # Turned as a whole, in the mirror the other way round.
            between = torch.linspace(-1, 1, 17)
            if item["image"][:, 0, 0].sum() < item["image"][:, 0, -1].sum():
                between = -between[COCO.flip_index]
            people.pred_keypoint_covariances = SIGMA**2 * torch.eye(2).repeat(1, 17, 1, 1)
            people.pred_keypoint_covariances[0, :, 0, 1] = people.pred_keypoint_covariances[0, :, 1, 0] = between
            people.pred_keypoint_presence = torch.full((1, 17), 0.95)
            people.pred_keypoint_visibility = visibility[None]
            out.append({"instances": people})
        return out


def test_mirrored_view_comes_back():
    image = torch.from_numpy(image_file().transpose(2, 0, 1).copy())
    (out,) = Views(model=Fake(), flip_index=COCO.flip_index)([{"image": image, "height": HEIGHT, "width": WIDTH}])
    straight, mirrored = out["instances"], out["mirrored"]
    assert torch.allclose(straight.pred_keypoints, mirrored.pred_keypoints)
    assert torch.equal(straight.pred_keypoint_covariances, mirrored.pred_keypoint_covariances)
    assert torch.allclose(straight.pred_boxes.tensor, mirrored.pred_boxes.tensor)
    assert torch.equal(straight.pred_keypoint_visibility, mirrored.pred_keypoint_visibility)


def colours_in(canvas, colour):
    """Whether pixels have about a colour."""
    return bool((np.abs(canvas.astype(int) - colour).max(-1) < 40).any())


def test_a_label_that_should_not_be_there_is_tied_to_nothing():
    labels = POSE.copy()
    labels[9] += 40
    case = case_of(labels)
    for absent, tied in (((), True), ((9,), False)):
        left = drawn(image_file(), case, [9], COCO, absent=absent)[:, :PANEL]
        assert colours_in(left, MODEL) == tied and colours_in(left, LABEL)


def test_who_is_not_found_is_shown_with_box_and_surroundings():
    visibility = np.zeros(17)
    visibility[9] = 2
    lost = case_of(POSE, visibility=visibility)
    lost = lost._replace(views=[], annotation={**lost.annotation, "bbox": [20, 30, 40, 60]})
    pair = drawn(np.zeros((HEIGHT, WIDTH, 3), np.uint8), lost, [], COCO)
    for half in (pair[:, :PANEL], pair[:, -PANEL:]):
        rows, columns = np.nonzero((half[: PANEL - 40] > 120).all(-1))
        assert np.ptp(rows) < PANEL / 1.5 and np.ptp(rows) > 100 and np.ptp(columns) > 60  # not the crop's own border


def test_tool_from_images_to_pages(tmp_path, monkeypatch, capsys):
    annotations = [annotation_of(n, POSE - 0.5) for n in range(1, 14)]
    annotations[3] = annotation_of(4, swapped(POSE, *LEGS) - 0.5)
    annotations[7] = annotation_of(8, swapped(POSE, *LEGS, *ARMS, "eye", "ear") - 0.5)
    annotations[9] = annotation_of(10, POSE / 4)
    truth = truth_of(annotations)
    truth.dataset["categories"][0]["keypoints"] = list(COCO.names)
    (tmp_path / "truth.json").write_text(json.dumps(truth.dataset))
    for a in annotations:
        cv2.imwrite(str(tmp_path / f"{a['id']}.png"), image_file(a["id"]))
    config = {
        "VERSION": 2, "MODEL": {"DEVICE": "cpu", "WEIGHTS": "given.pth"}, "DATALOADER": {"NUM_WORKERS": 0},
        "DATASETS": {"KEYPOINT_FILES": [["test_label_errors", str(tmp_path / "truth.json"), str(tmp_path)]]},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    model, warned = Fake().eval(), []
    monkeypatch.setattr(search, "build_for_inference", lambda cfg, weights: model)
    # Where the tool's log goes depends on the tests before this one.
    monkeypatch.setattr(search.logger, "warning", lambda text, *values: warned.append(text % values))
    folder = tmp_path / "out"
    model.joint_names = list(COCO.names)[::-1]
    with pytest.raises(SystemExit):
        main(
            ["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "--output", str(folder)]
        )
    assert "'test_label_errors' has the joints nose, " in capsys.readouterr().err and not folder.exists()
    model.joint_names = list(COCO.names)
    main(["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "--output", str(folder)])
    shown = capsys.readouterr().out
    assert "2 of 13 labelled people have unlikely labels" in shown and "are trained on" not in str(warned)
    content = json.loads((folder / "label_errors.json").read_text())
    assert {s["annotation"] for s in content["label_errors"]} == {4, 8}
    assert content["trust"]["trusted"] and (content["trust"]["seen"], content["trust"]["unlikely"]) == (12, 2)
    assert [m["annotation"] for m in content["not_found"]] == [10]
    legs = next(s for s in content["label_errors"] if s["annotation"] == 4)
    assert legs["explanation"] == "legs: left and right swapped" and len(legs["joints"]) == 6
    assert np.allclose(np.reshape(legs["keypoints"], (17, 3))[:, :2], POSE - 0.5)
    with open(folder / "label_errors.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 + 16 and all(float(row["surprise"]) > 0 for row in rows)
    for page in ("label_errors_01.jpg", "not_found_01.jpg"):
        sheet = cv2.imread(str(folder / page))
        assert sheet.std() > 5 and sheet[: 2 * TEXT].max() > 150  # a legend above
    assert not list(folder.glob("*.tmp*"))
    with pytest.raises(SystemExit) as stopped:
        main(["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "MODEL.WEIGHTS", ""])
    assert stopped.value.code == 2 and "MODEL.WEIGHTS is empty" in capsys.readouterr().err
    config["DATASETS"]["TRAIN"] = ["test_label_errors"]
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    main(["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "--output", str(folder)])
    assert str(warned).count("13 of 13 images of test_label_errors are trained on") == 1
