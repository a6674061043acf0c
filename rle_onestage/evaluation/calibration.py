"""Metrics of calibration: can the reported sigmas be trusted, and does confidence go with what was reached?"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..structures.error_density import ErrorDensity
from ..utils.tables import table_text
from .per_joint import Matches, joint_oks, person_oks
from .regions import KINDS, REPORTED, covered, reported_key, reported_keys

Row = OrderedDict[str, float]  # metrics of some joints by name

# Levels over which the expected calibration error is a mean.
LEVELS = tuple(i / 20 for i in range(1, 20))
_BY_SIZE = ("small", "medium", "large")
# What a table's columns are, to stand below it.
COLUMNS = (
    "50 % to 95 %: coordinates within the intervals of that level; ECE: mean error of such shares, of 19 levels\n"
    "NLL: negative log-likelihood of a joint's label, lower is better; sigma %: of the person's sqrt(area)\n"
    "r: Pearson's correlation (of values), rho: Spearman's (of ranks), of a joint's expected OKS and of a person's\n"
    "score with the OKS reached"
)
SIZES = "size: thirds by sqrt(area)"  # what a table's header says of these; COCO's have other limits


def has_std(matches: Matches) -> bool:
    """Whether all matches come with predicted standard deviations."""
    return len(matches.std) > 0 and bool(np.isfinite(matches.std).all())


def calibration_table(
    matches: Matches, oks_sigmas: Sequence[float], names: Sequence[str], density: ErrorDensity | None = None
) -> OrderedDict[str, Row]:
    """Metrics of calibration by joint, by visibility flag and by size of the person.

    Args:
        matches: people matched at a box IoU of 0.5.
        oks_sigmas: (K,) COCO's OKS sigmas.
        names: K joint names, or none: no rows of joints.
        density: of the model's error; None leaves out what needs it.

    Returns:
        ``all``, ``visible``, ``hidden``, ``small``, ``medium``, ``large`` (thirds by the square root of the
        labelled area, see ``size_from``) and the joints' names -> metrics by name:

        - ``joints``, ``people``: how many labelled joints, of how many people;
        - ``coverage_50`` and so on: share of coordinates within that interval, in percent;
        - ``ellipse_50`` and ``hdr_50`` and so on: share of joints within the ellipse of the covariance, and within the
          learned error's region of highest density, of that level, in percent;
        - ``ece``: expected calibration error, the mean of ``|coverage - level|`` over the levels 5, 10, ..., 95 %, in
          percent;
        - ``nll``: negative log-likelihood in nats per joint, in pixels;
        - ``sigma_px``, ``median_sigma_px``, ``sigma_relative``, ``median_sigma_relative``: sharpness, the mean and
          median predicted standard deviation of a coordinate in pixels, and in percent of sqrt(area);
        - ``joint_pearson``, ``joint_spearman``: correlation of a joint's expected OKS with its own OKS;
        - ``person_pearson``, ``person_spearman``: of the person's score with its OKS (not for joints and flags);
        - ``size_from``, ``size_to``: the limits of ``small``, ``medium`` and ``large`` in pixels of sqrt(area), the
          second included.

        What cannot be computed (no labels, no sigmas, no density) is NaN.
    """
    labelled = matches.visibility > 0
    values = _values(matches, oks_sigmas, density)
    size = np.sqrt(np.maximum(matches.area, 0.0))
    edges = np.quantile(size, [1 / 3, 2 / 3]) if size.size else [0.0, 0.0]
    third = np.searchsorted(edges, size)  # (S,) 0, 1 or 2
    table = OrderedDict(all=_row(values, labelled, people=True))
    table["visible"] = _row(values, matches.visibility == 2)
    table["hidden"] = _row(values, matches.visibility == 1)
    for number, name in enumerate(_BY_SIZE):
        table[name] = _row(values, labelled & (third == number)[:, None], people=True)
        limits = zip(("size_from", "size_to"), ([0.0, *edges], [*edges, math.inf]))
        table[name].update((key, float(values_of[number])) for key, values_of in limits)
    for k, name in enumerate(names):
        table[name] = _row(values, labelled & (np.arange(len(names)) == k))
    return table


def reliability(
    matches: Matches, density: ErrorDensity, levels: Sequence[float] = LEVELS, *, kind: str = "coverage"
) -> np.ndarray:
    """Share of labelled coordinates within the predicted interval of each level, or of joints within the region.

    Args:
        matches: with predicted standard deviations.
        density: of the model's error.
        levels: L probabilities in (0, 1).
        kind: "coverage" of intervals, or a region's name in :data:`~.regions.KINDS`.

    Returns:
        (L,) shares in [0, 1]; NaN for regions without covariances.
    """
    labelled, found = matches.visibility > 0, covered(matches, density, levels, (kind,))
    return found[kind][:, labelled].mean((1, 2)) if kind in found else np.full(len(levels), math.nan)


def log_likelihood(matches: Matches, density: ErrorDensity) -> np.ndarray:
    """Log-density of the labels.

    Args:
        matches: with predicted standard deviations.
        density: of the model's error.

    Returns:
        (S, K) in nats per joint, per square pixel.
    """
    residual = torch.from_numpy(matches.joints - matches.predicted)
    return density.log_prob(residual, torch.from_numpy(matches.std)).double().numpy()


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation.

    Args:
        x: (n,) values.
        y: (n,) values.

    Returns:
        From -1 to 1; NaN with fewer than two points, or where one of them never changes.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank.

    Args:
        x: (n,) values.
        y: (n,) values.

    Returns:
        As :func:`pearson`.
    """
    from scipy.stats import rankdata  # here: its import takes time that every command would pay

    return pearson(rankdata(x), rankdata(y))


