"""SIGINT, SIGTERM and SIGHUP: before the training they end the process, in it they ask it to stop after the iteration.

SIGHUP, of a terminal or connection that is closed, is treated as SIGTERM is; under ``nohup`` it stays ignored.

With several processes each gets a signal more than once: Ctrl-C reaches the whole group of the terminal, and whoever
started the processes (``--num-gpus``, torchrun) hands it on to each of them. So a process that has a launcher never
takes the second one for a second wish; its launcher does, which gets each only once.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

from detectron2.utils import comm

from ..console import starter

# What ends the work in order: Ctrl-C, a request to end, and a terminal or connection that is closed (not on Windows).
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# A wrapper (docker, uv) hands Ctrl-C on to a process that has it from the terminal: within this time it is one press.
ECHO_SECONDS = 1.0
# How long a training whose launcher is gone may take to save and end.
ORPHAN_SECONDS = 60.0
POLL_SECONDS = 0.5


class Interrupted(KeyboardInterrupt):
    """A signal came where nothing has to be saved first.

    Args:
        signum: its number.

    Attributes:
        signum: its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def exit_code(error: KeyboardInterrupt) -> int:
    """128 + signal number, as shells report it.

    Args:
        error: what ended the work; without a number it counts as SIGINT.
    """
    return 128 + getattr(error, "signum", signal.SIGINT)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Within the block the signals of :data:`ENDING` raise :class:`Interrupted` in the main thread, once a press."""
    came = [-ECHO_SECONDS]

    def handle(signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - came[0] >= ECHO_SECONDS:
            came[0] = now
            raise Interrupted(signum)

    with handled_by(handle):
        yield


@contextlib.contextmanager
def handled_by(handle: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Within the block ``handle(signum, frame)`` is called for those of :data:`ENDING`; afterwards what was before.

    Args:
        handle: a handler as ``signal.signal`` takes it.
    """
    before: dict[int, Any] = {}
    try:
        for caught in ENDING:
            if caught != getattr(signal, "SIGHUP", None) or signal.getsignal(caught) != signal.SIG_IGN:  # nohup's
                before[caught] = signal.signal(caught, handle)
    except ValueError:  # not the main thread of the interpreter: signals are someone else's
        pass
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals wait until the end of the block, and in processes that it starts until :func:`let_through`.

    Python's start takes seconds in which a signal would end such a process with a traceback. None is lost.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it lets signals through when it is started (bpo-33613)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """What :func:`held_back` kept from this process comes now."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def has_launcher() -> bool:
    """Whether another process started this one as part of a training, and hands signals on to it."""
    return comm.get_world_size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ


def end_with_launcher() -> None:
    """Ask this process to stop, as SIGTERM does, when the one that started it is gone (``kill -9``).

    Nobody would end it any more, and it holds ``OUTPUT_DIR``. It saves first, and is ended where that takes too long.
    """
    own = multiprocessing.parent_process()
    launcher = own.pid if own is not None else starter()
    if own is None and "TORCHELASTIC_RUN_ID" not in os.environ:
        return  # a script that starts the processes by RANK and WORLD_SIZE may end before them

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="launcher-watch").start()


class StopRequest:
    """Context manager that notes what is in :data:`ENDING` instead of dying of it.

    A second SIGINT interrupts at once, unless this process has a launcher (see above) or the second is the echo of the
    first. In a forked process, until that has its own handlers, SIGTERM ends it and
    the others, which a terminal sends to all, are ignored.

    Attributes:
        signum: number of the signal that came, or 0.
        since: when it came, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.signum, self.since = 0, 0.0
        self._pressed: float | None = None  # when SIGINT came first
        self._owner = os.getpid()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "StopRequest":
        self._patient = has_launcher()
        self._stack.enter_context(handled_by(self._handle))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if signum == signal.SIGTERM:
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            return
        now = time.monotonic()
        if signum == signal.SIGINT:
            # Only after another SIGINT: after SIGTERM the checkpoint is still being saved.
            again = self._pressed is not None and now - self._pressed >= ECHO_SECONDS
            self._pressed = now if self._pressed is None else self._pressed
            if again and not self._patient:
                raise KeyboardInterrupt
        if not self.signum:
            self.signum, self.since = signum, now

    @property
    def exit_code(self) -> int:
        """128 + signal number, as shells report it."""
        return 128 + self.signum
