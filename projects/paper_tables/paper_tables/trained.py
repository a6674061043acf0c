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
from rle_onestage.evaluation import GroundTruth, read_results
from rle_onestage.evaluation.coco import RESULTS_FILE, results_folder
from rle_onestage.evaluation.results import Result
from rle_onestage.structures.error_density import ErrorDensity
from rle_onestage.structures.skeleton import Skeleton

# In the order of the tables: this package's default, then the paper's.
LOSSES = ("rle_student", "rle", "rle_gaussian", "rle_released", "laplace", "flow", "gaussian", "l1", "l2", "simplepose")
SENSITIVITY = ("student", "rle_3x64", "rle_5x64", "rle_5x128")
REPEATED = ("rle_student", "rle", "laplace", "l1", "simplepose")  # with three seeds
HEATMAP = "simplepose"


@dataclass(frozen=True)
class Trained:
    """A run whose results are there.

    Attributes:
        loss: its name.
        seed: of the training.
        folder: with its config, metrics and results.
        weights: the trained model's file.
    """

    loss: str
    seed: int
    folder: str
    weights: str

    def config(self) -> CfgNode:
        """Of the evaluation."""
        return load_config(os.path.join(self.folder, "config.yaml"), ["OUTPUT_DIR", self.folder])

    def skeleton(self, dataset: str) -> Skeleton:
        """The joints of a set."""
        return get_skeleton(self.config(), dataset)

    def oks_sigmas(self, dataset: str) -> tuple[float, ...]:
        """COCO's constants (K,) that the evaluation counted with."""
        return tuple(self.config().TEST.KEYPOINT_OKS_SIGMAS) or self.skeleton(dataset).oks_sigmas

    def metrics(self, dataset: str) -> dict[str, dict[str, float]]:
        """What the evaluation found on a set, by the kind of metric.

        Raises:
            DataError: the file cannot be read.
        """
        path = os.path.join(self.folder, METRICS)
        try:
            with open(path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
            found = found.get(dataset, found)
            float(found["keypoints"]["AP"])
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} has no metrics of {dataset} ({error}); evaluate the run again") from error

    def truth(self, dataset: str) -> GroundTruth:
        """The labels of a set."""
        return GroundTruth.of_dataset(dataset, self.skeleton(dataset).num_joints)

    def results(self, dataset: str, truth: GroundTruth) -> list[Result]:
        """What was found on a set."""
        path = os.path.join(results_folder(self.config(), dataset), RESULTS_FILE)
        return read_results(path, labels=truth.labels)

    def density(self) -> ErrorDensity | None:
        """Of the model's error, on the CPU; heatmaps have none."""
        if self.loss == HEATMAP:
            return None
        model: Any = build_for_inference(self.config(), self.weights)
        return model.keypoint_head.decoder.error_density().to("cpu")


def find_runs(folder: str) -> list[Trained]:
    """The finished runs of a set, in the order of the losses and seeds.

    Args:
        folder: with ``<loss>/seed<k>`` in it.
    """
    return [run for loss in (*LOSSES, *SENSITIVITY) for run in _of_loss(folder, loss)]


def _of_loss(folder: str, loss: str) -> Iterator[Trained]:
    parent = os.path.join(folder, loss)
    for name in sorted(os.listdir(parent)) if os.path.isdir(parent) else []:
        run, seed = os.path.join(parent, name), name.removeprefix("seed")
        weights = os.path.join(run, "model_final.pth")
        # The driver evaluates anew beside the run where that was interrupted.
        found = [path for path in (run, os.path.join(run, "own_score")) if os.path.exists(os.path.join(path, METRICS))]
        if seed.isdecimal() and found and os.path.exists(weights):
            yield Trained(loss, int(seed), found[-1], weights)
