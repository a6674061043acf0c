"""A DataLoader whose processes may be killed, lack room, or stand still: each becomes a sentence in bounded time."""

import contextlib
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from ..console import QuietWarnings
from ..errors import DataError
from ..utils.bounded import within
from .handover import describe_end, describe_failure, pack, unpack
from .workers import settle, starting

# Seconds between two looks at the workers while nothing comes from them.
POLL_SECONDS = 5
# Seconds without a batch after which the workers count as standing still. Far more than a batch takes, and than the
# reading of an image may take (:mod:`.bounded_reading`), whose message says more.
PATIENCE = 900
# What torch says where there are fewer cores than workers. Detectron2 has 4, and each waits for its images most of the
# time.
_TOO_MANY = QuietWarnings(message="This DataLoader will create", module="torch")


class LostWorkers(DataError):
    """The data-loading processes cannot go on; the samples that were taken are not affected."""


class Batches:
    """Iterates over the batches of a DataLoader, as :func:`~.handover.unpack` gives them.

    Torch would interrupt this process in the middle of anything when a worker dies. Here that is told where the next
    batch is asked for, so that whoever asks is between two steps.

    Args:
        loader: made by :func:`make_loader`.

    Raises:
        LostWorkers: a worker cannot be started; or, while iterating, it was killed, or they stand still.
    """

    def __init__(self, loader: DataLoader):
        self._parallel = loader.num_workers > 0
        before = multiprocessing.active_children()
        with _no_report_of_clean_up():
            failure = self._start(loader)
            if failure is not None:
                gc.collect()  # the iterator that is half made
        self._workers = [process for process in multiprocessing.active_children() if process not in before]
        if failure is not None:
            self._kill()
            raise LostWorkers(describe_failure(failure))

    def _start(self, loader: DataLoader) -> OSError | None:
        """Start the workers; returns what went wrong, if anything did."""
        try:
            with starting(loader.num_workers), _TOO_MANY:
                self._iterator = iter(loader)
            return None
        except OSError as error:
            if not self._parallel:
                raise
            return OSError(error.errno, error.strerror)  # whose traceback does not hold the iterator

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> list[dict]:
        if not self._parallel:
            return next(self._iterator)
        waited = 0
        while True:
            try:
                packed = next(self._iterator)
                break
            except StopIteration:
                raise
            except Exception as error:
                # What a worker's own code raised, with its traceback; torch would wait for all others at the end.
                if not isinstance(error, (RuntimeError, OSError, EOFError)) or str(error).startswith("Caught "):
                    self._kill()
                    raise
                timed_out = str(error).startswith("DataLoader timed out")
                if not timed_out or self._exit_codes():
                    raise self._lost(error) from error
                waited += POLL_SECONDS
                if waited >= PATIENCE:
                    raise self._stands_still(waited) from error
        try:
            # The memory's handle is asked for from the worker, which may have been stopped in between.
            return within(PATIENCE, lambda: unpack(packed), name="batch")
        except TimeoutError as error:
            raise self._stands_still(PATIENCE) from error
        except (OSError, EOFError) as error:
            raise self._lost(error) from error

    def _stands_still(self, waited: int) -> LostWorkers:
        self._kill()
        return LostWorkers(
            f"nothing came from the data-loading processes for {waited} s; set DATALOADER.NUM_WORKERS to 0 to see "
            "where they stand still"
        )

    def _exit_codes(self) -> list[int]:
        """Those of the workers that failed."""
        return [process.exitcode for process in self._workers if process.exitcode]

    def _lost(self, error: Exception) -> LostWorkers:
        """The error to raise for one that torch, or the way from a worker to here, had."""
        deadline = time.monotonic() + 1  # a worker that closed its connections may not have ended yet
        while not (codes := self._exit_codes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._kill()
        if not codes and isinstance(error, OSError) and error.errno:
            return LostWorkers(describe_failure(error))
        return LostWorkers(describe_end(codes[0] if codes else None))

    def _kill(self) -> None:
        """End the workers, whatever they are at: the end of this process would wait for them."""
        for process in self._workers:
            process.kill()


@contextlib.contextmanager
def _no_report_of_clean_up() -> Iterator[None]:
    """Torch prints a traceback where an iterator that is half made is cleaned up."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def make_loader(dataset: Dataset, *, num_workers: int, **options: Any) -> DataLoader:
    """A DataLoader for :class:`Batches`.

    Args:
        dataset: gives samples.
        num_workers: processes; 0: none.
        options: of the DataLoader.
    """
    with _TOO_MANY:
        return DataLoader(
            dataset,
            num_workers=num_workers,
            collate_fn=pack if num_workers else _as_list,
            worker_init_fn=_start_worker,
            timeout=POLL_SECONDS if num_workers else 0,
            **options,
        )


def _as_list(batch: list[dict]) -> list[dict]:
    return batch


def _start_worker(_: int) -> None:
    settle()
    # Workers share the machine's cores with each other and with training.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