def _values(matches: Matches, oks_sigmas: Sequence[float], density: ErrorDensity | None) -> dict[str, np.ndarray]:
    """What the metrics are means of, by name: an array of all joints (S, K, ...) or people (S,) each."""
    values = {"own": joint_oks(matches, oks_sigmas), "expected": matches.expected}
    values |= {"score": matches.score, "person_oks": person_oks(matches, oks_sigmas)}
    if has_std(matches):
        values["sigma"] = matches.std
        values["relative"] = 100 * matches.std / np.sqrt(np.maximum(matches.area, 1e-9))[:, None, None]
        if density is not None:
            values["nll"] = -log_likelihood(matches, density)
            values |= covered(matches, density, REPORTED)
            values["all_covered"] = covered(matches, density, LEVELS, ("coverage",))["coverage"]
    return values


def _row(values: Mapping[str, np.ndarray], mask: np.ndarray, *, people: bool = False) -> Row:
    """Metrics of the joints that ``mask`` (S, K) picks; of their people too where these are whole."""
    count, chosen = int(mask.sum()), mask.any(1)
    row: Row = OrderedDict(joints=count, people=int(chosen.sum()))
    nan = math.nan
    known = count > 0 and "coverage" in values
    for kind in KINDS:
        for number, level in enumerate(REPORTED):
            held = float(values[kind][number][mask].mean()) if count and kind in values else nan
            row[reported_key(kind, level)] = 100 * held
    row["ece"] = nan
    if known:
        coverage = values["all_covered"][:, mask].mean((1, 2))
        row["ece"] = 100 * float(np.abs(coverage - LEVELS).mean())
    row["nll"] = float(values["nll"][mask].mean()) if known else nan
    for key, name in (("sigma", "sigma_px"), ("relative", "sigma_relative")):
        found = values[key][mask] if count and key in values else np.full(1, nan)
        row[name], row[f"median_{name}"] = float(found.mean()), float(np.median(found))
    joint = values["expected"][mask], values["own"][mask]
    row["joint_pearson"], row["joint_spearman"] = pearson(*joint), spearman(*joint)
    if people:
        person = values["score"][chosen], values["person_oks"][chosen]
        row["person_pearson"], row["person_spearman"] = pearson(*person), spearman(*person)
    return row


def format_calibration(table: Mapping[str, Mapping[str, float]]) -> str:
    """The table as text.

    Args:
        table: of :func:`calibration_table`.
    """
    sized = any("size_from" in row for row in table.values())
    header = [
        SIZES if sized else "",
        "joints",
        *(f"{100 * level:g} %" for level in REPORTED),
        "ECE %",
        "NLL nats",
        "sigma px",
        "sigma %",
    ]
    header += ["joint r", "joint rho", "person r", "person rho"]
    keys = ["joints", *(reported_key("coverage", at) for at in REPORTED), "ece", "nll", "sigma_px", "sigma_relative"]
    keys += ["joint_pearson", "joint_spearman", "person_pearson", "person_spearman"]
    rows = [[row_label(name, row), *(_shown(row.get(key)) for key in keys)] for name, row in table.items()]
    return table_text(rows, header)


def regions_by_group(table: Mapping[str, Mapping[str, float]]) -> OrderedDict[str, Row]:
    """What was held of each interval and region, without the other metrics.

    Args:
        table: of :func:`calibration_table`.

    Returns:
        Its rows with :func:`~.regions.reported_keys` alone.
    """
    return OrderedDict((name, OrderedDict((key, row[key]) for key in reported_keys())) for name, row in table.items())


def row_label(name: str, row: Mapping[str, float]) -> str:
    """What a row is called where people read it: a third of the people with its limits in pixels.

    Args:
        name: of the row.
        row: of :func:`calibration_table`.
    """
    if "size_from" not in row or not row["people"]:
        return name
    low, high = row["size_from"], row["size_to"]
    if math.isinf(high):
        return f"{name} (over {low:.0f} px)"
    return f"{name} ({low:.0f} to {high:.0f} px)" if low else f"{name} (to {high:.0f} px)"


def _shown(value: Any) -> Any:
    """A value for a table, None for what there is not."""
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value
