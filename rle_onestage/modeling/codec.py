"""The one parametrisation of boxes, joints and scales: encode beside decode. All in float32."""

import math

import torch
from detectron2.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from .density import DENSITY_REGISTRY


def decode_boxes(distances: Tensor, xy: Tensor, stride: Tensor) -> Tensor:
    """Boxes (..., 4) in pixels from left, top, right, bottom distances (..., 4) in strides at ``xy`` (..., 2)."""
    distances = distances.float() * stride[..., None]
    return torch.cat([xy - distances[..., :2], xy + distances[..., 2:]], -1)


def encode_boxes(boxes: Tensor, xy: Tensor, stride: Tensor) -> Tensor:
    """Inverse of :func:`decode_boxes`; negative distances where ``xy`` is outside the box."""
    return torch.cat([xy - boxes[..., :2], boxes[..., 2:] - xy], -1) / stride[..., None]


def decode_joints(offset: Tensor, xy: Tensor, stride: Tensor) -> Tensor:
    """Joints (P, K, 2) in pixels: ``location + stride * offset``.

    Args:
        offset: (P, K, 2) in strides.
        xy: (P, 2) or (P, K, 2) in pixels.
        stride: (P,) in pixels.
    """
    origin = xy if xy.dim() == offset.dim() else xy[:, None]
    return origin + offset.float() * stride[:, None, None]


def encode_joints(joints: Tensor, xy: Tensor, stride: Tensor) -> Tensor:
    """Inverse of :func:`decode_joints`."""
    origin = xy if xy.dim() == joints.dim() else xy[:, None]
    return (joints - origin) / stride[:, None, None]


class ScaleCodec:
    """Scale in pixels from the network's raw number.

    Args:
        form: "softplus": ``stride * (floor + softplus(raw + c))``; "sigmoid": ``stride * (floor + sigmoid(raw +
            c))``, the paper's, below one stride; "box": the first with the person's size, the square root of its
            predicted box's area, over 16 in place of the stride.
        floor: smallest scale in strides, which bounds the likelihood.
        init: scale in strides where the raw number is 0; ``c`` follows from it.
        per: "coordinate", or "joint": one scale for all coordinates of a joint, from the mean of its raw numbers, so
            that weights fit either.
        learned: with False scale is ``init`` units everywhere, as plain regression has it.
    """

    def __init__(self, *, form: str, floor: float, init: float, per: str = "coordinate", learned: bool = True):
        self.form, self.floor, self.per, self.learned = form, floor, per, learned
        start = max(init - floor, 1e-3)
        if form == "sigmoid":
            start = min(start, 0.9)
            self.shift = math.log(start / (1 - start))
        else:
            self.shift = start + math.log(-math.expm1(-start))

    @classmethod
    def from_config(cls, cfg: CfgNode, *, init: float, density: str = "") -> "ScaleCodec":
        """The config's, started at ``init`` strides.

        Args:
            cfg: the whole config.
            init: scale in strides where the raw number is 0.
            density: whose scale it is; "": that of x and y.
        """
        options = cfg.MODEL.RLE_ONESTAGE
        learned = DENSITY_REGISTRY.get(density or options.DENSITY).learns_scale
        scale = options.SCALE
        return cls(form=scale.FORM, floor=scale.FLOOR, per=scale.PER, init=init, learned=learned)

    @classmethod
    def of_depth(cls, cfg: CfgNode, *, init: float) -> "dict[str, ScaleCodec]":
        """That of depth as the keyword argument ``depth`` of a constructor; no argument where joints have no depth.

        Args:
            cfg: the whole config.
            init: scale in sixteenths of the person's size where the raw number is 0.
        """
        depth = cfg.MODEL.RLE_ONESTAGE.DEPTH
        return {"depth": cls.from_config(cfg, init=init, density=depth.DENSITY)} if depth.ENABLED else {}

    def decode(self, raw: Tensor, unit: Tensor) -> Tensor:
        """Scale (P, K, D) in pixels, in D = 2 or 3 coordinates.

        Args:
            raw: (P, K, D) the network's numbers.
            unit: (P,) in pixels, from :meth:`unit`; or (P, D), one for each coordinate.
        """
        raw = (raw.float() if self.learned else torch.zeros_like(raw, dtype=torch.float32)) + self.shift
        if self.per == "joint":
            raw = raw.mean(-1, keepdim=True).expand_as(raw)
        value = torch.sigmoid(raw) if self.form == "sigmoid" else F.softplus(raw)
        return (self.floor + value) * _for_joints(unit)

    def encode(self, scale: Tensor, unit: Tensor) -> Tensor:
        """Inverse of :meth:`decode`, for scales above the floor (that are the same in all coordinates, if one scale
        is for all)."""
        value = scale / _for_joints(unit) - self.floor
        if self.form == "sigmoid":
            return torch.logit(value) - self.shift
        return value + torch.log(-torch.expm1(-value)) - self.shift

    def unit(self, stride: Tensor, boxes: Tensor) -> Tensor:
        """The unit (P,) of scale in pixels at candidates with a stride (P,) and predicted boxes (P, 4)."""
        if self.form != "box":
            return stride
        size = (boxes[:, 2:] - boxes[:, :2]).detach().clamp(min=1).prod(-1).sqrt()
        return size / 16


def _for_joints(unit: Tensor) -> Tensor:
    """Units (P,) or (P, D) that broadcast against (P, K, D)."""
    return unit[:, None] if unit.dim() == 2 else unit[:, None, None]


def decode_in_boxes(offset: Tensor, boxes: Tensor) -> Tensor:
    """Joints (P, K, 2) in pixels from offsets (P, K, 2) from the centres of boxes (P, 4), in their widths and heights.

    Joints may lie outside of their boxes.
    """
    size = box_size(boxes)
    return (boxes[:, None, :2] + boxes[:, None, 2:]) / 2 + offset.float() * size[:, None]


def encode_in_boxes(joints: Tensor, boxes: Tensor) -> Tensor:
    """Inverse of :func:`decode_in_boxes`."""
    return (joints - (boxes[:, None, :2] + boxes[:, None, 2:]) / 2) / box_size(boxes)[:, None]


def box_size(boxes: Tensor) -> Tensor:
    """Width and height (P, 2) of boxes (P, 4) in pixels, at least one: a box without an area is still a place."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
