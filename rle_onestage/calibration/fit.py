"""Calibrate a model: fit a correction of its sigmas and powers of its score on one half, report on the other.

The report, ``calibration.json``, has

- ``images``, ``people`` and ``joints``: how many were fitted on and held out;
- ``correction``, and the ``dependence`` of it on size of person and visibility;
- ``ellipses``: what those of one and two standard deviations should hold;
- ``before`` and ``after``: see :func:`~.evaluation.calibration.calibration_table`; ``after_intervals``: the bootstrap
  intervals of what is held then, see :func:`~.evaluation.regions.bootstrap_intervals`;
- ``sigma_alone``: what intervals and regions hold with the corrected sigma and the density's own sizes;
- ``reliability``;
- ``likelihood``: in nats a joint of the same people before and after and with one constant sigma for each joint, and
  the ``gain`` of the corrected sigma over each of these with its bootstrap interval;
- ``probabilities`` and ``probability_bins`` of the held-out images, which no correction changes: see
  :func:`~.evaluation.probabilities.probability_table`;
- ``scores``: see :func:`~.evaluation.ranking.compare_scores`;
- ``powers``: those of the config and the ``chosen`` ones, with what these gain; ``config``, the chosen powers as lines
  of a config;
- ``space``, of a model with depth: see :func:`~.space.calibrate_space`;
- ``thresholds``: of the score, on the held-out images: the one of the best F1 at an OKS of 0.5, ``before`` and
  ``after``, see :func:`~.evaluation.operating.best_threshold`; None where no detection is right;
- ``partial``: whether people of the held-out set have no label, so that thresholds are too high;
- ``doubts``: sentences about what makes the report less than it seems, and the ``remedies``, what to do about each;
- ``files``; ``corrected_before``, whether the weights had a correction of an earlier calibration, which is left out;
- ``verdict``: see :func:`~.verdict.find_verdict`.
"""

import logging
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from detectron2.config import CfgNode

from ..data.datasets import get_skeleton
from ..data.lookup import check_model_joints, set_options
from ..engine.checkpoint import read_checkpoint
from ..engine.checkpoint.joints import naming, recorded_joints
from ..engine.checkpoint.last import CALIBRATED
from ..engine.checkpoint.named import no_weights
from ..engine.models import build_for_inference
from ..errors import ConfigError
from ..evaluation import write_json
from ..evaluation.calibration import (
    LEVELS,
    calibration_table,
    has_std,
    log_likelihood,
    pearson,
    regions_by_group,
    reliability,
)
from ..evaluation.operating import best_threshold
from ..evaluation.per_joint import Matches, joint_errors, person_oks
from ..evaluation.probabilities import dataset_claims, probability_bins, probability_table
from ..evaluation.ranking import choose_powers, compare_scores, has_quality, powered
from ..evaluation.regions import KINDS, bootstrap_intervals, gain_with_interval
from ..evaluation.sure_joints import warn_of_sure_joints
from ..modeling import RLEOneStage
from ..modeling.correction import DEPENDENCE, Correction
from ..modeling.postprocessing import Decoder
from ..structures import ErrorDensity
from ..utils.safe_files import CHECK_OUTPUT_DIR, save_tensors, write_text
from ..video import io as media
from .correction import corrected_results, corrected_std, fit_constant, fit_correction, knows_visibility
from .doubts import Reservation, doubt_of_trained, find_doubts
from .plots import BASELINE, Halves, draw_page
from .report import format_report
from .samples import Sample, take_samples
from .space import calibrate_space
from .verdict import find_verdict

logger = logging.getLogger(__name__)

REPORT, PAGE, TEXT = "calibration.json", "calibration.png", "calibration.txt"
OWN, CHOSEN = "expected OKS", "expected OKS, chosen powers"  # scores with the config's powers, and with the best ones
_POWERS = ("SCORE_POWER", "QUALITY_POWER", "OKS_POWER")


