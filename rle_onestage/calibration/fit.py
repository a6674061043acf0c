"""Calibrate a model: fit a correction of its sigmas and powers of its score on one half, report on the other."""

import math
import os
import zlib
from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from ..data.datasets import get_skeleton
from ..data.loader import build_test_loader
from ..engine.checkpoint import read_checkpoint
from ..engine.checkpoint.joints import naming, recorded_joints
from ..engine.inference import build_for_inference, run_on_loader
from ..errors import ConfigError, DataError
from ..evaluation import GroundTruth, instances_to_coco, match_people, write_json
from ..evaluation.calibration import (
    LEVELS,
    calibration_table,
    format_calibration,
    log_likelihood,
    pearson,
    reliability,
)
from ..evaluation.per_joint import Matches, person_oks
from ..evaluation.probabilities import (
    dataset_claims,
    format_probabilities,
    probability_bins,
    probability_table,
)
from ..evaluation.ranking import Ranking, choose_powers, compare_scores, has_quality, powered
from ..evaluation.results import Result
from ..evaluation.tables import table_text
from ..modeling import RLEOneStage
from ..modeling.postprocessing import Decoder
from ..structures import ErrorDensity
from ..utils.safe_files import save_tensors
from ..video import io as media
from .correction import Correction, correct_sigma, corrected_results, fit_constant, fit_correction
from .plots import BASELINE, draw_page

REPORT, PAGE = "calibration.json", "calibration.png"
_POWERS = ("SCORE_POWER", "QUALITY_POWER", "OKS_POWER")


class Sample(NamedTuple):
    """Labels of some images and what a model found in them."""

    truth: GroundTruth
    results: list[Result]
    oks_sigmas: np.ndarray  # (K,)
    max_people: int = 20  # results an image that count

    @property
    def matches(self) -> Matches:
        """People matched at a box IoU of 0.5."""
        return match_people(self.truth, self.results, max_people=self.max_people)

    @property
    def ranking(self) -> Ranking:
        """The detections, to be ranked by other scores."""
        return Ranking(self.truth, self.results, self.oks_sigmas.tolist(), max_people=self.max_people)

    @property
    def factors(self) -> np.ndarray:
        """(N, 3) of the scores: score branch, quality and expected OKS."""
        return np.array([r["score_factors"] for r in self.results], dtype=float).reshape(-1, 3)

    def subset(self, image_ids: Container[Any]) -> "Sample":
        """The same with only some images.

        Args:
            image_ids: ids of these.
        """
        results = [r for r in self.results if r["image_id"] in image_ids]
        return self._replace(truth=self.truth.subset(i for i in self.truth.images if i in image_ids), results=results)


