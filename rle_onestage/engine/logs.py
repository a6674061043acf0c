"""Logs that may fail: a disk that is full costs lines of a log, never the training.

Each log says once that it cannot be written. ``log.txt`` and ``training.jsonl`` go on when there is room again; of
``training.jsonl`` no half line stays.
"""

import contextlib
import errno
import importlib.util
import json
import logging
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from logging.handlers import MemoryHandler
from typing import Any

from detectron2.utils import comm
from detectron2.utils.events import EventWriter, get_event_storage

from rle_onestage.errors import ConfigError
from rle_onestage.utils.output_files import kind_of
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger("rle_onestage")

FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"  # as Detectron2's
DATES = "%m/%d %H:%M:%S"
TRAINING_LOG = "training.jsonl"


def warn_unwritten(path: str, error: Exception) -> None:
    """Say that a log cannot be written, and that the work goes on."""
    why = getattr(error, "strerror", None) or error
    logger.warning("%s cannot be written (%s); going on without it", path, why)


def _check_kind(path: str, *others: str) -> None:
    """Raise OSError for what is no file: a pipe blocks whoever opens it, and a device may have no end.

    Args:
        path: of a log.
        others: kinds that are taken beside files and ``/dev/null``, see :func:`~.output_files.kind_of`.
    """
    kind = kind_of(path)
    if kind and kind not in others and os.path.realpath(path) != os.devnull:
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)


class LogFile(logging.FileHandler):
    """A text file of log lines, opened anew for the next line where one could not be written.

    Args:
        path: is added to.
        hold: keep the lines back until :meth:`write_held`; they are lost where that is never called.
    """

    def __init__(self, path: str, *, hold: bool = False):
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(FORMAT, datefmt=DATES))
        self._told = False
        self._held: list[logging.LogRecord] | None = [] if hold else None

    def write_held(self) -> None:
        """Write the lines that were kept back, and all that come from now on."""
        held, self._held = self._held, None
        for record in held or ():
            self.handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line if that is possible."""
        if self._held is not None:
            self._held.append(record)
            return
        try:
            if self.stream is None:
                _check_kind(self.baseFilename, "an open descriptor")
                self.stream = self._open()
            self.stream.write(self.format(record) + self.terminator)
            self.stream.flush()
        except OSError as error:
            self._drop()
            if not self._told:
                self._told = True
                warn_unwritten(self.baseFilename, error)
        except Exception:  # a line that cannot be formatted is a mistake of ours
            self.handleError(record)

    def flush(self) -> None:
        """Every line is flushed when it is written."""

    def close(self) -> None:
        """Close the file, whatever state it is in."""
        with contextlib.suppress(OSError):
            super().close()

    def _drop(self) -> None:
        """Forget the file and what it could not take, which closing it would try again to write."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()


@contextlib.contextmanager
def logged_later() -> Iterator[None]:
    """Keep what is logged before there is a log for the log that the block makes at its end.

    Where the block fails, what was kept is printed.
    """
    kept = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False)
    printed = list(logger.handlers)  # those of an earlier log of this process, which have their lines at once
    logger.addHandler(kept)
    try:
        yield
    except BaseException:
        logger.removeHandler(kept)
        if logging.lastResort and not printed:
            for record in kept.buffer:
                logging.lastResort.handle(record)
        raise
    logger.removeHandler(kept)  # by now that is done, if the block made a log
    for handler in logger.handlers:
        for record in kept.buffer if isinstance(handler, LogFile) or not printed else ():
            handler.handle(record)


class LinesWriter(EventWriter):
    """Adds the latest numbers of training to a file, a JSON object a line, as Detectron2's ``JSONWriter`` does.

    A line is written whole or not at all.

    Args:
        path: of the file.
        window: iterations over which what fluctuates is smoothed.
    """

    def __init__(self, path: str, window: int):
        self.path, self._window = path, window
        self._last = -1

    def write(self) -> None:
        """Write what is newer than what was written last.

        Raises:
            OSError: it cannot be written; the lines of this time are left out.
        """
        lines: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(self._window).items():
            if iteration > self._last:
                lines[iteration][name] = value
        self._last = max(lines, default=self._last)
        text = "".join(
            json.dumps({**numbers, "iteration": iteration}, sort_keys=True) + "\n"
            for iteration, numbers in lines.items()
        )
        append_whole(self.path, text.encode("utf-8"))


def append_whole(path: str, data: bytes) -> None:
    """Add to a file all or nothing, and have it on the disk.

    Raises:
        OSError: nothing was added; or it is a pipe or a device.
    """
    _check_kind(path, "an open descriptor")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        size = os.fstat(descriptor).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


