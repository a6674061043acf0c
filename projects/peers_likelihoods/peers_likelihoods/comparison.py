"""The comparison of the rules on one set: figures of every run, and differences from the baseline."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from rle_onestage.data.datasets import get_metadata
from rle_onestage.evaluation.seeds import mean_and_sd, metrics_over_seeds

from .differences import over_images
from .measures import Measured, measure, row_of
from .others import bootstrap_ap, tracks
from .trained import TURNED, Trained

BASELINE = "rle"
COMPARED = ("own_AP", "person_AP", "nats", "corrected_nats", "spearman")


def compare_set(
    runs: Sequence[Trained], dataset: str, output: str, *, clips: str | None = None, resamples: int = 1000
) -> dict[str, Any]:
    """All that is measured of the runs on one data set.

    Args:
        runs: see :func:`~.trained.find_runs`.
        dataset: registered, of their configs.
        output: folder for what other projects' commands write.
        clips: folder of a set with videos, for tracks of the first seed; None: no tracks.
        resamples: of the images.

    Returns:
        dict of ``rows``: rule -> dict of ``seeds`` (seed -> figures), ``mean``, and where there is the baseline
        ``images`` (metric -> difference of the first seed, with its interval over images) and ``over_seeds`` (metric ->
        the same over seeds, where there are two or more).
    """
    rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
    first = min((run.seed for run in runs), default=1)
    kept: dict[str, Measured] = {}
    for run in runs:
        figures, measured = _of_run(run, dataset)
        if run.seed == first:
            kept[run.rule] = measured
            if clips is not None:
                folder = os.path.join(output, "tracks", run.rule)
                figures |= {f"track_{key}": value for key, value in tracks(run, clips, folder).items()}
        rows.setdefault(run.rule, {"seeds": OrderedDict()})["seeds"][run.seed] = figures
    for row in rows.values():
        row["mean"] = mean_and_sd(row["seeds"])["mean"]
    if BASELINE in kept:
        _differences(rows, kept, resamples)
        _ap_over_images(rows, [run for run in runs if run.seed == first], dataset, output, resamples)
    return {"rows": rows, "first_seed": first, "resamples": resamples}


def _of_run(run: Trained, dataset: str) -> tuple[dict[str, float], Measured]:
    density = run.density()
    measured = measure(run.matches(dataset), density, turned=run.rule in TURNED)
    figures = {
        "person_AP": run.average_precision(run.alone, dataset),
        "own_AP": run.average_precision(run.own, dataset),
        **row_of(measured, density),
    }
    return figures, measured


def _differences(rows: dict[str, dict[str, Any]], kept: dict[str, Measured], resamples: int) -> None:
    """Add what the nats differ by over images, and all that is compared over seeds."""
    base = rows[BASELINE]["seeds"]
    for rule, row in rows.items():
        row["images"] = {}
        if rule != BASELINE and rule in kept:
            row["images"]["nats"] = over_images(kept[rule], kept[BASELINE], resamples=resamples)
            own, other = (_as_corrected(kept[name]) for name in (rule, BASELINE))
            row["images"]["corrected_nats"] = over_images(own, other, resamples=resamples)
        row["over_seeds"] = metrics_over_seeds(row["seeds"], base, COMPARED) if rule != BASELINE else {}


def _as_corrected(measured: Measured) -> Measured:
    return measured._replace(nats=measured.corrected_nats)


def _ap_over_images(
    rows: dict[str, dict[str, Any]], runs: Sequence[Trained], dataset: str, output: str, resamples: int
) -> None:
    """Add what AP under either score differs by over images."""
    annotations = get_metadata(dataset).json_file
    for key in ("own_AP", "person_AP"):
        folders = {run.rule: run.own if key == "own_AP" else run.alone for run in runs}
        files = {run.rule: run.results_file(folders[run.rule], dataset) for run in runs}
        found = bootstrap_ap(files, BASELINE, dataset, annotations, os.path.join(output, dataset, key), resamples)
        for rule, row in found.items():
            if rule != BASELINE:
                rows[rule]["images"][key] = {"difference": row["difference"], "interval": row["difference_interval"]}
