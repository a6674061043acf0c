"""The dense convolutions, and the projection of poses at candidates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..utils.registry import NamedRegistry
from .backbone.timm_fpn import conv_block
from .codec import ScaleCodec, decode_boxes, decode_joints
from .locations import Locations
from .space.branch import DepthBranch
from .structures import CandidatePredictions, Candidates, DenseOutputs, Poses
from .visibility import VisibilityBranch


def _start_bias(layer: nn.Conv2d | nn.Linear, value: float, rows: int | None = None) -> None:
    """Set the bias of a layer, or its first rows."""
    if layer.bias is not None:
        nn.init.constant_(layer.bias[:rows], value)


# A config names one as ``MODEL.RLE_ONESTAGE.HEAD.NAME``.
HEAD_REGISTRY = NamedRegistry("HEAD", "MODEL.RLE_ONESTAGE.HEAD.NAME")


@HEAD_REGISTRY.register()
class PoseHead(nn.Module):
    """Score, box, quality and an embedding at every location; joints, scales, presence and visibility only where asked.

    Args:
        in_channels: of every feature map.
        num_levels: number of feature maps; each has its own scale of offsets.
        num_joints: K.
        channels: of the two towers.
        num_convs: of each tower.
        conv: "full" or "separable", see :func:`~.backbone.timm_fpn.conv_block`.
        norm: "GN" or "BN".
        embedding: C, width of the embedding.
        prior_prob: probability of a person at a location before training.
        quality: whether there is a quality branch.
        visibility: whether hidden joints are told from visible ones.
        scale_codec: the parametrisation of the scale.
        depth: the parametrisation of the scale of depth; None: joints have none.
    """

    # Tensors whose first axis is that of the joints: neighbouring rows of each. Checkpoints are mapped by it.
    JOINT_ROWS = {
        "offset.weight": 2, "offset.bias": 2, "scale.weight": 2, "scale.bias": 2, "presence.weight": 1,
        "presence.bias": 1,
    }  # fmt: skip

    def __init__(
        self,
        *,
        in_channels: int,
        num_levels: int,
        num_joints: int,
        channels: int,
        num_convs: int,
        conv: str,
        norm: str,
        embedding: int,
        prior_prob: float,
        quality: bool,
        visibility: bool,
        scale_codec: ScaleCodec,
        depth: ScaleCodec | None = None,
    ):
        super().__init__()
        self.num_joints, self.has_quality, self.scale_codec = num_joints, quality, scale_codec

        def tower() -> nn.Sequential:
            widths = [in_channels] + [channels] * num_convs
            return nn.Sequential(*(conv_block(a, b, kind=conv, norm=norm) for a, b in zip(widths, widths[1:])))

        self.score_tower, self.pose_tower = tower(), tower()
        width = channels if num_convs else in_channels
        self.score = nn.Conv2d(width, 1, 1)
        self.box = nn.Conv2d(width, 4 + int(quality), 1)
        self.embed = nn.Conv2d(width, embedding, 1)
        self.offset = nn.Linear(embedding, num_joints * 2)
        self.scale = nn.Linear(embedding, num_joints * 2)
        self.presence = nn.Linear(embedding, num_joints)
        self.offset_scale = nn.Parameter(torch.ones(num_levels))
        for layer in (self.score, self.box, self.offset, self.scale, self.presence):
            nn.init.normal_(layer.weight, std=0.01)
            _start_bias(layer, 0.0)
        _start_bias(self.score, -math.log((1 - prior_prob) / prior_prob))
        _start_bias(self.box, 2.0, rows=4)
        self.visibility = VisibilityBranch(embedding=embedding, num_joints=num_joints) if visibility else None
        self.depth = DepthBranch(embedding=embedding, num_joints=num_joints, scale_codec=depth) if depth else None

    @classmethod
    def from_config(cls, cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of the constructor from the config.

        Args:
            cfg: the whole config.
            shapes: of the backbone's maps by name.
        """
        options, head = cfg.MODEL.RLE_ONESTAGE, cfg.MODEL.RLE_ONESTAGE.HEAD
        return {
            "in_channels": shapes[options.IN_FEATURES[0]].channels,
            "num_levels": len(options.IN_FEATURES),
            "num_joints": options.NUM_KEYPOINTS,
            "channels": head.CHANNELS,
            "num_convs": head.NUM_CONVS,
            "conv": head.CONV,
            "norm": head.NORM,
            "embedding": head.EMBEDDING,
            "prior_prob": head.PRIOR_PROB,
            "quality": head.QUALITY,
            "visibility": head.VISIBILITY,
            "scale_codec": ScaleCodec.from_config(cfg, init=options.SCALE.INIT),
            **ScaleCodec.of_depth(cfg, init=options.SCALE.INIT),
        }

    def dense(self, features: Sequence[Tensor]) -> DenseOutputs:
        """Feature maps (B, C, H, W) of the levels in order of stride -> (B, R, ...) outputs."""
        score, box, tower = [], [], []
        for feature in features:
            pose = self.pose_tower(feature)
            score.append(self.score(self.score_tower(feature)).flatten(2))
            box.append(self.box(pose).flatten(2))
            tower.append(pose.flatten(2))
        sides = torch.cat(box, 2).float().transpose(1, 2)  # (B, R, 4 or 5)
        return DenseOutputs(
            score=torch.cat(score, 2)[:, 0].float(),
            quality=sides[..., 4] if self.has_quality else sides.new_zeros(0),
            box=F.softplus(sides[..., :4]),
            pose=torch.cat(tower, 2).transpose(1, 2),
        )

    def project(self, dense: DenseOutputs, indices: Candidates, locations: Locations) -> CandidatePredictions:
        """What the network says at P candidates, in float32.

        Args:
            dense: from :meth:`dense`.
            indices: of the candidates.
            locations: all R of them.
        """
        image, location = indices
        xy, stride = locations.xy[location], locations.stride[location]
        # Where the candidates are alone: at every location it would be the largest layer of the head.
        weight = self.embed.weight.permute(0, 2, 3, 1).flatten(1)  # so that its gradient has the strides of the weight
        embedding = F.silu(F.linear(dense.pose[image, location], weight, self.embed.bias))
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.float()
            boxes = decode_boxes(dense.box[image, location], xy, stride)
            of_level = self.offset_scale[locations.level[location]]
            offset = self.offset(embedding).view(-1, self.num_joints, 2) * of_level[:, None, None]
            scale = self.scale_codec.decode(
                self.scale(embedding).view(-1, self.num_joints, 2), self.scale_codec.unit(stride, boxes)
            )
            poses = Poses(
                mu=decode_joints(offset, xy, stride),
                scale=scale,
                presence=self.presence(embedding),
                visibility=None if self.visibility is None else self.visibility(embedding),
                depth=None if self.depth is None else self.depth(embedding, boxes),
            )
        return CandidatePredictions(
            indices=indices,
            boxes=boxes,
            score=dense.score[image, location],
            quality=dense.quality[image, location] if dense.quality.numel() else None,
            embedding=embedding,
            poses=poses,
        )
