"""Suppression of duplicates, for all images of a batch at once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..structures.boxes import box_iou
from ..structures.oks import pairwise_oks

# Of the suppression that chooses candidates. It is exact where at most so many suppressions depend on one another; the
# suppression of people, which follows, always is.
ROUNDS = 8


def best(scores: Tensor, count: int, fill_up: bool = False) -> tuple[Tensor, Tensor]:
    """The highest scores of each image, in order.

    Args:
        scores: (B, R).
        count: how many.
        fill_up: where there are fewer, the last one follows again and again, with a score of -1.

    Returns:
        Scores (B, N) and indices (B, N). N is ``count``; without ``fill_up`` at most R.
    """
    if not fill_up:
        return scores.topk(min(count, scores.shape[1]), 1)
    last = scores.shape[1] - 1
    scores, index = F.pad(scores, (0, count), value=-1.0).topk(count, 1)
    return scores, index.clamp(max=last)


def apart_first(boxes: Tensor, scores: Tensor, threshold: float, count: int) -> Tensor:
    """Indices (B, ``count``) of the best whose boxes are apart; where these are fewer, the best of the others follow.

    Args:
        boxes: (B, N, 4).
        scores: (B, N) from -1 to 1.
        threshold: IoU above which the better box suppresses the other.
        count: how many; at most N.
    """
    kept = suppress(box_overlap(boxes), scores, threshold, ROUNDS)
    return torch.where(kept, scores, scores - 2).topk(count, 1).indices


def suppress(overlap: Tensor, scores: Tensor, threshold: float, rounds: int | None = None) -> Tensor:
    """Greedy suppression as a fixed number of products of matrices, without a decision that depends on the data.

    Repeats "kept unless a kept better one overlaps", which gives what the sequential algorithm gives (Zheng et al.,
    "Cluster-NMS", 2020) once there were as many rounds as suppressions depend on one another: at most N - 1.

    Args:
        overlap: (B, N, N) in [0, 1].
        scores: (B, N), any order; ties go to the lower index.
        threshold: overlaps above it suppress.
        rounds: fewer are not exact where suppressions depend on one another in a longer row; None: N - 1.

    Returns:
        (B, N) bool, whether kept.
    """
    place = torch.arange(scores.shape[1], device=scores.device)
    row, column = scores[:, :, None], scores[:, None, :]
    better = (row < column) | ((row == column) & (place[:, None] > place))  # (B, j, i): i goes before j
    by = (better & (overlap.transpose(1, 2) > threshold)).float()  # i suppresses j
    # The hard sigmoid of -6 n is a half where n, the number of kept ones that suppress, is 0, and else 0: one step of a
    # runtime where relu(1 - n) is two.
    kept, by = torch.full_like(scores, 0.5)[..., None], -12 * by  # (B, N, 1), (B, N, N)
    for _ in range(scores.shape[1] - 1 if rounds is None else rounds):
        kept = F.hardsigmoid(by @ kept)
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
