"""Grid centres and strides of the locations of all levels."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError


class Locations(NamedTuple):
    """Every location of every level, level after level, row after row."""

    xy: Tensor  # (R, 2) centres in pixels of the input, origin at the corner of the first pixel
    stride: Tensor  # (R,) pixels
    level: Tensor  # (R,) int64
    shapes: list[tuple[int, int]]  # (height, width) of each level


def make_locations(shapes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device) -> Locations:
    """Locations of feature maps.

    Args:
        shapes: (height, width) of each level.
        strides: pixels between neighbours, for each level.
        device: where the tensors are made.
    """
    xy, stride, level = [], [], []
    for number, ((height, width), step) in enumerate(zip(shapes, strides)):
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * step
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * step
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        xy.append(torch.stack([grid_x.reshape(-1), grid_y.reshape(-1)], 1))
        stride.append(torch.full((height * width,), float(step), device=device))
        level.append(torch.full((height * width,), number, dtype=torch.int64, device=device))
    return Locations(torch.cat(xy), torch.cat(stride), torch.cat(level), [(height, width) for height, width in shapes])


def check_strides(features: Mapping[str, Tensor], declared: Mapping[str, int], images: Tensor) -> None:
    """Refuse maps of other strides than the backbone declares: every joint would lie elsewhere than is meant.

    A cell more or less is a matter of padding.

    Args:
        features: maps (B, C, h, w) by name.
        declared: stride of each map by its name.
        images: (B, 3, H, W) that they are of.

    Raises:
        ConfigError: a map has by far not as many rows or columns as the image has strides.
    """
    for name, found in features.items():
        stride = declared.get(name)
        sides = tuple(zip(images.shape[2:], found.shape[2:]))
        if stride and any(_differ(side / stride, count) for side, count in sides):
            raise ConfigError(
                f"the backbone declares that its map {name} has stride {stride}, but of {_size(images)} pixels it has "
                f"{_size(found)} cells; let its output_shape() say the true stride"
            )


def _differ(expected: float, count: int) -> bool:
    return abs(count - expected) > 1 and not 2 / 3 < count / expected < 3 / 2


def _size(maps: Tensor) -> str:
    return " x ".join(map(str, maps.shape[2:]))
