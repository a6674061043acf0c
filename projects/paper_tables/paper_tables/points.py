"""What other points of the learned density would reach than its mean, which is reported."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch

from rle_onestage.evaluation import match_people
from rle_onestage.evaluation.per_joint import person_oks
from rle_onestage.evaluation.ranking import Ranking
from rle_onestage.evaluation.results import Result
from rle_onestage.structures.error_density import ErrorDensity

from .trained import Trained

REACH, STEP = 6.0, 0.1  # of the grid of errors, in standard deviations about the mean
FAR = 1.5  # of the points that are tried
BINS = np.geomspace(0.02, 5.0, 24)  # standard deviations over the width of the OKS


def grid_of(reach: float) -> torch.Tensor:
    """Positions from ``-reach`` to ``reach``, 0 among them."""
    steps = round(reach / STEP)
    return STEP * torch.arange(-steps, steps + 1, dtype=torch.float64)


def probabilities(density: ErrorDensity) -> torch.Tensor:
    """(K, X, Y) of the cells of the grid about the mean."""
    axis = grid_of(REACH)
    cells = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)  # (X, Y, 2)
    joints = len(density.group)
    log_q = density.log_q(cells[:, :, None].expand(-1, -1, joints, -1)).double().movedim(-1, 0)
    return torch.softmax(log_q.flatten(1), 1).view_as(log_q)


def fixed_points(mass: torch.Tensor) -> dict[str, torch.Tensor]:
    """(K, 2) from the mean, in standard deviations: ``median`` of each coordinate, and ``mode``.

    Args:
        mass: see :func:`probabilities`.
    """
    axis = grid_of(REACH)
    marginals = torch.stack([mass.sum(2), mass.sum(1)], 1)  # (K, 2, X)
    median = axis[(marginals.cumsum(-1) < 0.5).sum(-1).clamp(max=len(axis) - 1)]
    best = mass.flatten(1).argmax(1)
    mode = torch.stack([axis[best // len(axis)], axis[best % len(axis)]], -1)
    return {"median": median, "mode": mode}


def best_points(mass: torch.Tensor, ratio: np.ndarray) -> np.ndarray:
    """The points of largest expected OKS, from the mean in standard deviations.

    Args:
        mass: see :func:`probabilities`.
        ratio: (S, K) standard deviation over the width of the OKS, ``2 sigma sqrt(area)``.

    Returns:
        (S, K, 2).
    """
    axis, tried = grid_of(REACH), grid_of(FAR)
    table = np.zeros((len(BINS), len(mass), 2))
    for number, width in enumerate(BINS):
        kernel = torch.exp(-0.5 * ((tried[:, None] - axis) * width) ** 2)  # (T, X)
        reached = kernel @ mass @ kernel.T  # (K, T, T)
        best = reached.flatten(1).argmax(1)
        table[number] = torch.stack([tried[best // len(tried)], tried[best % len(tried)]], -1).numpy()
    place = np.abs(np.log(np.maximum(ratio, 1e-9))[..., None] - np.log(BINS)).argmin(-1)  # (S, K)
    return table[place, np.arange(len(mass))]


def moved(
    results: Sequence[Result], density: ErrorDensity, oks_sigmas: Sequence[float]
) -> "OrderedDict[str, list[Result]]":
    """The results with each point of the density in place of its mean; scores stay.

    Args:
        results: with ``keypoint_sigmas`` and ``person_area``.
        density: of the model's error.
        oks_sigmas: (K,) COCO's OKS sigmas.
    """
    mass, joints = probabilities(density), len(density.group)
    std = np.array([r["keypoint_sigmas"] for r in results], float).reshape(-1, joints, 2)
    area = np.array([r["person_area"] for r in results], float)
    width = 2 * np.asarray(oks_sigmas) * np.sqrt(np.maximum(area, 1e-9))[:, None]
    ratio = np.sqrt(std.prod(-1)) / width
    shifts = {"mean": np.zeros((joints, 2)), **{name: each.numpy() for name, each in fixed_points(mass).items()}}
    shifts["largest expected OKS"] = best_points(mass, ratio)
    return OrderedDict((name, _shifted(results, std * shift)) for name, shift in shifts.items())


def _shifted(results: Sequence[Result], pixels: np.ndarray) -> list[Result]:
    """Results whose joints are moved by (S, K, 2)."""
    rows = []
    for result, shift in zip(results, pixels):
        keypoints = np.array(result["keypoints"], float).reshape(-1, 3)
        keypoints[:, :2] += shift
        rows.append({**result, "keypoints": keypoints.flatten().tolist()})
    return rows


def point_table(run: Trained, dataset: str) -> "OrderedDict[str, dict[str, float]]":
    """AP and OKS by the point that is reported.

    Args:
        run: with a density.
        dataset: registered, of its config.
    """
    density = run.density()
    if density is None:
        return OrderedDict()
    truth, sigmas = run.truth(dataset), run.oks_sigmas(dataset)
    most, table = run.config().TEST.MAX_PEOPLE, OrderedDict()
    for name, results in moved(run.results(dataset, truth), density, sigmas).items():
        ranking = Ranking(truth, results, sigmas, max_people=most)
        ranked = ranking.rank(np.array([result["score"] for result in results]))
        oks = person_oks(match_people(truth, results, max_people=most), sigmas)
        table[name] = {"AP": ranking.average_precision(ranked), "OKS": 100 * float(oks.mean())}
    return table
