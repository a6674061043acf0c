"""Points of a density that is not symmetric."""

import numpy as np
import pytest
import torch
from paper_tables.points import best_points, fixed_points, grid_of, moved, probabilities

from rle_onestage.structures.error_density import ErrorDensity, density_axis


def skewed():
    """Two joints with an exponential error to the right in x, of unit variance, and Laplace's in y."""
    mean, std = torch.zeros(1, 2), torch.ones(1, 2)
    axis = density_axis(mean, std, 257)
    x, y = torch.meshgrid(axis[0, 0], axis[0, 1], indexing="ij")
    log_q = torch.where(x >= -1, -(x + 1), torch.full_like(x, -40.0)) - 2**0.5 * y.abs()
    return ErrorDensity(axis=axis, log_q=log_q[None], mean=mean, std=std, group=torch.zeros(2, dtype=torch.int64))


def test_median_and_mode_are_those_of_the_exponential():
    found = fixed_points(probabilities(skewed()))
    assert found["median"][0].tolist() == pytest.approx([np.log(2) - 1, 0], abs=0.11)
    assert found["mode"][0].tolist() == pytest.approx([-1, 0], abs=0.11)


def test_a_wide_oks_wants_the_mean_and_a_narrow_one_the_mode():
    found = best_points(probabilities(skewed()), np.array([[0.02, 0.5], [1.0, 5.0]]))
    x = found[..., 0].flatten()
    assert x[0] == pytest.approx(0, abs=0.11) and x[3] == pytest.approx(-0.8, abs=0.15)
    assert (np.diff(x) <= 0).all() and np.abs(found[..., 1]).max() < 0.11
    assert 0.0 in grid_of(1.5)


def test_results_move_by_their_own_sigmas_and_keep_their_scores():
    result = {
        "image_id": 1, "score": 0.5, "keypoints": [10.0, 20, 0.7, 30, 40, 0.6], "keypoint_sigmas": [2.0, 3, 4, 5],
        "person_area": 1e8,
    }  # fmt: skip
    found = moved([result], skewed(), [0.1, 0.1])
    assert found["mean"][0]["keypoints"] == result["keypoints"]
    assert found["mode"][0]["keypoints"] == pytest.approx([8.0, 20, 0.7, 26, 40, 0.6], abs=0.5)
    assert found["largest expected OKS"][0]["keypoints"] == pytest.approx(result["keypoints"], abs=0.5)
    assert all(rows[0]["score"] == 0.5 for rows in found.values())
