"""Ending an evaluation early, in all processes or in none."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch.distributed as dist
from detectron2.utils import comm

from rle_onestage.utils.signals import StopRequest

_STOP, _DONE = "stop", "done"
_LOOK_SECONDS = 0.5
_WAIT_SECONDS = 0.02


# What may end the evaluation under way. Here, because ``Trainer.test`` has Detectron2's arguments, and a subclass may
# replace it.
_present: ContextVar[StopRequest | None] = ContextVar("stop", default=None)


@contextlib.contextmanager
def interruptible(stop: StopRequest) -> Iterator[None]:
    """Within the block evaluations end early where a signal comes: they raise :class:`EvaluationStopped`."""
    token = _present.set(stop)
    try:
        yield
    finally:
        _present.reset(token)


class EvaluationStopped(Exception):
    """A signal came during evaluation; the training saves a checkpoint and ends."""


class EvaluationWatch:
    """Looks during one pass over a data set whether a signal asks to stop.

    With several processes a signal may come to one of them only, or when some are done with their share already. They
    agree by the store at which they have met: who gets the signal writes "stop" there, who is the last to be done
    writes "done", and the first word counts for all.

    Args:
        stop: notes the signals of this process.
    """

    # The same in every process, as all make theirs in the same order.
    _made = itertools.count()

    def __init__(self, stop: StopRequest):
        self._stop = stop
        self._key = f"rle_onestage/evaluation/{next(EvaluationWatch._made)}"
        alone = comm.get_world_size() == 1
        self._store: Any = None if alone else dist.distributed_c10d._get_default_store()  # torch's own is half typed
        self._looked = 0.0

    @classmethod
    def present(cls) -> "EvaluationWatch | None":
        """One for the pass that begins now; None outside of :func:`interruptible`."""
        stop = _present.get()
        return None if stop is None else cls(stop)

    def check(self) -> None:
        """Call it after each batch.

        Raises:
            EvaluationStopped: a signal came, here or in another process.
        """
        if self._store is None:
            stopped = self._stop.signum != 0
        elif self._stop.signum:
            stopped = self._agreed(_STOP) == _STOP
        elif time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        else:
            self._looked = time.monotonic()
            stopped = self._word() == _STOP
        if stopped:
            raise EvaluationStopped

    def wait_for_all(self) -> None:
        """Call it after the last batch: returns when all processes are that far.

        Raises:
            EvaluationStopped: a signal came before that.
        """
        if self._store is None:
            return
        word = None
        try:
            if self._store.add(f"{self._key}/through", 1) == comm.get_world_size():
                word = self._agreed(_DONE)
        except RuntimeError as error:  # the store is gone with who held it
            raise EvaluationStopped from error
        while word is None:
            word = self._agreed(_STOP) if self._stop.signum else self._word()
            time.sleep(_WAIT_SECONDS if word is None else 0)
        if word == _STOP:
            raise EvaluationStopped

    def _agreed(self, word: str) -> str:
        """Say a word, and get the one that counts."""
        try:
            return self._store.compare_set(self._key, "", word).decode()
        except RuntimeError:
            return _STOP

    def _word(self) -> str | None:
        try:
            return self._store.get(self._key).decode() if self._store.check([self._key]) else None
        except RuntimeError:
            return _STOP
