"""What a calibration comes to, in plain words: is the corrected sigma better, and should the corrected file be used."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import counted
from ..evaluation.regions import LEAST_IMAGES
from .doubts import LEAST_PEOPLE

_LEARN_SIGMA = "train the model longer, or on more images"


def find_verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a report comes to.

    The corrected sigma is better or worse where the 95 % bootstrap interval over images of the difference in
    likelihood does not hold 0. Where it does, the intervals decide: those nearer to their levels are better. Of too
    few images there is no such interval, and the uncorrected weights are kept.

    Args:
        report: of :func:`~.fit.calibrate`, with ``likelihood``, ``before``, ``after``, ``doubts``, ``remedies``,
            ``thresholds``, ``partial``, ``people``, ``files`` and ``corrected_before``.

    Returns:
        ``use``, whether the corrected weights are the better ones, and ``sentences``: why, the doubts, the advice,
        which is reserved where there are doubts or one constant sigma is better, and the flag of the demo that goes
        with these weights.
    """
    rows, doubts = report["likelihood"], [f"But {doubt}." for doubt in report["doubts"]]
    low, high = rows["before"]["gain_interval"]
    if math.isnan(low):
        return {"use": False, "sentences": [_unknown(report), *doubts, *_advice(report, False), *_threshold(report)]}
    nearer = report["after"]["all"]["ece"] < report["before"]["all"]["ece"]
    use = low > 0 or (high >= 0 and nearer)
    sentences = [_against_uncorrected(report), _against_constant(rows), _intervals(report)]
    remedies = list(report["remedies"])
    if _best_constant(rows)[1]["gain_interval"][1] < 0:
        remedies.append(_LEARN_SIGMA)
    advice = [*_advice(report, use, remedies), *_threshold(report, use)]
    return {"use": use, "sentences": [*sentences, *doubts, *advice]}


def _unknown(report: Mapping[str, Any]) -> str:
    """Where there are too few images for an interval."""
    rows, images = report["likelihood"], report["likelihood"]["before"]["images"]
    return (
        f"Only {counted(images, 'held-out image')} of {report['dataset']} {'has' if images == 1 else 'have'} matched "
        f"people, too few to say whether the corrected sigma is better: {rows['after']['nll']:.3f} nats a joint "
        f"against {rows['before']['nll']:.3f} of the uncorrected one, less is better. Give images with at least "
        f"{LEAST_IMAGES} such ones to report on."
    )


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
        return f"{text} So the model does not tell sure joints from unsure ones yet: {_LEARN_SIGMA}."
    return text if low > 0 else f"{text} So these images do not show that it tells sure joints from unsure ones."


def _intervals(report: Mapping[str, Any]) -> str:
    before, after = (report[key]["all"]["ece"] for key in ("before", "after"))
    text = f"Intervals miss their levels by {after:.1f} percentage points on average, by {before:.1f} without it."
    # Where the likelihood is within chance, the intervals decide.
    low, high = report["likelihood"]["before"]["gain_interval"]
    against = (low > 0 and after > before) or (high < 0 and after < before)
    return f"{text} Here the likelihood decides, which weighs each joint's own sigma." if against else text


def _advice(report: Mapping[str, Any], use: bool, remedies: Sequence[str] = ()) -> list[str]:
    """What to do.

    Args:
        report: see :func:`find_verdict`.
        use: the corrected weights are the better ones.
        remedies: what to do first where something speaks against relying on them.
    """
    weights, corrected = report["weights"], report["files"][2]
    if not report["corrected_before"]:
        if not use:
            return [f"Keep the uncorrected weights, {weights}; do not use {corrected}"]
        if remedies:
            return [
                f"So rely on neither sigma yet. First {'; '.join(dict.fromkeys(remedies))}; then calibrate again. "
                f"Until then the corrected weights are the better guess: MODEL.WEIGHTS {corrected}"
            ]
        return [f"Use the corrected weights: MODEL.WEIGHTS {corrected}"]
    earlier = f"{weights} has a correction already, which was left out here: uncorrected means without any."
    compare = (
        "The new correction is better than none. Is it better than the earlier one? Run evaluate on other images with "
        f"both, {weights} and {corrected}, and compare NLL and ECE in the table of calibration"
    )
    return [earlier, compare if use else f"Keep {weights} as it is; do not use {corrected}"]


def _threshold(report: Mapping[str, Any], use: bool = False) -> list[str]:
    """The flag of the demo that goes with the weights that are advised; none where no detection was right."""
    if not all(report["thresholds"].values()):
        return []
    before, after = (shown_threshold(report["thresholds"][key]["threshold"]) for key in ("before", "after"))
    own, other = (after, f"{before} before the correction") if use else (before, f"{after} after the correction")
    line = f"In the demo give --confidence-threshold {own}, the score with the best F1 with these weights ({other})"
    people = report["people"]["held_out"]
    if report["partial"]:
        line += ". It is too high, because people who are found and have no label (partial: True) count as wrong"
    if people < LEAST_PEOPLE:
        line += f". It is a rough guess, from {counted(people, 'person', 'people')}"
    return [line]


def shown_threshold(score: float) -> str:
    """A threshold with two digits, rounded down, so that it keeps what the exact one keeps.

    Args:
        score: in [0, 1].
    """
    return f"{math.floor(100 * score) / 100:.2f}"


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
