"""A page of plots of a calibration: do intervals, regions and probabilities hold what they say, do sigma and the score
follow the error?"""

import io
import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullLocator

from ..errors import MediaError, counted
from ..evaluation.calibration import has_std, pearson, row_label
from ..evaluation.per_joint import Matches, person_oks
from ..evaluation.regions import KINDS, SHORT, reported_key
from ..structures import ErrorDensity
from ..structures.covariance import ellipse_axes
from ..utils.fonts import families_for
from ..utils.output_files import write_bytes
from .probability_plots import draw_probabilities

# Okabe and Ito's colours, which colour-blind people can tell apart.
BEFORE, AFTER, HIDDEN, GREY = "#D55E00", "#0072B2", "#CC79A7", "#777777"
ERRORS = "#444444"
_COUNTS = LinearSegmentedColormap.from_list("counts", ["#B9D3E8", "#08306B"])  # one person can be seen on white
BASELINE = "person probability"  # the score that others are compared with, in the report
Halves = Mapping[str, tuple[Matches, ErrorDensity]]  # ``before`` and ``after`` the correction
GROUPS = ("all", "visible", "hidden", "small", "medium", "large")
_LEVELS = (0.5, 0.9)  # of which the coverage by joint is drawn; all are in the report
_BINS = 10  # of equal counts, of predicted sigma
_REACH = 4.0  # standard deviations that the plot of the density shows to each side
_SHARES = (0.95, 0.8, 0.5)  # of the probability within the contours
_WIDTH, _ROW = 16.0, 5.4  # inches: of the page, and the height of a row of plots


def draw_page(path: str, report: Mapping[str, Any], halves: Halves, oks_sigmas: np.ndarray) -> None:
    """Write the page.

    Args:
        path: image file, by its ending.
        report: see :func:`rle_onestage.calibration.fit.calibrate`.
        halves: ``before`` and ``after`` the correction, of the same held-out images.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Raises:
        MediaError: the file cannot be written.
    """
    with rc_context({"font.family": families_for([report["dataset"], *report["after"]])}):  # sets and joints
        _draw(path, report, halves, oks_sigmas)


def _draw(path: str, report: Mapping[str, Any], halves: Halves, oks_sigmas: np.ndarray) -> None:
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, wspace=0.02, hspace=0.03)
    figure = Figure(figsize=(_WIDTH, _height(len(report["after"]))), layout=layout)
    axes = figure.subplots(3, 3, height_ratios=[_height(len(report["after"])) - 2 * _ROW, _ROW, _ROW])
    matches, density = halves["after"]
    for axis, kind in zip(axes[0], ("coverage", "ellipse")):
        _coverage(axis, report, kind)
    draw_probabilities(axes[1, 2], axes[0, 2], report)
    _reliability(axes[1, 0], report)
    _sigma_against_error(axes[1, 1], halves)
    _density(axes[2, 0], matches, density)
    _score_against_oks(axes[2, 1], matches, oks_sigmas)
    _scores(axes[2, 2], report["scores"])
    for number, axis in enumerate(axes.flat):
        axis.spines[["top", "right"]].set_visible(False)
        title, pad = axis.get_title(), 34 if axis is axes[2, 0] else None  # above its margin
        axis.set_title("")
        axis.set_title(f"{chr(ord('a') + number)}   {title}", loc="left", pad=pad)
    images, people, joints = (report[what]["held_out"] for what in ("images", "people", "joints"))
    figure.suptitle(
        f"{report['dataset']}: {counted(images, 'held-out image')}, "
        f"{counted(people, 'matched person', 'matched people')}, {counted(joints, 'labelled joint')}"
    )
    _write(figure, path)


def _write(figure: Figure, path: str) -> None:
    try:
        content = io.BytesIO()
        figure.savefig(content, dpi=110, format=os.path.splitext(path)[1][1:] or "png")
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another output") from error


def _reliability(axis: Axes, report: Mapping[str, Any]) -> None:
    """Coverage against the level of the interval or region."""
    found = report["reliability"]
    levels = 100 * np.array([0.0, *found["levels"], 1.0])
    axis.plot([0, 100], [0, 100], color=GREY, lw=1, ls=":")
    for kind, style in (("coverage", "o-"), ("ellipse", "--"), ("hdr", ":")):
        curves = found if kind == "coverage" else found[kind]
        for key, color in (("before", BEFORE), ("after", AFTER)):
            if key in curves and np.isfinite(curves[key]).all():
                covered = 100 * np.array([0.0, *curves[key], 1.0])
                error = np.abs(covered - levels)[1:-1].mean()
                label = f"{SHORT[kind]}, {key}: {error:.1f} %"
                axis.plot(levels, covered, style, ms=3, color=color, label=label)
    axis.set(title="Reliability and its mean error", xlabel="level (%)", ylabel="coordinates or joints within (%)")
    axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    _below(axis, ncol=2)  # for curves may bend either way


