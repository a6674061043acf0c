"""The page of the known-density test bed: learned densities over the true ones, reported sigma against the true."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from synthetic_people.noise import NOISE_MODELS

from rle_onestage.errors import MediaError
from rle_onestage.utils.output_files import write_bytes

from .experiment import GRID

Cases = dict[tuple[str, str], dict[str, Any]]  # (noise model, loss) -> case

# Okabe and Ito's colours, which colour-blind people can tell apart.
DRAWN = {"laplace": "#E69F00", "rle": "#0072B2", "rle_released": "#CC79A7"}
_TITLES = {
    "laplace": "Laplace",
    "gaussian": "Gaussian",
    "correlated": "Gaussian, correlated",
    "asymmetric": "asymmetric Laplace, 2:1",
    "two_peaked": "two peaks",
    "student": "Student t, 4 d.o.f.",
}
_SHARES = (0.9, 0.5)  # of the true probability within the contours
_LIMIT = 3.2  # of the densities' axes, in true standard deviations


def draw_page(path: str, cases: Sequence[dict[str, Any]]) -> None:
    """Write the page: a row for each noise model with what ``laplace``, ``rle`` and ``rle_released`` report.

    Above each stand its negative log-likelihood less the entropy, and its standard deviation in true ones.

    Args:
        path: image file, by its ending.
        cases: of :func:`~.experiment.run_all`.

    Raises:
        MediaError: the file cannot be written.
    """
    found = {(case["noise_model"], case["loss"]): case for case in cases}
    names = [name for name in NOISE_MODELS if any(case["noise_model"] == name for case in cases)]
    figure = Figure(figsize=(17, 2.75 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots(len(names), 6, squeeze=False)
    for row, name in zip(axes, names):
        truth = _true_density(name)
        for axis, loss in zip(row, DRAWN):
            _heat(axis, truth, found.get((name, loss)))
        row[0].set_ylabel(_TITLES[name], fontsize=12)
        for axis, along in zip(row[3:5], (0, 1)):
            _marginals(axis, truth, found, name, along)
        _sigmas(row[5], found, name)
    titles = (*DRAWN, "density of x", "density of y", "reported sigma (px)")
    for axis, title in zip(axes[0], titles):
        axis.set_title(title if not axis.get_title() else f"{title}\n{axis.get_title()}", fontsize=11)
    for axis in axes[-1, :5]:
        axis.set_xlabel("error, true standard deviations")
    axes[-1, 5].set_xlabel("true standard deviation (px)")
    handles = [Line2D([], [], color="black", ls="--", label="true (contours: its 50 and 90 % regions)")]
    handles += [Line2D([], [], color=color, label=loss) for loss, color in DRAWN.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=11)
    _write(figure, path)


def _true_density(name: str) -> np.ndarray:
    """(n, n) on the grid, x first."""
    return np.exp(NOISE_MODELS[name].log_prob(np.stack(np.meshgrid(GRID, GRID, indexing="ij"), -1)))


def _levels(density: np.ndarray) -> list[float]:
    """Values of the density on the borders of the most likely regions that hold ``_SHARES``."""
    ordered = np.sort(density.ravel())[::-1]
    share = ordered.cumsum() * (GRID[1] - GRID[0]) ** 2
    return [ordered[np.searchsorted(share, s)] for s in _SHARES]


def _heat(axis: Axes, truth: np.ndarray, case: dict[str, Any] | None) -> None:
    """The reported density in colours, the true one in contours."""
    if case is None:
        axis.axis("off")
        return
    half = (GRID[1] - GRID[0]) / 2
    extent = (GRID[0] - half, GRID[-1] + half) * 2
    learned = np.array(case["density"])
    # The root shows the flanks beside the peak; all panels of a row have one scale.
    axis.imshow(np.sqrt(learned.T), origin="lower", extent=extent, cmap="Blues", vmin=0, vmax=np.sqrt(truth.max()))
    axis.contour(GRID, GRID, truth.T, levels=_levels(truth), colors="black", linewidths=1, linestyles="--")
    axis.set(xlim=(-_LIMIT, _LIMIT), ylim=(-_LIMIT, _LIMIT), aspect="equal")
    axis.set_title(f"{case['excess']:+.3f} nats, sigma x {case['sigma_ratio']:.2f}", fontsize=10)


def _marginals(axis: Axes, truth: np.ndarray, found: Cases, name: str, along: int) -> None:
    """Densities along one coordinate; both sums run over the grid, so that they miss the same tails."""
    step = GRID[1] - GRID[0]
    for loss, color in DRAWN.items():
        if (name, loss) in found:
            axis.plot(GRID, np.array(found[name, loss]["density"]).sum(1 - along) * step, color=color, lw=1.8)
    axis.plot(GRID, truth.sum(1 - along) * step, color="black", ls="--", lw=1)
    axis.set(xlim=(-_LIMIT, _LIMIT), ylim=(0, None), yticks=[])
    axis.spines[["top", "right", "left"]].set_visible(False)


def _sigmas(axis: Axes, found: Cases, name: str) -> None:
    """Reported against true standard deviation, in tenths of the latter."""
    for loss, color in DRAWN.items():
        if (name, loss) in found:
            bins = found[name, loss]["bins"]
            axis.plot([b["true"] for b in bins], [b["reported"] for b in bins], "o-", ms=3, lw=1.4, color=color)
    axis.axline((1, 1), (2, 2), color="black", ls="--", lw=1)
    axis.set(xscale="log", yscale="log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter("{x:g}")
    axis.spines[["top", "right"]].set_visible(False)


def _write(figure: Figure, path: str) -> None:
    try:
        content = io.BytesIO()
        figure.savefig(content, dpi=100, format=os.path.splitext(path)[1][1:] or "png")
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another output") from error
