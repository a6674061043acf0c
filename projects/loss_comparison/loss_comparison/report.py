"""Means and spreads over seeds, differences between losses seed by seed, and these as a page and as JSON."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rle_onestage.evaluation import write_json
from rle_onestage.evaluation.seeds import mean_and_sd, mean_interval
from rle_onestage.utils.safe_files import write_text
from rle_onestage.utils.tables import table_text

from .plots import draw_comparison
from .scores import run_scores

if TYPE_CHECKING:
    from loss_comparison.runs import Run


NAME = "comparison"
# Best first, by the paper's AP: 70.5, 70.0, 67.4, 62.7, 60.2, 58.1, 36.6 (Li et al., ICCV 2021, tables 1 and 2); the
# released code's own form stands with those that it is meant to be.
PAPER_ORDER = ("rle", "rle_gaussian", "rle_released", "laplace", "flow", "gaussian", "l1", "l2")
COLUMNS = OrderedDict(
    AP="AP, own score", class_AP="AP, class score", reranked_AP="AP, own detections by class", AP50="AP50, own",
    AP75="AP75, own", class_AP75="AP75, class", OKS="OKS of matched", median_px="median error px",
    rms_px="RMS error px", nll="nats a joint", coverage_90="in 90 % interval", person_pearson="r of score and OKS",
    minutes="training min",
)  # fmt: skip
# Where the second table begins, so that both fit on a page.
_SECOND = "OKS"
COMPARED = ("AP", "class_AP", "AP75", "OKS")


def compare(runs: "list[Run]", failures: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The comparison of the runs that are done.

    Args:
        runs: see :func:`~.runs.plan`.
        failures: dict label -> reason, of runs that failed.

    Returns:
        dict of ``sets``: data set -> dict of ``rows``: name -> dict of ``seeds`` (seed -> metrics of
        :func:`~.scores.run_scores`), ``mean`` and ``sd`` (over seeds, of each metric); ``differences``: list of those
        of :func:`difference`; and ``order``: see :func:`paper_order`. ``runs``, ``done``: how many. ``failures``.
    """
    order = {name: place for place, name in enumerate(PAPER_ORDER)}
    found: dict[str, dict[str, dict[int, dict]]] = OrderedDict()
    done = [run for run in runs if run.is_done()]
    for run in sorted(done, key=lambda run: order.get(run.name, len(order))):
        for dataset, metrics in run_scores(run).items():
            found.setdefault(dataset, OrderedDict()).setdefault(run.name, {})[run.seed] = metrics
    sets = {dataset: _compared(rows) for dataset, rows in found.items()}
    return {"runs": len(runs), "done": len(done), "failures": dict(failures), "sets": sets}


def _compared(rows: dict | dict[str, dict[int, dict]]) -> dict:
    losses = [name for name in rows if name in PAPER_ORDER]
    pairs = list(zip(losses, losses[1:])) + [(losses[0], name) for name in rows if losses and name not in losses]
    differences = [difference(rows, *pair, metric) for metric in COMPARED for pair in pairs]
    table = OrderedDict((name, {"seeds": seeds, **mean_and_sd(seeds, list(COLUMNS))}) for name, seeds in rows.items())
    return {
        "rows": table,
        "differences": [d for d in differences if d is not None],
        "order": {metric: paper_order(rows, losses, metric) for metric in COMPARED},
    }


def difference(rows: dict[str, dict[int, dict]], first: str, second: str, metric: str) -> dict | None:
    """``first`` less ``second``, seed by seed: both have that seed's first weights and order of images.

    Returns:
        dict of ``first, second, metric``; ``seeds``: seed -> difference; ``mean``; and with two seeds or more ``sd``
        and ``interval``, of the mean: 95 % by Student's t over the seeds. None without a common seed.
    """
    pairs = {s: (f.get(metric), rows[second][s].get(metric)) for s, f in rows[first].items() if s in rows[second]}
    seeds = {seed: a - b for seed, (a, b) in pairs.items() if a is not None and b is not None}
    if not seeds:
        return None
    values = list(seeds.values())
    found = {"first": first, "second": second, "metric": metric, "seeds": seeds, "mean": mean(values)}
    if len(values) > 1:
        found |= {"sd": stdev(values), "interval": mean_interval(values)}
    return found


