"""Suspect labels: corrupted labels come first, with the mistake that was made; lists and pages."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from rle_onestage.cli.label_errors import main
from rle_onestage.evaluation import GroundTruth
from rle_onestage.label_errors import Trust, Views, compare, describe, match_cases, rank, search, share_of_misses, weigh
from rle_onestage.label_errors.mistakes import explain, groups_of_pairs
from rle_onestage.label_errors.pages import LABEL, MODEL, PANEL, TEXT, drawn
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.structures.error_density import ErrorDensity
from rle_onestage.structures.skeleton import COCO, Skeleton

HEIGHT, WIDTH = 240, 200
# Somebody who faces the camera, in pixels: COCO's joints.
POSE = np.array([
    [100, 40], [104, 36], [96, 36], [110, 40], [90, 40], [122, 70], [78, 70], [136, 104], [64, 104], [142, 138],
    [58, 138], [114, 140], [86, 140], [117, 182], [83, 182], [119, 222], [81, 222],
], dtype=float)  # fmt: skip
SIGMA = 3.0


def density() -> ErrorDensity:
    """Of a model with a Laplace density."""
    return decoder().error_density()


def decoder():
    out = Decoder(
        oks_sigmas=list(COCO.oks_sigmas), group=[0] * 17, topk=10, score_thresh=0.0, max_people=10, box_nms=1.0,
        oks_nms=1.0, use_peaks=False, score_power=1.0, quality_power=0.0, oks_power=1.0,
    )  # fmt: skip
    out.set_density(build_density("laplace"))
    return out


def result_of(image_id, points, *, score=0.9, sigma=SIGMA, presence=0.95):
    low, high = points.min(0) - 5, points.max(0) + 5
    return {
        "image_id": image_id, "category_id": 1, "bbox": [*low, *(high - low)], "score": score,
        "keypoints": np.concatenate([points, np.full((17, 1), 0.9)], 1).ravel().tolist(),
        "keypoint_sigmas": [sigma] * 34, "keypoint_presence": np.broadcast_to(presence, 17).tolist(),
    }  # fmt: skip


def annotation_of(image_id, points, visibility=None):
    low, high = points.min(0) - 5, points.max(0) + 5
    keypoints = np.concatenate([points, np.full((17, 1), 2.0) if visibility is None else visibility[:, None]], 1)
    return {
        "id": image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "bbox": [*low, *(high - low)],
        "area": 12000.0, "keypoints": keypoints.ravel().tolist(),
    }  # fmt: skip


def truth_of(annotations):
    images = [
        {"id": a["image_id"], "file_name": f"{a['image_id']}.png", "height": HEIGHT, "width": WIDTH}
        for a in annotations
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names)}
    return GroundTruth(dataset={"images": images, "annotations": annotations, "categories": [category]}, num_joints=17)


def case_of(labels, *, visibility=None, others=(), **prediction):
    """The case of one person, seen right, whose labels are these."""
    results = [result_of(1, POSE, **prediction), *(result_of(1, points, score=0.5) for points in others)]
    (case,) = match_cases(truth_of([annotation_of(1, labels, visibility)]), [results])
    return case


def explained(case, skeleton=COCO):
    ratios = compare(case, density(), skeleton.oks_sigmas, skeleton.flip_index)
    return explain(case, weigh(ratios, np.full(skeleton.num_joints, 0.05)), skeleton)


def swapped(points, *parts):
    out = points.copy()
    for left, right in COCO.flip_pairs:
        if COCO.names[left].removeprefix("left_") in parts:
            out[[left, right]] = out[[right, left]]
    return out


LEGS, ARMS = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")


@pytest.mark.parametrize(
    "parts, words",
    [
        ((*LEGS, *ARMS, "eye", "ear"), "left and right swapped"),
        ((*LEGS, *ARMS), "left and right swapped"),
        (LEGS, "legs: left and right swapped"),
        (ARMS, "arms: left and right swapped"),
        (("ankle",), "ankle: left and right swapped"),
        (("wrist", "knee"), "wrist: left and right swapped; knee: left and right swapped"),
    ],
)
def test_swaps_are_named_and_mended(parts, words):
    found = explained(case_of(swapped(POSE, *parts)))
    assert set(describe(found, COCO).split("; ")) == set(words.split("; ")) and found.gain > 5
    assert np.allclose(found.keypoints[:, :2], POSE)


def test_good_labels_need_no_explanation():
    noise = np.random.default_rng(0).laplace(scale=SIGMA / np.sqrt(2), size=POSE.shape)
    assert explained(case_of(POSE + noise)).mistakes == []


@pytest.mark.parametrize("move, words", [((40, -60), "left wrist misplaced"), (None, "left wrist lies on the nose")])
def test_single_labels(move, words):
    labels = POSE.copy()
    labels[9] = labels[9] + move if move else labels[0] + 1.0
    found = explained(case_of(labels))
    assert describe(found, COCO) == words and np.allclose(found.keypoints[9, :2], POSE[9])


@pytest.mark.parametrize("first", [(), LEGS])
def test_labels_exchanged_along_a_limb(first):
    """Also within a leg whose side is swapped."""
    labels = swapped(POSE, *first)
    labels[[13, 15]] = labels[[15, 13]]
    found = explained(case_of(labels))
    assert "left ankle and left knee exchanged" in describe(found, COCO) and np.allclose(found.keypoints[:, :2], POSE)


def test_label_on_somebody_else():
    labels, other = POSE.copy(), POSE + [70.0, 0.0]
    labels[9] = other[10]
    assert describe(explained(case_of(labels, others=[other])), COCO) == "left wrist lies on somebody else"


def test_label_that_should_not_be_there():
    presence = np.full(17, 0.95)
    presence[16] = 0.05
    labels = POSE.copy()
    labels[16] -= [60.0, 60.0]
    found = explained(case_of(labels, presence=presence))
    assert describe(found, COCO) == "right ankle should not be labelled" and found.keypoints[16, 2] == 0


def test_one_label_of_a_pair_with_the_wrong_name():
    """Only the right ankle is in the image, and is labelled as the left one."""
    presence, visibility, labels = np.full(17, 0.95), np.full(17, 2.0), POSE.copy()
    presence[15], visibility[16] = 0.05, 0.0
    labels[15] = POSE[16]
    found = explained(case_of(labels, visibility=visibility, presence=presence))
    assert describe(found, COCO) == "left ankle is the right ankle"
    assert found.keypoints[15, 2] == 0 and found.keypoints[16].tolist() == [*POSE[16], 2.0]


def applied(keypoints, lines):
    """Keypoints (K, 3) of a label file after the corrections of a person's lines of the CSV."""
    out = np.array(keypoints, dtype=float).reshape(-1, 3)
    for line in lines:
        place = [float(line[key] or 0) for key in ("corrected_x", "corrected_y", "corrected_v")]
        out[COCO.names.index(line["joint"])] = place
    return out


