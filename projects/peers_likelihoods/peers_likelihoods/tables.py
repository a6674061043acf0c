"""The comparison as Markdown."""

import math
from typing import Any

from rle_onestage.evaluation.regions import REPORTED
from rle_onestage.evaluation.seed_report import format_differences
from rle_onestage.utils.tables import table_text

_LEVELS = [f"{100 * level:g}" for level in REPORTED]
_NAMES = {
    "own_AP": "AP, own score", "person_AP": "AP, person score", "nats": "nats a joint",
    "corrected_nats": "nats after one factor", "spearman": "rank correlation",
}  # fmt: skip


def format_report(report: dict[str, Any]) -> str:
    """What :func:`~.comparison.compare_set` gives of each set, as a page.

    Args:
        report: dict set -> comparison.
    """
    parts = ["# The peers' rules on one network"]
    for name, found in report.items():
        rows = found["rows"]
        parts += [f"## {name}", _figures(rows), _coverage(rows)]
        if any("track_IDF1" in row["mean"] for row in rows.values()):
            parts += [f"Tracks of seed {found['first_seed']}, each with its own sigmas; jitter and error in percent of "
                      "the person's size; error/sigma is 1 where sigmas are honest:", _tracks(rows)]  # fmt: skip
        parts += format_differences(found, "rle", _NAMES, lambda metric: 1 if metric.endswith("AP") else 2)
    return "\n\n".join(parts) + "\n"


def _figures(rows: dict[str, dict[str, Any]]) -> str:
    head = ["", "seeds", "AP, person score", "AP, own score", "nats a joint", "factor", "nats after it",
            "rank correlation of sigma and error"]  # fmt: skip
    body = [
        [f"`{rule}`", len(row["seeds"]), _number(row, "person_AP", 1), _number(row, "own_AP", 1),
         _number(row, "nats", 2), _number(row, "factor", 2), _number(row, "corrected_nats", 2),
         _number(row, "spearman", 3)]
        for rule, row in rows.items()
    ]  # fmt: skip
    return table_text(body, head)


def _coverage(rows: dict[str, dict[str, Any]]) -> str:
    levels = f"{', '.join(_LEVELS)} %"
    head = ["", f"intervals of {levels} hold", "after one factor", f"ellipses of {levels} hold", "after one factor"]
    body = []
    for rule, row in rows.items():
        cells = []
        for kind in ("coverage", "ellipse"):
            for prefix in ("", "corrected_"):
                cells.append(", ".join(_number(row, f"{prefix}{kind}_{level}", 1) for level in _LEVELS))
        body.append([f"`{rule}`", *cells])
    return table_text(body, head)


def _tracks(rows: dict[str, dict[str, Any]]) -> str:
    keys = {"IDF1": 1, "IDSW": 0, "error": 1, "jitter": 2, "raw_jitter": 2, "error/sigma": 2}
    head = ["", "IDF1", "IDSW", "error", "jitter", "jitter without a filter", "error/sigma"]
    body = [[f"`{rule}`", *(_number(row, f"track_{key}", d) for key, d in keys.items())] for rule, row in rows.items()]
    return table_text(body, head)


def _number(row: dict[str, Any], key: str, digits: int) -> str:
    value = row["mean"].get(key)
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