def paper_order(rows: dict | dict[str, dict[int, dict]], losses: list[str], metric: str) -> dict[str, Any] | None:
    """In how many seeds that all losses have the metric falls from each loss to the next in the paper's order.

    Returns:
        dict of ``losses``, ``holds`` and ``seeds`` (numbers), None with fewer than two losses.
    """
    if len(losses) < 2:
        return None
    common = set.intersection(*(set(rows[name]) for name in losses))
    values: list[list[Any]] = [[rows[name][seed].get(metric) for name in losses] for seed in common]
    whole = [v for v in values if None not in v]
    holds = sum([all(a > b for a, b in zip(v, v[1:])) for v in whole])
    return {"losses": losses, "holds": holds, "seeds": len(whole)}


# -------------------------------------------------------------------- text


def format_comparison(comparison: dict) -> str:
    """The comparison as a page of Markdown."""
    parts = [f"{comparison['done']} of {comparison['runs']} runs are done."]
    parts += [f"{label} failed: {reason}" for label, reason in comparison["failures"].items()]
    for dataset, found in comparison["sets"].items():
        parts += [f"## {dataset}", "Means over seeds, with standard deviations.", *_tables(found["rows"])]
        if found["differences"]:
            parts += ["Differences seed by seed; 95 % intervals of their means by Student's t.", _differences(found)]
        parts += _order_lines(found["order"])
    return "\n\n".join(parts) + "\n"


def _tables(rows: dict | dict[str, dict[str, dict]]) -> list[str]:
    keys, cut = list(COLUMNS), list(COLUMNS).index(_SECOND)
    return [_table(rows, part) for part in (keys[:cut], keys[cut:])]


def _table(rows: dict | dict[str, dict[str, dict]], keys: list[str]) -> str:
    keys = [key for key in keys if any(key in row["mean"] for row in rows.values())]
    body = [[name, len(row["seeds"]), *(_with_spread(row, key) for key in keys)] for name, row in rows.items()]
    return table_text(body, ["", "seeds", *(COLUMNS[key] for key in keys)], left=2)


def _with_spread(row: dict[str, dict], key: str) -> str:
    if key not in row["mean"]:
        return "-"
    digits = 0 if key == "minutes" else 3 if key in ("nll", "person_pearson") else 2
    text = f"{row['mean'][key]:.{digits}f}"
    return f"{text} ± {row['sd'][key]:.{digits}f}" if key in row["sd"] else text


def _differences(found: dict[str, Any]) -> str:
    body = []
    for d in found["differences"]:
        low, high = d.get("interval", (None, None))
        seeds = ", ".join(f"{value:+.2f}" for _, value in sorted(d["seeds"].items()))
        interval = "-" if low is None else f"{low:+.2f} to {high:+.2f}"
        names = f"{d['first']} - {d['second']}"
        body.append([COLUMNS[d["metric"]], names, f"{d['mean']:+.2f}", seeds, f"{d.get('sd', 0):.2f}", interval])
    return table_text(body, ["metric", "difference", "mean", "each seed", "sd", "95 %"], left=2)


def _order_lines(order: dict) -> list[str]:
    told = {metric: found for metric, found in order.items() if found and found["seeds"]}
    if not told:
        return []
    chain = " > ".join(next(iter(told.values()))["losses"])
    parts = [f"{COLUMNS[metric]}: {found['holds']} of {found['seeds']}" for metric, found in told.items()]
    return [f"Seeds in which the paper's order {chain} holds: {'; '.join(parts)}."]


def write_comparison(comparison: dict[str, Any], output: str) -> list[str]:
    """Write ``comparison.json``, ``.md`` and ``.png`` into ``output``; returns their paths.

    Raises:
        MediaError, ConfigError: they cannot be written.
    """
    paths = [os.path.join(output, f"{NAME}.{ending}") for ending in ("json", "md", "png")]
    write_json(comparison, paths[0])
    write_text(paths[1], format_comparison(comparison))
    if comparison["sets"]:
        draw_comparison(comparison, paths[2])
        return paths
    return paths[:2]
