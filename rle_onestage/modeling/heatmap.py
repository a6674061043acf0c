"""Auxiliary heatmaps: they teach the refinement's map what each joint looks like.

One label per joint of a person says little to a convolution; a heatmap says something at every cell. The loss is for
training only; the maps are made at test time too, because the refinement reads a window of them at each joint. People
and their joints are never grouped from them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .regions import PartialLabels, background_weight
from .structures import Targets

_REACH = 2  # cells on each side of a joint that are painted
_SPREAD = 0.75  # standard deviation in cells


def paint_heatmaps(targets: Targets, height: int, width: int, stride: int) -> tuple[Tensor, Tensor]:
    """Gaussians at the labelled joints, the larger where they overlap.

    Args:
        targets: of the batch.
        height: of the map, in cells.
        width: of the map, in cells.
        stride: of the map, in pixels.

    Returns:
        Heat (B, K, height, width) in [0, 1], and how much the people count whose heat it is: the largest, 0 without
        heat.
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
    counts = targets.weight[image, person][:, None].expand_as(value)
    heat = cell.new_zeros(2, batch * joints * height * width)
    heat.scatter_reduce_(1, index[inside].expand(2, -1), torch.stack([value[inside], counts[inside]]), "amax")
    return tuple(heat.view(2, batch, joints, height, width))


def heatmap_weight(
    targets: Targets, counts: Tensor, probability: Tensor, stride: int, partial: PartialLabels
) -> Tensor:
    """How much each cell teaches.

    0 where a joint may be without label: in crowds, and in the boxes of people of whom it is not known whether they
    have the joint. Places away from known people count as :func:`~.regions.background_weight` says, for each joint.
    Cells with heat of a label count as much as the person whose it is.

    Args:
        targets: of the batch.
        counts: (B, K, H, W) from :func:`paint_heatmaps`.
        probability: (B, K, H, W) that the present model gives each joint.
        stride: of the map, in pixels.
        partial: what counts away from known people.

    Returns:
        (B, K, H, W).
    """
    _, joints, height, width = counts.shape
    x = (torch.arange(width, device=counts.device) + 0.5) * stride
    y = (torch.arange(height, device=counts.device) + 0.5) * stride
    silent = targets.valid[..., None] & ~targets.known & ~targets.labelled  # (B, M, K)
    crowds = silent.new_ones(*targets.ignore.shape[:2], joints)
    boxes = torch.cat([targets.boxes, targets.ignore], 1)
    open_ = torch.cat([silent, crowds], 1).float()  # (B, M + G, K)
    in_x = ((x > boxes[..., None, 0]) & (x < boxes[..., None, 2])).float()  # (B, M + G, W)
    in_y = ((y > boxes[..., None, 1]) & (y < boxes[..., None, 3])).float()
    covered = torch.einsum("bgk,bgy,bgx->bkyx", open_, in_y, in_x) > 0
    xy = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    place = background_weight(targets, xy, probability.flatten(2), partial).view_as(counts)
    return torch.where(counts > 0, counts, torch.where(covered, 0.0, place))


def heatmap_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Quality focal loss (Li et al., "Generalized focal loss", NeurIPS 2020, equation 1, beta 2), summed.

    Args:
        logits: (B, K, H, W).
        heat: (B, K, H, W).
        weight: (B, K, H, W), or with a dimension of 1 for K.
    """
    modulation = (torch.sigmoid(logits) - heat).square() * weight
    return (modulation * F.binary_cross_entropy_with_logits(logits, heat, reduction="none")).sum()
