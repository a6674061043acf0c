"""Where a joint begins that another set lacks."""

import pytest

from rle_onestage.structures import COCO
from rle_onestage.structures.related_joints import related_joints


@pytest.mark.parametrize(
    "name, near",
    [
        ("mid_hip", "left_hip right_hip"),
        ("neck", "left_shoulder right_shoulder"),
        ("head_top", "nose left_eye right_eye left_ear right_ear"),
        ("back_of_head", "nose left_eye right_eye left_ear right_ear"),
        ("mid_shoulders", "left_shoulder right_shoulder"),
        ("left_upper_leg", "left_hip left_knee"),
        ("left_forefinger1", "left_wrist"),
        ("left_back_paw", ""),
        ("spine1", "left_shoulder right_shoulder left_hip right_hip"),
        ("LBigToe", "left_ankle"),
        ("right hand", "right_wrist"),
        ("rightForeArm", "right_elbow right_wrist"),
        ("left_eyebrow", "nose left_eye left_ear"),
        ("left_wrist", ""),  # which the set has
        ("LWri", ""),
        ("tail", ""),
        ("7", ""),
    ],
)
def test_joints_near_one_that_coco_lacks(name, near):
    assert related_joints(COCO.names, [name]) == ({name: near.split()} if near else {})


def test_nothing_is_near_in_a_set_of_other_parts():
    assert related_joints(["tail", "left_paw"], ["mid_hip", "left_hand"]) == {}
