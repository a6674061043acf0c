"""Plots of the probabilities of joints: of being in the image at all (presence), and of being visible."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..evaluation.probabilities import KINDS

_STYLES = {"presence": ("o", "-", "#0072B2"), "visibility": ("s", "--", "#D55E00")}  # Okabe and Ito's blue and red
_MANY = 10  # joints of a bin that the line goes through; fewer say little


def draw_probabilities(reliability: Axes, areas: Axes, report: Mapping[str, Any]) -> None:
    """Draw how often what is said of joints is true, and how well it tells joints apart.

    Args:
        reliability: the axes of the share of true joints against what is said, a mark for each bin with its number of
            joints as area.
        areas: those of the area under the ROC curve by joint.
        report: with ``probabilities`` and ``probability_bins``, see :func:`rle_onestage.calibration.fit.calibrate`.
    """
    table, bins = report["probabilities"], report["probability_bins"]
    kinds = [kind for kind in KINDS if kind in bins and sum(bins[kind]["joints"])]
    if not kinds:
        for axis in (reliability, areas):
            axis.axis("off")
            axis.set_title("The labels do not tell\nwhich joints are absent or hidden")
        return
    reliability.plot([0, 100], [0, 100], color="#777777", lw=1, ls=":")
    for kind in kinds:
        _curve(reliability, kind, bins[kind], table["all"][f"{kind}_ece"])
    reliability.set(
        title=f"Is it true? {' and '.join(kinds).capitalize()}",
        xlabel="probability that is said (%)", ylabel="joints of which it is true (%)",
        xlim=(-3, 103), ylim=(-3, 103), aspect="equal",
    )  # fmt: skip
    reliability.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
    _areas(areas, kinds, table)


def _curve(axis: Axes, kind: str, bins: Mapping[str, list[float]], error: float) -> None:
    marker, line, color = _STYLES[kind]
    joints = np.array(bins["joints"])
    said, true = (100 * np.array(bins[key]) for key in ("said", "true"))
    many, some = joints >= _MANY, joints > 0
    axis.plot(said[many], true[many], line, color=color, lw=1)
    axis.scatter(
        said[some], true[some], s=12 + 100 * joints[some] / joints.max(), marker=marker, color=color, alpha=0.7,
        label=f"{kind}: error {error:.1f} %",
    )  # fmt: skip


def _areas(axis: Axes, kinds: list[str], table: Mapping[str, Mapping[str, float]]) -> None:
    names = list(table)
    for kind in kinds:
        marker, _, color = _STYLES[kind]
        label = f"{kind}: {table['all'][f'{kind}_auc']:.2f}"
        values = [table[name][f"{kind}_auc"] for name in names]
        axis.plot(values, range(len(names)), marker, color=color, ls="none", ms=5, label=label)
    axis.axvline(0.5, color="#777777", lw=1, ls=":")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set_ylim(len(names) - 0.3, -0.7)
    axis.set(title="Are joints told apart?", xlabel="area under the ROC curve (0.5: by chance)", xlim=(0.4, 1.02))
    axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