def _coverage(axis: Axes, report: Mapping[str, Any], kind: str) -> None:
    """Coverage of intervals or regions in each group, and below of each joint; a ring before, a smaller dot after, so
    that both are seen where they meet."""
    names = [*GROUPS, *(name for name in report["after"] if name not in GROUPS)]
    places = np.arange(len(names), dtype=float) + 0.7 * (np.arange(len(names)) >= len(GROUPS))
    for level in _LEVELS:
        axis.axvline(100 * level, color=GREY, lw=1, ls=":")
        ends = [[report[key][name][reported_key(kind, level)] for name in names] for key in ("before", "after")]
        axis.hlines(places, ends[0], ends[1], color=GREY, lw=1, alpha=0.6)
        looks: tuple[dict[str, Any], ...] = (
            {"ms": 8, "mfc": "none", "mec": BEFORE},
            {"ms": 4.5, "mfc": AFTER, "mec": AFTER},
        )
        for values, key, look in zip(ends, ("before", "after"), looks):
            label = f"{key} the correction" if level == _LEVELS[0] else None
            axis.plot(values, places, "o", mew=1.4, label=label, **look)
    rows = [report["after"][name] for name in names]
    labels = [f"{row_label(name, row).replace('_', ' ')}: {row['joints']}" for name, row in zip(names, rows)]
    axis.set_yticks(places, labels)
    axis.set_xticks([100 * level for level in _LEVELS])
    axis.set_ylim(places[-1] + 0.7, -0.7)
    levels = " and ".join(f"{100 * level:g}" for level in _LEVELS)
    what = "coordinates of labelled joints within (%)" if kind == "coverage" else "labelled joints within (%)"
    axis.set(title=f"Coverage of {KINDS[kind]} of {levels} %", xlabel=what)
    _below(axis, ncol=2)  # for points are everywhere within


def _sigma_against_error(axis: Axes, halves: Halves) -> None:
    """Root mean square error of joints in bins of predicted sigma."""
    limits: list[float] = []
    for key, color in (("before", BEFORE), ("after", AFTER)):
        matches = halves[key][0]
        if not has_std(matches):
            continue
        for flag, name, style in ((2, "visible", "o-"), (1, "hidden", "s--")):
            chosen = matches.visibility == flag
            binned = _binned(matches.std[chosen], (matches.joints - matches.predicted)[chosen])
            if binned is not None:
                fill = color if key == "after" else "none"
                axis.plot(*binned, style, ms=4, lw=1, color=color, mfc=fill, label=f"{name}, {key}")
                limits += [binned.min(), binned.max()]
    if limits:
        low, high = min(limits) / 1.3, max(limits) * 1.3
        axis.plot([low, high], [low, high], color=GREY, lw=1, ls=":")
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(subs=(1, 2, 5)))
            side.set_major_formatter("{x:g}")
            side.set_minor_locator(NullLocator())
    axis.set(title="Sigma against error", xlabel="predicted sigma (px)", ylabel="rms error of a coordinate (px)")
    _below(axis, ncol=2)  # for hidden joints often lie far above