class _Collected(DatasetEvaluator):
    """Keeps the results."""

    def reset(self) -> None:
        """Forget all results."""
        self.results: list[Result] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the model's outputs for some images."""
        for given, output in zip(inputs, outputs):
            self.results += instances_to_coco(output["instances"], given["image_id"])

    def evaluate(self) -> list[Result]:
        """All results."""
        return self.results


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
    """Run a model once, fit its correction, and write metrics before and after, a page of plots and a checkpoint.

    Args:
        cfg: the config, with ``MODEL.WEIGHTS``.
        dataset_name: a registered data set to report on.
        fit_datasets: others to fit on, all as one; none takes a share of the images of ``dataset_name``, the same ones
            every time, and reports on the rest.
        fit_share: that share, between 0 and 1.
        output: checkpoint to write; None: ``OUTPUT_DIR/model_calibrated.pth``.
        folder: for the report and the page; None: ``OUTPUT_DIR/calibration``.
        resamples: of the images, for the intervals of AP.

    Returns:
        The report, as it is written to ``calibration.json``: ``correction``; ``before`` and ``after``, see
        :func:`~.evaluation.calibration.calibration_table`; ``reliability``; ``likelihood``, in nats a joint of the
        same people before and after and with one constant sigma for each joint; ``probabilities`` and
        ``probability_bins`` of the held-out images, which no correction changes, see
        :func:`~.evaluation.probabilities.probability_table`; ``scores``, see
        :func:`~.evaluation.ranking.compare_scores`; ``config``, the chosen powers as lines of a config; and the
        ``files``.

    Raises:
        ConfigError: no weights, a model without sigmas, or a share outside (0, 1).
        DataError: a half without images, or none with a matched person to fit to.
        CheckpointError: the weights cannot be read or do not fit, or the output cannot be written.
    """
    if not 0 < fit_share < 1:
        raise ConfigError(f"the share of images to fit on is {fit_share:g}; give one between 0 and 1")
    output = output or os.path.join(cfg.OUTPUT_DIR, "model_calibrated.pth")
    folder = folder or os.path.join(cfg.OUTPUT_DIR, "calibration")
    for path in (folder, os.path.dirname(os.path.abspath(output))):
        media.make_folder(path)
    model = _load(cfg)
    fit, held_out = _samples(cfg, model, dataset_name, fit_datasets, fit_share)
    density = model.decoder.error_density().to("cpu")
    correction = fit_correction(fit.matches, density)
    model.decoder.set_correction(*correction)
    after = model.decoder.error_density().to("cpu")
    fit_after, held_out_after = (
        s._replace(results=corrected_results(s.results, correction, model.decoder)) for s in (fit, held_out)
    )
    names = get_skeleton(cfg, dataset_name).names
    fitted_on = ", ".join(fit_datasets) or f"{fit_share:g} of {dataset_name}"
    report: OrderedDict[str, Any] = OrderedDict(dataset=dataset_name, fit_dataset=fitted_on)
    report["weights"] = cfg.MODEL.WEIGHTS
    report["images"] = {"fit": len(fit.truth.images), "held_out": len(held_out.truth.images)}
    report["correction"] = _named(correction, names)
    halves = {"before": (held_out.matches, density), "after": (held_out_after.matches, after)}
    for key, (matches, own) in halves.items():
        report[key] = calibration_table(matches, held_out.oks_sigmas.tolist(), names, own)
    report["reliability"] = _reliability(halves)
    report["likelihood"] = _likelihood(fit.matches, held_out.matches, correction, density)
    claims = dataset_claims(dataset_name, held_out.truth, held_out.results, max_people=held_out.max_people)
    report["probabilities"], report["probability_bins"] = probability_table(claims, names), probability_bins(claims)
    report |= _scores(cfg, fit_after, held_out, held_out_after, resamples)
    report["files"] = [os.path.join(folder, REPORT), os.path.join(folder, PAGE), output]
    draw_page(report["files"][1], report, halves, held_out.oks_sigmas)
    _save(cfg, model, output, names)
    write_json(report, report["files"][0])
    return report


def _load(cfg: CfgNode) -> RLEOneStage:
    """The model of a config, without a correction."""
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("MODEL.WEIGHTS is empty; give trained weights, e.g. MODEL.WEIGHTS output/model_final.pth")
    model = build_for_inference(cfg, cfg.MODEL.WEIGHTS, use_ema=cfg.TEST.USE_EMA)
    if not isinstance(getattr(model, "decoder", None), Decoder):
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} predicts no sigmas that could be calibrated; use "
            "RLEOneStage"
        )
    found = cast(RLEOneStage, model)  # or another architecture with the same decoder
    found.decoder.reset_correction()
    return found


# -------------------------------------------------------------------- data


