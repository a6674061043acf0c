"""The comparison of the losses on one set: means over seeds, and differences from one of them with their intervals."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from rle_onestage.evaluation.seeds import mean_and_sd, metrics_over_seeds

from .measures import Measured, measure
from .trained import Trained

COMPARED = ("AP", "OKS", "nats", "r_person", "r_joint")


def compare_set(
    runs: Sequence[Trained], dataset: str, *, baseline: str = "rle", resamples: int = 500
) -> dict[str, Any]:
    """All that is measured of the runs on a data set.

    Args:
        runs: see :func:`~.trained.find_runs`.
        dataset: registered, of their configs.
        baseline: the loss from which the others differ.
        resamples: of the images.

    Returns:
        dict of ``rows``: loss -> dict of ``seeds`` (seed -> figures), ``mean`` and ``sd``, and where there is the
        baseline ``images`` (metric -> difference of the first seed, with its interval over images) and ``over_seeds``
        (metric -> the same over seeds, where there are two or more).
    """
    rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
    first = min((run.seed for run in runs), default=1)
    kept: dict[str, Measured] = {}
    for run in runs:
        measured = measure(run, dataset)
        if run.seed == first:
            kept[run.loss] = measured
        rows.setdefault(run.loss, {"seeds": OrderedDict()})["seeds"][run.seed] = measured.figures
    for loss, row in rows.items():
        row |= mean_and_sd(row["seeds"])
        if loss != baseline and baseline in rows:
            row["over_seeds"] = metrics_over_seeds(row["seeds"], rows[baseline]["seeds"], COMPARED)
            if loss in kept and baseline in kept:
                row["images"] = over_images(kept[loss], kept[baseline], resamples=resamples)
    return {"rows": rows, "baseline": baseline, "first_seed": first, "resamples": resamples}


def over_images(own: Measured, base: Measured, *, resamples: int = 500, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Differences of one run from another, 95 % by the paired bootstrap over images.

    Args:
        own: of the loss.
        base: of the baseline, on the same set.
        resamples: of the images, the same ones for both.
        seed: of the draws.

    Returns:
        ``AP``, and ``nats`` where both have a density -> dict of ``difference`` and ``interval``.
    """
    images = len(base.ranking.images)
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    every = np.ones((1, images))

    def precision(measured: Measured, weights: np.ndarray) -> np.ndarray:
        return np.array([measured.ranking.average_precision(measured.ranked, w) for w in weights])

    found = {"AP": _difference(*(precision(own, w) - precision(base, w) for w in (every, draws)))}
    if own.nats is not None and base.nats is not None:
        found["nats"] = _difference(*(_nats(own.nats, w) - _nats(base.nats, w) for w in (every, draws)))
    return found


def _nats(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Nats a joint (S,) under weights of images (S, I)."""
    nats, joints = weights @ sums[:, 0], weights @ sums[:, 1]
    return nats / np.maximum(joints, 1)


def _difference(whole: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    return {"difference": float(whole[0]), "interval": np.percentile(drawn, [2.5, 97.5]).tolist()}
