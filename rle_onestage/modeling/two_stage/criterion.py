"""The losses of poses in regions."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..density import Density, GroupedDensity
from ..likelihood import PoseLikelihood, global_mean
from ..structures import Poses
from ..targets import Matched
from .heatmaps import paint


class RegionCriterion(PoseLikelihood):
    """Likelihood of the joints, and cross entropy of their presence, of the people whom regions are for.

    Args:
        density: of the residuals.
        flow_warmup: iterations with the preset alone.
        pose_weight: factor of the likelihood.
        presence_weight: factor of the cross entropy.
        heatmap_weight: factor of the cross entropy of heatmaps, where a network has some.
    """

    def __init__(
        self,
        *,
        density: Density | GroupedDensity,
        flow_warmup: int,
        pose_weight: float,
        presence_weight: float,
        heatmap_weight: float,
    ):
        super().__init__(density=density, flow_warmup=flow_warmup)
        self.pose_weight, self.presence_weight, self.heatmap_weight = pose_weight, presence_weight, heatmap_weight

    def forward(self, poses: Poses, people: Matched, iteration: int) -> dict[str, Tensor]:
        """Weighted scalar losses by name, each a mean over the batch: nats a labelled joint, and nats a known one.

        Args:
            poses: of P regions, perhaps none.
            people: whom each is for.
            iteration: of the training.
        """
        self.count_areas(people.area, people.boxes, people.area_known)
        weight = people.labelled.float() * people.weight[:, None]
        known = people.known.float() * people.weight[:, None]
        norm = global_mean(torch.stack([weight.sum(), known.sum()])).unbind()
        nll = self.nll(poses, people.joints, weight, final=True, iteration=iteration)
        presence = F.binary_cross_entropy_with_logits(poses.presence, people.labelled.float(), reduction="none")
        return {
            "loss_keypoint": self.pose_weight * (nll * weight).sum() / norm[0],
            "loss_presence": self.presence_weight * (presence * known).sum() / norm[1],
        }

    def heatmap(self, maps: Tensor, people: Matched, regions: Tensor) -> Tensor:
        """Weighted cross entropy of heatmaps to Gaussians about the labels, a mean over labelled joints in view.

        The likelihood sees the mean of a heatmap alone, which tells a cell little of where the joint is.

        Args:
            maps: (P, K, H, W) logits.
            people: whom each region is for.
            regions: (P, 4).
        """
        target, inside = paint(people.joints, regions, maps.shape[2], maps.shape[3])
        weight = (people.labelled & inside).float() * people.weight[:, None]
        target = target / target.sum((2, 3), keepdim=True).clamp(min=1e-6)
        nats = -(target * maps.flatten(2).log_softmax(-1).view_as(maps)).sum((2, 3))
        return self.heatmap_weight * (nats * weight).sum() / global_mean(weight.sum())