def _samples(
    cfg: CfgNode, model: RLEOneStage, dataset_name: str, fit_datasets: Sequence[str], fit_share: float
) -> tuple[Sample, Sample]:
    """What is fitted on, and what is reported on."""
    if dataset_name in fit_datasets:
        raise ConfigError(f"--fit-dataset and --dataset are both {dataset_name}; name another one, or give --fit-share")
    held_out = _sample(cfg, model, dataset_name)
    if fit_datasets:
        fit = _as_one([_sample(cfg, model, name) for name in fit_datasets])
    else:
        chosen = {i for i in held_out.truth.images if is_for_fit(i, fit_share)}
        fit, held_out = held_out.subset(chosen), held_out.subset(set(held_out.truth.images) - chosen)
    for sample, what in ((fit, "fit on"), (held_out, "report on")):
        if not sample.truth.by_image():
            raise DataError(
                f"{', '.join(fit_datasets) or dataset_name} leaves no image with labelled people to {what}; give a "
                "larger set, or another --fit-share"
            )
    return fit, held_out


def is_for_fit(image_id: Any, share: float) -> bool:
    """Whether an image is fitted on: by a hash of its id, the same on every machine.

    Args:
        image_id: number or text.
        share: of all images, in (0, 1).
    """
    return zlib.crc32(str(image_id).encode()) < share * 2**32


def _sample(cfg: CfgNode, model: RLEOneStage, name: str) -> Sample:
    """The labels of a data set, and what the model finds in it."""
    skeleton = get_skeleton(cfg, name)
    truth = GroundTruth.of_dataset(name, skeleton.num_joints)
    results = cast("list[Result]", run_on_loader(model, build_test_loader(cfg, name), _Collected(), name=name))
    oks_sigmas = np.array(list(cfg.TEST.KEYPOINT_OKS_SIGMAS) or skeleton.oks_sigmas, dtype=float)
    return Sample(truth, list(results), oks_sigmas, cfg.TEST.MAX_PEOPLE)


def _as_one(samples: Sequence[Sample]) -> Sample:
    """Several samples of the same joints as one."""
    truth, ids = GroundTruth.merged([sample.truth for sample in samples])
    results = []
    for sample, new in zip(samples, ids):
        for result in sample.results:
            moved = {"image_id": new[result["image_id"]], "category_id": truth.category_id}
            results.append({**result, **moved})
    return samples[0]._replace(truth=truth, results=results)


# -------------------------------------------------------------------- metrics


def _named(correction: Correction, names: Sequence[str]) -> OrderedDict[str, dict[str, Any]]:
    """The correction by the joints' names, for the report."""
    columns = (correction.log_scale.tolist(), correction.power.tolist(), correction.intervals.tolist())
    rows = [dict(zip(("log_scale", "power", "intervals"), row)) for row in zip(*columns)]
    return OrderedDict(zip(names, rows))


def _reliability(halves: Mapping[str, tuple[Matches, ErrorDensity]]) -> dict[str, list[float]]:
    """Share of coordinates within the interval of each level, before and after."""
    curves = {key: reliability(*pair).tolist() for key, pair in halves.items() if (pair[0].visibility > 0).any()}
    return {"levels": list(LEVELS), **curves}


def _likelihood(
    fit: Matches, held_out: Matches, correction: Correction, density: ErrorDensity
) -> OrderedDict[str, dict[str, Any]]:
    """Negative log-likelihood of the same held-out labels: with predicted sigmas before and after the correction, and
    with the best constant one of each joint, in pixels and relative to the person."""
    constants = {"constant_px": fit_constant(fit, density, relative=False)}
    constants["constant_relative"] = fit_constant(fit, density, relative=True)
    corrected = correct_sigma(torch.from_numpy(held_out.std), torch.from_numpy(held_out.predicted_area), correction)
    others = {"before": held_out, "after": held_out._replace(std=corrected.numpy())}
    others |= {name: constant.of(held_out) for name, constant in constants.items()}
    labelled = held_out.visibility > 0
    rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
    for name, matches in others.items():
        rows[name] = {"nll": -float(log_likelihood(matches, density)[labelled].mean()) if labelled.any() else math.nan}
        if name in constants:
            rows[name]["sigma"] = constants[name].sigma.tolist()
    return rows


