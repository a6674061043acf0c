"""Errors in space of trained models on held-out images, with intervals by resampling these, and what sigmas hold."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from detectron2.config import CfgNode

from rle_onestage.calibration.samples import Sample, take_samples
from rle_onestage.calibration.space import calibrate_space
from rle_onestage.data.datasets import get_skeleton
from rle_onestage.engine.models import build_for_inference
from rle_onestage.evaluation import match_people
from rle_onestage.evaluation.metrics import coco_metrics
from rle_onestage.evaluation.space import SpaceMatches, errors_in_space, match_in_space, space_metrics
from rle_onestage.modeling import RLEOneStage

METRICS = ("MPJPE", "PA-MPJPE", "N-MPJPE", "depth error", "MRPE")


class Measured(NamedTuple):
    """What one model does on the held-out half of a set."""

    row: OrderedDict[str, Any]
    matches: SpaceMatches
    residuals: tuple[
        np.ndarray, np.ndarray
    ]  # (n, 3) in sigmas, x, y and depth: of the half that is fitted on, held out


def measure(cfg: CfgNode, dataset: str, *, share: float, resamples: int) -> Measured:
    """Run a model once, fit its correction in space on a share of the images, and measure on the others.

    Args:
        cfg: of the training, with ``MODEL.WEIGHTS``.
        dataset: a registered data set.
        share: of its images that is fitted on.
        resamples: of the held-out images.
    """
    model = cast(RLEOneStage, build_for_inference(cfg, cfg.MODEL.WEIGHTS))
    names = get_skeleton(cfg, dataset).names
    fit, held_out = take_samples(cfg, model, dataset, [], share)
    report = calibrate_space(model.decoder, fit, held_out, names)
    matches = match_in_space(held_out.truth, held_out.results, names)
    whole = space_metrics(matches, names)
    row: OrderedDict[str, Any] = OrderedDict((name, whole[name]) for name in (*METRICS, "found", "people"))
    row["95 %"] = resampled(matches, names, resamples)
    row["keypoint AP"] = coco_metrics(
        held_out.truth.dataset, held_out.results, "keypoints", held_out.oks_sigmas.tolist()
    )["AP"]
    row["held before"], row["held"] = report["before"], report["after"]
    residuals = residuals_of(fit, names), residuals_of(held_out, names)
    return Measured(row, matches, residuals)


def resampled(matches: SpaceMatches, names: Sequence[str], number: int) -> dict[str, list[float]]:
    """The central 95 % of each metric over resamples of the images."""
    rng = np.random.default_rng(0)
    images = np.array(matches.image_id)
    places = list(dict.fromkeys(images.tolist()))
    chosen = rng.integers(len(places), size=(number, len(places)))
    result = {}
    for name, values in errors_in_space(matches, names).items():
        known = np.isfinite(values)
        rows = np.stack([np.where(known, values, 0).sum(1), known.sum(1)], 1)  # (S, 2) sum and count of each person
        sums = np.stack([rows[images == image].sum(0) for image in places])[chosen].sum(1)  # (number, 2)
        result[name] = np.quantile(sums[:, 0] / np.maximum(sums[:, 1], 1), [0.025, 0.975]).tolist()
    return result


def of_the_same_people(all_matches: Mapping[str, SpaceMatches]) -> dict[str, SpaceMatches]:
    """The people whom every model found: models that find more people find harder ones."""
    places = {name: {row.tobytes(): i for i, row in enumerate(m.labels)} for name, m in all_matches.items()}
    common = sorted(set.intersection(*(set(rows) for rows in places.values())))
    return {name: m.at(np.array([places[name][key] for key in common], int), len(common))
            for name, m in all_matches.items()}  # fmt: skip


def residuals_of(sample: Sample, names: Sequence[str]) -> np.ndarray:
    """(n, 3) errors of the found joints in sigmas: x and y in the image, and depth."""
    flat = match_people(sample.truth, sample.results)
    deep = match_in_space(sample.truth, sample.results, names)
    if len(flat.joints) != len(deep.labels) or list(flat.image_id) != list(deep.image_id):
        return np.zeros((0, 3))  # some people have no depth: the rows are not those of the same people
    z = np.concatenate(
        [
            (flat.joints - flat.predicted) / flat.std,
            ((deep.labels - deep.predicted) / np.where(deep.sigmas > 0, deep.sigmas, np.nan))[..., 2:],
        ],
        -1,
    )[flat.visibility > 0]
    return z[np.isfinite(z).all(1)]


def density_nats(residuals: tuple[np.ndarray, np.ndarray], density: Sequence[Any], steps: int) -> float:
    """Nats a joint on held-out residuals of densities that were fitted to others.

    Args:
        residuals: (n, 3) to fit to, and held out.
        density: of D = 3, or of D = 2 and D = 1, whose product counts.
        steps: of Adam, 500 residuals each.
    """
    fit, held_out = (torch.tensor(part, dtype=torch.float32) for part in residuals)
    parameters = [p for part in density for p in part.parameters()]
    steps = steps if parameters else 0  # a preset has nothing to fit
    optimizer = torch.optim.Adam(parameters, 5e-3) if parameters else None
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        if step % 25 == 0:
            for part in density:
                part.refresh(part.TRAINING_TOLERANCE)
        rows = torch.randint(len(fit), (500,), generator=generator)
        loss = _nats(fit[rows], density).mean()
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for part in density:
        part.refresh()
    with torch.no_grad():
        return float(_nats(held_out, density).mean())


def _nats(e: torch.Tensor, density: Sequence[Any]) -> torch.Tensor:
    total, start = e.new_zeros(len(e)), 0
    for part in density:
        own = e[:, start : start + part.cubature.dims]
        total, start = total + part.nll(own, torch.ones_like(own)), start + part.cubature.dims
    return total
