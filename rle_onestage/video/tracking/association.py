"""Which detection is which track: similarity of uncertain poses, and assignments."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def pose_similarity(
    tracked: np.ndarray,
    tracked_variance: np.ndarray,
    measured: np.ndarray,
    variance: np.ndarray,
    area: np.ndarray,
    tolerance: np.ndarray,
) -> np.ndarray:
    """Expected OKS of each detection with each track, 1 for a detection exactly where a well-known track is expected.

    With the errors of both Gaussian and ``c2 = (2 sigma_k)^2 area`` COCO's tolerance, a joint's expected OKS at the
    distance d is, for each coordinate, ``sqrt(c2 / (c2 + p + r)) exp(-d^2 / (2 (c2 + p + r)))`` (p, r: variances of
    track and detection). It is summed over joints and divided by what the detection would have with a track without
    error; so joints that the network is sure of count most, and a track that was not seen for long claims little.

    Args:
        tracked: (T, K, 2) pixels.
        tracked_variance: (T, K, 2) square pixels.
        measured: (N, K, 2) pixels.
        variance: (N, K, 2) square pixels, infinite where there is no measurement.
        area: (N,) of the people, square pixels.
        tolerance: (K,) twice COCO's sigma.

    Returns:
        (T, N) in [0, 1].
    """
    if not len(tracked) or not len(measured):
        return np.zeros((len(tracked), len(measured)))
    c2 = (np.square(tolerance)[None, :] * area[:, None])[..., None]  # (N, K, 1)
    exponent, product = np.zeros(()), np.ones(())
    for axis in (0, 1):
        total = tracked_variance[:, None, :, axis] + (variance[..., axis] + c2[..., 0])[None]  # (T, N, K)
        exponent = exponent + np.square(tracked[:, None, :, axis] - measured[None, :, :, axis]) / total
        product = product * total
    there = np.isfinite(variance).all(-1)[None]
    value = np.where(there, c2[..., 0][None] / np.sqrt(product) * np.exp(-0.5 * exponent), 0.0).sum(-1)
    best = (c2 / np.sqrt((c2 + variance).prod(-1, keepdims=True))).sum((1, 2))
    return value / np.maximum(best, 1e-12)


def assign(similarity: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of the assignment with the largest sum of similarities, among allowed ones.

    Args:
        similarity: (T, N).
        allowed: (T, N) bool.

    Returns:
        two int arrays of the same length: rows and columns.
    """
    if not allowed.any():
        return np.zeros(0, int), np.zeros(0, int)
    rows, columns = linear_sum_assignment(np.where(allowed, similarity, 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
