"""Reading feature maps at points. Free functions."""

from typing import NamedTuple

import torch
from torch import Tensor


class CellGrid(NamedTuple):
    """Where a map's cells lie, for both axes at once: columns first, as points have x first."""

    area: int  # H W; a tensor while a graph is traced
    last: Tensor  # (2, 1) float32, the last column and the last row
    pitch: Tensor  # (2, 1) from one column to the next and from one row to the next, in cells

    @classmethod
    def of(cls, feature: Tensor) -> "CellGrid":
        """Of a map (B, C, H, W)."""
        height, width = feature.shape[2:]
        # Sizes are tensors while a graph is traced.
        sides = torch.cat([torch.full((1, 1), side, device=feature.device) for side in (width, height)]).float()
        return cls(height * width, sides - 1, torch.cat([torch.ones_like(sides[:1]), sides[:1]]))

    def corners(self, points: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """The two columns and the two rows whose centres are about each point, and their weights.

        Args:
            points: (..., 2, N) in pixels of the input; those outside take the border's cells.
            stride: of the map, in pixels.

        Returns:
            Columns and rows (..., 2, 2 N) and weights (..., 2, 2 N): those of the lower cells, then those of the upper
            ones. A row is given by its first cell. They are whole numbers in float32, because runtimes multiply these
            faster than int64. They are exact for maps of up to 2 ** 24 cells.
        """
        places = torch.minimum((points / stride - 0.5).clamp(min=0), self.last)
        low = places.floor()
        upper = places - low
        return torch.cat([low, places.ceil()], -1) * self.pitch, torch.cat([1 - upper, upper], -1)


class FlatMap(NamedTuple):
    """A feature map with a row for each cell, made once for all that is read from it."""

    cells: Tensor  # (B H W, C)
    grid: CellGrid

    @classmethod
    def of(cls, feature: Tensor, grid: CellGrid | None = None) -> "FlatMap":
        """Of a map (B, C, H, W), and its grid if it is there already."""
        # As a matrix: OpenVINO copies a map of four dimensions twice.
        return cls(feature.flatten(2).transpose(1, 2).reshape(-1, feature.shape[1]), grid or CellGrid.of(feature))


class JointMaps(NamedTuple):
    """A map of each joint, made once for all that is read from them."""

    values: Tensor  # (B K H W,)
    grid: CellGrid

    @classmethod
    def of(cls, heat: Tensor, grid: CellGrid | None = None) -> "JointMaps":
        """Of maps (B, K, H, W), and their grid if it is there already."""
        return cls(heat.flatten(), grid or CellGrid.of(heat))


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
    cells, weights = feature.grid.corners(points[..., None], stride)  # (P, K, 2, 2)
    column, row = cells.long().split(1, -2)
    across, down = weights.split(1, -2)  # (P, K, 1, 2)
    row = row + (image * feature.grid.area)[:, None, None, None]
    index, weight = row.transpose(-1, -2) + column, down.transpose(-1, -2) * across
    # One gather for the four: the gradient of each is a whole map.
    four = feature.cells[index.flatten(-2)]  # (P, K, 4, C)
    return (weight.flatten(-2)[..., None, :].to(four.dtype) @ four).squeeze(-2)


def sample_own_channel(
    heat: JointMaps, image: Tensor, points: Tensor, steps: Tensor, stride: int, *, by_columns: bool = False
) -> Tensor:
    """Each joint's own map at a square grid about a point, bilinear between the centres of cells.

    Args:
        heat: of K joints.
        image: (P,) int64, of each candidate.
        points: (P, K, 2) in pixels of the input.
        steps: (P, K, N) from a point to the columns and to the rows of its grid, in pixels.
        stride: of the map, in pixels.
        by_columns: the result has the columns before the rows. A transposition of it is slow on several threads of ONNX
            Runtime.

    Returns:
        (P, K, N, N), rows before columns; ``by_columns`` the other way round.
    """
    cells, weights = heat.grid.corners(points[..., None] + steps[..., None, :], stride)  # (P, K, 2, 2 N)
    joints = points.shape[1]
    plane = (image * joints)[:, None] + torch.arange(joints, device=image.device)  # (P, K)
    # The plane is added to the rows, which is less work than to all cells.
    column, row = cells.long().split(1, -2)
    row = row + (plane * heat.grid.area)[..., None, None]
    across, down = weights.split(1, -2)  # (P, K, 1, 2 N)
    (outer, along), (inner, weight) = ((row, down), (column, across))[:: -1 if by_columns else 1]
    seen = heat.values[outer.transpose(-1, -2) + inner] * weight
    lower, upper = seen.chunk(2, -1)
    lower, upper = ((lower + upper) * along.transpose(-1, -2)).chunk(2, -2)
    return lower + upper
