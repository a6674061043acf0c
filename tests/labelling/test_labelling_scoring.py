"""Labels compared with those of people: hand-computed cases."""

import json

import numpy as np
import pytest

from rle_onestage.errors import DataError
from rle_onestage.labelling import compare_files, format_comparison
from rle_onestage.structures.skeleton import COCO

NAMES = ["nose", "left_paw", "right_paw"]
SIGMA = 0.1  # k = 0.2, and 20 pixels on an area of 10,000


@pytest.fixture(autouse=True)
def sigmas(monkeypatch):
    """The OKS sigmas of joints that nobody has measured."""
    monkeypatch.setattr("rle_onestage.structures.skeleton.stand_in_oks_sigmas", lambda names: (SIGMA,) * len(names))


def write(path, images, annotations, names=NAMES):
    """Images are {id: (name, extra fields)} of 400 x 300; annotations (image, box, joints, extra fields)."""
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 400, "height": 300, **more} for i, (name, more) in images.items()
        ],
        "annotations": [
            {
                "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": list(box), "area": 10000.0,
                "keypoints": [v for joint in joints for v in joint], "num_keypoints": sum(j[2] > 0 for j in joints),
                **more,
            }
            for number, (image, box, joints, more) in enumerate(annotations, start=1)
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": names, "skeleton": []}],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return str(path)


NOTHING = [(0, 0, 0)] * 3
ONE = {1: ("a.png", {})}
BOX = (100, 100, 100, 100)


def paws(x=0, y=0, visible=(2, 2, 2)):
    """Joints in the box at 100, 100."""
    places = [(150 + x, 110 + y), (120 + x, 180 + y), (180 + x, 180 + y)]
    return [(*place, v) if v else (0, 0, 0) for place, v in zip(places, visible)]


def compared(tmp_path, labels, truth, images=None, **options):
    own = write(tmp_path / "labels.json", ONE if images is None else images, labels)
    theirs = write(tmp_path / "truth.json", ONE if images is None else images, truth)
    return compare_files([own], theirs, **options)


def test_joints_by_hand(tmp_path):
    """The nose 10 pixels off, the left paw exact, the right one labelled only by the model."""
    label = paws(visible=(2, 2, 2))
    label[0] = (160, 110, 2)
    sigmas = [5.0, 4.0, 2.0, 2.0, 1.0, 1.0]
    found = compared(tmp_path, [(1, BOX, label, {"keypoint_sigmas": sigmas})], [(1, BOX, paws(visible=(2, 1, 0)), {})])
    nose, left, everything = (found.of_joints(joints) for joints in ([0], [1], [0, 1, 2]))
    assert nose["oks"] == pytest.approx(np.exp(-(10**2) / (2 * 20**2))) and nose["error"] == pytest.approx(0.1)
    assert nose["z"] == pytest.approx(np.sqrt((4 + 0) / 2)) and left["oks"] == 1.0 and left["z"] == 0.0
    assert everything["kept"] == 1.0 and everything["extra"] == pytest.approx(1 / 3)
    assert everything["oks"] == pytest.approx((nose["oks"] + 1) / 2) and everything["error"] == pytest.approx(0.05)
    assert everything["z"] == pytest.approx(1.0) and everything["bad"] == 0.0
    assert found.precision == 1.0 and found.iou.tolist() == [1.0]


def test_joints_that_are_missing_or_far_off(tmp_path):
    """Of three labelled joints one is not kept and one is 40 pixels off: OKS exp(-2)."""
    label = paws(visible=(2, 2, 0))
    label[1] = (120, 220, 2)
    found = compared(tmp_path, [(1, BOX, label, {})], [(1, BOX, paws(), {})])
    figures = found.of_joints([0, 1, 2])
    assert figures["kept"] == pytest.approx(2 / 3) and figures["bad"] == 0.5 and figures["extra"] == 0.0
    assert figures["oks"] == pytest.approx((1 + np.exp(-2)) / 2)
    assert np.isnan(figures["z"]), "labels without sigmas have none to be measured in"
    assert np.isnan(found.of_joints([2])["oks"]) and found.of_joints([2])["kept"] == 0.0


def test_where_people_go(tmp_path):
    """One each: labelled, in an ignore region, inside another's box, missed; and half in a region is in it."""
    far = [(20, 20, 2), (30, 30, 2), (40, 40, 2)]
    truth = [
        (1, BOX, paws(), {}),
        (1, (10, 10, 40, 40), far, {}),
        (1, (150, 150, 40, 40), [(160, 160, 2), (170, 170, 1), (0, 0, 0)], {}),
        (1, (300, 200, 40, 40), [(310, 210, 2), (0, 0, 0), (0, 0, 0)], {}),
        (1, (300, 10, 40, 40), [(310, 20, 2), (0, 0, 0), (0, 0, 0)], {}),
        (1, (200, 10, 40, 40), NOTHING, {}),
        (1, (350, 10, 40, 40), NOTHING, {"iscrowd": 1}),
    ]
    labels = [
        (1, BOX, paws(), {"score": 0.9}),
        (1, (0, 0, 60, 60), NOTHING, {"iscrowd": 1}),
        (1, (320, 10, 80, 40), NOTHING, {"iscrowd": 1}),
        (1, (319, 221, 80, 80), NOTHING, {"iscrowd": 1}),  # a quarter of somebody
    ]
    found = compared(tmp_path, labels, truth)
    assert found.outcome.tolist() == [0, 1, 2, 3, 1] and len(found.kept) == 1
    assert [found.share(name) for name in ("labelled", "ignored", "inside", "missed")] == [0.2, 0.4, 0.2, 0.2]
    assert found.ignored == 3


def test_labelled_people_that_are_people(tmp_path):
    """Right: with joints, without joints, in a crowd. Wrong: nobody there, the same person again."""
    truth = [
        (1, BOX, paws(), {}),
        (1, (250, 100, 50, 50), NOTHING, {}),
        (1, (10, 200, 100, 100), NOTHING, {"iscrowd": 1}),
    ]
    thing = [(310, 20, 2), (320, 30, 2), (330, 40, 2)]
    labels = [
        (1, BOX, paws(), {"score": 0.8}),
        (1, (102, 100, 100, 100), paws(x=2), {"score": 0.7}),
        (1, (252, 100, 50, 50), [(260, 110, 2), (270, 120, 2), (280, 130, 2)], {"score": 0.6}),
        (1, (20, 220, 20, 20), [(22, 222, 2), (23, 223, 2), (24, 224, 2)], {"score": 0.5}),
        (1, (300, 10, 50, 50), thing, {"score": 0.4}),
    ]
    found = compared(tmp_path, labels, truth)
    assert (found.labelled, found.real) == (5, 3) and found.precision == 0.6


def test_somebody_marked_within_a_crowd_counts_once(tmp_path):
    truth = [(1, BOX, paws(), {}), (1, (50, 50, 200, 200), NOTHING, {"iscrowd": 1})]
    found = compared(tmp_path, [(1, BOX, paws(), {})], truth)
    assert (found.labelled, found.real) == (1, 1)


def test_a_better_pose_wins_over_a_better_box(tmp_path):
    """Two people in boxes that overlap: the label has the box of one, but the joints of the other."""
    truth = [(1, (90, 100, 100, 100), paws(x=60), {}), (1, (100, 100, 110, 100), paws(), {})]
    found = compared(tmp_path, [(1, (90, 100, 105, 100), paws(x=1), {})], truth)
    assert found.outcome.tolist() == [2, 0] and found.of_joints([0])["error"] == pytest.approx(0.01)


def test_only_complete_images_tell_of_mistakes(tmp_path):
    images = {1: ("a.png", {"license": 3}), 2: ("b.png", {})}
    labels = [(1, BOX, paws(), {}), (2, BOX, paws(), {})]
    found = compared(tmp_path, labels, [(1, BOX, paws(), {})], images, complete_key="license")
    assert (found.images, found.complete_images, found.labelled, found.real) == (2, 1, 1, 1)
    assert compared(tmp_path, labels, [(1, BOX, paws(), {})], images).precision == 0.5


def test_files_of_two_halves_are_pooled(tmp_path):
    images = {1: ("x/a.png", {}), 2: ("x/b.png", {}), 3: ("x/c.png", {})}
    truth = write(tmp_path / "truth.json", images, [(i, BOX, paws(), {}) for i in images])
    first = write(tmp_path / "1.json", {7: ("a.png", {})}, [(7, BOX, paws(), {})])
    second = write(tmp_path / "2.json", {7: ("x/b.png", {})}, [(7, BOX, NOTHING, {"iscrowd": 1})])
    found = compare_files([first, second], truth)
    assert found.images == 2 and found.outcome.tolist() == [0, 1]
    with pytest.raises(DataError, match="x/a.png is in .*1.json and in .*1.json"):
        compare_files([first, first], truth)


def test_images_and_joints_must_be_the_same(tmp_path):
    truth = write(tmp_path / "truth.json", {1: ("x/a.png", {}), 2: ("y/a.png", {})}, [(1, BOX, paws(), {})])
    cases = {
        "is not in it": write(tmp_path / "1.json", {1: ("b.png", {})}, []),
        "is in it twice": write(tmp_path / "2.json", {1: ("a.png", {})}, []),
        "200 x 300": write(tmp_path / "3.json", {1: ("x/a.png", {"width": 200})}, []),
        "joints nose, tail": write(tmp_path / "4.json", {1: ("x/a.png", {})}, [], names=["nose", "tail"]),
    }
    for message, file in cases.items():
        with pytest.raises(DataError, match=message):
            compare_files([file], truth)


def test_nothing_to_compare_says_so(tmp_path):
    found = compared(tmp_path, [], [])
    assert np.isnan(found.precision) and np.isnan(found.share("missed")) and np.isnan(found.of_joints([0])["kept"])
    text = format_comparison(found, teachers=True)
    assert "nan" not in text and "97.7 %" in text


def test_the_table_has_the_figures(tmp_path):
    label = paws()
    label[0] = (160, 110, 2)
    found = compared(tmp_path, [(1, BOX, label, {})], [(1, BOX, paws(visible=(2, 2, 0)), {})])
    lines = format_comparison(found).splitlines()
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines if "|" in line}
    assert cells["labelled people that are people"] == ["100.0 %"]
    assert cells["kept joints: mean OKS"] == ["0.941"] and cells["median error / sqrt(area)"] == ["0.050"]
    assert cells["nose"][:3] == ["100 %", "0.882", "0.100"] and cells["paw"][4] == "50 %"
    assert len(cells["paw"]) == 6


def test_the_teachers_parts_are_those_of_coco():
    from rle_onestage.labelling.table import TEACHER_PARTS
    from rle_onestage.structures.skeleton import split_side

    assert set(TEACHER_PARTS) == {split_side(name)[0] for name in COCO.names}
