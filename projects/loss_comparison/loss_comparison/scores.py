"""The metrics of one run: AP under its own score and under the class's alone, and how well it localises."""

import json
import os
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from detectron2.config import CfgNode

from rle_onestage.data.datasets import get_skeleton
from rle_onestage.engine.inference import METRICS
from rle_onestage.engine.logs import TRAINING_LOG
from rle_onestage.errors import DataError
from rle_onestage.evaluation import GroundTruth, match_people, read_results, write_json
from rle_onestage.evaluation.calibration import person_oks
from rle_onestage.evaluation.coco import RESULTS_FILE, results_folder
from rle_onestage.evaluation.ranking import Ranking, powered

if TYPE_CHECKING:
    from loss_comparison.runs import Run


SCORES = "scores.json"
_CALIBRATION = ("nll", "coverage_50", "coverage_80", "coverage_90", "coverage_95", "ece", "person_pearson")


def run_scores(run: "Run") -> dict[str, dict[str, float]]:
    """The metrics of a run that is done, by data set; kept in ``scores.json`` of its folder.

    Returns:
        dict data set -> dict of

        - ``AP``, ``AP50``, ``AP75``: under the run's own score;
        - ``class_AP``, ``class_AP50``, ``class_AP75``: of a second inference whose candidates, suppression and ranking
          know the person's probability alone, so that losses differ by localisation only;
        - ``reranked_AP``: of the first inference's detections, ranked by that probability;
        - ``OKS``: mean, in percent, of people matched at a box IoU of 0.5; ``median_px``, ``rms_px``: median and root
          mean square of their joints' distances from the labels; ``matched``: their share of all labelled people in
          percent;
        - ``nll``, ``coverage_50``, ..., ``ece``, ``person_pearson``: see
          :func:`~rle_onestage.evaluation.calibration.calibration_table`;
        - ``minutes``: of the training, by the median of its steps.

        What a model has not is left out.
    """
    evaluations = {e.name: e for e in run.evaluations()}
    stamp = {name: os.path.getmtime(os.path.join(e.folder, METRICS)) for name, e in evaluations.items()}
    path = os.path.join(run.folder, SCORES)
    if os.path.exists(path):
        kept = _read(path)
        if kept.get("stamp") == stamp:
            return kept["sets"]
    cfg = evaluations["own"].config()
    metrics = {name: _read(os.path.join(e.folder, METRICS)) for name, e in evaluations.items()}
    if len(cfg.DATASETS.TEST) == 1:  # the metrics of a single set stand alone in the file
        metrics = {name: {cfg.DATASETS.TEST[0]: metrics} for name, metrics in metrics.items()}
    sets = {}
    for name in cfg.DATASETS.TEST:
        of_set = {key: found[name] for key, found in metrics.items()}
        sets[name] = {**_from_metrics(of_set), **_from_results(cfg, name), "minutes": _minutes(run)}
    write_json({"stamp": stamp, "sets": sets}, path)
    return sets


def _from_metrics(metrics: dict[str, dict[str, dict]]) -> dict[str, float]:
    row = {}
    for score, prefix in (("own", ""), ("class", "class_")):
        for key in ("AP", "AP50", "AP75"):
            if score in metrics:
                row[prefix + key] = metrics[score]["keypoints"][key]
    row["median_px"] = metrics["own"]["per_joint"]["median_px"]
    calibration = metrics["own"].get("calibration", {})
    return row | {key: calibration[key] for key in _CALIBRATION if calibration.get(key) is not None}


def _from_results(cfg: CfgNode, dataset_name: str) -> dict[str, float]:
    skeleton = get_skeleton(cfg, dataset_name)
    sigmas = tuple(cfg.TEST.KEYPOINT_OKS_SIGMAS) or skeleton.oks_sigmas
    truth = GroundTruth.of_dataset(dataset_name, skeleton.num_joints)
    results = read_results(os.path.join(results_folder(cfg, dataset_name), RESULTS_FILE), labels=truth.labels)
    matches = match_people(truth, results, max_people=cfg.TEST.MAX_PEOPLE)
    people = sum(len(p.area) for p in truth.people().values())
    row = {}
    if len(matches.score):
        row = {"OKS": 100 * float(person_oks(matches, sigmas).mean()), "matched": 100 * len(matches.score) / people}
        squares = np.square(matches.predicted - matches.joints).sum(-1)[matches.visibility > 0]
        row["rms_px"] = float(np.sqrt(squares.mean()))
    if results and all("score_factors" in r for r in results):
        person = powered(np.array([r["score_factors"] for r in results]), (1, 0, 0))
        ranking = Ranking(truth, results, sigmas, max_people=cfg.TEST.MAX_PEOPLE)
        row["reranked_AP"] = ranking.average_precision(ranking.rank(person))
    return row


def _minutes(run: "Run") -> float:
    with open(os.path.join(run.training_folder(), TRAINING_LOG), encoding="utf-8") as file:
        seconds = [json.loads(line).get("time") for line in file if line.strip()]
    return run.iterations * median(s for s in seconds if s is not None) / 60


def _read(path: str) -> dict[str, dict]:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it, and the same command makes it anew") from error
