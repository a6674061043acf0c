"""The likelihood of depth and size; the depth's density is of the family, in one dimension."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..density import Density, GroupedDensity
from ..likelihood import PoseLikelihood, global_mean, labelled_nll
from ..structures import Depths, Stage
from ..targets import Matched


class DepthCriterion(nn.Module):
    """Owns the density of depth.

    The density of a joint in space is that of x and y times that of depth. The root itself teaches nothing where it is
    a joint, since its depth is 0 by definition.

    Attributes:
        learns_density: whether anything of the density is trained.

    Args:
        density: of the last stage's residuals, D = 1; earlier stages use its preset alone.
        root: (K,) weights of the joints whose mean is the root.
        flow_warmup: iterations with the preset alone.
    """

    teaches: Tensor

    def __init__(self, *, density: Density | GroupedDensity, root: Sequence[float], flow_warmup: int):
        super().__init__()
        self.density, self.flow_warmup, self.learns_density = density, flow_warmup, True
        self.register_buffer("teaches", torch.tensor(list(root)) < 1, persistent=False)

    def forward(
        self, stages: Sequence[Stage], people: Sequence[Matched], weights: Sequence[Tensor], iteration: int
    ) -> dict[str, Tensor]:
        """Losses by name: ``depth`` of the coarse poses, ``depth1``, ... of refined ones, and ``size``.

        They are 0 in a batch without labels of depth, not absent: all processes of a training divide by the same sums.

        Args:
            stages: of the poses.
            people: whom each stage's rows are matched to.
            weights: (n, K) of each stage, how much each joint counts.
            iteration: of the training.
        """
        first = stages[0].poses.depth
        if first is None:  # a head without depth
            return {}
        terms = [self._depth(number, stages, people, weights, iteration) for number in range(len(stages))]
        size, counts = _size_nll(first, people[0], weights[0])
        norm = global_mean(torch.stack([*(weight.sum() for _, weight in terms), counts.sum()])).unbind()
        losses = {
            f"depth{number or ''}": (nll * weight).sum() / norm[number] for number, (nll, weight) in enumerate(terms)
        }
        losses["size"] = (size * counts).sum() / norm[-1]
        return losses

    def _depth(
        self,
        number: int,
        stages: Sequence[Stage],
        people: Sequence[Matched],
        weights: Sequence[Tensor],
        iteration: int,
    ) -> tuple[Tensor, Tensor]:
        """(n, K) nats of a stage, and how much they count."""
        depths, labels = stages[number].poses.depth, people[number].depth
        if depths is None:
            raise ValueError("every stage has depths if the first one has")
        if labels is None:
            labels = torch.full_like(depths.mu, math.nan)
        final = number == len(stages) - 1
        weight = weights[number] * (labels.isfinite() & self.teaches)
        nll = labelled_nll(
            self.density, depths.mu[..., None], depths.scale[..., None], labels.nan_to_num()[..., None], weight,
            preset_only=not final or iteration < self.flow_warmup, learns=final and self.learns_density,
            refresh=iteration % PoseLikelihood.REFRESH_EVERY == 0,
        )  # fmt: skip
        return nll, weight


def _size_nll(depths: Depths, people: Matched, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) nats of the log of the millimetres of a pixel under a Laplace density, and how much they count.

    The scale is the standard deviation.
    """
    given = torch.full_like(depths.pixel_size, math.nan) if people.pixel_size is None else people.pixel_size
    known = given.isfinite() & (given > 0)
    label = torch.where(known, given, 1.0).log()
    scale = depths.pixel_size_scale
    nll = torch.log(scale) + math.sqrt(2) * (label - depths.pixel_size).abs() / scale + 0.5 * math.log(2)
    return nll, weight.amax(1) * known
