"""The comparison as Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rle_onestage.evaluation.seed_report import format_differences
from rle_onestage.utils.tables import table_text

from . import paper
from .measures import COVERAGE, SHARES
from .trained import LOSSES, REPEATED, SENSITIVITY

_PCK = tuple(f"PCK_{100 * share:.0f}" for share in SHARES)
_DIGITS = {"nats": 2, "r_person": 3, "r_joint": 3}
_DIFFERENCES = {
    "AP": "AP", "OKS": "OKS", "nats": "nats a joint", "r_person": "r of score and OKS", "r_joint": "r, joints",
}  # fmt: skip


def planned(losses: Sequence[str]) -> int:
    """Trainings of a table, finished or not."""
    return sum([3 if loss in REPEATED else 1 for loss in losses])


def format_report(report: Mapping[str, Any]) -> str:
    """What :func:`~.comparison.compare_set` gives of each set, as a page.

    Args:
        report: dict set -> comparison.
    """
    parts = ["# The paper's losses under given boxes"]
    for name, found in report.items():
        rows = found["rows"]
        main = [loss for loss in LOSSES if loss in rows]
        parts += [f"## {name}", _finished(rows, LOSSES), _figures(rows, main), _honesty(rows, main)]
        others = [loss for loss in SENSITIVITY if loss in rows]
        if others:
            shown = [loss for loss in ("rle_student", "rle") if loss in rows] + others
            parts += ["No flow, and other sizes of it (couplings x width; `rle` has 6 x 64):", _figures(rows, shown)]
        if found["baseline"] not in rows:
            parts.append(f"There is no training of `{found['baseline']}` here, from which the others would differ.")
        parts += format_differences(found, found["baseline"], _DIFFERENCES, lambda metric: _DIGITS.get(metric, 1))
    return "\n\n".join(parts) + "\n"


def _finished(rows: Mapping[str, Any], losses: Sequence[str]) -> str:
    done, all_of_them = sum([len(rows[loss]["seeds"]) for loss in losses if loss in rows]), planned(losses)
    state = "finished" if done >= all_of_them else "**unfinished**"
    return f"This table is {state}: {done} of {all_of_them} trainings. Means over seeds, with standard deviations."


def _figures(rows: Mapping[str, Any], losses: Sequence[str]) -> str:
    keys = ("AP", "AP50", "AP75", "OKS", "median_relative", *_PCK)
    head = ["", "seeds", "the paper's AP", "AP", "AP50", "AP75", "OKS", "median error, % of size",
            *(f"PCK@{share}" for share in SHARES)]  # fmt: skip
    body = []
    for loss in losses:
        told = paper.AP.get(loss)
        cells = [_number(rows[loss], key) for key in keys]
        body.append([f"`{loss}`", len(rows[loss]["seeds"]), "-" if told is None else f"{told:.1f}", *cells])
    return table_text(body, head)


def _honesty(rows: Mapping[str, Any], losses: Sequence[str]) -> str:
    levels = ", ".join(key.removeprefix("coverage_") for key in COVERAGE)
    head = ["", "nats a joint", f"intervals of {levels} % hold", "r of score and OKS", "the paper's",
            "r of a joint's confidence and OKS"]  # fmt: skip
    body = []
    for loss in losses:
        row, told = rows[loss], paper.CORRELATION.get(loss)
        coverage = ", ".join(f"{row['mean'][key]:.1f}" for key in COVERAGE if key in row["mean"])
        body.append([f"`{loss}`", _number(row, "nats"), coverage or "-", _number(row, "r_person"),
                     "-" if told is None else f"{told:.3f}", _number(row, "r_joint")])  # fmt: skip
    return table_text(body, head)


def _number(row: Mapping[str, Any], key: str) -> str:
    value, digits = row["mean"].get(key), _DIGITS.get(key, 1)
    if value is None or not math.isfinite(value):
        return "-"
    spread = row["sd"].get(key)
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
