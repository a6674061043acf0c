"""Paired bootstrap over images: how much of a difference between models is chance of which images were measured."""

import numpy as np

from rle_onestage.errors import ConfigError

from .matching import Matching, metrics

INTERVAL = (2.5, 97.5)  # percentiles


def draw_images(images: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each image counts (S, I): draws with replacement of as many images as there are.

    Raises:
        ConfigError: there is no image to draw.
    """
    if not images:
        raise ConfigError("there are no images to resample; give a set that has some")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def compare(
    matchings: dict[str, Matching], baseline: str, *, resamples: int = 1000, seed: int = 0, areas: tuple = ("all",)
) -> dict[str, dict[str, dict]] | None:
    """Metrics of several models on the same images, and their differences from one of them.

    Args:
        matchings: model -> :class:`~.matching.Matching` on the same images.
        baseline: one of the models.
        resamples: of the images, the same ones for all models.
        seed: of the draws.
        areas: see :func:`~.matching.metrics`.

    Returns:
        dict model -> metric -> dict of ``value``, ``interval`` (95 %, percentiles), ``difference`` from the baseline,
        ``difference_interval``, and ``above``, the share of resamples in which the model is ahead; metrics in percent.

    Raises:
        ConfigError: the models were measured on different images, or there is none.
    """
    ids = matchings[baseline].image_ids
    for name, matching in matchings.items():
        if matching.image_ids != ids:
            raise ConfigError(f"{name} and {baseline} have other images; measure both on the same set")
    draws = draw_images(len(ids), resamples, seed)
    values = {name: metrics(m, areas=areas) for name, m in matchings.items()}
    drawn = {name: _drawn(m, draws, areas) for name, m in matchings.items()}
    return {
        name: {
            metric: row(values[name][metric], drawn[name][metric], values[baseline][metric], drawn[baseline][metric])
            for metric in values[name]
        }
        for name in matchings
    }


def _drawn(matching: "Matching", draws: np.ndarray, areas: tuple) -> dict[str, np.ndarray]:
    rows = [metrics(matching, weights, areas) for weights in draws]
    return {name: np.array([each[name] for each in rows]) for name in rows[0]}


def row(value: float, drawn: np.ndarray, other: float, other_drawn: np.ndarray) -> dict:
    """One line of :func:`compare`: a metric, those of the resamples (S,), and the same of the baseline."""
    differences = drawn - other_drawn
    known = np.isfinite(differences)
    return {
        "value": value,
        "interval": interval(drawn),
        "difference": value - other,
        "difference_interval": interval(differences),
        "above": float((differences[known] > 0).mean()) if known.any() else float("nan"),
    }


def interval(values: np.ndarray) -> list[float]:
    """The interval that holds 95 % of the finite values; NaN without any."""
    values = values[np.isfinite(values)]
    return np.percentile(values, INTERVAL).tolist() if values.size else [float("nan")] * 2