def calibrate(
    cfg: CfgNode,
    dataset_name: str,
    *,
    fit_datasets: Sequence[str] = (),
    fit_share: float = 0.5,
    output: str | None = None,
    folder: str | None = None,
    resamples: int = 500,
) -> OrderedDict[str, Any]:
    """Run a model once, fit its correction, and write metrics before and after as JSON and text, plots, a checkpoint.

    Args:
        cfg: the config, with ``MODEL.WEIGHTS``.
        dataset_name: a registered data set to report on.
        fit_datasets: others to fit on, all as one; none takes a share of the images of ``dataset_name``, the same ones
            every time, and reports on the rest.
        fit_share: that share, between 0 and 1.
        output: checkpoint to write; None: ``OUTPUT_DIR/model_calibrated.pth``.
        folder: for the report, its text and the page; None: ``OUTPUT_DIR/calibration``.
        resamples: of the images, for the intervals of AP.

    Returns:
        The report, as it is written to ``calibration.json``; this module's text lists its fields.

    Raises:
        ConfigError: no weights, a model without sigmas, or a share outside (0, 1).
        DataError: a half with too few images with labelled people whom the model finds; or a set with other joints
            than the model's, or in another order.
        CheckpointError: the weights cannot be read or do not fit, or the output cannot be written.
    """
    if not 0 < fit_share < 1:
        raise ConfigError(f"the share of images to fit on is {fit_share:g}; give one between 0 and 1")
    files = _files(cfg, output, folder)
    model, names = _load(cfg), get_skeleton(cfg, dataset_name).names
    corrected_before = bool(model.decoder.intervals.any())
    model.decoder.reset_correction()
    for name in (dataset_name, *fit_datasets):
        check_model_joints(name, getattr(model, "joint_names", None))
    trained = doubt_of_trained(cfg, [dataset_name, *fit_datasets])
    if trained:  # said at once: the model takes a while
        logger.warning("%s", trained)
    fit, held_out = take_samples(cfg, model, dataset_name, fit_datasets, fit_share)
    fitted_on = ", ".join(fit_datasets) or f"{fit_share:g} of {dataset_name}"
    report: OrderedDict[str, Any] = OrderedDict(dataset=dataset_name, fit_dataset=fitted_on, weights=cfg.MODEL.WEIGHTS)
    halves = _fit_and_measure(cfg, model, fit, held_out, report, names=names, resamples=resamples)
    if getattr(model, "tells_depth", False):  # its sigmas have those of x and y in them, as they are corrected now
        samples = take_samples(cfg, model, dataset_name, fit_datasets, fit_share)
        report["space"] = calibrate_space(model.decoder, *samples, names)
    doubts = [*filter(None, [trained]), *_said_doubts(fit, held_out, report, halves, names)]
    report["doubts"], report["remedies"] = [str(doubt) for doubt in doubts], [doubt.remedy for doubt in doubts]
    report["files"], report["corrected_before"] = files, corrected_before
    report["verdict"] = find_verdict(report)
    draw_page(files[1], report, halves, held_out.oks_sigmas)
    _save(cfg, model, files[2], names)
    write_text(files[3], f"{format_report(report)}\n", remedy=CHECK_OUTPUT_DIR)
    write_json(report, files[0])
    return report


def _said_doubts(
    fit: Sample, held_out: Sample, report: OrderedDict[str, Any], halves: Halves, names: Sequence[str]
) -> list[Reservation]:
    """What makes the report less than it seems, logged; joints that are too sure are logged alone."""
    errors = joint_errors(halves["before"][0], held_out.oks_sigmas.tolist(), names)
    warn_of_sure_joints(errors, remedy="use the corrected weights if the verdict says so")
    doubts = find_doubts(fit, held_out, report)
    for doubt in doubts:
        sentence = str(doubt)
        logger.warning("%s%s", sentence[0].upper(), sentence[1:])
    return doubts


def _files(cfg: CfgNode, output: str | None, folder: str | None) -> list[str]:
    """Paths of report, page, checkpoint and text, whose folders are made."""
    output = output or os.path.join(cfg.OUTPUT_DIR, CALIBRATED)
    folder = folder or os.path.join(cfg.OUTPUT_DIR, "calibration")
    for path in (folder, os.path.dirname(os.path.abspath(output))):
        media.make_folder(path)
    return [os.path.join(folder, REPORT), os.path.join(folder, PAGE), output, os.path.join(folder, TEXT)]


def _fit_and_measure(
    cfg: CfgNode,
    model: RLEOneStage,
    fit: Sample,
    held_out: Sample,
    report: OrderedDict[str, Any],
    *,
    names: Sequence[str],
    resamples: int,
) -> Halves:
    """Give the model its correction and the report its metrics; the held-out matches before and after it."""
    density = model.decoder.error_density().to("cpu")
    correction = fit_correction(fit.matches, density)
    model.decoder.set_correction(*correction)
    fit_after, after = (
        s._replace(results=corrected_results(s.results, correction, model.decoder)) for s in (fit, held_out)
    )
    corrected = model.decoder.error_density().to("cpu")
    halves = {"before": (held_out.matches, density), "after": (after.matches, corrected)}
    report |= _measure(fit, held_out, halves, correction, names, resamples)
    report |= _probabilities(report["dataset"], held_out, names)
    report |= _scores(cfg, fit_after, held_out, after, resamples)
    report["partial"] = set_options(report["dataset"]).partial
    report["thresholds"] = {"before": _threshold(held_out), "after": _threshold(after)}
    return halves


