"""Heads and refinements that say more of a joint than a scale for x and for y."""

from typing import Any

import torch
from torch import Tensor, nn

from rle_onestage.modeling.head import HEAD_REGISTRY, PoseHead
from rle_onestage.modeling.locations import Locations
from rle_onestage.modeling.refinement.joint_refinement import JointRefinement
from rle_onestage.modeling.structures import CandidatePredictions, Candidates, DenseOutputs, Poses
from rle_onestage.structures.boxes import box_area

from .matrices import precision_parts


class WiderHead(PoseHead):
    """The head with ``MORE`` further numbers of each joint, projected like its scales.

    All arguments are those of :class:`~rle_onestage.modeling.head.PoseHead`.
    """

    MORE = 0

    def __init__(self, *, num_joints: int, embedding: int, **parts: Any):
        super().__init__(num_joints=num_joints, embedding=embedding, **parts)
        self.more = nn.Linear(embedding, num_joints * self.MORE)
        nn.init.normal_(self.more.weight, std=0.01)
        nn.init.zeros_(self.more.bias)
        self.JOINT_ROWS = {**PoseHead.JOINT_ROWS, "more.weight": self.MORE, "more.bias": self.MORE}

    def project(self, dense: DenseOutputs, indices: Candidates, locations: Locations) -> CandidatePredictions:
        """As :meth:`PoseHead.project`, the poses with ``more`` (P, K, ``MORE``)."""
        found = super().project(dense, indices, locations)
        with torch.autocast(found.embedding.device.type, enabled=False):
            more = self.more(found.embedding).view(-1, self.num_joints, self.MORE)
            return found._replace(poses=self.scaled(found.poses._replace(more=more), found.boxes))

    def scaled(self, poses: Poses, boxes: Tensor) -> Poses:
        """The poses with the scale that follows from ``more``, if one does."""
        return poses


class WiderRefinement(JointRefinement):
    """The refinement with ``MORE`` further numbers of each joint, said like its scales.

    All arguments are those of :class:`~rle_onestage.modeling.refinement.joint_refinement.JointRefinement`.
    """

    MORE = 0

    def __init__(self, *, num_joints: int, channels: int, **parts: Any):
        super().__init__(num_joints=num_joints, channels=channels, **parts)
        self.more = nn.Parameter(torch.empty(num_joints, channels, self.MORE).normal_(std=0.01))
        self.more_bias = nn.Parameter(torch.zeros(num_joints, self.MORE))
        self.JOINT_ROWS = {**JointRefinement.JOINT_ROWS, "more": 1, "more_bias": 1}

    def widened(self, refined: Poses, hidden: Tensor, boxes: Tensor) -> Poses:
        """The poses with ``more`` (P, K, ``MORE``)."""
        more = torch.einsum("pkc,kcm->pkm", hidden, self.more) + self.more_bias
        return self.scaled(refined._replace(more=more), boxes)

    def scaled(self, poses: Poses, boxes: Tensor) -> Poses:
        """The poses with the scale that follows from ``more``, if one does."""
        return poses


def scaled_by_precision(poses: Poses, boxes: Tensor) -> Poses:
    """Poses with the scale of the covariance that RF-DETR's three numbers say, for the predicted box.

    Args:
        poses: with ``more`` (P, K, 3), in units of the root of the box's area.
        boxes: (P, 4) in pixels.
    """
    assert poses.more is not None  # for the type checker: the head gives it
    size = box_area(boxes.detach()).clamp(min=1.0).sqrt()
    return poses._replace(scale=precision_parts(poses.more)[0] * size[:, None, None])


@HEAD_REGISTRY.register()
class CorrelationHead(WiderHead):
    """One number more: the correlation of x and y is its tanh."""

    MORE = 1


class CorrelationRefinement(WiderRefinement):
    """The same."""

    MORE = 1


@HEAD_REGISTRY.register()
class PrecisionHead(WiderHead):
    """RF-DETR's three numbers of a precision, in units of the root of the box's area; it starts at 1 as there."""

    MORE = 3

    def scaled(self, poses: Poses, boxes: Tensor) -> Poses:
        """See :func:`scaled_by_precision`."""
        return scaled_by_precision(poses, boxes)


class PrecisionRefinement(WiderRefinement):
    """The same."""

    MORE = 3

    def scaled(self, poses: Poses, boxes: Tensor) -> Poses:
        """See :func:`scaled_by_precision`."""
        return scaled_by_precision(poses, boxes)


@HEAD_REGISTRY.register()
class StrideHead(PoseHead):
    """The head whose poses know their stride, in which YOLO26 counts."""

    def project(self, dense: DenseOutputs, indices: Candidates, locations: Locations) -> CandidatePredictions:
        """As :meth:`PoseHead.project`, the poses with ``more`` (P, K, 1), the stride in pixels."""
        found = super().project(dense, indices, locations)
        stride = locations.stride[indices.location][:, None, None].expand(-1, self.num_joints, 1)
        return found._replace(poses=found.poses._replace(more=stride))


class StrideRefinement(JointRefinement):
    """The refinement with scales in strides of the candidate's level, as YOLO26 has them, not of the finest map."""

    def widened(self, refined: Poses, hidden: Tensor, boxes: Tensor) -> Poses:
        """The poses with that scale."""
        assert refined.more is not None  # for the type checker: the head gives it
        return refined._replace(scale=refined.scale / self.stride * refined.more)
