"""Covariances of joints' errors: from standard deviations and a correlation, and what becomes of them.

A covariance is kept as its standard deviations and its correlation until it is handed out. A resize by ``A = diag(a,
b)`` multiplies the former, so that ``A C A^T`` has them; a mirror changes the sign of the latter.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def covariance_of(sigmas: Tensor, correlation: Tensor) -> Tensor:
    """Covariance of the errors in x and y.

    Args:
        sigmas: (..., 2) standard deviations, in pixels.
        correlation: (...) of the errors in x and y, in (-1, 1).

    Returns:
        (..., 2, 2) in square pixels; the sigmas are the roots of its diagonal, to the last bit of a root that is
        rounded correctly.
    """
    variance = sigmas.square()
    both = (correlation * sigmas[..., 0] * sigmas[..., 1])[..., None]
    return torch.cat([variance[..., :1], both, both, variance[..., 1:]], -1).unflatten(-1, (2, 2))


def correlation_of(covariance: np.ndarray) -> np.ndarray:
    """Correlation of the errors in x and y.

    Args:
        covariance: (..., 2, 2), or NaN where there is none.

    Returns:
        (...) in [-1, 1]; 0 where a variance is 0, NaN where there is no covariance.
    """
    product = np.sqrt(np.maximum(covariance[..., 0, 0] * covariance[..., 1, 1], 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.clip(covariance[..., 0, 1] / product, -1.0, 1.0)
    return np.where(product == 0, 0.0, found)


def mirrored_covariances(covariances: Tensor, flip_index: Sequence[int]) -> Tensor:
    """Covariances of people in a mirror, left for right.

    Args:
        covariances: (..., K, 2, 2).
        flip_index: (K,) which joint is which in a mirror.

    Returns:
        (..., K, 2, 2): ``A C A^T`` with ``A = diag(-1, 1)``.
    """
    return covariances[..., list(flip_index), :, :] * covariances.new_tensor([[1.0, -1.0], [-1.0, 1.0]])


def mahalanobis(z: Tensor, correlation: Tensor) -> Tensor:
    """Mahalanobis distance of standardised errors: how far out a label lies, whatever the direction.

    Args:
        z: (..., 2) errors in standard deviations.
        correlation: (...) of x and y, inside (-1, 1).

    Returns:
        (...), 1 on the ellipse of one standard deviation.
    """
    x, y = z.unbind(-1)
    squared = x.square() - 2 * correlation * x * y + y.square()
    return (squared / (1 - correlation.square()).clamp(min=1e-6)).clamp(min=0).sqrt()


def packed(covariances: np.ndarray) -> np.ndarray:
    """The three numbers of each covariance, as files have them.

    Args:
        covariances: (..., 2, 2).

    Returns:
        (..., 3) xx, xy, yy.
    """
    return np.stack([covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]], -1)


def unpacked(numbers: np.ndarray) -> np.ndarray:
    """The inverse of :func:`packed`.

    Args:
        numbers: (..., 3) xx, xy, yy.

    Returns:
        (..., 2, 2).
    """
    xx, xy, yy = np.moveaxis(numbers, -1, 0)
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def ellipse_axes(covariance: np.ndarray) -> tuple[float, float, float]:
    """The ellipse of one standard deviation.

    Args:
        covariance: (2, 2).

    Returns:
        Half-axes, and the angle of the first one from x towards y in radians; 0 where the ellipse is upright.
    """
    (xx, xy), (_, yy) = covariance.tolist()
    if xy == 0:
        return float(np.sqrt(xx)), float(np.sqrt(yy)), 0.0
    middle, half = (xx + yy) / 2, float(np.hypot((xx - yy) / 2, xy))
    angle = float(np.arctan2(2 * xy, xx - yy)) / 2
    return float(np.sqrt(middle + half)), float(np.sqrt(max(middle - half, 0.0))), angle
