"""What happens around the training steps, as Detectron2 hooks."""

import contextlib
import datetime
import logging
import os
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage, EventWriter

from rle_onestage.engine import logs
from rle_onestage.engine.checkpoint import last_checkpoint
from rle_onestage.engine.checkpoint.retention import periodic_name
from rle_onestage.engine.inference import flat_metrics
from rle_onestage.engine.step_metrics import GRADIENT_NORM
from rle_onestage.errors import PoseError

if TYPE_CHECKING:
    from rle_onestage.engine.trainer import Trainer

logger = logging.getLogger("rle_onestage")

OWN_NUMBERS = ("time", "data_time", "lr", GRADIENT_NORM)  # that the trainer puts beside losses and metrics


class EMAUpdate(HookBase):
    """Takes the weights into their average after each step."""

    def after_step(self) -> None:
        """Update the average."""
        self.trainer.ema.update(self.trainer.iter + 1)


class PeriodicCheckpoint(HookBase):
    """Saves every ``period`` iterations; after the last one the file is ``model_final.pth``.

    Args:
        period: iterations between two checkpoints.
    """

    def __init__(self, period: int):
        self.period = period
        self._finished = False

    def before_train(self) -> None:
        """Say it where a crash would lose all: there is no checkpoint before the last iteration."""
        first = (self.trainer.start_iter // self.period + 1) * self.period
        if self.trainer.start_iter < self.trainer.max_iter <= first:
            logger.info(
                "No checkpoint is written before the last iteration, %d (SOLVER.CHECKPOINT_PERIOD %d): a crash loses "
                "what is trained from now on; Ctrl-C and SIGTERM lose nothing",
                self.trainer.max_iter,
                self.period,
            )

    def after_step(self) -> None:
        """Save if it is time."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter:
            self.trainer.save("model_final.pth")
            self._finished = True
        elif done % self.period == 0:
            self.trainer.save(periodic_name(self.trainer.iter))

    def after_train(self) -> None:
        """Say where the weights are; last, so that nobody looks for them above an evaluation."""
        if self._finished:
            path = os.path.join(self.trainer.cfg.OUTPUT_DIR, "model_final.pth")
            logger.info("All %d iterations are done; the weights are %s", self.trainer.max_iter, path)


class PeriodicEvaluation(HookBase):
    """Evaluates every ``period`` iterations and after the last one.

    Args:
        period: iterations; 0 evaluates at the end only.
    """

    def __init__(self, period: int):
        self.period = period

    def after_step(self) -> None:
        """Evaluate if it is time."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter or (self.period > 0 and done % self.period == 0):
            self.trainer.evaluate()


@contextlib.contextmanager
def saved_is_told(trainer: "Trainer") -> Iterator[None]:
    """Within the block, errors of an evaluation after the last step say that the weights are saved, and what to do."""
    try:
        yield
    except PoseError as error:
        folder = trainer.cfg.OUTPUT_DIR
        finished = trainer.iter + 1 >= trainer.max_iter and trainer.saved_iter == trainer.iter
        path = last_checkpoint(folder) if finished else None
        if path is not None:
            config = shlex.quote(os.path.join(folder, "config.yaml"))
            error.args = (
                f"{str(error).rstrip('.')}; the training itself is finished and saved as {path}: evaluate it "
                f"afterwards by rle-onestage evaluate --config-file {config} MODEL.WEIGHTS {shlex.quote(path)}",
            )
        raise


class StepTimer(HookBase):
    """Puts the seconds of each step (data, network, optimizer; nothing else) as ``time``. Register it first."""

    def before_step(self) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def after_step(self) -> None:
        """Note the seconds."""
        self.trainer.storage.put_scalar("time", time.perf_counter() - self._start)


class Writers(HookBase):
    """Has writers write every ``period`` iterations. Main process only.

    Detectron2's ``PeriodicWriter`` would write before the numbers of the step have come in, and hides no thread's
    traceback of a disk that is full.

    Args:
        writers: of Detectron2; those that have ``start_at`` are told the first iteration just before it.
        period: iterations.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int):
        self.writers = list(writers)
        self.period = period
        self._quiet = contextlib.ExitStack()  # here, because a hook that fails to start ends those after it too

    def before_train(self) -> None:
        """Hide the tracebacks of the writers' threads."""
        self._quiet.enter_context(logs.quiet_event_threads())

    def before_step(self) -> None:
        """Prepare the writers for the first iteration; a training that does not come so far leaves their files."""
        if self.trainer.iter > self.trainer.start_iter:
            return
        for writer in self.writers:
            if hasattr(writer, "start_at"):
                writer.start_at(self.trainer.start_iter)

    def after_step(self) -> None:
        """Write if it is time."""
        if is_due(self.trainer, self.period):
            self.trainer.flush_metrics()
            for writer in self.writers:
                writer.write()

    def after_train(self) -> None:
        """Close the files."""
        for writer in self.writers:
            writer.close()
        self._quiet.close()


class Progress(HookBase):
    """A bar with the time left on a terminal, plain log lines elsewhere. Main process only.

    Args:
        period: iterations between two updates.
    """

    def __init__(self, period: int):
        self.period = period
        self.bar: Any = None
        self._lines_off = contextlib.ExitStack()

    def before_train(self) -> None:
        """Open the bar, on a terminal."""
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            total, start = self.trainer.max_iter, self.trainer.start_iter
            self.bar = tqdm(total=total, initial=start, unit="it", desc="training", dynamic_ncols=True, mininterval=0.5)
            # Lines of the loggers go above the bar instead of through it.
            names = ("rle_onestage", "detectron2", "fvcore")
            self._lines_off.enter_context(logging_redirect_tqdm([logging.getLogger(name) for name in names]))

    def after_step(self) -> None:
        """Move the bar, or log a line if it is time."""
        if self.bar is not None:
            self.bar.update()
        if not is_due(self.trainer, self.period):
            return
        text = self._numbers()
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        else:
            logger.info("%s", self._line(text))

    def after_train(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self._lines_off.close()

    def _numbers(self) -> str:
        """The total loss first, then its parts, each the median of the last period; then what hooks have put."""
        histories = self.trainer.storage.histories()
        names = sorted((name for name in histories if name.startswith("loss") or name == "total_loss"), reverse=True)
        parts = [f"{name.removeprefix('loss_')} {histories[name].median(self.period):.4g}" for name in names]
        told = {*names, *OWN_NUMBERS, *flat_metrics(self.trainer.results)}
        latest = self.trainer.storage.latest_with_smoothing_hint(self.period)
        parts += [f"{name} {value:.4g}" for name, (value, _) in latest.items() if name not in told]
        return "  ".join(parts)

    def _line(self, losses: str) -> str:
        storage = self.trainer.storage
        seconds, expected = (_recent(storage, "time", periods * self.period) for periods in (1, 10))
        left = datetime.timedelta(seconds=int(expected * (self.trainer.max_iter - self.trainer.iter - 1)))
        rate = storage.history("lr").latest()
        waited = _recent(storage, "data_time", self.period)
        return (
            f"iter {self.trainer.iter + 1}/{self.trainer.max_iter}  {losses}  lr {rate:.3g}  "
            f"{seconds:.3f} s/it (data {waited:.3f})  eta {left}"
        )


def is_due(trainer: "Trainer", period: int) -> bool:
    """Whether this iteration ends a period, or the training."""
    done = trainer.iter + 1
    return done % period == 0 or done >= trainer.max_iter


def _recent(storage: EventStorage, name: str, window: int) -> float:
    """The mean, not the median: steps that wait for a busy machine count in what is left too."""
    return statistics.fmean(value for value, _ in storage.history(name).values()[-window:])
