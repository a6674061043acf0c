"""Can the sigmas be trusted? Coverage, likelihood, sharpness, and whether confidence goes with what was reached."""

import math
from collections import OrderedDict

import numpy as np
import torch
from tabulate import tabulate

# Intervals that are reported, and those over which the expected calibration error is a mean.
REPORTED = (0.5, 0.8, 0.9, 0.95)
LEVELS = tuple(i / 20 for i in range(1, 20))
_BY_SIZE = ("small", "medium", "large")


def joint_oks(matches, sigmas):
    """OKS of each joint (S, K), also of unlabelled ones, where it means nothing."""
    distance2 = ((matches.predicted - matches.joints) ** 2).sum(-1)
    variance = (2 * np.asarray(sigmas, dtype=float)) ** 2 * np.maximum(matches.area, 1e-9)[:, None]
    return np.exp(-distance2 / (2 * variance))


def person_oks(matches, sigmas):
    """OKS of each matched person (S,), over its labelled joints."""
    labelled = matches.visibility > 0
    return (joint_oks(matches, sigmas) * labelled).sum(1) / np.maximum(labelled.sum(1), 1)


def has_sigmas(matches):
    """Whether all matches come with predicted standard deviations."""
    return len(matches.spread) > 0 and bool(np.isfinite(matches.spread).all())


def calibration_table(matches, sigmas, names, density=None):
    """Figures of calibration by joint, by visibility flag and by size of the person.

    Args:
        matches: :class:`~.per_joint.Matches` of people matched at a box IoU of 0.5.
        sigmas: OKS sigmas (K,).
        names: joint names (K), or none: no rows of joints.
        density: the model's :class:`~.error_density.ErrorDensity`; None leaves out what needs it.

    Returns:
        OrderedDict ``all``, ``visible``, ``hidden``, ``small``, ``medium``, ``large`` (thirds by the square root of the
        labelled area) and the joints' names -> dict of

        - ``joints``, ``people``: how many labelled joints, of how many people;
        - ``coverage_50`` and so on: share of coordinates within that interval, in percent;
        - ``ece``: expected calibration error, the mean of ``|coverage - level|`` over the levels 5, 10, ..., 95 %, in
          percent;
        - ``nll``: negative log-likelihood in nats per joint, in pixels;
        - ``sigma_px``, ``median_sigma_px``, ``sigma_relative``, ``median_sigma_relative``: sharpness, the mean and
          median predicted standard deviation of a coordinate in pixels, and in percent of sqrt(area);
        - ``joint_pearson``, ``joint_spearman``: correlation of a joint's expected OKS with its own OKS;
        - ``person_pearson``, ``person_spearman``: of the person's score with its OKS (not for joints and flags).

        What cannot be computed (no labels, no sigmas, no density) is NaN.
    """
    labelled = matches.visibility > 0
    values = _values(matches, sigmas, density)
    size = np.sqrt(np.maximum(matches.area, 0.0))
    edges = np.quantile(size, [1 / 3, 2 / 3]) if size.size else [0.0, 0.0]
    third = np.searchsorted(edges, size)  # (S,) 0, 1 or 2
    table = OrderedDict(all=_row(values, labelled, people=True))
    table["visible"] = _row(values, matches.visibility == 2)
    table["hidden"] = _row(values, matches.visibility == 1)
    for number, name in enumerate(_BY_SIZE):
        table[name] = _row(values, labelled & (third == number)[:, None], people=True)
    for k, name in enumerate(names):
        table[name] = _row(values, labelled & (np.arange(len(names)) == k))
    return table


def reliability(matches, density, levels=LEVELS):
    """Share of labelled coordinates within the predicted interval of each level: (L,)."""
    labelled = matches.visibility > 0
    return _covered(matches, density, levels)[:, labelled].mean((1, 2))


def log_likelihood(matches, density):
    """Log-density (S, K) of the labels in nats per joint, per square pixel."""
    residual = torch.from_numpy(matches.joints - matches.predicted)
    return density.log_prob(residual, torch.from_numpy(matches.spread)).double().numpy()


def pearson(x, y):
    """Pearson's correlation; NaN with fewer than two points, or where one of them never changes."""
    x, y = (np.asarray(v, dtype=float) - np.mean(v) if len(v) else np.zeros(0) for v in (x, y))
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm > 0 else math.nan


def spearman(x, y):
    """Spearman's rank correlation, ties at their mean rank; NaN as :func:`pearson`."""
    return pearson(_ranks(x), _ranks(y))


def _ranks(values):
    _, inverse, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _covered(matches, density, levels):
    """Whether each coordinate lies within the interval of each level: (L, S, K, 2)."""
    units = np.abs(matches.joints - matches.predicted) / matches.spread
    return np.stack([units <= density.half_width(level).double().numpy()[:, None] for level in levels])


def _values(matches, sigmas, density):
    values = {"own": joint_oks(matches, sigmas), "expected": matches.expected}
    values |= {"score": matches.score, "person_oks": person_oks(matches, sigmas)}
    if has_sigmas(matches):
        values["sigma"] = matches.spread
        values["relative"] = 100 * matches.spread / np.sqrt(np.maximum(matches.area, 1e-9))[:, None, None]
        if density is not None:
            values["nll"] = -log_likelihood(matches, density)
            values["covered"] = _covered(matches, density, REPORTED)
            values["all_covered"] = _covered(matches, density, LEVELS)
    return values


def _row(values, mask, *, people=False):
    """Figures of the joints that ``mask`` (S, K) picks; of their people too where these are whole."""
    count, chosen = int(mask.sum()), mask.any(1)
    row = OrderedDict(joints=count, people=int(chosen.sum()))
    nan = math.nan
    known = count > 0 and "covered" in values
    for number, level in enumerate(REPORTED):
        row[f"coverage_{100 * level:g}"] = 100 * float(values["covered"][number][mask].mean()) if known else nan
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


def format_calibration(table):
    """The table as text."""
    header = ["", "joints", *(f"{100 * level:g} %" for level in REPORTED), "ECE", "NLL", "sigma px", "sigma %"]
    header += ["joint r", "joint rho", "person r", "person rho"]
    keys = ["joints", *(f"coverage_{100 * level:g}" for level in REPORTED), "ece", "nll", "sigma_px", "sigma_relative"]
    keys += ["joint_pearson", "joint_spearman", "person_pearson", "person_spearman"]
    rows = [[name, *(_shown(row.get(key)) for key in keys)] for name, row in table.items()]
    return tabulate(rows, headers=header, tablefmt="pipe", floatfmt=".2f", numalign="right")


def _shown(value):
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value
