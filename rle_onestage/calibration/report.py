"""A calibration as text: all of it for a file, and what fits on a screen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import counted
from ..evaluation.calibration import COLUMNS, format_calibration
from ..evaluation.probabilities import format_probabilities
from ..evaluation.regions import KINDS, LEAST_IMAGES, REPORTED, format_regions, reported_key
from ..utils.tables import table_text
from .plots import BASELINE, GROUPS
from .space import format_space
from .verdict import shown_threshold


def format_report(report: Mapping[str, Any]) -> str:
    """All of a calibration as text.

    Args:
        report: of :func:`~.fit.calibrate`.
    """
    parts = [_sizes(report)]
    for key, columns in (("before", ""), ("after", f"\n{COLUMNS}")):
        table = {name: report[key][name] for name in GROUPS}
        parts.append(f"held-out images, {key} the correction:\n{format_calibration(table)}{columns}")
        parts.append(f"what intervals and regions held, {key} the correction (%):\n{format_regions(table)}")
    parts += [_open(report), _what_is_fitted(report)]
    parts.append(_likelihoods(report))
    if report["probabilities"]:
        parts.append(f"probabilities of joints of the same people:\n{format_probabilities(report['probabilities'])}")
    if "space" in report:
        parts.append(format_space(report["space"]))
    images = counted(report["images"]["held_out"], "held-out image")
    parts.append(f"the same detections in {images} by score:\n{_score_table(report)}")
    parts.append(f"{_powers(report)}\n{_thresholds(report)}")
    return "\n\n".join([*parts, _verdict(report)])


def format_summary(report: Mapping[str, Any]) -> str:
    """What of a calibration fits on a screen: the text of :func:`format_report` is in a file, which is named.

    Args:
        report: of :func:`~.fit.calibrate`.
    """
    rows = []
    for name in ("all", "visible", "hidden"):
        for key in ("before", "after"):
            row = report[key][name]
            shares = [row[reported_key("coverage", level)] for level in REPORTED]
            rows.append([f"{name}, {key}", row["joints"], *shares, row["ece"], row["sigma_px"]])
    levels = [f"{100 * level:g} %" for level in REPORTED]
    table = table_text(rows, ["joints within intervals", "joints", *levels, "ECE %", "sigma px"])
    parts = [_sizes(report), table]
    if "space" in report:
        parts.append(format_space(report["space"]))
    metrics, plots, weights, text = report["files"]
    files = (
        f"tables by size, joint, region and score: {text}\nthe same as numbers: {metrics}\nplots: {plots}\n"
        f"corrected weights: {weights}"
    )
    lines = f"{_likelihoods(report)}\n{_powers(report)}\n{_thresholds(report)}"
    return "\n\n".join([*parts, lines, files, _verdict(report)])


def _sizes(report: Mapping[str, Any]) -> str:
    """What it rests on."""
    sizes = {key: _size_of(report, key) for key in ("fit", "held_out")}
    return f"fitted on {report['fit_dataset']}: {sizes['fit']}\nheld out, {report['dataset']}: {sizes['held_out']}"


def _verdict(report: Mapping[str, Any]) -> str:
    return "\n".join(["In short:", *(f"- {sentence}" for sentence in report["verdict"]["sentences"])])


def _likelihoods(report: Mapping[str, Any]) -> str:
    before, after, pixels, relative = (row["nll"] for row in report["likelihood"].values())
    return (
        f"nats a joint, of the same {counted(report['joints']['held_out'], 'held-out joint')}: {before:.3f} before, "
        f"{after:.3f} after the correction; with one sigma for each joint {pixels:.3f}, relative to the person's size "
        f"{relative:.3f}"
    )


def _size_of(report: Mapping[str, Any], key: str) -> str:
    images, people, joints = (report[what][key] for what in ("images", "people", "joints"))
    return (
        f"{counted(images, 'image')} with {counted(people, 'matched person', 'matched people')} and "
        f"{counted(joints, 'labelled joint')}"
    )


def _score_table(report: Mapping[str, Any]) -> str:
    rows = [
        [name, row["AP"], _range(row["AP_interval"], 1), row["difference"], _range(row["difference_interval"], 2),
         row["pearson"]]
        for name, row in report["scores"].items()
    ]  # fmt: skip
    return table_text(rows, ["score", "AP", "95 %", f"over {BASELINE}", "95 %", "r with OKS"])


def _range(interval: Sequence[float], digits: int) -> str:
    """Low and high of an interval; a dash where there is none."""
    low, high = interval
    return "-" if math.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _thresholds(report: Mapping[str, Any]) -> str:
    """The score threshold of the best F1."""
    rows = report["thresholds"]
    if not all(rows.values()):
        return "no person is found with an OKS of 0.5, so no score threshold is best"
    shown = [f"{shown_threshold(row['threshold'])} (F1 {row['f1']:.1f} %)" for row in rows.values()]
    return "score threshold of the best F1 at an OKS of 0.5: {} before, {} after the correction".format(*shown)


def _powers(report: Mapping[str, Any]) -> str:
    """The powers that were best on the images to fit on, as config keys where they are better on the others too."""
    powers = report["powers"]
    if tuple(powers["chosen"]) == tuple(powers["config"]):
        return "of all powers of the score that were tried, the config's were best on the images to fit on; keep them"
    low = powers["gain_interval"][0]
    interval = "too few for an interval" if math.isnan(low) else _range(powers["gain_interval"], 2)
    gain = f"{powers['gain']:+.1f} AP on the held-out images ({interval})"
    lines = "\n".join(report["config"])
    if low > 0:
        return f"other powers of the score are better than the config's: {gain}; as config keys:\n{lines}"
    values = ", ".join(line.removeprefix("MODEL.RLE_ONESTAGE.TEST.") for line in report["config"])
    return (
        f"keep the config's powers of the score: those that were best on the images to fit on ({values}) are not "
        f"better beyond chance, {gain}"
    )


def _open(report: Mapping[str, Any]) -> str:
    """The levels that are out of reach of what was held: not within the interval of resampled images."""
    if report["likelihood"]["before"]["images"] < LEAST_IMAGES:
        return f"no bootstrap intervals over images, which need {LEAST_IMAGES} or more with matched people"
    out = [
        f"{name} {KINDS[kind]} of {100 * level:g} %: {low:.1f} to {high:.1f}"
        for name, row in report["after_intervals"].items()
        for kind in KINDS
        for level in REPORTED
        if reported_key(kind, level) in row
        for low, high in [row[reported_key(kind, level)]]
        if not low <= 100 * level <= high
    ]
    return "levels outside of the 95 % bootstrap interval over images: " + ("; ".join(out) or "none")


def _what_is_fitted(report: Mapping[str, Any]) -> str:
    """Which of the three the corrected sigma fits, and what it depends on."""
    alone = {name: report["sigma_alone"][name] for name in ("all", "visible", "hidden")}
    exponent, hidden = report["dependence"]["size"], report["dependence"]["hidden"]
    unknown = "the model does not say which joints are visible"
    factor = unknown if hidden is None else f"sigma of a hidden joint times {math.exp(hidden):.2f}"
    return (
        "the corrected sigma fits the likelihood, neither intervals nor regions; intervals, ellipses and regions of "
        "highest density have sizes of their own, fitted each to hold. With the density's sizes (%):\n"
        f"{format_regions(alone)}\n"
        f"sigma grows with the size of the person to the power {exponent:.3f} beside what the model says; {factor}"
    )
