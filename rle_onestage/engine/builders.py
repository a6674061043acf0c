"""What a training is made of: the class methods of Detectron2's ``DefaultTrainer``."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from torch import nn

from rle_onestage.data.image_presence import check_test_images
from rle_onestage.data.loader import build_test_loader, build_train_loader
from rle_onestage.data.lookup import known_joints
from rle_onestage.engine import hooks, optimizer
from rle_onestage.engine.checkpoint.named import weights_to_evaluate
from rle_onestage.engine.checkpoint.weights import load_weights
from rle_onestage.engine.expected import check_expected_names, check_expected_values
from rle_onestage.engine.inference import MetricsUnwritten, evaluate
from rle_onestage.engine.logs import default_writers
from rle_onestage.engine.models import build_architecture, build_for_inference
from rle_onestage.engine.own_hooks import NamesOwnHooks
from rle_onestage.engine.takeover import begin_evaluation
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.registry import build_evaluator


class TrainerBuilders(NamesOwnHooks):
    """Builds the parts of a :class:`~rle_onestage.engine.trainer.Trainer`. A subclass may replace any method.

    Training, ``--resume`` and ``--eval-only`` ask these methods, and nothing else, for their parts.

    Attributes:
        cfg: the frozen config.
        ema: the averages of the weights, or None.
    """

    cfg: CfgNode
    ema: Any

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The architecture, see :func:`rle_onestage.engine.models.build_architecture`."""
        return build_architecture(cfg)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a bare model, see :func:`rle_onestage.engine.optimizer.build_optimizer`."""
        return optimizer.build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optim: torch.optim.Optimizer) -> Any:
        """The schedule, see :func:`rle_onestage.engine.optimizer.build_lr_scheduler`; it steps with each iteration.

        Any of torch's or Detectron2's does. Those that are no function of the iteration alone keep their state in the
        checkpoint.
        """
        return optimizer.build_lr_scheduler(cfg, optim)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict]]:
        """Endless batches of this process, see :func:`rle_onestage.data.loader.build_train_loader`.

        A run that goes on tells a loader with a method ``start_at`` the iteration of its first batch. Another loader
        begins anew then, as in Detectron2.
        """
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict]]:
        """This process's share of a data set, see :func:`rle_onestage.data.loader.build_test_loader`; has a length."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """What evaluates a data set: the evaluators that ``TEST.EVALUATORS`` names."""
        return build_evaluator(cfg, dataset_name)

    @classmethod
    def evaluators_are_ours(cls, cfg: CfgNode) -> bool:
        """Whether the project's own evaluator alone is at work, so that the names of its metrics are known."""
        return not cls._replaces("build_evaluator", "test") and list(cfg.TEST.EVALUATORS) == ["PoseEvaluator"]

    @classmethod
    def _replaces(cls, *methods: str) -> bool:
        """Whether a subclass has one of these methods of this class for itself."""
        return any(inspect.getattr_static(cls, name) is not vars(TrainerBuilders)[name] for name in methods)

    def before_train(self) -> None:
        """Call the hooks, then look for the test images, where they are read in our way.

        Raises:
            DataError: one is missing, see :func:`rle_onestage.data.image_presence.check_test_images`.
        """
        super().before_train()
        if self.cfg.DATASETS.TEST and not self._replaces("build_test_loader", "test"):
            check_test_images(self.cfg)

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None
    ) -> Mapping[str, Any]:
        """Evaluate a model that has its weights; see :func:`rle_onestage.engine.inference.evaluate`.

        Args:
            cfg: the config.
            model: in evaluation mode meanwhile.
            evaluators: one for each of ``DATASETS.TEST``; None: those of :meth:`build_evaluator`.

        Raises:
            ConfigError: there are more or fewer evaluators than data sets.
        """
        build = cls.build_evaluator
        if evaluators is not None:
            given = [evaluators] if isinstance(evaluators, DatasetEvaluator) else list(evaluators)
            if len(given) != len(cfg.DATASETS.TEST):
                raise ConfigError(
                    f"test() got {len(given)} evaluators for the {len(cfg.DATASETS.TEST)} sets of DATASETS.TEST; give "
                    "one for each"
                )
            by_name = dict(zip(cfg.DATASETS.TEST, given))

            def build(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
                return by_name[dataset_name]

        return evaluate(cfg, model, build_evaluator=build, build_loader=cls.build_test_loader)

    def build_writers(self) -> list[EventWriter]:
        """What the numbers of training are written with, on the first process: Detectron2's ``EventWriter``s."""
        return default_writers(self.cfg.OUTPUT_DIR, self.cfg.SOLVER.LOG_PERIOD)

    def build_hooks(self) -> list[HookBase | None]:
        """Timer, EMA, those of ``SOLVER.HOOKS``, checkpoint, evaluation; on the first process progress and writers."""
        cfg, first = self.cfg, comm.is_main_process()
        return [
            hooks.StepTimer(),
            hooks.EMAUpdate() if self.ema is not None else None,
            # Before the checkpoint, so that it has their state after the same iteration.
            *self.build_own_hooks(cfg),
            hooks.PeriodicCheckpoint(cfg.SOLVER.CHECKPOINT_PERIOD),
            hooks.Progress(cfg.SOLVER.LOG_PERIOD) if first else None,
            hooks.PeriodicEvaluation(cfg.TEST.EVAL_PERIOD) if cfg.DATASETS.TEST else None,
            # Last, so that the metrics of an evaluation are written with the iteration they belong to.
            hooks.Writers(self.build_writers(), cfg.SOLVER.LOG_PERIOD) if first else None,
        ]


def evaluate_only(
    cfg: CfgNode,
    resume: bool = False,
    trainer: type[TrainerBuilders] = TrainerBuilders,
    *,
    before_training: bool = False,
) -> Mapping[str, Any]:
    """What ``--eval-only`` does: build, load (``MODEL.WEIGHTS``, or with ``resume`` the last checkpoint), evaluate.

    Args:
        cfg: the config.
        resume: take the last checkpoint in ``OUTPUT_DIR``, as a training that goes on does.
        trainer: whose ``build_model`` and ``test`` are used.
        before_training: load the weights as a training would: all that fits, joints by name. Parts that the weights
            lack are untrained.

    Returns:
        The metrics, see :func:`rle_onestage.engine.inference.evaluate`.

    Raises:
        CheckpointError: no weights are named, there is no checkpoint to take, or the weights do not fit exactly.
        ConfigError: ``TEST.EXPECTED_RESULTS`` names no metric; or ``resume`` comes with ``before_training``.
        SystemExit: with 1, because a metric is not as ``TEST.EXPECTED_RESULTS`` says.
    """
    if resume and before_training:
        raise ConfigError("--before-training evaluates MODEL.WEIGHTS, --resume the last checkpoint; leave one out")
    check_expected_names(cfg, trainer.evaluators_are_ours(cfg))
    path = weights_to_evaluate(cfg, resume=resume)
    if before_training:
        torch.manual_seed(max(0, cfg.SEED))  # untrained parts are the same in every process and call
        model = trainer.build_model(cfg)
        load_weights(model, path, strict=False, joints=known_joints(cfg))
        model.eval()
    else:
        model = build_for_inference(cfg, path, use_ema=cfg.TEST.USE_EMA, build_model=trainer.build_model)
    begin_evaluation(cfg)
    try:
        results = trainer.test(cfg, model)
    except MetricsUnwritten as error:
        check_expected_values(cfg, error.results)
        raise
    check_expected_values(cfg, results)
    return results
