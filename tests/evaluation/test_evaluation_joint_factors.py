"""What stands beside a file of results: names, limbs, and factors that make intervals and ellipses of sigmas."""

import json
import types

import numpy as np
import pytest
from calibration_toys import drawn_matches, laplace_density

from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.joint_factors import density_of, joint_factors, joints_path
from rle_onestage.structures import COCO, Skeleton

THREE = Skeleton("toy", ("head", "hand", "foot"), (), ((0, 1), (0, 2)), (0.1, 0.1, 0.1))


def test_the_file_alone_makes_intervals_and_ellipses_that_hold():
    """With NumPy and what JSON has, of errors that have the density."""
    joints = json.loads(json.dumps(joint_factors(THREE, laplace_density())))
    assert joints["keypoints"] == ["head", "hand", "foot"] and joints["skeleton"] == [[1, 2], [1, 3]]
    found = drawn_matches(4000)
    error = np.abs(found.joints - found.predicted)
    for level in ("50", "80", "90", "95"):
        half, radius = (np.array(joints[key][level]) for key in ("half_widths", "ellipse_radii"))
        assert 100 * (error <= half[:, None] * found.std).mean() == pytest.approx(float(level), abs=1)
        held = np.linalg.norm(error / found.std, axis=-1) <= radius  # the covariance has no correlation
        assert 100 * held.mean() == pytest.approx(float(level), abs=1)


def test_without_a_density_there_are_names_alone():
    assert joint_factors(COCO, None).keys() == {"keypoints", "skeleton"}


@pytest.mark.parametrize("results, joints", [("a/b.json", "a/b_joints.json"), ("r", "r_joints.json")])
def test_where_it_stands(results, joints):
    assert joints_path(results) == joints


def test_other_architectures_have_no_density():
    class Other:
        @property
        def error_density(self):
            raise ConfigError("there is none")

    assert density_of(Other()) is None and density_of(object()) is None
    own = types.SimpleNamespace(error_density=laplace_density())
    assert density_of(own) is own.error_density
