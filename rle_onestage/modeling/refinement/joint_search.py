"""A wide look at a joint's heatmap: where it may be if the first guess is far off."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .sampling import JointMaps, sample_own_channel

_STEPS = torch.arange(-3.0, 4.0)


class JointSearch(nn.Module):
    """Moves each joint to the mean of a grid of 7 x 7 points about it, weighted by a softmax.

    The logits are the joint's own heat at each point, and what the person's features say about each direction. In
    :meth:`pooled` heat a point stands for its neighbourhood of 3 x 3 cells, so that no peak falls between two points.

    Args:
        channels: C, of the features.
        stride: of the heatmap, in pixels.
    """

    grid: Tensor
    steps: Tensor

    def __init__(self, *, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.register_buffer("steps", _STEPS.clone(), persistent=False)  # (7,)
        self.register_buffer("grid", torch.cartesian_prod(_STEPS, _STEPS), persistent=False)  # (49, 2)
        self.prior = nn.Linear(channels, len(self.grid))
        self.gain = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.prior.weight)
        # A Gaussian about the guess, one step wide.
        self.prior.bias.data.copy_(-0.5 * self.grid.square().sum(1))

    @staticmethod
    def pooled(heat: Tensor) -> Tensor:
        """The largest logit among a cell and its eight neighbours, of the same shape (B, K, H, W)."""
        return F.max_pool2d(heat, 3, 1, 1)

    def forward(
        self, heat: JointMaps, image: Tensor, points: Tensor, reach: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where the joints are after the look, and how far apart the places are that they may be at.

        Args:
            heat: logits of K joints, pooled.
            image: (P,) int64, of each candidate.
            points: (P, K, 2) in pixels.
            reach: (P, K, 1) distance of two points of the grid, in pixels; up to three strides, or peaks are missed.
            features: (P, K, C) of the joints.

        Returns:
            Points (P, K, 2), and standard deviations (P, K, 1) of the weighted grid about them, in pixels.
        """
        # Between cells, because rounding would decide which cell a point on a border is in.
        seen = sample_own_channel(heat, image, points, reach * self.steps, self.stride, by_columns=True)
        seen = seen.flatten(-2)  # (P, K, 49)
        weight = torch.softmax(self.prior(features) + self.gain * seen, -1)  # (P, K, 49)
        mean = weight @ self.grid  # (P, K, 2)
        variance = (weight @ self.grid.square() - mean.square()).mean(-1, keepdim=True)
        return points + reach * mean, reach * variance.clamp(min=0).sqrt()
