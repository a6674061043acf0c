"""Which checkpoints stay: the best one, and the last few of the periodic ones."""

import contextlib
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from detectron2.utils import comm

from rle_onestage.engine.checkpoint.files import read_checkpoint
from rle_onestage.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from rle_onestage.engine.trainer import Trainer

logger = logging.getLogger("rle_onestage")

BEST = "model_best.pth"
_PERIODIC = re.compile(r"model_(\d{7,})\.pth")


def periodic_name(iteration: int) -> str:
    """File name of the checkpoint after an iteration."""
    return f"model_{iteration:07d}.pth"


class RecentCheckpoints:
    """Deletes periodic checkpoints when newer ones are there. Main process only.

    Only files that this training wrote are deleted, and of those only periodic ones: the last, the best and the final
    checkpoint stay. Each checkpoint lists them as ``periodic``, so that a resumed run knows its own from those of an
    earlier training in the folder.

    Args:
        folder: of the checkpoints.
        keep: how many periodic ones stay; 0 for all.
    """

    def __init__(self, folder: str, keep: int):
        self.folder, self.keep = folder, keep
        self._names: list[str] = []

    def resume(self, names: object, start_iter: int) -> None:
        """Go on with the files of a training.

        Args:
            names: what a checkpoint has as ``periodic``, see :meth:`names_with`. Where it has none, or nonsense, the
                training that goes on has no earlier files.
            start_iter: the first iteration to be done.
        """
        given = [name for name in names if isinstance(name, str)] if isinstance(names, (list, tuple)) else []
        own = {name: found for name in given if (found := _PERIODIC.fullmatch(name)) and int(found[1]) < start_iter}
        there = [name for name in own if os.path.exists(os.path.join(self.folder, name))]
        self._names = sorted(there, key=lambda name: int(own[name][1]))

    def names_with(self, name: str) -> list[str]:
        """The periodic files of this training, oldest first, with the one that is about to be saved."""
        if not _PERIODIC.fullmatch(name):
            return self._names[:]
        return [other for other in self._names if other != name] + [name]

    def saved(self, name: str) -> None:
        """Delete what is too old, now that the file ``name`` is safely there."""
        self._names = self.names_with(name)
        while self.keep and _PERIODIC.fullmatch(name) and len(self._names) > self.keep:
            old = os.path.join(self.folder, self._names.pop(0))
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(old)
            except OSError as error:
                logger.warning("checkpoint %s cannot be deleted (%s); it stays", old, error.strerror)


class BestCheckpoint:
    """Keeps the checkpoint with the best metric so far as ``model_best.pth``.

    Its entry ``best`` has the ``metric``, its ``value`` and the ``iteration``. The file counts only for the training
    whose ``run`` it has.

    Args:
        folder: of the checkpoints.
        metric: path of one in what an evaluation gives, e.g. "keypoints/AP", with several test sets
            "NAME/keypoints/AP"; the larger the better. "" keeps none.
    """

    def __init__(self, folder: str, metric: str):
        self.path, self.metric = os.path.join(folder, BEST), metric
        self.value: float | None = None  # of the best so far; NaN if the metric is known and never was a number

    def resume(self, run: str | None) -> None:
        """Go on from the best that an interrupted training has kept. Main process only.

        Args:
            run: of the training that goes on; None where its checkpoints are of a version that gave none.
        """
        if not (self.metric and os.path.isfile(self.path)):
            return
        try:
            content = read_checkpoint(self.path)
        except CheckpointError as error:
            logger.warning("%s; the next evaluation replaces it", error)
            return
        if content.get("run") != run:
            logger.info("%s is of another training; the next evaluation replaces it", self.path)
            return
        best = content.get("best")
        if isinstance(best, dict) and best.get("metric") == self.metric and isinstance(best.get("value"), float):
            self.value = best["value"]
            logger.info("Best %s so far: %.4g at iteration %s", self.metric, self.value, best.get("iteration"))

    def after_evaluation(self, trainer: "Trainer") -> None:
        """Save if the metrics of the trainer's evaluation are better. Collective with several processes.

        Raises:
            ConfigError: the first evaluation has no such metric; everything is saved before that.
        """
        if not self.metric:
            return
        # The first process has the metrics, and read the best so far; all take part in saving.
        value, names, self.value = comm.all_gather((*self._look(trainer.results), self.value))[0]
        if value is None:
            self._missing(trainer, names)
        elif not math.isnan(value) and not (self.value is not None and self.value >= value):
            best = {"metric": self.metric, "value": value, "iteration": trainer.iter}
            trainer.save(BEST, latest=False, best=best)
            logger.info("Best %s so far: %.4g, kept as %s", self.metric, value, self.path)
            self.value = value
        elif self.value is None:
            self.value = value

    def _look(self, results: Mapping[str, Any]) -> tuple[float | None, list[str]]:
        """(the metric or None, the names of all)."""
        metrics = dict(_metrics(results))
        return metrics.get(self.metric), [name for name in metrics if "-" not in name]

    def _missing(self, trainer: "Trainer", names: list[str]) -> None:
        if self.value is not None:
            logger.warning("this evaluation has no metric %s, so it is not compared with the best", self.metric)
            return
        if trainer.saved_iter != trainer.iter:
            trainer.save(periodic_name(trainer.iter))
        raise ConfigError(
            f"TEST.BEST_METRIC {self.metric!r} is no metric of the evaluation; go on with --resume (all is saved) and "
            f"one of {', '.join(names)}"
        )


def _metrics(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of every number, NaN where it could not be computed."""
    for key, value in results.items():
        if isinstance(value, dict):
            yield from _metrics(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)
