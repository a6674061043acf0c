"""Several processes on this machine, started here: signals, and the end of all when one fails."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import FrameType

import torch.multiprocessing as mp

from rle_onestage.utils import signals

# How long the other processes may take to end after one has failed, before they are killed.
GRACE_SECONDS = 15


def run_processes(target: Callable, shared: tuple, count: int) -> int:
    """Run ``target(index, *shared)`` in processes of their own; each signal is handed on to them once.

    A second Ctrl-C kills them. They ask themselves to stop when this process is gone.

    Args:
        target: a function at module level, which has to call :func:`~.signals.let_through`.
        shared: what all get.
        count: of processes.

    Returns:
        The exit code: 0, or that of the first process that failed (128 + its number after a signal).
    """
    context = mp.get_context("spawn")
    started = [context.Process(target=_begin, args=(target, index, shared)) for index in range(count)]
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // count))
    pressed = []  # when SIGINT came

    def hand_on(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            pressed.append(time.monotonic())
        again = len(pressed) > 1 and pressed[-1] - pressed[0] >= signals.ECHO_SECONDS
        for process in started:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL if again and signum == signal.SIGINT else signum)

    with contextlib.ExitStack() as stack:
        with signals.held_back():
            for process in started:
                process.start()
            stack.enter_context(signals.handled_by(hand_on))
        code = _wait(started)
    if len(pressed) > 1 and code == 128 + signal.SIGKILL:
        print("interrupted at once; the last checkpoint is as it was", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT
    return code


def _begin(target: Callable, index: int, shared: tuple) -> None:
    signals.end_with_launcher()
    target(index, *shared)


def _wait(started: list[SpawnProcess]) -> int:
    """Exit code: 0, or that of the first process that failed; the others are ended then."""
    code = 0
    while any(process.is_alive() for process in started) and not code:
        connection.wait([process.sentinel for process in started if process.is_alive()], timeout=1.0)
        code = next((process.exitcode for process in started if process.exitcode), 0)
    code = code or next((process.exitcode for process in started if process.exitcode), 0)
    deadline = time.monotonic() + (GRACE_SECONDS if code else 0)
    for process in started:
        process.join(max(0.0, deadline - time.monotonic()) if code else None)
        if process.is_alive():
            process.kill()
            process.join()
    return code if code >= 0 else 128 - code
