"""The heatmap head of Xiao et al., "Simple baselines for human pose estimation and tracking", ECCV 2018."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads.keypoint_head import ROI_KEYPOINT_HEAD_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from ..likelihood import global_mean
from ..targets import people_of_regions
from .heatmaps import paint, transposed_convs
from .region_head import RegionHead
from .regions import check_joints, configured_flip_index, scores_of

# Joints with a lower score do not count in the pose's.
SEEN = 0.2


@ROI_KEYPOINT_HEAD_REGISTRY.register()
class SimplePoseKeypointHead(RegionHead[Tensor]):
    """Transposed convolutions to a heatmap for each joint, each twice as fine as the one before; squared error.

    The heatmap counterpart of ``RLEKeypointHead``: ``MODEL.ROI_KEYPOINT_HEAD.NAME SimplePoseKeypointHead``.

    Args:
        channels: of the pooled features.
        num_joints: K.
        deconvs: channels of the transposed convolutions.
        loss_weight: factor of the loss.
        score_power: exponent of the mean of the joints' scores in the score.
        flip_index: (K,) which joint is which in a mirror.
    """

    # Tensors whose first axis is that of the joints: rows of each.
    JOINT_ROWS = {"heatmaps.weight": 1, "heatmaps.bias": 1}

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        num_joints: int,
        deconvs: Sequence[int],
        loss_weight: float,
        score_power: float,
        flip_index: Sequence[int],
    ):
        super().__init__()
        self.num_joints, self.loss_weight, self.score_power = num_joints, loss_weight, score_power
        self.flip_index = list(flip_index)
        self.deconvs = transposed_convs(channels, deconvs)
        self.heatmaps = nn.Conv2d(deconvs[-1] if deconvs else channels, num_joints, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(layer.weight, std=0.001)  # the paper's code
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Arguments of the constructor from the config.

        Args:
            cfg: the whole config.
            input_shape: channels, height and width of the pooled features.

        Raises:
            ConfigError: see :func:`~.regions.check_joints`.
        """
        check_joints(cfg)
        joints, options = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS, cfg.MODEL.RLE_ONESTAGE.TWO_STAGE
        return {
            "channels": input_shape.channels,
            "num_joints": joints,
            "deconvs": options.DECONV_DIMS,
            "loss_weight": cfg.MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT,
            "score_power": options.OKS_POWER,
            "flip_index": configured_flip_index(cfg, joints),
        }

    def layers(self, features: Tensor) -> Tensor:
        """Heatmaps (P, K, 8 H, 8 W) of pooled features (P, C, H, W), as many doublings as there are convolutions."""
        if self.training and not len(features):  # batch norms refuse a batch of nobody
            sides = (side * 2 ** len(self.deconvs) for side in features.shape[2:])
            return features.new_zeros(0, self.num_joints, *sides)
        return self.heatmaps(self.deconvs(features)).float()

    def averaged(self, raw: Tensor, mirrored: Tensor) -> Tensor:
        """See :class:`~.region_head.RegionHead`."""
        return (raw + mirrored[:, self.flip_index].flip(-1)) / 2

    def losses(self, raw: Tensor, regions: Tensor, instances: Sequence[Instances]) -> dict[str, Tensor]:
        """Squared error of the heatmaps, a mean over the regions and their joints."""
        count = global_mean(regions.new_tensor(float(len(raw) * self.num_joints)))  # in every process
        return {"loss_keypoint": self.loss_weight * self._error(raw, instances, regions) / count}

    def decoded(self, raw: Tensor, regions: Tensor, instances: list[Instances]) -> list[Instances]:
        """The instances with ``scores`` and ``pred_keypoints`` (N, K, 3), the third the heatmap's value."""
        joints = decode_heatmaps(raw, regions).detach()
        for each, own in zip(instances, joints.split([len(each) for each in instances])):
            each.scores = scores_of(each) * _pose_score(own[..., 2]).pow(self.score_power)
            each.pred_keypoints = own
        return instances

    def _error(self, heatmaps: Tensor, instances: Sequence[Instances], regions: Tensor) -> Tensor:
        """Half the squared error, a mean over the cells, summed over the labelled joints in their regions."""
        people = people_of_regions(instances, self.num_joints)
        joints, labelled = people.joints.to(regions), people.labelled.to(regions.device)
        target, inside = paint(joints, regions, heatmaps.shape[2], heatmaps.shape[3])
        weight = (labelled & inside).float() * people.weight.to(regions)[:, None]
        error = 0.5 * (heatmaps - target).square().mean((2, 3))
        return (error * weight).sum()


def _pose_score(joints: Tensor) -> Tensor:
    """Mean (P,) of the scores (P, K) of the joints that are seen."""
    seen = (joints > SEEN).float()
    return (joints * seen).sum(1).clamp(min=0) / seen.sum(1).clamp(min=1)


def decode_heatmaps(heatmaps: Tensor, regions: Tensor) -> Tensor:
    """The cell of each largest value, a quarter of a cell towards its larger neighbour.

    Args:
        heatmaps: (P, K, H, W).
        regions: (P, 4).

    Returns:
        (P, K, 3) x and y in pixels, and the value.
    """
    height, width = heatmaps.shape[2:]
    score, index = heatmaps.flatten(2).max(-1)
    x, y = index % width, index // width
    offset = torch.stack([_slope(heatmaps, x, y, 1, 0), _slope(heatmaps, x, y, 0, 1)], -1)
    cells = torch.stack([x, y], -1) + 0.5 + 0.25 * offset
    size = (regions[:, 2:] - regions[:, :2]).clamp(min=1)
    points = regions[:, None, :2] + cells / cells.new_tensor([width, height]) * size[:, None]
    return torch.cat([points, score[..., None]], -1)


def _slope(heatmaps: Tensor, x: Tensor, y: Tensor, dx: int, dy: int) -> Tensor:
    """Sign (P, K) of the difference of both neighbours of cells; 0 at the border, where there is one alone."""
    height, width = heatmaps.shape[2:]
    within = (x >= dx) & (x < width - dx) & (y >= dy) & (y < height - dy)

    def value(sign: int) -> Tensor:
        column, row = (x + sign * dx).clamp(0, width - 1), (y + sign * dy).clamp(0, height - 1)
        return heatmaps.flatten(2).gather(-1, (row * width + column)[..., None])[..., 0]

    return torch.sign(value(1) - value(-1)) * within
