"""Milliseconds of things that take turns, each in a process of its own."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from rle_onestage.errors import DataError

_WARM_UP = 3  # calls of each turn before the first that counts
# Threads of a runtime wait busily for the next image. ONNX Runtime's do so for tens of milliseconds, and would take a
# core from whoever is next.
_REST = 0.2  # s

Make = Callable[[], Callable[[], Any]]


class Runner:
    """A process that makes something and calls it when told to.

    In one process, threads of one runtime would disturb those of another.

    Args:
        make: a function that a process can be given (of a module, or a partial of one), which returns what is timed.

    Raises:
        Exception: what ``make`` raises.
    """

    def __init__(self, make: Make):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make), daemon=True)
        self._process.start()
        other.close()
        self._answer()

    def turn(self, calls: int) -> float:
        """The median of so many calls, in milliseconds."""
        self._pipe.send(calls)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            self._process.join()
            raise DataError(f"a process that was timed ended with {self._process.exitcode}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, make: Make) -> None:
    try:
        call = make()
        pipe.send(0)
        while True:
            pipe.send(_milliseconds(call, pipe.recv()))
    except EOFError:  # nobody asks any more
        return
    except Exception as error:  # it goes to whoever asked
        pipe.send(error)


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
    """
    runners: dict[str, Runner] = {}
    try:
        for name, make in makes.items():
            runners[name] = Runner(make)
        took: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name, runner in runners.items():
                time.sleep(_REST)
                took[name].append(runner.turn(calls))
        return took
    finally:
        for runner in runners.values():
            runner.close()
