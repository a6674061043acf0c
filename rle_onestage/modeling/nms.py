"""Suppression of duplicates, for all images of a batch at once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..structures.boxes import box_iou
from ..structures.oks import pairwise_oks


def suppress(overlap: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy suppression as a fixed number of products of matrices, without a decision that depends on the data.

    Repeats "kept unless a kept better one overlaps", which gives what the sequential algorithm gives (Zheng et al.,
    "Cluster-NMS", 2020) once there were as many rounds as suppressions depend on one another: at most N - 1.

    Args:
        overlap: (B, N, N) in [0, 1].
        scores: (B, N), any order; ties go to the lower index.
        threshold: overlaps above it suppress.

    Returns:
        (B, N) bool, whether kept.
    """
    place = torch.arange(scores.shape[1], device=scores.device)
    row, column = scores[:, :, None], scores[:, None, :]
    better = (row < column) | ((row == column) & (place[:, None] > place))  # (B, j, i): i goes before j
    by = (better & (overlap.transpose(1, 2) > threshold)).float()  # i suppresses j
    kept = torch.ones_like(scores)[..., None]  # (B, N, 1) of 0 and 1
    for _ in range(scores.shape[1] - 1):
        kept = torch.relu(1 - by @ kept)
    return kept[..., 0] > 0


def box_overlap(boxes: Tensor) -> Tensor:
    """IoU (B, N, N) of boxes (B, N, 4)."""
    return box_iou(boxes[:, :, None], boxes[:, None])


def pose_overlap(joints: Tensor, area: Tensor, oks_sigmas: Tensor) -> Tensor:
    """OKS (B, N, N) of poses (B, N, K, 2), on the area (B, N) of the row or the column, whichever is smaller."""
    everything = torch.ones(joints.shape[:-1], dtype=torch.bool, device=joints.device)
    oks = pairwise_oks(joints, joints, everything, area, oks_sigmas)
    return torch.minimum(oks, oks.transpose(1, 2))


def peaks(heat: Tensor) -> Tensor:
    """(B, 1, H, W) bool, whether a cell is the maximum of its 3 x 3 neighbourhood."""
    return F.max_pool2d(heat, 3, 1, 1) == heat