def _binned(sigma: np.ndarray, error: np.ndarray) -> np.ndarray | None:
    """Root mean squares of sigma and of the error (2, bins), over bins of joints (n, 2) with equal counts.

    None where there are too few joints for a bin.
    """
    sigma2, error2 = (sigma**2).mean(1), (error**2).mean(1)
    count = min(_BINS, len(sigma2) // 20)
    if not count:
        return None
    parts = np.array_split(np.argsort(sigma2), count)
    return np.sqrt([[v[part].mean() for part in parts] for v in (sigma2, error2)])


def _density(axis: Axes, matches: Matches, density: ErrorDensity) -> None:
    """Contours and marginals of the learned density, the mean one over joints, beside the standardised errors."""
    places = torch.linspace(-_REACH, _REACH, 161)
    grid = torch.cartesian_prod(places, places)[:, None].expand(-1, len(density.group), -1)
    values = torch.exp(density.log_q(grid)).mean(1).view(161, 161).double().numpy()  # x first
    x = places.double().numpy()
    axis.contour(x, x, values.T, levels=_contour_levels(values), colors=[AFTER], linewidths=[0.8, 1.2, 1.8])
    axis.axhline(0, color=GREY, lw=0.5)
    axis.axvline(0, color=GREY, lw=0.5)
    _ellipses(axis, density)
    z = np.zeros((0, 2))
    if has_std(matches):
        z = ((matches.joints - matches.predicted) / matches.std)[matches.visibility > 0]
        shown = z[(np.abs(z) < _REACH).all(1)]
        some = shown[:: max(1, len(shown) // 3000)]
        size, alpha = (3, 0.5) if len(some) > 500 else (9, 0.9)
        axis.scatter(some[:, 0], some[:, 1], s=size, lw=0, color=ERRORS, alpha=alpha, rasterized=True)
    step = x[1] - x[0]
    _marginal(axis.inset_axes((0, 1, 1, 0.12), sharex=axis), x, values.sum(1) * step, z[:, 0], "vertical")
    _marginal(axis.inset_axes((1, 0, 0.12, 1), sharey=axis), x, values.sum(0) * step, z[:, 1], "horizontal")
    axis.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), aspect="equal")
    axis.set(xlabel="error of x / sigma", ylabel="error of y / sigma  (y down)")
    axis.invert_yaxis()
    shares = ", ".join(f"{100 * s:g}" for s in reversed(_SHARES))
    axis.set_title(f"Density, ellipses (dashed): {shares} %")


def _ellipses(axis: Axes, density: ErrorDensity) -> None:
    """The ellipses that hold the shares under the learned density, of the mean covariance over joints."""
    correlation = float(density.correlation[density.group].mean())
    a, b, angle = ellipse_axes(np.array([[1.0, correlation], [correlation, 1.0]]))
    turn = np.linspace(0, 2 * np.pi, 121)
    x, y = a * np.cos(turn), b * np.sin(turn)
    for share in _SHARES:
        radius = float(density.ellipse_radius(share).mean())
        cos, sin = radius * np.cos(angle), radius * np.sin(angle)
        axis.plot(cos * x - sin * y, sin * x + cos * y, "--", color=HIDDEN, lw=1)


def _marginal(
    axis: Axes, x: np.ndarray, density: np.ndarray, z: np.ndarray, orientation: Literal["vertical", "horizontal"]
) -> None:
    """The density (n,) of one coordinate at ``x`` (n,), over the histogram of the standardised errors ``z``."""
    axis.plot(*((x, density) if orientation == "vertical" else (density, x)), color=AFTER, lw=1.5)
    if len(z):
        weights = np.full(len(z), 1 / (len(z) * 0.2))  # also of what is outside the plot
        bins = np.arange(-_REACH, _REACH + 0.1, 0.2).tolist()
        axis.hist(z, bins=bins, weights=weights, color=GREY, alpha=0.5, orientation=orientation)
    axis.axis("off")
    axis.set_in_layout(False)  # else the row above would keep its distance


def _contour_levels(values: np.ndarray) -> list[float]:
    """Heights above which lie the shares of the probability."""
    ordered = np.sort(values.ravel())[::-1]
    below = np.cumsum(ordered) / ordered.sum()
    levels = sorted({float(ordered[np.searchsorted(below, share)]) for share in _SHARES})
    return levels or [0.5]


def _score_against_oks(axis: Axes, matches: Matches, oks_sigmas: np.ndarray) -> None:
    """Where people lie by score and OKS."""
    oks = person_oks(matches, oks_sigmas.tolist())
    axis.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
    if len(oks):
        axis.hexbin(
            matches.score, oks, gridsize=28, extent=(0, 1, 0, 1), bins="log", mincnt=1, cmap=_COUNTS, linewidths=0.1
        )
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="score of a person (dark: many people)", ylabel="its OKS")
    axis.set_title(f"Score against OKS, r {pearson(matches.score, oks):.2f}")


def _scores(axis: Axes, table: Mapping[str, Mapping[str, Any]]) -> None:
    """How much AP each score gains over that of the score branch alone."""
    others = ((name, row) for name, row in table.items() if name != BASELINE)
    names = [name for name, row in others if any([row["difference"], *row["difference_interval"]])]
    for place, name in enumerate(names):
        row = table[name]
        low, high = row["difference_interval"]
        axis.plot([low, high], [place, place], color=AFTER, lw=2)
        axis.plot(row["difference"], place, "o", color=AFTER)
        label = f"AP {row['AP']:.1f}, r {row['pearson']:.2f}"
        axis.annotate(label, (row["difference"], place), xytext=(0, 8), textcoords="offset points", ha="center")
    axis.axvline(0, color=GREY, lw=1, ls=":")
    axis.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    axis.set_ylim(len(names) - 0.5, -0.7)
    alone = table[BASELINE]
    axis.set_title("AP by score, 95 % intervals")
    axis.set_xlabel(f"over {BASELINE}: AP {alone['AP']:.1f}, r {alone['pearson']:.2f}")


def _height(rows: int) -> float:
    """Inches of the page, whose first row has a line for each group and joint."""
    return 2 * _ROW + max(_ROW, 1.6 + 0.22 * rows)


def _below(axis: Axes, **options: Any) -> None:
    """A legend below the axes, where it lies over nothing."""
    _legend(axis, loc="upper center", bbox_to_anchor=(0.5, -0.14), **options)


def _legend(axis: Axes, **options: Any) -> None:
    """A legend, if anything has a label."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=9, **options)
