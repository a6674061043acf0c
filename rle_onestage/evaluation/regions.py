"""Coverage of regions in the plane: the ellipse of the reported covariance, and the learned error's highest density.

An interval holds one coordinate, a region holds the joint. The ellipse of Mahalanobis radius ``r`` has the shape of the
covariance and the size that the learned error gives it for a probability; the region of highest density is the smallest
one that holds a probability, whatever its shape.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..structures.covariance import mahalanobis
from ..structures.error_density import ErrorDensity
from ..utils.tables import table_text
from .per_joint import Matches

# Intervals and regions that are reported, and how their metrics' names begin.
REPORTED = (0.5, 0.8, 0.9, 0.95)
KINDS = OrderedDict(coverage="intervals", ellipse="ellipses", hdr="highest-density regions")
SHORT = {"coverage": "interval", "ellipse": "ellipse", "hdr": "density"}
# Of fewer images with people a bootstrap is far too narrow (of one it has no width), so there is no interval.
LEAST_IMAGES = 10


def distances(matches: Matches) -> np.ndarray:
    """Mahalanobis distance of each label from its prediction: (S, K), NaN where there is no covariance."""
    units = (matches.joints - matches.predicted) / matches.std
    return mahalanobis(torch.from_numpy(units), torch.from_numpy(matches.correlation)).numpy()


def density_levels(matches: Matches, density: ErrorDensity) -> np.ndarray:
    """Probability that the density gives to the region of highest density on whose border each label lies.

    Args:
        matches: with predicted standard deviations.
        density: of the model's error.

    Returns:
        (S, K) in [0, 1].
    """
    units = torch.from_numpy((matches.joints - matches.predicted) / matches.std)
    return 1 - density.tail(density.log_q(units)).double().numpy()


def covered(
    matches: Matches, density: ErrorDensity, levels: Sequence[float], kinds: Iterable[str] = KINDS
) -> dict[str, np.ndarray]:
    """Whether each label lies within the interval or region of each level.

    Args:
        matches: with predicted standard deviations.
        density: of the model's error.
        levels: L probabilities in (0, 1).
        kinds: names of :data:`KINDS`.

    Returns:
        By kind: (L, S, K, 2) of each coordinate, or of regions (L, S, K, 1); no ellipses where a match has no
        covariance.
    """
    found: dict[str, np.ndarray] = {}
    for kind in kinds:
        if kind == "coverage":
            reached = np.abs(matches.joints - matches.predicted) / matches.std
            found[kind] = np.stack([reached <= density.half_width(at).double().numpy()[:, None] for at in levels])
        elif kind == "hdr":
            reached = density_levels(matches, density)
            found[kind] = np.stack([reached <= density.density_level(at).double().numpy() for at in levels])[..., None]
        elif np.isfinite(matches.correlation).all():
            reached = distances(matches)
            found[kind] = np.stack([reached <= density.ellipse_radius(at).double().numpy() for at in levels])[..., None]
    return found


def bootstrap_intervals(
    matches: Matches, density: ErrorDensity, *, resamples: int, seed: int = 0
) -> OrderedDict[str, dict[str, list[float]]]:
    """How far what is held may be off by the choice of the images: 95 % intervals by resampling these.

    Args:
        matches: with predicted standard deviations.
        density: of the model's error.
        resamples: of the images.
        seed: of the draws.

    Returns:
        ``all``, ``visible`` and ``hidden`` -> low and high in percent by :func:`reported_keys`; without labelled
        joints, or without what a metric needs, it is left out. NaN of fewer than :data:`LEAST_IMAGES` images.
    """
    image, weights = _drawn_images(matches.image_id, resamples, seed)
    number = weights.shape[1]
    masks = {"all": matches.visibility > 0, "visible": matches.visibility == 2, "hidden": matches.visibility == 1}
    rows: OrderedDict[str, dict[str, list[float]]] = OrderedDict(
        (name, {}) for name, mask in masks.items() if mask.any()
    )
    for kind, inside in covered(matches, density, REPORTED).items():
        for name, row in rows.items():
            counts = np.bincount(image, masks[name].sum(1), number)
            drawn = np.maximum(weights @ counts, 1)
            for level, joints in zip(REPORTED, inside.mean(-1)):  # (S, K)
                held = weights @ np.bincount(image, (joints * masks[name]).sum(1), number) / drawn
                row[reported_key(kind, level)] = middle(100 * held, number)
    return rows


def gain_with_interval(
    values: np.ndarray, chosen: np.ndarray, image_id: np.ndarray, *, resamples: int, seed: int = 0
) -> dict[str, Any]:
    """Mean of what the joints gain, and how far it may be off by the choice of the images.

    Args:
        values: (S, K) what each joint gains.
        chosen: (S, K) bool, the joints that count.
        image_id: (S,) whose they are.
        resamples: of the images.
        seed: of the draws.

    Returns:
        ``gain`` and ``gain_interval``, low and high of 95 %; NaN where no joint counts, and the interval also where
        fewer than :data:`LEAST_IMAGES` images have one; ``images``, how many have.
    """
    if not chosen.any():
        return {"gain": math.nan, "gain_interval": [math.nan, math.nan], "images": 0}
    image, weights = _drawn_images(image_id, resamples, seed)
    number = weights.shape[1]
    sums = np.bincount(image, np.where(chosen, values, 0.0).sum(1), number)
    labels = np.bincount(image, chosen.sum(1), number)
    counts, labelled = weights @ labels, int((labels > 0).sum())
    drawn = (weights @ sums)[counts > 0] / counts[counts > 0]
    return {"gain": float(values[chosen].mean()), "gain_interval": middle(drawn, labelled), "images": labelled}


def _drawn_images(image_id: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Index (S,) of the image of each match, and how often each image is drawn (R, images)."""
    _, image = np.unique(image_id, return_inverse=True)
    number = int(image.max()) + 1
    return image, np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), resamples)


def middle(values: np.ndarray, images: int) -> list[float]:
    """The middle 95 % of what resamples of images gave.

    Args:
        values: (R,), NaN where a resample has no value.
        images: how many there are to resample.

    Returns:
        low and high; NaN without values, or with fewer than :data:`LEAST_IMAGES` images.
    """
    values = values[np.isfinite(values)]
    if images < LEAST_IMAGES or not values.size:
        return [math.nan, math.nan]
    return np.percentile(values, [2.5, 97.5]).tolist()


def reported_key(kind: str, level: float) -> str:
    """Name of a metric, such as ``ellipse_80``.

    Args:
        kind: of :data:`KINDS`.
        level: in (0, 1).
    """
    return f"{kind}_{100 * level:g}"


def reported_keys() -> list[str]:
    """Names of the metrics of all kinds and reported levels."""
    return [reported_key(kind, level) for kind in KINDS for level in REPORTED]


def format_regions(table: Mapping[str, Mapping[str, float]]) -> str:
    """Coverage of intervals and regions as text.

    Args:
        table: rows with :func:`reported_keys` by name.
    """
    header = ["", *(f"{SHORT[kind]} {100 * level:g} %" for kind in KINDS for level in REPORTED)]
    rows = []
    for name, row in table.items():
        values = (row.get(key, np.nan) for key in reported_keys())
        rows.append([name, *(None if np.isnan(value) else value for value in values)])
    return table_text(rows, header)
