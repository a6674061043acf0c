"""The comparison as a plot: a point for each seed under both scores, and their means."""

import io
import os
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rle_onestage.errors import MediaError
from rle_onestage.utils.fonts import families_for
from rle_onestage.utils.output_files import write_bytes

# Okabe and Ito's colours, which colour-blind people can tell apart.
OWN, CLASS, GREY = "#0072B2", "#E69F00", "#BBBBBB"
_SERIES = (("AP", OWN, "own score", -0.14), ("class_AP", CLASS, "class score alone", 0.14))


def draw_comparison(comparison: dict, path: str) -> None:
    """Write the plot: a panel for each data set.

    Args:
        comparison: see :func:`~.report.compare`.
        path: image file, by its ending.

    Raises:
        MediaError: the file cannot be written.
    """
    with rc_context({"font.family": families_for(comparison["sets"])}):  # named by the user, in any script
        _draw(comparison["sets"], path)


def _draw(sets: dict[str, dict[str, Any]], path: str) -> None:
    columns = max(len(found["rows"]) for found in sets.values())
    figure = Figure(figsize=(max(4.5, 1.5 * columns + 1.0) * len(sets), 4.2), layout="constrained")
    for axis, (dataset, found) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets.items()):
        _panel(axis, dataset, found["rows"])
    figure.axes[0].set_ylabel("keypoint AP")
    handles = [Line2D([], [], color=c, marker="o", linestyle="", label=label) for _, c, label, _ in _SERIES]
    handles.append(Line2D([], [], color="black", linewidth=2, label="mean over seeds"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    try:
        content = io.BytesIO()
        figure.savefig(content, dpi=150, format=os.path.splitext(path)[1][1:] or "png")
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another --output") from error


def _panel(axis: Axes, dataset: str, rows: dict) -> None:
    seeds = sorted({seed for row in rows.values() for seed in row["seeds"]})
    places = {name: place for place, name in enumerate(rows)}
    for key, colour, _, shift in _SERIES:
        spread = {seed: shift + 0.04 * (i - (len(seeds) - 1) / 2) for i, seed in enumerate(seeds)}
        for seed in seeds:
            # The same seed from loss to loss: what the paired differences compare.
            line = [(places[n] + spread[seed], r["seeds"][seed][key]) for n, r in rows.items() if _has(r, seed, key)]
            if line:
                x, y = zip(*line)
                axis.plot(x, y, color=colour, alpha=0.25, linewidth=0.8, zorder=1)
                axis.scatter(x, y, color=colour, s=22, linewidths=0, alpha=0.9, zorder=3)
        for name, row in rows.items():
            if key in row["mean"]:
                middle, centre = row["mean"][key], places[name] + shift
                axis.hlines(middle, centre - 0.1, centre + 0.1, color="black", linewidth=2, zorder=4)
                side = -1 if shift < 0 else 1
                axis.annotate(
                    f"{middle:.1f}", (centre + 0.1 * side, middle), (3 * side, 0), textcoords="offset points",
                    ha="right" if side < 0 else "left", va="center", fontsize=8, zorder=5,
                )  # fmt: skip
    axis.set_xticks(list(places.values()), [name.replace("_", "\n", 1) for name in places])
    axis.set_xlim(-0.6, len(places) - 0.4)
    axis.margins(y=0.15)
    axis.set_title(dataset, fontsize=10)
    axis.grid(axis="y", color=GREY, alpha=0.4, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _has(row: dict[str, dict], seed: int, key: str) -> bool:
    return row["seeds"].get(seed, {}).get(key) is not None
