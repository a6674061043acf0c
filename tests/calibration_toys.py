"""A density of errors, and people whose errors are drawn from it, for the tests of calibration."""

import math

import numpy as np
import torch

from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.structures.error_density import ErrorDensity, density_axis

SIGMAS = [0.08, 0.05, 0.1]
NAMES = ["head", "hand", "foot"]


def laplace_density(joints=3):
    """Laplace in both coordinates, of unit variance."""
    axis = density_axis(torch.zeros(1, 2), torch.ones(1, 2), 129)
    marginal = -math.sqrt(2) * axis.abs() - math.log(math.sqrt(2))  # (1, 2, S)
    log_q = marginal[:, 0, :, None] + marginal[:, 1, None, :]
    group = torch.zeros(joints, dtype=torch.int64)
    return ErrorDensity(axis=axis, log_q=log_q, mean=torch.zeros(1, 2), std=torch.ones(1, 2), group=group)


def drawn_matches(people, *, seed=0, log_scale=0.0, power=1.0, joints=3):
    """People with Laplace errors whose true standard deviation is a correction of the predicted one.

    Args:
        people: S. log_scale, power: of the truth, ``s exp(log_scale) (sigma / s)^power``; numbers or (K,).
    """
    rng = np.random.default_rng(seed)
    size = rng.uniform(40, 160, people)
    sigma = size[:, None, None] * np.exp(rng.uniform(-4, -1.5, (people, joints, 2)))
    scale = np.exp(np.broadcast_to(log_scale, joints))[:, None]
    true = size[:, None, None] * scale * (sigma / size[:, None, None]) ** np.broadcast_to(power, joints)[:, None]
    error = rng.laplace(size=sigma.shape) / math.sqrt(2) * true
    labels = rng.uniform(0, 200, sigma.shape)
    return Matches(
        predicted=labels - error,
        expected=rng.random((people, joints)),
        std=sigma,
        joints=labels,
        visibility=rng.choice([0, 1, 2], (people, joints), p=[0.1, 0.2, 0.7]).astype(float),
        area=size**2,
        score=rng.random(people),
        predicted_area=size**2,
        image_id=np.arange(people),
        correlation=np.zeros((people, joints)),
        visible=np.full((people, joints), np.nan),
        input_area=size**2,
    )
