"""The losses of poses in regions."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..density import Density, GroupedDensity
from ..likelihood import PoseLikelihood, global_mean
from ..structures import Poses
from ..targets import Matched


class RegionCriterion(PoseLikelihood):
    """Likelihood of the joints, and cross entropy of their presence, of the people whom regions are for.

    Args:
        density: of the residuals.
        flow_warmup: iterations with the preset alone.
        pose_weight: factor of the likelihood.
        presence_weight: factor of the cross entropy.
    """

    def __init__(
        self, *, density: Density | GroupedDensity, flow_warmup: int, pose_weight: float, presence_weight: float
    ):
        super().__init__(density=density, flow_warmup=flow_warmup)
        self.pose_weight, self.presence_weight = pose_weight, presence_weight

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
