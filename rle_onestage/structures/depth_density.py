"""Intervals of joints in space, in units of the sigma that is reported."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .error_density import LEVELS, check_level, interpolate


class SpaceDensity:
    """Half-widths of the intervals that hold a coordinate of a joint in space.

    Args:
        levels: (K, 3, L) half-widths in reported standard deviations at ``LEVELS``, of x, y and depth.
    """

    def __init__(self, *, levels: Tensor):
        self.levels = levels

    def half_width(self, level: float) -> Tensor:
        """Half-width of the interval about the point, linear between the levels of the table.

        Args:
            level: probability, from 0 to the last of ``LEVELS`` (0.99).

        Returns:
            (K, 3) in reported standard deviations, of x, y and depth.

        Raises:
            ConfigError: the level is no such probability.
        """
        check_level(level)
        known = self.levels.new_tensor([0.0, *LEVELS])
        rows = torch.cat([torch.zeros_like(self.levels[..., :1]), self.levels], -1).flatten(0, 1)
        at = known.new_tensor([level])
        return torch.stack([interpolate(at, known, row)[0] for row in rows]).view(self.levels.shape[:2])


def widths_of_density(position: Tensor, log_q: Tensor, mean: float, std: float, levels: Sequence[float]) -> Tensor:
    """Half-widths (L,) of the intervals about the mean of a density on a line, in standard deviations.

    Args:
        position: (S,) ascending.
        log_q: (S,) log of the density there.
        mean: of the density.
        std: of the density.
        levels: probabilities.
    """
    mass = torch.exp(log_q) * position.diff(prepend=position[:1])
    distance, order = ((position - mean).abs() / std).sort()
    inside = mass[order].cumsum(0)
    return interpolate(inside.new_tensor(list(levels)), inside / inside[-1], distance)
