"""Heads that say more of a joint than a scale for x and for y."""

from typing import Any

import torch
from torch import Tensor, nn

from rle_onestage.modeling.head import HEAD_REGISTRY, PoseHead
from rle_onestage.modeling.locations import Locations
from rle_onestage.modeling.structures import CandidatePredictions, Candidates, DenseOutputs, Poses
from rle_onestage.structures.boxes import box_area

from .matrices import precision_parts


class WiderHead(PoseHead):
    """The head with ``MORE`` further numbers of each joint, projected like its scales.

    All arguments are those of :class:`PoseHead`.
    """

    MORE = 0

    def __init__(self, *, num_joints: int, embedding: int, **parts: Any):
        super().__init__(num_joints=num_joints, embedding=embedding, **parts)
        # After all else that starts at random: the rest starts as under every other rule of the seed.
        self.more = nn.Linear(embedding, num_joints * self.MORE)
        nn.init.normal_(self.more.weight, std=0.01)
        nn.init.zeros_(self.more.bias)
        self.JOINT_ROWS = {**PoseHead.JOINT_ROWS, "more.weight": self.MORE, "more.bias": self.MORE}

    def project(self, dense: DenseOutputs, indices: Candidates, locations: Locations) -> CandidatePredictions:
        """As :meth:`PoseHead.project`, the poses with ``more`` (P, K, ``MORE``)."""
        found = super().project(dense, indices, locations)
        with torch.autocast(found.embedding.device.type, enabled=False):
            more = self.more(found.embedding).view(-1, self.num_joints, self.MORE)
            return found._replace(poses=self.widened(found, more))

    def widened(self, found: CandidatePredictions, more: Tensor) -> Poses:
        """The poses with the further numbers."""
        return found.poses._replace(more=more)


@HEAD_REGISTRY.register()
class CorrelationHead(WiderHead):
    """One number more: the correlation of x and y is its tanh."""

    MORE = 1


@HEAD_REGISTRY.register()
class PrecisionHead(WiderHead):
    """RF-DETR's three numbers of a precision, in units of the root of the box's area; they start at a precision of 1.

    The scale is that of their covariance for the predicted box.
    """

    MORE = 3

    def widened(self, found: CandidatePredictions, more: Tensor) -> Poses:
        """The poses with the further numbers, and the scales that follow from them."""
        size = box_area(found.boxes.detach()).clamp(min=1.0).sqrt()
        return found.poses._replace(more=more, scale=precision_parts(more)[0] * size[:, None, None])


@HEAD_REGISTRY.register()
class StrideHead(PoseHead):
    """The head whose poses know their stride, in which YOLO26 counts."""

    def project(self, dense: DenseOutputs, indices: Candidates, locations: Locations) -> CandidatePredictions:
        """As :meth:`PoseHead.project`, the poses with ``more`` (P, K, 1), the stride in pixels."""
        found = super().project(dense, indices, locations)
        stride = locations.stride[indices.location][:, None, None].expand(-1, self.num_joints, 1)
        return found._replace(poses=found.poses._replace(more=stride))
