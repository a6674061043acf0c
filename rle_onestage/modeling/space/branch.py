"""What the network says of depth at candidates.

Depth is in pixels of the network's input, as x and y are (:mod:`rle_onestage.data.coco.space` says why), and in units
of the person: the square root of the predicted box's area, for the mean, and a sixteenth of it for the scale. The
millimetres of a pixel follow from the person's size, the length that this root has in the world: about a metre for a
standing person, whatever the image's scale.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codec import ScaleCodec
from ..structures import Depths, Targets

UNIT = 16.0  # of the scale, as in :meth:`~rle_onestage.modeling.codec.ScaleCodec.unit`
_METRE = 1000.0
_FLOOR, _START = 0.01, 0.3  # of the scale of the log of the size


def box_root(boxes: Tensor) -> Tensor:
    """The square root (P,) of the area of boxes (P, 4), at least a pixel, without gradient."""
    return (boxes[:, 2:] - boxes[:, :2]).detach().clamp(min=1).prod(-1).sqrt()


class DepthBranch(nn.Module):
    """Depth and size of a person from its embedding.

    It counts the labels that taught it: weights that nobody taught (of a file without this part) say nothing at
    inference.

    Args:
        embedding: C, width of the embedding.
        num_joints: K.
        scale_codec: the parametrisation of the scale.
    """

    # Tensors whose first axis is that of the joints: neighbouring rows of each.
    JOINT_ROWS = {"joint.weight": 2, "joint.bias": 2, "taught": 1}
    taught: Tensor

    def __init__(self, *, embedding: int, num_joints: int, scale_codec: ScaleCodec):
        super().__init__()
        self.num_joints, self.scale_codec = num_joints, scale_codec
        self.joint = nn.Linear(embedding, num_joints * 2)  # of each: depth, scale
        self.size = nn.Linear(embedding, 2)  # log of the size in metres, its scale
        for layer in (self.joint, self.size):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.register_buffer("taught", torch.zeros(num_joints))  # labels so far, of each joint
        self.has_opinion = False

    def forward(self, embedding: Tensor, boxes: Tensor) -> Depths | None:
        """Of embeddings (P, C) and predicted boxes (P, 4); None at inference without an opinion."""
        if not (self.training or self.has_opinion):
            return None
        root = box_root(boxes)
        raw = self.joint(embedding).view(-1, self.num_joints, 2)
        size, spread = self.size(embedding).unbind(1)
        start = _START - _FLOOR
        return Depths(
            mu=raw[..., 0] * root[:, None],
            scale=self.scale_codec.decode(raw[..., 1:], root / UNIT)[..., 0],
            pixel_size=size + torch.log(_METRE / root),
            pixel_size_scale=_FLOOR + F.softplus(spread + start + math.log(-math.expm1(-start))),
        )

    @torch.no_grad()
    def count(self, targets: Targets) -> None:
        """Add the labels of a batch."""
        if targets.depth is not None:
            self.taught += (targets.depth.isfinite() & targets.labelled).sum((0, 1))

    def settle(self) -> None:
        """See whether there is an opinion, once for many images."""
        self.has_opinion = bool((self.taught > 0).any())


class DepthRefinement(nn.Module):
    """A second look at depth, from what was seen at each joint.

    Args:
        channels: C, of what was seen.
        num_joints: K.
        scale_codec: the parametrisation of the scale.
    """

    JOINT_ROWS = {"output": 1, "bias": 1}

    def __init__(self, *, channels: int, num_joints: int, scale_codec: ScaleCodec):
        super().__init__()
        self.scale_codec = scale_codec
        self.before = nn.Linear(2, channels)
        self.mix = nn.Linear(channels, channels)
        self.output = nn.Parameter(torch.empty(num_joints, channels, 2).normal_(std=0.01))
        self.bias = nn.Parameter(torch.zeros(num_joints, 2))

    def forward(self, seen: Tensor, depths: Depths, boxes: Tensor) -> Depths:
        """New depths; the size stays.

        Args:
            seen: (P, K, C) what the refinement saw at the joints.
            depths: of the pass before.
            boxes: (P, 4) predicted.
        """
        root = box_root(boxes)[:, None]
        mu, scale = depths.mu.detach(), depths.scale.detach()
        before = torch.stack([mu / root, torch.log(scale * UNIT / root)], -1)
        hidden = F.silu(self.mix(seen) + self.before(before))
        out = torch.einsum("pkc,kcd->pkd", hidden, self.output) + self.bias
        return depths._replace(
            mu=mu + out[..., 0] * root / UNIT,
            scale=self.scale_codec.decode(out[..., 1:], root[:, 0] / UNIT)[..., 0],
            pixel_size=depths.pixel_size.detach(),
            pixel_size_scale=depths.pixel_size_scale.detach(),
        )
