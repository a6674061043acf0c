"""Scale matrices and precisions of 2 x 2 as tensors: likelihood, covariance, expected OKS.

A scale matrix is ``S = diag(scale) R``, ``R = [[1, 0], [c, sqrt(1 - c^2)]]`` the Cholesky factor of a correlation
matrix, its rows of length 1: so ``scale`` are standard deviations where the density has unit variance.

A precision is ``P = L L^T``, ``L = [[exp(a), 0], [b, exp(d)]]``, as RF-DETR's three numbers ``(a, b, d)`` say it.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def standardised(residual: Tensor, scale: Tensor, correlation: Tensor) -> Tensor:
    """``e = S^-1 residual``.

    Args:
        residual: (..., 2) in pixels.
        scale: (..., 2) in pixels.
        correlation: (...) of x and y, inside (-1, 1).

    Returns:
        (..., 2).
    """
    x, y = (residual / scale).unbind(-1)
    return torch.stack([x, (y - correlation * x) / (1 - correlation.square()).sqrt()], -1)


def matrix_nll(residual: Tensor, scale: Tensor, correlation: Tensor, log_q: Callable[[Tensor], Tensor]) -> Tensor:
    """``-log q(e) + log det S`` of labels.

    Args:
        residual: (..., 2) in pixels.
        scale: (..., 2) in pixels.
        correlation: (...) of x and y, inside (-1, 1).
        log_q: the log-density (...) of standardised residuals (..., 2).

    Returns:
        (...) nats, in pixels.
    """
    log_det = torch.log(scale).sum(-1) + 0.5 * torch.log1p(-correlation.square())
    return log_det - log_q(standardised(residual, scale, correlation))


def spread_nodes(scale: Tensor, correlation: Tensor, nodes: Tensor) -> Tensor:
    """``S (e_m - mean)`` at quadrature nodes.

    Args:
        scale: (..., 2) in pixels.
        correlation: (...) of x and y.
        nodes: (Q, 2) about the mean.

    Returns:
        (..., Q, 2) in pixels.
    """
    x, y = nodes.unbind(-1)
    c = correlation[..., None]
    turned = torch.stack([x.expand(*c.shape[:-1], -1), c * x + (1 - c.square()).sqrt() * y], -1)
    return turned * scale[..., None, :]


def expected_oks(
    scale: Tensor, correlation: Tensor, area: Tensor, oks_sigmas: Tensor, nodes: Tensor, weights: Tensor
) -> Tensor:
    """Expected OKS of joints: ``sum_m w_m exp(-|S (e_m - mean)|^2 / (2 k^2 area))``.

    Args:
        scale: (..., K, 2) in pixels.
        correlation: (..., K).
        area: (...) COCO areas, in square pixels.
        oks_sigmas: (K,) COCO's; ``k`` is twice as much.
        nodes: (Q, 2) about the mean.
        weights: (Q,) with the sum 1.

    Returns:
        (..., K) in [0, 1].
    """
    distance2 = spread_nodes(scale, correlation, nodes).square().sum(-1)  # (..., K, Q)
    variance = (2 * oks_sigmas).square() * area[..., None].clamp(min=1e-6)
    return torch.exp(-distance2 / (2 * variance[..., None])) @ weights


def precision_parts(precision: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations (..., 2) and correlation (...) of the covariance ``P^-1`` of (..., 3) numbers.

    ``P^-1 = [[(b^2 + D^2) / (A^2 D^2), -b / (A D^2)], [., 1 / D^2]]`` with ``A = exp(a)``, ``D = exp(d)``.
    """
    a, b, d = precision.unbind(-1)
    length = torch.hypot(b, torch.exp(d))
    std = torch.stack([length * torch.exp(-a - d), torch.exp(-d)], -1)
    return std, -b / length


def log_trace(precision: Tensor) -> Tensor:
    """Log (...) of the trace of ``P^-1`` of (..., 3) numbers."""
    return precision_parts(precision)[0].square().sum(-1).log()
