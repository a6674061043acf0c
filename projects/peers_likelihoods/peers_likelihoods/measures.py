"""What an uncertainty is worth on matched people: nats, coverage, rank correlation; as it is and after one factor.

The factor multiplies all sigmas. It is fitted by likelihood on other images than those that it is applied to: the
images are cut in two halves, and each half has the factor of the other.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from rle_onestage.evaluation.calibration import log_likelihood, spearman
from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.evaluation.regions import REPORTED, covered, reported_key
from rle_onestage.modeling.density.presets import log_gaussian
from rle_onestage.structures.error_density import ErrorDensity

from .matrices import matrix_nll

# Of the factor, as powers of e: RF-DETR's published sigmas are some times too large.
REACH = 3.0


class Measured(NamedTuple):
    """One model on one set: people matched at a box IoU of 0.5, and their joints' nats (S, K)."""

    matches: Matches
    nats: np.ndarray
    corrected: Matches
    corrected_nats: np.ndarray
    factors: tuple[float, ...]  # of the two halves


def nats_of(density: ErrorDensity, *, turned: bool) -> Callable[[Matches], np.ndarray]:
    """The likelihood of a model's joints, as a function of matches: (S, K) nats in pixels.

    Args:
        density: of the model's error in units of its sigma.
        turned: whether each joint has a correlation of its own, under a Gaussian; the density does not know it.
    """
    if not turned:
        return lambda matches: -log_likelihood(matches, density)

    def nats(matches: Matches) -> np.ndarray:
        residual, std = torch.from_numpy(matches.joints - matches.predicted), torch.from_numpy(matches.std)
        # Rounded in the file of results, a correlation may be 1.
        correlation = torch.from_numpy(matches.correlation).clamp(-0.9999, 0.9999)
        return matrix_nll(residual, std, correlation, log_gaussian).numpy()

    return nats


def scaled(matches: Matches, factor: float | np.ndarray) -> Matches:
    """Matches whose sigmas are multiplied, by one number or by one of each match (S,)."""
    return matches._replace(std=matches.std * np.reshape(factor, (-1, 1, 1)))


def fit_factor(matches: Matches, nats: Callable[[Matches], np.ndarray]) -> float:
    """The factor of all sigmas under which the labels are most likely; 1 without a labelled joint."""
    labelled = matches.visibility > 0
    if not labelled.any():
        return 1.0

    def mean(log_factor: float) -> float:
        return float(nats(scaled(matches, np.exp(log_factor)))[labelled].mean())

    found = minimize_scalar(mean, bounds=(-REACH, REACH), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def halves(image_id: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which half (S,) bool of the images each match is in: every image is in one, drawn by its place in their order."""
    images, place = np.unique(image_id, return_inverse=True)
    second = np.random.default_rng(seed).permutation(len(images)) % 2 == 1
    return second[place]


def measure(matches: Matches, density: ErrorDensity, *, turned: bool) -> Measured:
    """Nats as they are, and with the factor of the other half of the images.

    Args:
        matches: of a model.
        density: see :func:`nats_of`.
        turned: see :func:`nats_of`.
    """
    nats = nats_of(density, turned=turned)
    second = halves(matches.image_id)
    parts = [Matches(*(field[mask] for field in matches)) for mask in (~second, second)]
    factors = [fit_factor(part, nats) for part in parts]
    corrected = scaled(matches, np.where(second, factors[0], factors[1]))
    return Measured(matches, nats(matches), corrected, nats(corrected), tuple(factors))


def row_of(measured: Measured, density: ErrorDensity) -> "OrderedDict[str, float]":
    """The figures of one model on one set.

    Returns:
        ``joints``; ``nats``, ``coverage_50`` (of coordinates within intervals), ``ellipse_50`` (of joints within
        ellipses) and so on, in percent, and the same with ``corrected_`` before it; ``factor``, the geometric mean of
        the two; ``spearman``, of a joint's sigma and its error, both over the person's size.
    """
    row: OrderedDict[str, float] = OrderedDict(joints=int((measured.matches.visibility > 0).sum()))
    pairs = (("", measured.matches, measured.nats), ("corrected_", measured.corrected, measured.corrected_nats))
    for prefix, matches, nats in pairs:
        labelled = matches.visibility > 0
        row[f"{prefix}nats"] = float(nats[labelled].mean()) if labelled.any() else float("nan")
        for kind, inside in covered(matches, density, REPORTED, ("coverage", "ellipse")).items():
            for level, held in zip(REPORTED, inside):
                row[prefix + reported_key(kind, level)] = 100 * float(held[labelled].mean())
    row["factor"] = float(np.exp(np.log(measured.factors).mean()))
    row["spearman"] = rank_correlation(measured.matches)
    return row


def rank_correlation(matches: Matches) -> float:
    """Spearman's, of the root of a joint's summed variances and its distance from the label, both over the size."""
    labelled = matches.visibility > 0
    size = np.sqrt(np.maximum(matches.area, 1.0))[:, None]
    sigma = np.sqrt(np.square(matches.std).sum(-1)) / size
    error = np.linalg.norm(matches.predicted - matches.joints, axis=-1) / size
    return spearman(sigma[labelled], error[labelled])
