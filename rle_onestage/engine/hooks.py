"""What happens around the training steps, as Detectron2 hooks."""

import contextlib
import datetime
import importlib.util
import json
import logging
import os
import statistics
import sys
import time

from detectron2.engine import HookBase

from rle_onestage.engine import logs
from rle_onestage.engine.retention import periodic_name
from rle_onestage.errors import ConfigError
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger("rle_onestage")

TRAINING_LOG = "training.jsonl"


class EMAUpdate(HookBase):
    """Takes the weights into their average after each step."""

    def after_step(self):
        """Update the average."""
        self.trainer.ema.update(self.trainer.iter + 1)


class PeriodicCheckpoint(HookBase):
    """Saves every ``period`` iterations; after the last one the file is ``model_final.pth``.

    Args:
        period: iterations between two checkpoints.
    """

    def __init__(self, period):
        self.period = period

    def after_step(self):
        """Save if it is time."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter:
            self.trainer.save("model_final.pth")
        elif done % self.period == 0:
            self.trainer.save(periodic_name(self.trainer.iter))


class PeriodicEvaluation(HookBase):
    """Evaluates every ``period`` iterations and after the last one.

    Args:
        period: iterations; 0 evaluates at the end only.
    """

    def __init__(self, period):
        self.period = period

    def after_step(self):
        """Evaluate if it is time."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter or (self.period > 0 and done % self.period == 0):
            self.trainer.evaluate()


class StepTimer(HookBase):
    """Puts the seconds of each step (data, network, optimizer; nothing else) as ``time``. Register it first."""

    def before_step(self):
        """Start the clock."""
        self._start = time.perf_counter()

    def after_step(self):
        """Note the seconds."""
        self.trainer.storage.put_scalar("time", time.perf_counter() - self._start)


class Writers(HookBase):
    """Writes ``training.jsonl`` and TensorBoard's events every ``period`` iterations. Main process only.

    What cannot be written is left out, with one warning, see :mod:`rle_onestage.engine.logs`.

    Args:
        folder: where to.
        period: iterations.
    """

    def __init__(self, folder, period):
        self.folder = folder
        self.period = period
        self.writers = []
        self._quiet = contextlib.ExitStack()  # here, because a hook that fails to start ends those after it too

    def before_train(self):
        """Drop the lines of iterations that will be done again after a resume. Files are opened when they are due."""
        path = os.path.join(self.folder, TRAINING_LOG)
        self._quiet.enter_context(logs.quiet_event_threads())
        try:
            keep_before(path, self.trainer.start_iter)
            self.writers = [logs.Patient(path, lambda: logs.LinesWriter(path, self.period), again=True)]
        except (ConfigError, OSError) as error:  # OSError: it cannot be read, or is no file
            # Without that each iteration would stand in the file twice.
            problem = f"{path} cannot be read ({error.strerror})" if isinstance(error, OSError) else error
            logger.warning("%s; going on without it", problem)
        if importlib.util.find_spec("tensorboard") is None:
            logger.info("TensorBoard is not installed: no events files (pip install tensorboard adds them)")
        else:
            events = os.path.join(self.folder, "events.*")
            # Where TensorFlow is installed, its errors are of types of its own.
            self.writers.append(logs.Patient(events, self._events, again=False, errors=Exception))

    def _events(self):
        from detectron2.utils.events import TensorboardXWriter

        return TensorboardXWriter(self.folder, window_size=self.period)

    def after_step(self):
        """Write if it is time."""
        if is_due(self.trainer, self.period):
            self.trainer.flush_metrics()
            for writer in self.writers:
                writer.write()

    def after_train(self):
        """Close the files."""
        for writer in self.writers:
            writer.close()
        self._quiet.close()


class Progress(HookBase):
    """A bar with the time left on a terminal, plain log lines elsewhere. Main process only.

    Args:
        period: iterations between two updates.
    """

    def __init__(self, period):
        self.period = period
        self.bar = None

    def before_train(self):
        """Open the bar, on a terminal."""
        self._lines_off = None
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            total, start = self.trainer.max_iter, self.trainer.start_iter
            self.bar = tqdm(total=total, initial=start, unit="it", desc="training", dynamic_ncols=True, mininterval=0.5)
            # Lines of the loggers go above the bar instead of through it.
            names = ("rle_onestage", "detectron2", "fvcore")
            self._lines_off = logging_redirect_tqdm([logging.getLogger(name) for name in names])
            self._lines_off.__enter__()

    def after_step(self):
        """Move the bar, or log a line if it is time."""
        if self.bar is not None:
            self.bar.update()
        if not is_due(self.trainer, self.period):
            return
        text = self._losses()
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
        else:
            logger.info("%s", self._line(text))

    def after_train(self):
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self._lines_off.__exit__(None, None, None)

    def _losses(self):
        """The total first, then its parts, each the median of the last period."""
        histories = self.trainer.storage.histories()
        names = sorted((name for name in histories if name.startswith("loss") or name == "total_loss"), reverse=True)
        parts = [f"{name.removeprefix('loss_')} {histories[name].median(self.period):.4g}" for name in names]
        return "  ".join(parts)

    def _line(self, losses):
        storage = self.trainer.storage
        seconds = _recent(storage, "time", 10 * self.period)
        left = datetime.timedelta(seconds=int(seconds * (self.trainer.max_iter - self.trainer.iter - 1)))
        rate = storage.history("lr").latest()
        waited = _recent(storage, "data_time", self.period)
        return (
            f"iter {self.trainer.iter + 1}/{self.trainer.max_iter}  {losses}  lr {rate:.3g}  "
            f"{seconds:.3f} s/it (data {waited:.3f})  eta {left}"
        )


def is_due(trainer, period):
    """Whether this iteration ends a period, or the training."""
    done = trainer.iter + 1
    return done % period == 0 or done >= trainer.max_iter


def _recent(storage, name, window):
    values = [value for value, _ in storage.history(name).values()[-window:]]
    return statistics.median(values)


def keep_before(path, start_iter):
    """Drop from a JSON-lines log what is about to be done again, so that each iteration stands in it once.

    Lines that nobody can read, as a crash or a power loss leaves them, are dropped too; a warning counts those within
    the log.

    Args:
        path: the log; it may be missing.
        start_iter: lines with ``iteration`` below this stay.
    """
    if not os.path.exists(path):
        return
    kept, damaged = [], 0
    with open(path, "rb") as file:
        for line in file:
            iteration = _iteration_of(line)
            if iteration is None:
                damaged += line.endswith(b"\n")  # the last line may have been cut short
            elif iteration < start_iter:
                kept.append(line if line.endswith(b"\n") else line + b"\n")
    if damaged:
        logger.warning("%s: %d damaged line(s) dropped", path, damaged)
    write_text(path, b"".join(kept).decode("utf-8"), remedy=CHECK_OUTPUT_DIR)


def _iteration_of(line):
    """The iteration of a line of the log, 0 where it has none, None where the line is damaged."""
    try:
        content = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    iteration = content.get("iteration", 0) if isinstance(content, dict) else None
    return iteration if isinstance(iteration, (int, float)) and not isinstance(iteration, bool) else None