def _load(cfg: CfgNode) -> RLEOneStage:
    """The model of a config."""
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError(no_weights(cfg))
    model = build_for_inference(cfg, cfg.MODEL.WEIGHTS, use_ema=cfg.TEST.USE_EMA)
    if not isinstance(getattr(model, "decoder", None), Decoder):
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} predicts no sigmas that could be calibrated; use "
            "RLEOneStage"
        )
    return cast(RLEOneStage, model)  # or another architecture with the same decoder


# -------------------------------------------------------------------- metrics


def _measure(
    fit: Sample, held_out: Sample, halves: Halves, correction: Correction, names: Sequence[str], resamples: int
) -> OrderedDict[str, Any]:
    """What the report says of intervals, regions and likelihood, and on how many images, people and joints it rests."""
    fitted, (matches, density) = fit.matches, halves["before"]
    oks_sigmas, after = held_out.oks_sigmas.tolist(), halves["after"][0]
    both = {"fit": (fit, fitted), "held_out": (held_out, matches)}
    report: OrderedDict[str, Any] = OrderedDict()
    report["images"] = {key: len(sample.truth.images) for key, (sample, _) in both.items()}
    report["people"] = {key: len(found.area) for key, (_, found) in both.items()}
    report["joints"] = {key: int((found.visibility > 0).sum()) for key, (_, found) in both.items()}
    report["correction"] = _named(correction, names, fitted)
    report["dependence"] = _dependence(correction, fitted)
    report["ellipses"] = _ellipses(density, names)
    for key, (found, own) in halves.items():
        report[key] = calibration_table(found, oks_sigmas, names, own)
    report["after_intervals"] = _intervals(*halves["after"], resamples)
    report["sigma_alone"] = regions_by_group(calibration_table(after, oks_sigmas, names, density))
    report["reliability"] = _reliability(halves)
    report["likelihood"] = _likelihood(fitted, matches, correction, density, resamples)
    return report


def _named(correction: Correction, names: Sequence[str], fit: Matches) -> OrderedDict[str, dict[str, Any]]:
    """The correction by the joints' names, with the number of labels that each is fitted to, for the report."""
    labels = (fit.visibility > 0).sum(0)
    keys = ("log_scale", "power", "intervals", "regions")
    columns = [*(getattr(correction, key) for key in keys), labels]
    rows = [dict(zip((*keys, "labels"), row)) for row in zip(*(c.tolist() for c in columns))]
    for row in rows:
        row["ellipses"], row["hdr"] = row.pop("regions")
    return OrderedDict(zip(names, rows))


def _dependence(correction: Correction, matches: Matches) -> dict[str, Any]:
    """On size of person and visibility; ``hidden`` is None where the model does not say what is visible."""
    values = [] if correction.dependence is None else correction.dependence.tolist()
    named = dict(zip(DEPENDENCE, values))
    return named if knows_visibility(matches) else {**named, "hidden": None}


def _intervals(matches: Matches, density: ErrorDensity, resamples: int) -> dict[str, Any]:
    """What the choice of the images leaves open of what was held; nothing where nobody was matched."""
    return bootstrap_intervals(matches, density, resamples=resamples) if has_std(matches) else {}


def _ellipses(density: ErrorDensity, names: Sequence[str]) -> OrderedDict[str, dict[str, float]]:
    """What the ellipses that are drawn, of one and two standard deviations, hold under the learned error (%)."""
    radii = torch.tensor([1.0, 2.0]).to(density.axis)[:, None].expand(-1, len(names))
    columns = zip(*(100 * density.in_ellipse(radii)).tolist())
    return OrderedDict((name, {"one_sigma": one, "two_sigma": two}) for name, (one, two) in zip(names, columns))


def _reliability(halves: Halves) -> dict[str, Any]:
    """Share of coordinates within the interval of each level, and of joints within each region, before and after."""
    known = {key: pair for key, pair in halves.items() if (pair[0].visibility > 0).any()}
    curves = {kind: {key: reliability(*pair, kind=kind).tolist() for key, pair in known.items()} for kind in KINDS}
    return {"levels": list(LEVELS), **curves.pop("coverage"), **curves}


