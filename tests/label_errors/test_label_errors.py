"""Suspect labels: corrupted labels come first, with the mistake that was made; lists and pages."""

import csv
import json

import cv2
import numpy as np
import pytest
from label_error_toys import (
    ARMS,
    LEGS,
    POSE,
    SIGMA,
    annotation_of,
    case_of,
    density,
    explained,
    image_file,
    result_of,
    swapped,
    truth_of,
)

from rle_onestage.label_errors import Trust, compare, describe, match_cases, rank, search, share_of_misses
from rle_onestage.label_errors.mistakes import groups_of_pairs
from rle_onestage.structures.skeleton import COCO, Skeleton


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
