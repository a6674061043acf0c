"""Transposed convolutions to heatmaps of joints, and the mean of a heatmap."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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

    def forward(self, features: Tensor) -> Tensor:
        """Places of the joints.

        Args:
            features: (P, C, H, W) pooled.

        Returns:
            (P, 2 K) float32 x and y of each joint from the centre, in widths and heights of the region.
        """
        if not len(features):  # batch norms refuse a batch of nobody; the gradients are 0, as those of the other layers
            nothing = torch.stack([parameter.float().sum() for parameter in self.parameters()]).sum()
            return features.new_zeros(0, 2 * self.num_joints, dtype=torch.float32) + nothing
        maps = self.heatmaps(self.deconvs(features)).float()
        share = maps.flatten(2).softmax(-1).unflatten(-1, maps.shape[2:])
        x, y = ((torch.arange(size, device=maps.device) + 0.5) / size - 0.5 for size in maps.shape[:1:-1])
        return torch.stack([share.sum(2) @ x, share.sum(3) @ y], -1).flatten(1)
