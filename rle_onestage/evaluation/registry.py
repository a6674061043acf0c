"""The evaluators that ``TEST.EVALUATORS`` may name, and several at work as one."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from ..utils.registry import NamedRegistry

# A class is made by from_config(cfg, dataset_name, **options) where it has that, else from (dataset_name, **options).
EVALUATOR_REGISTRY = NamedRegistry("EVALUATOR", "TEST.EVALUATORS", DatasetEvaluator, by_place=(2, 1))


class Evaluators(DatasetEvaluator):
    """Several evaluators at work as one.

    Detectron2's ``DatasetEvaluators`` fails, when all images are done, where two of them have a task of the same name.

    Args:
        evaluators: in the order in which they are asked. A task that an earlier one has too gets the name of the later
            one's class in front: ``COCOEvaluator/bbox``.
    """

    def __init__(self, evaluators: Sequence[DatasetEvaluator]):
        self.evaluators = list(evaluators)

    def reset(self) -> None:
        """Have all forget their predictions."""
        for evaluator in self.evaluators:
            evaluator.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Give all of them the model's outputs for some images."""
        for evaluator in self.evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> OrderedDict[str, Any]:
        """The results of all, by the names of their tasks."""
        results: OrderedDict[str, Any] = OrderedDict()
        for evaluator in self.evaluators:
            for task, metrics in (evaluator.evaluate() or {}).items():
                results[f"{type(evaluator).__name__}/{task}" if task in results else task] = metrics
        return results


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator of a data set: what ``TEST.EVALUATORS`` names.

    Args:
        cfg: the config.
        dataset_name: a registered data set.

    Raises:
        ConfigError: an evaluator is not known, or does not take its options.
    """
    made = [EVALUATOR_REGISTRY.build(entry, (cfg, dataset_name), (dataset_name,)) for entry in cfg.TEST.EVALUATORS]
    return made[0] if len(made) == 1 else Evaluators(made)


def members(evaluator: DatasetEvaluator) -> list[DatasetEvaluator]:
    """The evaluators that one consists of, those of Detectron2's ``DatasetEvaluators`` too."""
    inner = getattr(evaluator, "evaluators", None) or getattr(evaluator, "_evaluators", None)
    return [evaluator] if inner is None else [one for part in inner for one in members(part)]


def numeric(metrics: Any) -> bool:
    """Whether a task's results are numbers by name, as Detectron2's line for copying prints them."""
    return isinstance(metrics, Mapping) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in metrics.values()
    )
