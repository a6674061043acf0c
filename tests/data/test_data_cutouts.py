"""Whom it is worth to cut out of photographs, and what of them is kept."""

import numpy as np
import pytest
from detectron2.structures import BoxMode
from paste_toys import SEGMENT, keypoints_of, photograph

from rle_onestage.data.transforms.cutouts import load_cutouts
from rle_onestage.errors import DataError
from rle_onestage.utils.images import UnreadableImage


def record(**fields):
    points = {j: (60.5 - 10 * (j % 2), 40.5 + 5 * j) for j in range(11)}
    annotation = {
        "bbox": [40, 30, 40, 100], "bbox_mode": BoxMode.XYWH_ABS, "area": 4000.0, "iscrowd": 0, "category_id": 0,
        "id": 7, "keypoints": keypoints_of(points).ravel().tolist(), "segmentation": [SEGMENT],
    }  # fmt: skip
    annotation = {k: v for k, v in {**annotation, **fields}.items() if v is not None}
    return {"file_name": "photo.jpg", "width": 120, "height": 160, "annotations": [annotation]}


def load(*records, **options):
    return load_cutouts(records, lambda name, width, height: photograph(), 17, **options)


def test_who_is_worth_pasting():
    few = np.zeros((17, 3))
    few[:5] = 60.5, 60.5, 2
    pieces = [[40.0, 30, 80, 30, 80, 70, 40, 70], [40.0, 80, 80, 80, 80, 120, 40, 120]]
    across = [0.0, 30, 120, 30, 120, 130, 0, 130]
    assert len(load(record(), {"file_name": "empty.jpg"})) == 1
    for fields in (
        {"iscrowd": 1},
        {"segmentation": {"counts": "abc", "size": [160, 120]}},
        {"segmentation": None},
        {"segmentation": []},
        {"keypoints": None},
        {"keypoints": few.ravel().tolist()},
        {"area": 1500.0},  # the segment has 4,000
        {"segmentation": pieces, "area": 3200.0},
        {"segmentation": [across], "bbox": [0, 30, 120, 100], "area": 12000.0},
    ):
        assert load(record(**fields)) == [], fields
    assert load(record(), min_side=101) == []


def test_photographs_without_anybody_to_cut_are_not_read():
    def never(*_):
        raise AssertionError

    assert load_cutouts([record(iscrowd=1)], never, 17) == []


def test_cutouts_keep_no_photograph_and_little_memory():
    (large,) = load(record())
    (small,) = load(record(), max_side=50.0)
    assert large.image.base is None and large.image.size < photograph().size
    assert (small.box[2:] - small.box[:2]).max() == pytest.approx(50, abs=1)
    # The same share of the box, and of its area.
    for a, b in ((small, large),):
        np.testing.assert_allclose(
            (a.keypoints[:11, :2] - a.box[:2]) / (a.box[2:] - a.box[:2]),
            (b.keypoints[:11, :2] - b.box[:2]) / (b.box[2:] - b.box[:2]),
        )  # fmt: skip
        assert a.area == pytest.approx(b.area / 4, rel=0.05)
        assert a.mask.sum() / 255 == pytest.approx(a.area, rel=0.05)


def test_people_without_legs_stand_on_the_lower_border():
    legs = [13, 14, 15, 16]
    (cutout,) = load(record(), legs=legs)
    assert cutout.cut.tolist() == [False, False, False, True]
    joints = np.reshape(record()["annotations"][0]["keypoints"], (17, 3)).copy()
    joints[13] = 60.5, 110.5, 2
    (cutout,) = load(record(keypoints=joints.ravel().tolist()), legs=legs)
    assert not cutout.cut.any()


def test_extra_values_come_from_record_and_annotation():
    (cutout,) = load(record(), extra_of=lambda r, a: {"weight": len(r["file_name"]) + a["id"]})
    assert cutout.extra == {"weight": 16}


@pytest.mark.parametrize("segment", [[1.0, 2.0, 3.0], [[1, 2, 3, 4, 5]], [["a"] * 6], [[0, 0, float("nan"), 0, 0, 1]]])
def test_a_bad_segment_is_one_sentence(segment):
    with pytest.raises(DataError, match=r"annotation 7 of image photo.jpg has a `segmentation`.*remove the key"):
        load(record(segmentation=segment))


def test_of_many_people_some_are_cut_out_the_same_ones_each_time():
    names = [f"{i}.jpg" for i in range(6)]
    many = [{**record(), "file_name": name} for name in names]
    read = [[], []]
    for kept in read:
        load_cutouts(many, lambda name, *_, kept=kept: kept.append(name) or photograph(), 17, most=3)
    assert len(read[0]) == 3 and read[0] == read[1] != names[:3]


def test_a_photograph_that_cannot_be_read_costs_its_people_only(caplog):
    def read(name, width, height):
        if name == "broken.jpg":
            raise UnreadableImage(name, "the file is empty")
        return photograph()

    assert len(load_cutouts([{**record(), "file_name": "broken.jpg"}, record()], read, 17)) == 1
    assert "Nobody is cut out of broken.jpg: image broken.jpg cannot be used: the file is empty" in caplog.text
