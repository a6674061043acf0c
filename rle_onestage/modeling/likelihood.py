"""The likelihood of joints and what a training finds out beside it: the part that the criteria have in common."""

import torch
from detectron2.utils import comm
from torch import Tensor, nn

from ..structures.boxes import AREA_OF_BOX, box_area
from .density import Density, GroupedDensity
from .structures import Poses


def global_mean(value: Tensor) -> Tensor:
    """Sum over the processes, at least 1, over their number.

    Dividing by it makes gradients that are averaged over the processes those of the global batch.
    """
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(value)
    return value.clamp(min=1) / comm.get_world_size()


class PoseLikelihood(nn.Module):
    """Owns the density, and the ratio of COCO's areas to those of boxes.

    Attributes:
        counts_areas: whether the people of a batch count in the area ratio.
        learns_density: whether the density, or anything of it, is trained.

    Args:
        density: of the last stage's residuals; earlier stages use its preset alone.
        flow_warmup: iterations with the preset alone.
    """

    # The nodes of the normaliser follow the flow at this interval of iterations; between, they are a slightly older
    # rule for the same integral.
    REFRESH_EVERY = 25
    area_sums: Tensor

    def __init__(self, *, density: Density | GroupedDensity, flow_warmup: int):
        super().__init__()
        self.density, self.flow_warmup = density, flow_warmup
        self.counts_areas = self.learns_density = True
        # Sums over the training people of COCO's area and of the box's, in square pixels. The first numbers stand in
        # until there are people, and weigh nothing beside them. In float32, as some devices have nothing wider: the
        # last digit of a sum is less than what a batch adds to it.
        self.register_buffer("area_sums", torch.tensor([AREA_OF_BOX, 1.0], dtype=torch.float32))

    @torch.no_grad()
    def count_areas(self, area: Tensor, boxes: Tensor, measured: Tensor) -> None:
        """Add the people of a batch whose area was measured, unless nothing is counted.

        Args:
            area: (...) COCO's, in square pixels.
            boxes: (..., 4) in pixels.
            measured: (...) bool.
        """
        if not self.counts_areas:
            return
        sums = torch.stack([area[measured].sum(), box_area(boxes[measured]).sum()])
        self.area_sums += sums.to(self.area_sums)

    def area_ratio(self) -> Tensor:
        """() COCO's area over the box's, of the training people so far: it turns boxes into areas."""
        return self.area_sums[0] / self.area_sums[1]

    @torch.no_grad()
    def restart_areas(self, ratio: Tensor) -> None:
        """Count from here on, with a ratio () in the place of a box of one square pixel.

        The ratio belongs to the weights: inference needs it, also before another training has seen anybody. The sums
        belong to a run: those of a long one would hold the ratio of new data back until as many people are seen again.
        """
        self.area_sums.copy_(torch.stack([ratio, torch.ones_like(ratio)]))

    def nll(self, poses: Poses, joints: Tensor, weight: Tensor, *, final: bool, iteration: int) -> Tensor:
        """(n, K) nats per joint, in pixels; 0 where the weight is.

        Only labelled joints pass through the density: the flow is paid per label.

        Args:
            poses: of n candidates.
            joints: (n, K, 2) the labels, in pixels.
            weight: (n, K) 0 where a joint is unlabelled.
            final: whether these are the poses of the last stage, which the learned density is for.
            iteration: of the training.
        """
        return labelled_nll(
            self.density, poses.mu, poses.scale, joints, weight, preset_only=not final or iteration < self.flow_warmup,
            learns=final and self.learns_density, refresh=iteration % self.REFRESH_EVERY == 0,
        )  # fmt: skip


def labelled_nll(
    density: Density | GroupedDensity,
    mu: Tensor,
    scale: Tensor,
    labels: Tensor,
    weight: Tensor,
    *,
    preset_only: bool,
    learns: bool,
    refresh: bool,
) -> Tensor:
    """(n, K) nats per joint, in pixels; 0 where the weight is.

    Args:
        density: in D dimensions.
        mu: (n, K, D) predicted.
        scale: (n, K, D) predicted.
        labels: (n, K, D).
        weight: (n, K) 0 where a joint is unlabelled.
        preset_only: use the preset in place of the learned density.
        learns: whether the density learns from these labels.
        refresh: whether it is time for its nodes to follow it.
    """
    chosen = weight > 0
    residual = (labels[chosen] - mu[chosen]) / scale[chosen]
    joint = torch.arange(weight.shape[1], device=weight.device).expand_as(weight)[chosen]
    if learns:
        density.fit(residual.detach(), joint)
        if not preset_only and refresh:
            density.refresh(density.TRAINING_TOLERANCE)
    nll = density.nll(residual, scale[chosen], joint=joint, preset_only=preset_only)
    return torch.zeros_like(weight).masked_scatter(chosen, nll)
