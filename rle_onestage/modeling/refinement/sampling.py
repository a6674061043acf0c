"""Reading feature maps at points. Free functions."""

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


def sample_bilinear(feature: Tensor, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Features at points, bilinear between the centres of cells.

    Args:
        feature: (B, C, H, W) map.
        image: (P,) int64, of each candidate.
        points: (P, K, 2) in pixels of the input.
        stride: of the map, in pixels.

    Returns:
        (P, K, C).
    """
    _, channels, height, width = feature.shape
    table = feature.permute(0, 2, 3, 1).reshape(-1, channels)  # (B H W, C)
    index, weight = bilinear(points, stride, height, width)
    # One gather for the four: the gradient of each is a whole map.
    cells = table[index + (image * (height * width))[:, None, None]]  # (P, K, 4, C)
    return (cells * weight[..., None].to(cells.dtype)).sum(-2)


def sample_own_channel(heat: Tensor, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Each joint's own map at points, bilinear between the centres of cells.

    Args:
        heat: (B, K, H, W) maps.
        image: (P,) int64, of each candidate.
        points: (P, K, W, 2) in pixels of the input.
        stride: of the map, in pixels.

    Returns:
        (P, K, W).
    """
    _, joints, height, width = heat.shape
    plane = image[:, None] * joints + torch.arange(joints, device=heat.device)  # (P, K)
    index, weight = bilinear(points, stride, height, width)
    return (heat.reshape(-1)[index + (plane * (height * width))[..., None, None]] * weight).sum(-1)
