"""Auxiliary heatmaps: they teach the refinement's map what each joint looks like.

One label per joint of a person says little to a convolution; a heatmap says something at every cell. The loss is for
training only; the maps are made at test time too, because the refinement reads a window of them at each joint. People
and their joints are never grouped from them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .outputs import Targets

_REACH = 2  # cells on each side of a joint that are painted
_SPREAD = 0.75  # standard deviation in cells


def paint_heatmaps(targets: Targets, height: int, width: int, stride: int) -> tuple[Tensor, Tensor]:
    """Gaussians at the labelled joints, the larger where they overlap.

    Args:
        targets: of the batch. height, width, stride: of the map.

    Returns:
        Heat (B, K, height, width) in [0, 1], and weight (B, 1, height, width): 0 where joints may be without label,
        in crowds and in the boxes of people of whom none is labelled.
    """
    batch, people, joints = targets.labelled.shape
    image, person, joint = targets.labelled.nonzero(as_tuple=True)
    cell = targets.joints[image, person, joint] / stride - 0.5  # (n, 2)
    reach = torch.arange(-_REACH, _REACH + 1, device=cell.device)
    steps = torch.stack(torch.meshgrid(reach, reach, indexing="xy"), -1).reshape(-1, 2)
    near = cell.round().long()[:, None] + steps  # (n, 25, 2)
    value = torch.exp(-0.5 * (near - cell[:, None]).square().sum(-1) / _SPREAD**2)
    inside = (near >= 0).all(-1) & (near[..., 0] < width) & (near[..., 1] < height)
    index = ((image * joints + joint)[:, None] * height + near[..., 1]) * width + near[..., 0]
    heat = cell.new_zeros(batch * joints * height * width)
    heat.scatter_reduce_(0, index[inside], value[inside], "amax")
    return heat.view(batch, joints, height, width), _weight(targets, height, width, stride)


def _weight(targets: Targets, height: int, width: int, stride: int) -> Tensor:
    silent = targets.valid & ~targets.labelled.any(-1)
    boxes = torch.cat([targets.boxes * silent[..., None], targets.ignore], 1) / stride - 0.5  # (B, G, 4) in cells
    x = torch.arange(width, device=boxes.device)
    y = torch.arange(height, device=boxes.device)
    in_x = (x > boxes[..., None, 0]) & (x < boxes[..., None, 2])
    in_y = (y > boxes[..., None, 1]) & (y < boxes[..., None, 3])
    covered = torch.einsum("bgy,bgx->byx", in_y.float(), in_x.float()) > 0
    return (~covered).float()[:, None]


def heatmap_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Quality focal loss (Li et al., "Generalized focal loss", NeurIPS 2020, equation 1, beta 2), summed.

    Args:
        logits: (B, K, H, W). heat: (B, K, H, W). weight: (B, 1, H, W).
    """
    modulation = (torch.sigmoid(logits) - heat).square() * weight
    return (modulation * F.binary_cross_entropy_with_logits(logits, heat, reduction="none")).sum()
