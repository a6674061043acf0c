"""Several processes on this machine, started here: signals, and the end of all when one fails."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType

import torch.multiprocessing as mp

from rle_onestage.errors import ConfigError
from rle_onestage.utils import signals
from rle_onestage.utils.cores import usable_cores

# How long the other processes may take to end after one has failed, before they are killed.
GRACE_SECONDS = 15
# How long all may take to save and end after a signal, before they are killed: some wait where none is handled.
STOP_SECONDS = 300


def run_processes(target: Callable, shared: tuple, count: int) -> int:
    """Run ``target(index, *shared)`` in processes of their own; each signal is handed on to them once.

    A second Ctrl-C kills them, and so does it if they take long. They ask themselves to stop when this process is gone.

    Args:
        target: a function at module level, which has to call :func:`~.signals.let_through`.
        shared: what all get.
        count: of processes.

    Returns:
        The exit code: 0, or that of the first process that failed (128 + its number after a signal).

    Raises:
        ConfigError: the system does not let that many be started.
    """
    context = mp.get_context("spawn")
    started = [context.Process(target=_begin, args=(target, index, shared)) for index in range(count)]
    pressed: list[float] = []  # when SIGINT came
    signalled: list[tuple[float, int]] = []  # when any came, and its number

    def hand_on(signum: int, frame: FrameType | None) -> None:
        signalled.append((time.monotonic(), signum))
        if signum == signal.SIGINT:
            pressed.append(time.monotonic())
        again = len(pressed) > 1 and pressed[-1] - pressed[0] >= signals.ECHO_SECONDS
        for process in started:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL if again and signum == signal.SIGINT else signum)

    with contextlib.ExitStack() as stack:
        with signals.held_back():
            _start(started)
            stack.enter_context(signals.handled_by(hand_on))
        code = _wait(started, signalled)
    if code is None:
        print(
            f"interrupted; processes that had not ended after {STOP_SECONDS} s were killed, the last checkpoint is as "
            "it was",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        return 128 + signalled[0][1]
    if len(pressed) > 1 and code == 128 + signal.SIGKILL:
        print("interrupted at once; the last checkpoint is as it was", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT
    return code


def _begin(target: Callable, index: int, shared: tuple) -> None:
    signals.end_with_launcher()
    target(index, *shared)


def _start(processes: Sequence[BaseProcess]) -> None:
    """Start all or none, with a share of the cores each."""
    with _environment("OMP_NUM_THREADS", str(max(1, usable_cores() // len(processes)))):
        try:
            for process in processes:
                process.start()
        except BaseException as error:
            for process in processes:
                if process.is_alive():
                    process.kill()
                    process.join()
            if not isinstance(error, OSError):
                raise
            raise ConfigError(
                f"{len(processes)} processes cannot be started ({error.strerror}); lower --num-gpus, or raise the "
                "limits of processes and memory"
            ) from error


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Within the block an environment variable is set, unless it was before."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _wait(started: Sequence[BaseProcess], signalled: list[tuple[float, int]]) -> int | None:
    """Exit code: 0, or that of the first process that failed; the others are ended then.

    None where they had to be killed, because they did not end after a signal.
    """
    code = 0
    while any(process.is_alive() for process in started) and not code:
        if signalled and time.monotonic() - signalled[0][0] >= STOP_SECONDS:
            for process in started:
                process.kill()
                process.join()
            return None
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
