"""The peers' losses of joints as free functions, from their published code; reductions and weights are the criterion's.

RF-DETR: ``rfdetr`` 1.11.2, ``models/heads/keypoints.py`` (``compute_l1_keypoint_loss``) and ``models/postprocess.py``.
YOLO26: ``ultralytics`` 8.4.190, ``utils/loss.py`` (``RLELoss``, ``PoseLoss26``, ``KeypointLoss``) and
``nn/modules/head.py`` (``Pose26``). Read for what they compute; what follows is our own.
"""

import torch
from torch import Tensor

# Of a joint's likelihood in YOLO26: residuals in scales are held within this.
YOLO26_REACH = 100.0
# Weights of its losses: OKS (`pose`) and likelihood (`rle`).
YOLO26_OKS, YOLO26_RLE = 12.0, 1.0
# By which power the mean trace lowers RF-DETR's score.
TRACE_POWER = 0.2


def rf_detr_loss(residual: Tensor, precision: Tensor, box_area: Tensor) -> Tensor:
    """RF-DETR's loss of joints: L1 and a Gaussian likelihood, both of the residual over the root of the box's area.

    With ``d = residual / sqrt(area)`` it is ``|d_x| + |d_y| + |L^T d|^2 / 2 - a - c`` for the factor ``L = [[exp(a),
    0], [b, exp(c)]]`` of the precision; constants are left out, and so is the area's logarithm. RF-DETR has coordinates
    and area as shares of a square input, which gives the same ``d``.

    Args:
        residual: (n, 2) prediction minus label, in pixels.
        precision: (n, 3) the numbers ``a, b, c``.
        box_area: (n,) of the labelled box, in square pixels.

    Returns:
        (n,).
    """
    d = residual / box_area.clamp(min=1.0).sqrt()[:, None]
    a, b, c = precision.unbind(-1)
    first = torch.exp(a) * d[:, 0] + b * d[:, 1]
    second = torch.exp(c) * d[:, 1]
    return d.abs().sum(-1) + 0.5 * (first.square() + second.square()) - a - c


def rf_detr_score(score: Tensor, log_traces: Tensor, presence: Tensor) -> Tensor:
    """RF-DETR's score: the person's, lowered by the mean trace of the covariances, in (0, 1).

    Args:
        score: (...) the person's.
        log_traces: (..., K) logs of the traces of ``P^-1``.
        presence: (..., K) probabilities, the weights of the mean.

    Returns:
        (...) ``sigmoid(log score - 0.2 log(mean trace))``.
    """
    weight = presence.clamp(min=1e-12).log()
    mean = torch.logsumexp(log_traces + weight, -1) - torch.logsumexp(weight, -1)
    return torch.sigmoid(score.clamp(min=1e-30).log() - TRACE_POWER * mean)


def yolo26_sum(e: Tensor, scale: Tensor, log_g: Tensor) -> Tensor:
    """YOLO26's sum of a joint: over x and y, ``log scale - log G(e) + log(2 scale) + |e|``.

    Args:
        e: (n, 2) residuals in scales.
        scale: (n, 2) in strides.
        log_g: (n,) of the flow at ``e``; it counts for x and for y.

    Returns:
        (n,).
    """
    return (2 * torch.log(scale) + torch.log(scale.new_tensor(2.0)) + e.abs() - log_g[:, None]).sum(-1)


def clamped(values: Tensor, weight: Tensor) -> Tensor:
    """Values (n, K) whose weighted mean is clamped at 0, as YOLO26 clamps its sum of a batch.

    Where the mean is negative, which is normal for a likelihood, nothing is left of it: no gradient either.

    Args:
        values: (n, K).
        weight: (n, K).
    """
    return values * ((values.detach() * weight).sum() > 0)