def _likelihood(
    fit: Matches, held_out: Matches, correction: Correction, density: ErrorDensity, resamples: int
) -> OrderedDict[str, dict[str, Any]]:
    """Negative log-likelihood of the same held-out labels: with predicted sigmas before and after the correction, and
    with the best constant one of each joint, in pixels and relative to the person; and what the correction gains over
    the others."""
    constants = {"constant_px": fit_constant(fit, density, relative=False)}
    constants["constant_relative"] = fit_constant(fit, density, relative=True)
    others = {"before": held_out, "after": held_out._replace(std=corrected_std(held_out, correction))}
    others |= {name: constant.of(held_out) for name, constant in constants.items()}
    labelled = held_out.visibility > 0
    likelihoods = {name: log_likelihood(matches, density) for name, matches in others.items()}
    rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
    for name, value in likelihoods.items():
        rows[name] = {"nll": -float(value[labelled].mean()) if labelled.any() else math.nan}
        if name != "after":
            gain = likelihoods["after"] - value
            rows[name] |= gain_with_interval(gain, labelled, held_out.image_id, resamples=resamples)
        if name in constants:
            rows[name]["sigma"] = constants[name].sigma.tolist()
    return rows


def _probabilities(dataset_name: str, held_out: Sample, names: Sequence[str]) -> dict[str, Any]:
    """How right presence and visibility of the held-out people are, by what is known of their data set's labels."""
    claims = dataset_claims(dataset_name, held_out.truth, held_out.results, max_people=held_out.max_people)
    return {"probabilities": probability_table(claims, names), "probability_bins": probability_bins(claims)}


def _scores(cfg: CfgNode, fit: Sample, before: Sample, after: Sample, resamples: int) -> dict[str, Any]:
    """AP of the same detections by score, with the powers that were best on the half that was fitted."""
    test = cfg.MODEL.RLE_ONESTAGE.TEST
    own = (float(test[_POWERS[0]]), float(test[_POWERS[1]]), float(test[_POWERS[2]]))
    chosen, tried = choose_powers(fit.ranking, fit.factors, start=own)
    scores: OrderedDict[str, np.ndarray] = OrderedDict()
    scores[BASELINE] = powered(after.factors, (1, 0, 0))
    if has_quality(after.factors):
        scores[f"{BASELINE} and quality"] = powered(after.factors, (own[0], own[1], 0))
    scores["expected OKS, uncorrected"] = powered(before.factors, own)
    scores[OWN] = powered(after.factors, own)
    scores[CHOSEN] = powered(after.factors, chosen)
    after.truth.warn_of_cut(after.max_people)
    table = compare_scores(after.ranking, scores, baseline=BASELINE, resamples=resamples)
    for name, row in table.items():
        row["pearson"] = _correlation(after, scores[name])
    lines = [f"MODEL.RLE_ONESTAGE.TEST.{name} {power:g}" for name, power in zip(_POWERS, chosen)]
    grid = [{"powers": list(powers), "AP": ap} for powers, ap in tried]
    gain = _gain(after, scores[OWN], scores[CHOSEN], resamples)
    return {"scores": table, "powers": {"config": own, "chosen": chosen, **gain, "tried": grid}, "config": lines}


def _threshold(sample: Sample) -> dict[str, Any] | None:
    """The score threshold of the best F1; None where no detection is right."""
    curve = sample.ranking.curve(np.array([float(result["score"]) for result in sample.results]))
    return best_threshold(curve) if curve.right.any() else None


def _gain(sample: Sample, own: np.ndarray, chosen: np.ndarray, resamples: int) -> dict[str, Any]:
    """AP that the chosen powers gain over the config's on the held-out images, and the interval of it."""
    row = compare_scores(sample.ranking, {OWN: own, CHOSEN: chosen}, baseline=OWN, resamples=resamples)[CHOSEN]
    return {"gain": row["difference"], "gain_interval": row["difference_interval"]}


def _correlation(sample: Sample, scores: np.ndarray) -> float:
    """Pearson's, of scores (N,) with the OKS of people matched in their order."""
    rescored = [{**r, "score": float(s)} for r, s in zip(sample.results, scores)]
    matches = sample._replace(results=rescored).matches
    return pearson(matches.score, person_oks(matches, sample.oks_sigmas.tolist()))


# -------------------------------------------------------------------- results


def _save(cfg: CfgNode, model: RLEOneStage, output: str, names: Sequence[str]) -> None:
    """Write the checkpoint with the correction among the weights that were used, and the names of its joints; all else
    stays as it was, where it comes from above all."""
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    content |= naming(recorded_joints(content) or names)
    weights = content["raw" if not cfg.TEST.USE_EMA and "raw" in content else "model"]
    weights |= {f"decoder.{key}": value.cpu().clone() for key, value in model.decoder.state_dict().items()}
    save_tensors(output, content)
