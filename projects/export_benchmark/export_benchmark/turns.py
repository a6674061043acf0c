"""Milliseconds of things that take turns, each in a process of its own."""

import contextlib
import functools
import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from rle_onestage.errors import DataError, PoseError

_WARM_UP = 3  # calls of each turn before the first that counts
# Threads of a runtime wait busily for the next image. ONNX Runtime's do so for tens of milliseconds, and would take a
# core from whoever is next.
_REST = 0.2  # s

Make = Callable[[], Callable[[], Any]]


class Timed:
    """A process that makes something and calls it when told to.

    In one process, threads of one runtime would disturb those of another.

    Args:
        make: a function that a process can be given (of a module, or a partial of one), which returns what is timed.
    """

    def __init__(self, make: Make):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make), daemon=True)
        self._process.start()
        other.close()

    def wait(self) -> None:
        """Wait until it is made.

        Raises:
            PoseError: what ``make`` raises, or the process ended.
        """
        self._answer()

    def turn(self, calls: int) -> float:
        """The median of so many calls, in milliseconds.

        Raises:
            PoseError: what a call raises, or the process ended.
        """
        return float(self._answer(calls))

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def _answer(self, calls: int = 0) -> Any:
        try:
            if calls:
                self._pipe.send(calls)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise DataError(f"a process that was timed ended with {self._process.exitcode}") from error
        if isinstance(answer, PoseError):
            raise answer
        return answer


def _serve(pipe: Connection, make: Make) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends it
    call = _tried(make)
    with contextlib.suppress(EOFError, OSError):  # nobody asks any more
        pipe.send(call if isinstance(call, PoseError) else 0)
        while True:
            pipe.send(_tried(functools.partial(_milliseconds, call, pipe.recv())))


def _tried(work: Callable[[], Any]) -> Any:
    """What it returns or raises; not every error can go through a pipe."""
    try:
        return work()
    except PoseError as error:
        return error
    except Exception as error:
        return DataError(f"{type(error).__name__}: {error}")


def _milliseconds(call: Callable[[], Any], calls: int) -> float:
    for _ in range(_WARM_UP):
        call()
    took = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - begin))
    return median(took)


def measure(makes: Mapping[str, Make], rounds: int, calls: int) -> dict[str, list[float]]:
    """Milliseconds of a call of each, in turn.

    Args:
        makes: what makes them, by name.
        rounds: how often each has its turn.
        calls: in a turn.

    Returns:
        Name -> the median of each round.

    Raises:
        PoseError: what one of them raises, or its process ended.
    """
    timed: dict[str, Timed] = {}
    try:
        for name, make in makes.items():
            timed[name] = Timed(make)
            timed[name].wait()
        took: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(rounds):
            for name, each in timed.items():
                time.sleep(_REST)
                took[name].append(each.turn(calls))
        return took
    finally:
        for each in timed.values():
            each.close()
