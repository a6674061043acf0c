"""The runs of ``train.sh`` as they lie on the disk."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode

from rle_onestage.data.datasets import get_skeleton
from rle_onestage.engine.inference import METRICS
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import DataError
from rle_onestage.evaluation import GroundTruth, match_people, read_results
from rle_onestage.evaluation.coco import RESULTS_FILE, results_folder
from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.structures.error_density import ErrorDensity

RULES = (
    "rle", "rle_student", "student", "laplace", "gaussian", "gaussian_matrix", "rf_detr", "rf_detr_published",
    "rle_released", "yolo26",
)  # fmt: skip
# Each joint has a correlation that the network says.
TURNED = ("gaussian_matrix", "rf_detr", "rf_detr_published")


@dataclass(frozen=True)
class Trained:
    """A run whose results are there.

    Attributes:
        rule: its name.
        seed: of the training.
        folder: of the run.
        own: folder of the evaluation under its own score.
        alone: folder of that under the person's score alone.
    """

    rule: str
    seed: int
    folder: str
    own: str
    alone: str

    def config(self) -> CfgNode:
        """Of the evaluation under its own score; its weights are the trained ones."""
        return load_config(os.path.join(self.own, "config.yaml"), ["OUTPUT_DIR", self.own])

    def weights(self) -> str:
        """The trained model's file: the run's own, or that of the run whose weights it reads out."""
        path = os.path.join(self.folder, "model_final.pth")
        return path if os.path.exists(path) else self.config().MODEL.WEIGHTS

    def results_file(self, folder: str, dataset: str) -> str:
        """The file of results on a set in one of the two folders."""
        cfg = self.config()
        cfg.defrost()
        cfg.OUTPUT_DIR = folder
        return os.path.join(results_folder(cfg, dataset), RESULTS_FILE)

    def average_precision(self, folder: str, dataset: str) -> float:
        """AP on a set, of the evaluation in one of the two folders.

        Raises:
            DataError: the file of metrics cannot be read.
        """
        path = os.path.join(folder, METRICS)
        try:
            with open(path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
            return float(found.get(dataset, found)["keypoints"]["AP"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} has no metrics of {dataset} ({error}); evaluate the run again") from error

    def density(self) -> ErrorDensity:
        """Of the model's error, on the CPU."""
        model: Any = build_for_inference(self.config(), self.weights())
        return model.decoder.error_density().to("cpu")

    def matches(self, dataset: str) -> Matches:
        """People matched at a box IoU of 0.5."""
        cfg = self.config()
        skeleton = get_skeleton(cfg, dataset)
        truth = GroundTruth.of_dataset(dataset, skeleton.num_joints)
        results = read_results(self.results_file(self.own, dataset), labels=truth.labels)
        return match_people(truth, results, max_people=cfg.TEST.MAX_PEOPLE)


def find_runs(folder: str) -> list[Trained]:
    """The finished runs of a set, in the order of :data:`RULES` and seeds.

    Args:
        folder: with ``<rule>/seed<k>`` in it.
    """
    return [run for rule in RULES for run in _of_rule(folder, rule)]


def _of_rule(folder: str, rule: str) -> Iterator[Trained]:
    parent = os.path.join(folder, rule)
    names = sorted(os.listdir(parent)) if os.path.isdir(parent) else []
    for name in names:
        run, seed = os.path.join(parent, name), name.removeprefix("seed")
        alone = os.path.join(run, "class_score")
        owns = [path for path in (run, os.path.join(run, "own_score")) if os.path.exists(os.path.join(path, METRICS))]
        if seed.isdecimal() and owns and os.path.exists(os.path.join(alone, METRICS)):
            yield Trained(rule, int(seed), run, owns[-1], alone)