def _scores(cfg: CfgNode, fit: Sample, before: Sample, after: Sample, resamples: int) -> dict[str, Any]:
    """AP of the same detections by score, with the powers that were best on the half that was fitted."""
    test = cfg.MODEL.RLE_ONESTAGE.TEST
    own = (float(test[_POWERS[0]]), float(test[_POWERS[1]]), float(test[_POWERS[2]]))
    chosen, tried = choose_powers(fit.ranking, fit.factors, start=own)
    scores: OrderedDict[str, np.ndarray] = OrderedDict()
    scores[BASELINE] = powered(after.factors, (1, 0, 0))
    if has_quality(after.factors):
        scores["score and quality"] = powered(after.factors, (own[0], own[1], 0))
    scores["expected OKS, uncorrected"] = powered(before.factors, own)
    scores["expected OKS"] = powered(after.factors, own)
    scores["expected OKS, chosen powers"] = powered(after.factors, chosen)
    after.truth.warn_of_cut(after.max_people)
    table = compare_scores(after.ranking, scores, baseline=BASELINE, resamples=resamples)
    for name, row in table.items():
        row["pearson"] = _correlation(after, scores[name])
    lines = [f"MODEL.RLE_ONESTAGE.TEST.{name} {power:g}" for name, power in zip(_POWERS, chosen)]
    grid = [{"powers": list(powers), "AP": ap} for powers, ap in tried]
    return {"scores": table, "powers": {"config": own, "chosen": chosen, "tried": grid}, "config": lines}


def _correlation(sample: Sample, scores: np.ndarray) -> float:
    """Pearson's, of scores (N,) with the OKS of people matched in their order."""
    rescored = [{**r, "score": float(s)} for r, s in zip(sample.results, scores)]
    matches = sample._replace(results=rescored).matches
    return pearson(matches.score, person_oks(matches, sample.oks_sigmas.tolist()))


# -------------------------------------------------------------------- results


def _save(cfg: CfgNode, model: RLEOneStage, output: str, names: Sequence[str]) -> None:
    """Write the checkpoint with the correction among the weights that were used, and the names of its joints; all else
    stays as it was."""
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    content |= naming(recorded_joints(content) or names)
    weights = content["raw" if not cfg.TEST.USE_EMA and "raw" in content else "model"]
    weights |= {f"decoder.{key}": value.cpu().clone() for key, value in model.decoder.state_dict().items()}
    save_tensors(output, content)


def format_report(report: Mapping[str, Any]) -> str:
    """A calibration as text.

    Args:
        report: of :func:`calibrate`.
    """
    groups = ("all", "visible", "hidden", "small", "medium", "large")
    parts = [f"{report['images']['fit']} images to fit on, {report['images']['held_out']} held out."]
    for key in ("before", "after"):
        table = {name: report[key][name] for name in groups}
        parts.append(f"held-out images, {key} the correction:\n{format_calibration(table)}")
    before, after, pixels, relative = (row["nll"] for row in report["likelihood"].values())
    parts.append(
        f"nats a joint of the same people: {before:.3f} before, {after:.3f} after the correction; with one sigma for "
        f"each joint {pixels:.3f}, relative to the person's size {relative:.3f}"
    )
    if report["probabilities"]:
        parts.append(f"probabilities of joints of the same people:\n{format_probabilities(report['probabilities'])}")
    rows = [
        [name, row["AP"], "{:.1f} to {:.1f}".format(*row["AP_interval"]), row["difference"],
         "{:.2f} to {:.2f}".format(*row["difference_interval"]), row["pearson"]]
        for name, row in report["scores"].items()
    ]  # fmt: skip
    header = ["score", "AP", "95 %", "over score alone", "95 %", "r with OKS"]
    parts.append(f"the same detections by score:\n{table_text(rows, header)}")
    parts.append("powers that were best on the images to fit on:\n" + "\n".join(report["config"]))
    return "\n\n".join([*parts, "\n".join(report["files"])])
