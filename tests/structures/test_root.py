"""The root of a person, and what is taken for a camera."""

import math

import numpy as np
import pytest

from rle_onestage.structures.root import Camera, place_of_root, read_camera, root_weights
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


def test_a_root_whose_joints_are_not_all_known():
    def without(skeleton, *missing):
        points = np.random.default_rng(0).normal(0, 300, (len(skeleton), 3))
        whole = points.copy()
        points[[skeleton.index(name) for name in missing]] = np.nan
        return whole, place_of_root(points, skeleton)

    joints = list(H36M.names)
    whole, root = without(joints, "pelvis", "head")
    assert np.allclose(root, whole[[joints.index("left_hip"), joints.index("right_hip")]].mean(0))
    assert np.isnan(without(joints, "pelvis", "left_hip")[1]).all()
    assert np.isnan(without(list(COCO.names), "left_hip")[1]).all()
    markers = [f"marker{k}" for k in range(8)]
    whole, root = without(markers, "marker2", "marker5")
    assert np.allclose(root, np.delete(whole, [2, 5], 0).mean(0))
    assert np.isnan(without(markers, "marker2", "marker5", "marker7")[1]).all()
    assert np.isnan(place_of_root(np.zeros((0, 3)), [])).all()


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
