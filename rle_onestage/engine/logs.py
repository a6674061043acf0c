"""Logs that may fail: a disk that is full costs lines of a log, never the training.

Each log says once that it cannot be written. ``log.txt`` and ``training.jsonl`` go on when there is room again; of
``training.jsonl`` no half line stays.
"""

import contextlib
import json
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator

from detectron2.utils.events import EventWriter, get_event_storage

logger = logging.getLogger("rle_onestage")

FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"  # as Detectron2's
DATES = "%m/%d %H:%M:%S"


def warn_unwritten(path: str, error: Exception) -> None:
    """Say that a log cannot be written, and that the work goes on."""
    why = getattr(error, "strerror", None) or error
    logger.warning("%s cannot be written (%s); going on without it", path, why)


class LogFile(logging.FileHandler):
    """A text file of log lines, opened anew for the next line where one could not be written.

    Args:
        path: is added to.
    """

    def __init__(self, path: str):
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(FORMAT, datefmt=DATES))
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line if that is possible."""
        try:
            if self.stream is None:
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

    def _drop(self):
        """Forget the file and what it could not take, which closing it would try again to write."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, AttributeError):
            stream.close()


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
        lines = defaultdict(dict)
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
        OSError: nothing was added.
    """
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

    def __init__(self, name: str, make: Callable[[], EventWriter], *, again: bool, errors: type = OSError):
        self._name, self._make, self._again, self._errors = name, make, again, errors
        self._writer, self._told = None, False

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

    def _tell(self, error):
        if not self._told:
            self._told = True
            warn_unwritten(self._name, error)


@contextlib.contextmanager
def quiet_event_threads() -> Iterator[None]:
    """TensorBoard writes in a thread, whose failure it also gives to the writer: no traceback of the thread beside."""
    before = threading.excepthook

    def hook(args):
        if type(args.thread).__name__ != "_AsyncWriterThread":
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
