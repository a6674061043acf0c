"""The comparison as a plot: what intervals and ellipses hold against what they promise, and AP under both scores."""

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rle_onestage.evaluation.regions import REPORTED
from rle_onestage.utils.fonts import families_for
from rle_onestage.utils.output_files import write_bytes

# Okabe and Ito's colours, which colour-blind people can tell apart; solid for ours, dashed for the peers'.
_STYLES = {
    "rle": ("#0072B2", "-"), "rle_student": ("#009E73", "-"), "student": ("#56B4E9", "-"),
    "laplace": ("#E69F00", "-"), "gaussian": ("#999999", "-"), "gaussian_matrix": ("#000000", "-"),
    "rf_detr": ("#D55E00", "--"), "rf_detr_published": ("#D55E00", ":"), "rle_released": ("#CC79A7", "--"),
    "yolo26": ("#8B6914", "--"),
}  # fmt: skip


def draw_report(report: dict[str, Any], path: str) -> None:
    """Write the plot, a row of four panels for each set.

    Args:
        report: dict set -> what :func:`~.comparison.compare_set` gives.
        path: of a PNG file.

    Raises:
        MediaError: it cannot be written.
    """
    with rc_context({"font.family": families_for(report)}):
        figure = Figure(figsize=(17, 3.9 * len(report) + 0.8), layout="constrained")
        axes = figure.subplots(len(report), 4, squeeze=False)
        for line, (name, found) in zip(axes, report.items()):
            for axis, kind, prefix in zip(line, ("coverage", "ellipse", "ellipse"), ("", "", "corrected_")):
                _coverage(axis, found["rows"], kind, prefix)
            line[0].set_ylabel(f"{name}\nheld minus promised, %")
            line[0].set_title("intervals")
            line[1].set_title("ellipses")
            line[2].set_title("ellipses, after one factor")
            _precision(line[3], found["rows"])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        content = io.BytesIO()
        figure.savefig(content, dpi=130, format="png")
    write_bytes(path, content.getvalue())


def _coverage(axis: Axes, rows: dict[str, Any], kind: str, prefix: str) -> None:
    levels = [100 * level for level in REPORTED]
    for rule, row in rows.items():
        colour, dash = _STYLES.get(rule, ("#444444", "-"))
        held = [row["mean"].get(f"{prefix}{kind}_{level:g}", float("nan")) - level for level in levels]
        axis.plot(levels, held, dash, color=colour, marker="o", markersize=3, linewidth=1.4, label=rule)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(levels)
    axis.set_xlabel("promised, %")
    axis.spines[["top", "right"]].set_visible(False)


def _precision(axis: Axes, rows: dict[str, Any]) -> None:
    for place, (rule, row) in enumerate(reversed(rows.items())):
        colour, _ = _STYLES.get(rule, ("#444444", "-"))
        person, own = row["mean"]["person_AP"], row["mean"]["own_AP"]
        axis.plot([person, own], [place, place], color=colour, linewidth=1.4)
        axis.plot(person, place, "o", color=colour, markerfacecolor="white")
        axis.plot(own, place, "o", color=colour)
    axis.set_yticks(range(len(rows)), list(reversed(rows)))
    axis.set_xlabel("AP: hollow person score, solid own score")
    axis.spines[["top", "right"]].set_visible(False)
