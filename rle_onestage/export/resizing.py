"""The resize of the test images as products of matrices, so that every runtime has it.

An area mean as OpenCV has it and bilinear growth are sums over few neighbouring pixels of a row or column. A band of
output rows is one small matrix times the few input rows that it is made of; all bands are one batched product. Runtimes
have antialiased resizes of their own, but no two of them give the same pixels, and none the predictor's.

All places, weights and sums are whole numbers that float32 holds. What is rounded is rounded by single operations. So
every runtime gets the same grey levels, whatever the order of its sums: one grey level less can move a joint by pixels.
With sums of fractions one value in 100,000, a mean near a half, was off by a level, which moved 0.5 % of the joints by
more than 0.05 px, up to 3 px. OpenCV's own growth is in fixed point, which a graph cannot follow.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.transforms.model_input import LIFT

# Rows of one band: fewer have more bands, more have wider matrices of mostly zeros.
BAND = 8
# Sums over rows are parted into multiples of this and the rest, so that sums of either over columns are exact too: they
# are below 2^24 (times this) for images of 60 megapixels and sides of 30,000 pixels.
_PART = 2.0**10


class Axis(NamedTuple):
    """How one axis of an image is resized."""

    given: Tensor  # () int64, pixels of the image
    wanted: Tensor  # () int64, pixels after the resize
    blocks: Any  # int, or what stands for it in a graph: bands of the canvas, whose end is beyond ``wanted``
    taps: Any  # the same: pixels of the image that a band looks at


def taps_of_band(given: Tensor, wanted: Tensor) -> Tensor:
    """Pixels () that a band of ``BAND`` rows of the resized image may be made of."""
    return (BAND * given + wanted - 1) // wanted + 2


def band_weights(axis: Axis, grows: Tensor) -> tuple[Tensor, Tensor]:
    """What each band is made of.

    Args:
        axis: with ``blocks`` N and ``taps`` T.
        grows: () bool, bilinear; else the mean of what a pixel covers.

    Returns:
        Indices (N, T) int64 of the image's rows, and weights (N, BAND, T), 0 for rows beyond the resized image.
        They are whole numbers, whose sum is 2 ``wanted`` where it grows, else ``given``.
    """
    given, wanted = axis.given, axis.wanted
    row = torch.arange(axis.blocks, device=given.device)[:, None] * BAND + torch.arange(BAND, device=given.device)
    # Twice the place of a row's centre in the image, less that of the first pixel's, in units of 1 / wanted.
    centre = torch.minimum(((2 * row + 1) * given - wanted).clamp(min=0), 2 * wanted * (given - 1))
    first = torch.where(grows, centre[:, 0] // (2 * wanted), row[:, 0] * given // wanted)  # (N,)
    pixel = first[:, None] + torch.arange(axis.taps, device=given.device)  # (N, T)
    begin, edge = (row * given)[..., None], (pixel * wanted)[:, None]  # (N, BAND, 1), (N, 1, T)
    covered = (torch.minimum(begin + given, edge + wanted) - torch.maximum(begin, edge)).clamp(min=0)
    near = (2 * wanted - (centre[..., None] - 2 * edge).abs()).clamp(min=0)
    inside = (row < wanted)[..., None] & (pixel < given)[:, None]
    return torch.minimum(pixel, given - 1), (torch.where(grows, near, covered) * inside).float()


def resize_to_canvas(images: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Images in the upper left corner of a canvas, resized as the predictor does it, to whole grey levels.

    Args:
        images: (B, H, W, 3) uint8.
        rows: of the images.
        columns: of the images.

    Returns:
        (B, 3, BAND ``rows.blocks``, BAND ``columns.blocks``) float32, 0 beyond the images.
    """
    grows = rows.wanted * columns.wanted >= rows.given * columns.given
    batch, width = images.shape[0], images.shape[2]
    index, weight = band_weights(rows, grows)
    taken = images.flatten(2).index_select(1, index.flatten())  # (B, N T, W 3)
    taken = taken.reshape(batch, rows.blocks, rows.taps, width * 3).float()
    made = (weight @ taken).reshape(batch, rows.blocks * BAND, width, 3)
    across = made.permute(0, 2, 3, 1).reshape(batch, width, 3 * rows.blocks * BAND)
    index, weight = band_weights(columns, grows)
    taken = across.index_select(1, index.flatten()).reshape(batch, columns.blocks, columns.taps, 3 * rows.blocks * BAND)
    large = torch.round(taken / _PART) * _PART
    made = weight @ large + weight @ (taken - large)
    made = made.reshape(batch, columns.blocks * BAND, 3, rows.blocks * BAND).permute(0, 2, 3, 1)
    count = torch.where(grows, 4 * rows.wanted * columns.wanted, rows.given * columns.given).float()
    halves = (rows.given == 2 * rows.wanted) & (columns.given == 2 * columns.wanted)
    # Halves go up where an image grows, and in OpenCV's mean of 2 x 2 pixels; in other means to the even neighbour.
    raised = LIFT * count * (halves | grows)
    # By a product: runtimes make products of quotients. What is raised is added before: they fuse a product and a sum.
    # (B, 3, height, width)
    return torch.round((made + raised) * (1 / count))