@pytest.mark.parametrize(
    "parts, without, lost",
    [
        (LEGS, (), ()),
        (LEGS, (15,), ()),  # of the ankles one alone has a label, which goes to the other
        (("ankle",), (16,), ()),
        ((*LEGS, *ARMS, "eye", "ear"), (5, 15), ()),
        ((), (), (16,)),
    ],
)
def test_the_table_has_each_joint_whose_label_changes(tmp_path, parts, without, lost):
    visibility, presence, labels = np.full(17, 2.0), np.full(17, 0.95), swapped(POSE, *parts)
    visibility[9] = 1
    for joint in without:
        visibility[joint], presence[COCO.flip_index[joint]] = 0, 0.05
    labels[visibility == 0] = 0
    for joint in lost:
        labels[joint], presence[joint] = labels[joint] - 60, 0.05
    annotation = annotation_of(1, labels, visibility)
    annotation["bbox"] = result_of(1, POSE)["bbox"]
    truth = truth_of([annotation])
    cases = match_cases(truth, [[result_of(1, POSE, presence=presence)]])
    cv2.imwrite(str(tmp_path / "1.png"), image_file(1))
    search.write_findings(rank(cases, density(), COCO), str(tmp_path), truth, COCO, str(tmp_path))
    (entry,) = json.loads((tmp_path / "label_errors.json").read_text())["label_errors"]
    with open(tmp_path / "label_errors.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    corrected = np.reshape(entry["keypoints"], (17, 3))
    assert np.allclose(applied(annotation["keypoints"], lines), corrected, atol=0.006)
    assert not np.array_equal(corrected, np.reshape(annotation["keypoints"], (17, 3)))
    assert [line["joint"] for line in lines] == [joint["joint"] for joint in entry["joints"]]
    for line, joint in zip(lines, entry["joints"]):
        number = COCO.names.index(line["joint"])
        assert joint["corrected"] == corrected[number].tolist()
        assert bool(line["label_x"]) == bool(line["surprise"]) == (visibility[number] > 0)


def test_an_unsure_model_suspects_nobody():
    assert explained(case_of(swapped(POSE, "ankle"), sigma=60.0)).mistakes == []


def test_sigmas_below_what_annotators_differ_by_do_not_count():
    """A tiny sigma does not make a suspect of a label that is nearly right."""
    labels = POSE + 2.0
    assert explained(case_of(labels, sigma=0.05)).mistakes == []
    ratios = compare(case_of(labels, sigma=0.05), density(), COCO.oks_sigmas, COCO.flip_index)
    assert ratios.surprise[11] < 1.0  # the hip, where annotators differ by 8 pixels


def test_views_that_disagree_about_the_sides_suspect_nobody():
    labels = swapped(POSE, *LEGS)
    truth = truth_of([annotation_of(1, labels)])
    views = [[result_of(1, POSE)], [result_of(1, labels)]]
    (case,) = match_cases(truth, views)
    assert len(case.views) == 2 and explained(case).mistakes == []
    assert rank(match_cases(truth, [views[0], []]), density(), COCO, views=2).label_errors == []


def test_a_model_that_is_lost_accuses_nobody():
    """Where no label agrees with the prediction, the prediction is wrong."""
    case = case_of(POSE)
    turned = case._replace(labels=POSE[:, ::-1].copy() - [20.0, -40.0])
    assert len(explained(turned).mistakes) > 8 and explained(turned).gain < 0.5


def test_share_of_misses_is_found():
    """Ratios of a known mixture: a tenth of one joint's labels are not where the model says, of the others none."""
    rng = np.random.default_rng(0)
    sigma, side, flip = 3.0, 100.0, [1, 0, 2]
    error = rng.normal(scale=sigma, size=(4000, 3, 2))
    lost = rng.random((4000, 3)) < [0.0, 0.0, 0.1]
    error[lost] = rng.uniform(-side / 2, side / 2, (lost.sum(), 2))
    ratios = -(error**2).sum(-1) / (2 * sigma**2) - np.log(2 * np.pi * sigma**2) + np.log(side**2)
    labelled = rng.random((4000, 3)) < 0.7
    found = share_of_misses(ratios, labelled, flip)
    assert found[:2] == pytest.approx(0.003, abs=0.002) and found[2] == pytest.approx(0.1, abs=0.02)
    assert share_of_misses(ratios[:0], labelled[:0], flip) == pytest.approx(0.05, abs=0.01)


def test_groups_of_pairs_by_name():
    assert set(groups_of_pairs(COCO)) == {"all", "legs", "arms", "body", "eye", "ear", *LEGS, *ARMS}
    hands = Skeleton("hands", ("left_hand", "right_hand", "head"), ((0, 1),), (), (0.1,) * 3)
    assert groups_of_pairs(hands) == {"all": frozenset([0])}
    nose = Skeleton("nose", ("nose",), (), (), (0.1,))
    assert groups_of_pairs(nose) == {}


def test_corrupted_labels_come_first():
    """Known truth: of 120 people 24 have labels that were corrupted; nine in ten of the first 24 are among them."""
    rng, annotations, results, wrong = np.random.default_rng(0), [], [], {}
    choices = [(*LEGS, *ARMS, "eye", "ear"), LEGS, ARMS, ("ankle",), ("wrist",), None]
    for number in range(1, 121):
        pose = (POSE + rng.normal(scale=4, size=POSE.shape)) * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20, 2)
        results.append(result_of(number, pose + rng.laplace(scale=SIGMA / np.sqrt(2), size=pose.shape)))
        labels = pose.copy()
        if number % 5 == 0:
            parts = choices[number // 5 % len(choices)]
            joint = int(rng.integers(17))
            if parts:
                labels = swapped(labels, *parts)
            else:
                labels[joint] += [50.0, 40.0]
            wrong[number] = set(np.flatnonzero((labels != pose).any(1)))
        annotations.append(annotation_of(number, labels))
    cases = match_cases(truth_of(annotations), [results])
    found = rank(cases, density(), COCO)
    first = found.label_errors[: len(wrong)]
    assert found.people == 120 and not found.missed
    right = [s for s in first if s.case.annotation["id"] in wrong]
    assert len(right) > 0.9 * len(wrong)
    assert np.mean([set(s.joints) == wrong[s.case.annotation["id"]] for s in right]) > 0.9


def found_in(people, *, wrong=0, off=0.0, unseen=0):
    """What is found where so many people have their legs swapped, and predictions lie ``off`` pixels away."""
    annotations, results = [], []
    for number in range(1, people + 1):
        annotations.append(annotation_of(number, swapped(POSE, *LEGS) if number <= wrong else POSE))
        results += [] if number > people - unseen else [result_of(number, POSE + [off, 0.0], sigma=max(off, SIGMA))]
    return rank(match_cases(truth_of(annotations), [results]), density(), COCO)


def test_a_model_that_fits_most_labels_is_trusted():
    trust = found_in(10, wrong=2, unseen=1).trust
    assert (trust.seen, trust.unlikely) == (9, 2) and not trust.doubt()
    # One in ten is not found; two others have six of 17 joints wrong, by the distance between hips, knees, ankles.
    distance, sigmas = np.array([28.0, 34, 38]), np.array([0.107, 0.087, 0.089])
    left = np.exp(-(distance**2) / (2 * 12000 * (2 * sigmas) ** 2)).mean()
    assert trust.oks == pytest.approx(0.9 - 0.2 * 6 / 17 * (1 - left))


def test_a_model_that_contradicts_many_or_misses_them_is_not_trusted():
    many = found_in(8, wrong=3).trust
    assert many.oks > 0.8 and "contradicts labels of 3 of the 8 people" in many.doubt()
    far = found_in(8, off=25.0).trust
    assert far.unlikely == 0 and "mean OKS of 0." in far.doubt()
    blind = found_in(8, unseen=8).trust
    assert blind.oks == 0 and "mean OKS of 0.00" in blind.doubt()
    assert "1 person" in Trust(0.9, 1, 1).doubt()
    assert "no label was looked at" in Trust(0.9, 0, 0).doubt()


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


def image_file(number=0):
    image = np.random.default_rng(number).integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:4, :4], image[:4, -4:] = 255, 0
    return image


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
    model = Fake().eval()
    monkeypatch.setattr(search, "build_for_inference", lambda cfg, weights: model)
    folder = tmp_path / "out"
    model.joint_names = list(COCO.names)[::-1]
    with pytest.raises(SystemExit):
        main(
            ["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "--output", str(folder)]
        )
    assert "'test_label_errors' has the joints nose, " in capsys.readouterr().err and not list(folder.iterdir())
    model.joint_names = list(COCO.names)
    main(["--config-file", str(tmp_path / "config.yaml"), "--dataset", "test_label_errors", "--output", str(folder)])
    assert "2 of 13 labelled people have unlikely labels" in capsys.readouterr().out
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
