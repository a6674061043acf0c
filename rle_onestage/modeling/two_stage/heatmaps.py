"""Heatmaps of joints: the layers to them, how labels look in them, and their means."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Standard deviation of the painted Gaussians, in cells of the heatmap: the paper's at 64 x 48.
SPREAD = 2.0


def transposed_convs(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Convolutions that each double height and width, with batch norm and ReLU, as SimplePose has them.

    Args:
        channels: of the features.
        widths: channels of each convolution.
    """
    sizes = [channels, *widths]
    return nn.Sequential(*(_doubling(inputs, outputs) for inputs, outputs in zip(sizes, sizes[1:])))


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    deconv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(deconv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _in_cells(points: Tensor, regions: Tensor, height: int, width: int) -> Tensor:
    """Points (P, K, 2) in pixels to cells of the heatmaps: whole numbers are their centres."""
    size = (regions[:, 2:] - regions[:, :2]).clamp(min=1)
    return (points - regions[:, None, :2]) / size[:, None] * points.new_tensor([width, height]) - 0.5


def paint(joints: Tensor, regions: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Heatmaps of true joints, and whether any of each can be seen.

    Args:
        joints: (P, K, 2) in pixels.
        regions: (P, 4).
        height: of the heatmaps.
        width: of the heatmaps.

    Returns:
        (P, K, height, width) Gaussians of height 1 about the nearest cells, and (P, K) bool.
    """
    cells = _in_cells(joints, regions, height, width).round()
    x = torch.arange(width, device=joints.device) - cells[..., :1]  # (P, K, width)
    y = torch.arange(height, device=joints.device) - cells[..., 1:]
    falloff = [torch.exp(-distance.square() / (2 * SPREAD**2)) for distance in (y, x)]
    limit = cells.new_tensor([width, height])
    inside = ((cells >= -3 * SPREAD) & (cells < limit + 3 * SPREAD)).all(-1)
    return falloff[0][..., :, None] * falloff[1][..., None, :], inside


class SoftArgmax(nn.Module):
    """Joints as the means of heatmaps (Sun et al., "Integral human pose regression", ECCV 2018).

    Args:
        channels: of the pooled features.
        deconvs: channels of the transposed convolutions.
        num_joints: K.
    """

    def __init__(self, *, channels: int, deconvs: Sequence[int], num_joints: int):
        super().__init__()
        self.num_joints = num_joints
        self.deconvs = transposed_convs(channels, deconvs)
        self.heatmaps = nn.Conv2d(deconvs[-1] if deconvs else channels, num_joints, 1)
        nn.init.normal_(self.heatmaps.weight, std=0.001)  # every joint begins in the middle
        if self.heatmaps.bias is not None:
            nn.init.zeros_(self.heatmaps.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the joints, and the heatmaps that they are the means of.

        Args:
            features: (P, C, H, W) pooled.

        Returns:
            (P, 2 K) float32 x and y of each joint from the centre, in widths and heights of the region; and the
            logits (P, K, H', W') of the heatmaps.
        """
        if not len(features):  # batch norms refuse a batch of nobody; the gradients are 0, as those of the other layers
            nothing = torch.stack([parameter.float().sum() for parameter in self.parameters()]).sum()
            places = features.new_zeros(0, 2 * self.num_joints, dtype=torch.float32) + nothing
            return places, places.new_zeros(0, self.num_joints, 1, 1)
        maps = self.heatmaps(self.deconvs(features)).float()
        share = maps.flatten(2).softmax(-1).unflatten(-1, maps.shape[2:])
        x, y = ((torch.arange(size, device=maps.device) + 0.5) / size - 0.5 for size in maps.shape[:1:-1])
        return torch.stack([share.sum(2) @ x, share.sum(3) @ y], -1).flatten(1), maps
