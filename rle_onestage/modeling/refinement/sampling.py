"""Reading feature maps at points. Free functions."""

from typing import NamedTuple

import torch
from torch import Tensor


class FlatMap(NamedTuple):
    """A feature map with a row for each cell, made once for all that is read from it."""

    cells: Tensor  # (B H W, C)
    height: int  # H
    width: int  # W

    @classmethod
    def of(cls, feature: Tensor) -> "FlatMap":
        """Of a map (B, C, H, W)."""
        _, channels, height, width = feature.shape
        # As a matrix: OpenVINO copies a map of four dimensions twice.
        return cls(feature.flatten(2).transpose(1, 2).reshape(-1, channels), height, width)


class JointMaps(NamedTuple):
    """A map of each joint, made once for all that is read from them."""

    values: Tensor  # (B K H W,)
    height: int  # H
    width: int  # W

    @classmethod
    def of(cls, heat: Tensor) -> "JointMaps":
        """Of maps (B, K, H, W)."""
        return cls(heat.flatten(), heat.shape[2], heat.shape[3])


def corners(places: Tensor, stride: int, length: int) -> tuple[Tensor, Tensor]:
    """The two cells of one axis whose centres are about each place, and their weights.

    Args:
        places: (..., N) in pixels of the input; those outside take the border's cell.
        stride: of the map, in pixels.
        length: of the axis, in cells.

    Returns:
        Cells (..., 2 N) and weights (..., 2 N): those of the lower cells, then those of the upper ones. Cells are whole
        numbers in the type of ``places``: runtimes multiply such numbers faster than int64.
    """
    places = (places / stride - 0.5).clamp(min=0).clamp(max=length - 1)
    low = places.floor()
    upper = places - low
    return torch.cat([low, (low + 1).clamp(max=length - 1)], -1), torch.cat([1 - upper, upper], -1)


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
    column, across = corners(points[..., :1], stride, feature.width)
    row, down = corners(points[..., 1:], stride, feature.height)  # (P, K, 2) each
    row = (row * feature.width).long() + (image * (feature.height * feature.width))[:, None, None]
    index = (row[..., None] + column.long()[..., None, :]).flatten(-2)
    weight = down[..., None] * across[..., None, :]
    # One gather for the four: the gradient of each is a whole map.
    cells = feature.cells[index]  # (P, K, 4, C)
    return (weight.flatten(-2)[..., None, :].to(cells.dtype) @ cells).squeeze(-2)


def sample_own_channel(
    heat: JointMaps, image: Tensor, x: Tensor, y: Tensor, stride: int, *, by_columns: bool = False
) -> Tensor:
    """Each joint's own map at the points of a grid, bilinear between the centres of cells.

    Args:
        heat: of K joints.
        image: (P,) int64, of each candidate.
        x: (P, K, N) of the grid's columns, in pixels of the input.
        y: (P, K, M) of its rows.
        stride: of the map, in pixels.
        by_columns: the result has the columns before the rows. A transposition of it is slow on several threads of ONNX
            Runtime.

    Returns:
        (P, K, M, N); ``by_columns`` (P, K, N, M).
    """
    column, across = corners(x, stride, heat.width)
    row, down = corners(y, stride, heat.height)
    joints = x.shape[1]
    plane = (image * joints)[:, None] + torch.arange(joints, device=image.device)  # (P, K)
    # The plane is added to the rows, which is less work than to all cells.
    row = (row * heat.width).long() + (plane * (heat.height * heat.width))[..., None]
    outer, inner = ((row, down), (column.long(), across))[:: -1 if by_columns else 1]
    seen = heat.values[outer[0][..., None] + inner[0][..., None, :]] * inner[1][..., None, :]
    lower, upper = seen.chunk(2, -1)
    lower, upper = ((lower + upper) * outer[1][..., None]).chunk(2, -2)
    return lower + upper
