"""AP of PyTorch and of an exported file on the same data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from rle_onestage.data.loader import build_test_loader
from rle_onestage.engine.inference import run_on_loader
from rle_onestage.engine.models import as_run, build_for_inference
from rle_onestage.evaluation.registry import build_evaluator
from rle_onestage.utils.images import read_image

from .predicting import ExportedPredictor, load


class FileModel(nn.Module):
    """An exported file in the place of an architecture of Detectron2.

    Args:
        predictor: of the file.
    """

    def __init__(self, predictor: ExportedPredictor):
        super().__init__()
        self.predictor = predictor

    def forward(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The people of each image, read anew from its file, as the file wants it raw."""
        return [{"instances": self.predictor(read_image(str(each["file_name"])))} for each in inputs]


def measure(cfg: CfgNode, path: str, dataset: str) -> list[str]:
    """AP of both, one line each.

    Args:
        cfg: the config that was exported.
        path: of the file.
        dataset: its name.

    Raises:
        ConfigError: there is no such data set.
        DataError: its files are missing.
    """
    models = {"PyTorch": as_run(build_for_inference(cfg, cfg.MODEL.WEIGHTS)), path: FileModel(load(path))}
    lines = []
    for name, model in models.items():
        found = metrics_of(cfg, model, dataset)
        lines.append(f"{name}: {found['AP']:.2f} AP, {found['AP50']:.2f} AP50 on {dataset}")
    return lines


def metrics_of(cfg: CfgNode, model: nn.Module, dataset: str) -> Mapping[str, float]:
    """COCO's metrics of a model.

    Args:
        cfg: its config.
        model: of PyTorch, or a :class:`FileModel`.
        dataset: its name.

    Raises:
        ConfigError: there is no such data set.
        DataError: its files are missing.
    """
    return run_on_loader(model, build_test_loader(cfg, dataset), build_evaluator(cfg, dataset))["keypoints"]
