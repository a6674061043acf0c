"""The criterion of each rule: the product's, with another loss of the joints."""

import torch
from torch import Tensor

from rle_onestage.modeling.criterion import Criterion
from rle_onestage.modeling.structures import Poses
from rle_onestage.modeling.targets import Matched
from rle_onestage.structures.boxes import box_area
from rle_onestage.structures.oks import joint_oks

from .densities import MatrixDensity, YOLO26Density
from .losses import YOLO26_OKS, YOLO26_REACH, YOLO26_RLE, clamped, rf_detr_loss, yolo26_sum
from .matrices import matrix_nll


class WiderCriterion(Criterion):
    """The product's criterion for poses with ``more``."""

    def joint_losses(self, poses: Poses, people: Matched, weight: Tensor, *, final: bool, iteration: int) -> Tensor:
        """(n, K) of the rule; 0 where unlabelled."""
        chosen = weight > 0
        return torch.zeros_like(weight).masked_scatter(chosen, self.of_joints(poses, people, chosen))

    def of_joints(self, poses: Poses, people: Matched, chosen: Tensor) -> Tensor:
        """The loss (m,) of the joints that ``chosen`` (n, K) picks."""
        raise NotImplementedError


class MatrixCriterion(WiderCriterion):
    """``-log q(e) + log det S`` with a scale matrix."""

    density: MatrixDensity

    def of_joints(self, poses: Poses, people: Matched, chosen: Tensor) -> Tensor:
        """Nats in pixels."""
        residual = people.joints[chosen] - poses.mu[chosen]
        correlation = torch.tanh(_more(poses)[chosen][:, 0])
        return matrix_nll(residual, poses.scale[chosen], correlation, self.density.log_q)


class RFDETRCriterion(WiderCriterion):
    """RF-DETR's L1 and Gaussian likelihood."""

    def of_joints(self, poses: Poses, people: Matched, chosen: Tensor) -> Tensor:
        """In units of the root of the labelled box's area."""
        area = box_area(people.boxes)[:, None].expand_as(chosen)[chosen]
        return rf_detr_loss(poses.mu[chosen] - people.joints[chosen], _more(poses)[chosen], area)


class YOLO26Criterion(WiderCriterion):
    """YOLO26's sum, clamped at zero over the batch, beside its OKS loss, which alone teaches from there on."""

    density: YOLO26Density

    def joint_losses(self, poses: Poses, people: Matched, weight: Tensor, *, final: bool, iteration: int) -> Tensor:
        if not final:  # the flow is of the last errors alone, as under the product's rules
            return Criterion.joint_losses(self, poses, people, weight, final=False, iteration=iteration)
        likelihood = super().joint_losses(poses, people, weight, final=final, iteration=iteration)
        distance2 = (poses.mu - people.joints).square().sum(-1)
        oks = joint_oks(distance2, box_area(people.boxes), self.oks_sigmas)  # of the whole box, as there
        return YOLO26_RLE * clamped(likelihood, weight) + YOLO26_OKS * (1 - oks) * (weight > 0)

    def of_joints(self, poses: Poses, people: Matched, chosen: Tensor) -> Tensor:
        """In strides."""
        scale = poses.scale[chosen]
        e = ((people.joints[chosen] - poses.mu[chosen]) / scale).clamp(-YOLO26_REACH, YOLO26_REACH)
        return yolo26_sum(e, scale / _more(poses)[chosen], self.density.log_g(e))


def _more(poses: Poses) -> Tensor:
    assert poses.more is not None  # for the type checker: the rule's head gives it
    return poses.more