class Patient(EventWriter):
    """A writer whose failures are told once, and cost nothing else.

    Args:
        name: what cannot be written then.
        make: gives the writer, when it is needed first.
        again: whether to try again after a failure.
        errors: what a failure may be.
    """

    def __init__(self, name: str, make: Callable[[], EventWriter], *, again: bool, errors: type[Exception] = OSError):
        self._name, self._make, self._again, self._errors = name, make, again, errors
        self._writer: EventWriter | None = None
        self._told = False

    def write(self) -> None:
        """Write if that is possible."""
        if self._told and not self._again:
            return
        try:
            if self._writer is None:
                self._writer = self._make()
            self._writer.write()
        except self._errors as error:
            self._tell(error)
            if not self._again:
                self.close()

    def close(self) -> None:
        """Close the writer; what it still holds may be lost."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except self._errors as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            warn_unwritten(self._name, error)


class TrainingLog(Patient):
    """Writes ``training.jsonl``, each iteration once, also over a resume.

    Args:
        path: of the file.
        window: iterations over which what fluctuates is smoothed.
    """

    def __init__(self, path: str, window: int):
        super().__init__(path, lambda: LinesWriter(path, window), again=True)

    def start_at(self, iteration: int) -> None:
        """Drop the lines of iterations that will be done again; where that fails, nothing is written at all."""
        try:
            keep_before(self._name, iteration)
        except (ConfigError, OSError) as error:  # OSError: it cannot be read, or is no file
            # Without that each iteration would stand in the file twice.
            self._told, self._again = True, False
            problem = f"{self._name} cannot be read ({error.strerror})" if isinstance(error, OSError) else error
            logger.warning("%s; going on without it", problem)


def default_writers(folder: str, window: int) -> list[EventWriter]:
    """What a training writes its numbers with: ``training.jsonl``, and TensorBoard's events where that is installed.

    Files are opened when they are due. What cannot be written is left out, with one warning.

    Args:
        folder: where to.
        window: iterations over which what fluctuates is smoothed.
    """

    def events() -> EventWriter:
        from detectron2.utils.events import TensorboardXWriter

        return TensorboardXWriter(folder, window_size=window)

    writers: list[EventWriter] = [TrainingLog(os.path.join(folder, TRAINING_LOG), window)]
    if importlib.util.find_spec("tensorboard") is None:
        logger.info("TensorBoard is not installed: no events files (pip install tensorboard adds them)")
    else:
        # Where TensorFlow is installed, its errors are of types of its own.
        writers.append(Patient(os.path.join(folder, "events.*"), events, again=False, errors=Exception))
    return writers


@contextlib.contextmanager
def quiet_event_threads() -> Iterator[None]:
    """TensorBoard writes in a thread, whose failure it also gives to the writer: no traceback of the thread beside."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__name__ != "_AsyncWriterThread":
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def keep_before(path: str, start_iter: int) -> None:
    """Drop from a JSON-lines log what is about to be done again, so that each iteration stands in it once.

    Lines that nobody can read, as a crash or a power loss leaves them, are dropped too; a warning counts those within
    the log.

    Args:
        path: the log; it may be missing.
        start_iter: lines with ``iteration`` below this stay.
    """
    if not os.path.exists(path):
        return
    _check_kind(path)
    kept: list[bytes] = []
    damaged = 0
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


def release_logs() -> None:
    """Let the text logs have the lines that they keep back, as the folder is this training's from now on."""
    for handler in list(logger.handlers):
        if isinstance(handler, LogFile):
            handler.write_held()


def tell_extent(done: int, total: int, rate: float) -> None:
    """Say at the beginning of a training which iterations come, counted from 1 as in the lines of progress.

    Args:
        done: iterations of earlier runs.
        total: ``SOLVER.MAX_ITER``.
        rate: the learning rate of the first iteration, which is told where a training goes on: after other keys of
            ``SOLVER`` or a longer schedule it is seldom the one that is expected.
    """
    if done < total:
        at = f", from a learning rate of {rate:.2g}" if done else ""
        logger.info("Training: iterations %d to %d%s", done + 1, total, at)
    else:
        logger.info("Nothing left to train: %d iterations are done, and SOLVER.MAX_ITER is %d", done, total)


def report_data(loader: object | None) -> None:
    """Say at the end of a training what of its data could not be used, in any process. Collective.

    Args:
        loader: of the training; those that have ``report_lines`` are asked.
    """
    lines = comm.gather(loader.report_lines() if hasattr(loader, "report_lines") else [])
    for line in dict.fromkeys(line for process in lines for line in process):
        logger.warning("Data: %s", line)


def _iteration_of(line: bytes) -> float | None:
    """The iteration of a line of the log, 0 where it has none, None where the line is damaged."""
    try:
        content: Any = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    iteration = content.get("iteration", 0) if isinstance(content, dict) else None
    return iteration if isinstance(iteration, (int, float)) and not isinstance(iteration, bool) else None
