"""The root of a person, and what is taken for a camera."""

import math

import numpy as np
import pytest

from rle_onestage.structures.root import Camera, read_camera, root_weights
from rle_onestage.structures.skeleton import COCO, CROWDPOSE, H36M, MPII


def test_the_root_is_the_pelvis_else_the_middle_of_the_hips_else_that_of_all():
    for skeleton, joints in ((H36M, ["pelvis"]), (MPII, ["pelvis"]), (COCO, ["left_hip", "right_hip"]),
                             (CROWDPOSE, ["left_hip", "right_hip"])):  # fmt: skip
        weights, is_hip = root_weights(skeleton.names)
        assert is_hip and {n for n, w in zip(skeleton.names, weights) if w} == set(joints)
        assert weights.sum() == pytest.approx(1)
    assert root_weights(["LHip", "Nose", "RHip"])[0].tolist() == [0.5, 0, 0.5]
    for names in (["nose", "tail", "left_hip"], ["a"]):
        weights, is_hip = root_weights(names)
        assert not is_hip and weights.tolist() == [1 / len(names)] * len(names)


@pytest.mark.parametrize("entry", [
    {"focal": 100.0, "principal_point": [50, 40], "rotation": []},
    {"f": [100, 100], "c": [50, 40]},
    {"intrinsics": [[100, 0, 50], [0, 100, 40], [0, 0, 1]]},
    {"K": [100, 0, 50, 0, 100, 40, 0, 0, 1]},
    Camera((100.0, 100.0), (50.0, 40.0)),
])  # fmt: skip
def test_intrinsics_in_their_usual_forms(entry):
    camera = read_camera(entry)
    assert camera == Camera((100.0, 100.0), (50.0, 40.0)) and camera.mean_focal == pytest.approx(100)
    assert np.allclose(camera.project(np.array([[10.0, -20.0, 200.0]])), [[55, 30]])


@pytest.mark.parametrize("entry", [
    None, 5, [], {}, {"focal": 100}, {"principal_point": [1, 2]}, {"focal": "wide", "principal_point": [1, 2]},
    {"focal": -100.0, "principal_point": [1, 2]}, {"focal": math.nan, "principal_point": [1, 2]},
    {"focal": [1, 2, 3], "principal_point": [1, 2]}, {"focal": 1e9, "principal_point": [1, 2]},
    {"intrinsics": [[1, 2], [3, 4]]}, {"f": [100, 100], "c": [50]}, {"focal": 10**400, "principal_point": [1, 2]},
])  # fmt: skip
def test_what_is_no_camera(entry):
    assert read_camera(entry) is None
