"""Reading feature maps at points. Free functions."""

from typing import NamedTuple

import torch
from torch import Tensor


def bilinear(points: Tensor, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four cells of a flattened map whose centres are about each point, and their weights.

    Args:
        points: (..., 2) in pixels of the input; those outside take the border's.
        stride: of the map, in pixels.
        height: of the map, in cells.
        width: of the map, in cells.

    Returns:
        Indices (..., 4) int64 and weights (..., 4), whose sum is 1.
    """
    x, y = (points / stride - 0.5).clamp(min=0).unbind(-1)
    x, y = x.clamp(max=width - 1), y.clamp(max=height - 1)
    x0, y0 = x.floor(), y.floor()
    x, y = x - x0, y - y0
    x0, y0 = x0.long(), y0.long()
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    index = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], -1)
    return index, torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], -1)


class FlatMap(NamedTuple):
    """A feature map with a row for each cell, made once for all that is read from it."""

    cells: Tensor  # (B H W, C)
    height: int  # H
    width: int  # W

    @classmethod
    def of(cls, feature: Tensor) -> "FlatMap":
        """Of a map (B, C, H, W)."""
        _, channels, height, width = feature.shape
        return cls(feature.permute(0, 2, 3, 1).reshape(-1, channels), height, width)


def sample_bilinear(feature: FlatMap, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Features at points, bilinear between the centres of cells.

    Args:
        feature: of C channels.
        image: (P,) int64, of each candidate.
        points: (P, K, 2) in pixels of the input.
        stride: of the map, in pixels.

    Returns:
        (P, K, C).
    """
    index, weight = bilinear(points, stride, feature.height, feature.width)
    # One gather for the four: the gradient of each is a whole map.
    cells = feature.cells[index + (image * (feature.height * feature.width))[:, None, None]]  # (P, K, 4, C)
    return (cells * weight[..., None].to(cells.dtype)).sum(-2)


def sample_own_channel(heat: FlatMap, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Each joint's own map at points, bilinear between the centres of cells.

    Args:
        heat: of K channels.
        image: (P,) int64, of each candidate.
        points: (P, K, W, 2) in pixels of the input.
        stride: of the map, in pixels.

    Returns:
        (P, K, W).
    """
    index, weight = bilinear(points, stride, heat.height, heat.width)
    return (own_channel(heat, image, index) * weight).sum(-1)


def sample_nearest(heat: FlatMap, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Each joint's own map in the cell of each point; points outside take the border's.

    Args:
        heat: of K channels.
        image: (P,) int64, of each candidate.
        points: (P, K, W, 2) in pixels of the input.
        stride: of the map, in pixels.

    Returns:
        (P, K, W).
    """
    x, y = (points / stride).floor().long().unbind(-1)
    x, y = x.clamp(0, heat.width - 1), y.clamp(0, heat.height - 1)
    return own_channel(heat, image, y * heat.width + x)


def own_channel(heat: FlatMap, image: Tensor, cell: Tensor) -> Tensor:
    """Each joint's own map in cells.

    Args:
        heat: of K channels.
        image: (P,) int64, of each candidate.
        cell: (P, K, ...) int64, numbers of cells in their image.

    Returns:
        (P, K, ...).
    """
    joints, more = heat.cells.shape[1], (1,) * (cell.dim() - 2)
    joint = torch.arange(joints, device=cell.device).view(1, -1, *more)
    row = cell + (image * (heat.height * heat.width)).view(-1, 1, *more)
    return heat.cells.reshape(-1)[row * joints + joint]
