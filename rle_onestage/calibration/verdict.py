"""What a calibration comes to, in plain words: is the corrected sigma better, and should the corrected file be used."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import counted


def find_verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a report comes to.

    The corrected sigma is better or worse where the 95 % bootstrap interval over images of the difference in
    likelihood does not hold 0. Where it does, the intervals decide: those nearer to their levels are better.

    Args:
        report: of :func:`~.fit.calibrate`, with ``likelihood``, ``before``, ``after``, ``doubts``, ``files`` and
            ``corrected_before``.

    Returns:
        ``use``, whether the corrected weights are the better ones, and ``sentences``: why, the doubts, and last the
        advice, which is reserved where there are doubts or one constant sigma is better.
    """
    rows = report["likelihood"]
    low, high = rows["before"]["gain_interval"]
    if math.isnan(low):
        nobody = "No labelled joint was matched in the held-out images, so nothing is known about the correction."
        return {"use": False, "sentences": [nobody, *_doubts(report["doubts"]), *_advice(report, False)]}
    nearer = report["after"]["all"]["ece"] < report["before"]["all"]["ece"]
    use = low > 0 or (high >= 0 and nearer)
    sentences = [_against_uncorrected(report), _against_constant(rows), _intervals(report)]
    doubts = _doubts(report["doubts"])
    reserved = bool(doubts) or _best_constant(rows)[1]["gain_interval"][1] < 0
    return {"use": use, "sentences": [*sentences, *doubts, *_advice(report, use, reserved)]}


def _against_uncorrected(report: Mapping[str, Any]) -> str:
    rows, size = report["likelihood"], report["joints"]["held_out"]
    where = (
        f"On {counted(report['images']['held_out'], 'held-out image')} of {report['dataset']} "
        f"({counted(size, 'labelled joint')})"
    )
    before, after = rows["before"], rows["after"]
    return (
        f"{where} the corrected sigma is {_compared(before, 'the uncorrected one')}: {after['nll']:.3f} against "
        f"{before['nll']:.3f} nats a joint, less is better{_by(before)}."
    )


def _best_constant(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """The better one of the two constant sigmas, in words, and its row."""
    names = {"constant_px": "in pixels", "constant_relative": "relative to the person's size"}
    best = min(names, key=lambda name: float(rows[name]["nll"]))
    return names[best], rows[best]


def _against_constant(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The corrected sigma beside the better one of the two constant ones."""
    name, row = _best_constant(rows)
    text = (
        f"It is {_compared(row, 'one constant sigma for each joint')} ({name}): {rows['after']['nll']:.3f} "
        f"against {row['nll']:.3f} nats{_by(row)}."
    )
    low, high = row["gain_interval"]
    if high < 0:
        return f"{text} So the model does not tell sure joints from unsure ones yet: train longer, or on more images."
    return text if low > 0 else f"{text} So these images do not show that it tells sure joints from unsure ones."


def _intervals(report: Mapping[str, Any]) -> str:
    before, after = (report[key]["all"]["ece"] for key in ("before", "after"))
    return f"Intervals miss their levels by {after:.1f} percentage points on average, by {before:.1f} without it."


def _advice(report: Mapping[str, Any], use: bool, reserved: bool = False) -> list[str]:
    """What to do.

    Args:
        report: see :func:`find_verdict`.
        use: the corrected weights are the better ones.
        reserved: something speaks against relying on them.
    """
    weights, corrected = report["weights"], report["files"][2]
    if not report["corrected_before"]:
        if not use:
            return [f"Keep the uncorrected weights, {weights}; do not use {corrected}"]
        if reserved:
            return [
                "So rely on neither sigma yet: do as said above, then calibrate again. Until then the corrected "
                f"weights are the better ones of the two: MODEL.WEIGHTS {corrected}"
            ]
        return [f"Use the corrected weights: MODEL.WEIGHTS {corrected}"]
    earlier = f"{weights} has a correction already, which was left out here: uncorrected means without any."
    compare = (
        "The new correction is better than none. Is it better than the earlier one? Run evaluate on other images with "
        f"both, {weights} and {corrected}, and compare NLL and ECE in the table of calibration"
    )
    return [earlier, compare if use else f"Keep {weights} as it is; do not use {corrected}"]


def _doubts(doubts: Sequence[str]) -> list[str]:
    return [f"But {doubt}." for doubt in doubts]


def _compared(row: Mapping[str, Any], other: str) -> str:
    low, high = row["gain_interval"]
    if low <= 0 <= high:
        return f"neither better nor worse than {other} beyond chance"
    return f"{'better' if low > 0 else 'worse'} than {other}"


def _by(row: Mapping[str, Any]) -> str:
    """The difference and its interval."""
    low, high = row["gain_interval"]
    word = "gain" if row["gain"] >= 0 else "loss"
    low, high = (low, high) if row["gain"] >= 0 else (-high, -low)
    return f" (a {word} of {abs(row['gain']):.3f}, 95 %: {low:.3f} to {high:.3f})"
