"""A call of ``rle-onestage predict`` with all of its processes: their memory and processor time, and their end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rle_onestage.errors import ConfigError

_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0  # seconds that processes may take to end by themselves


class Sample(NamedTuple):
    """A process at a time.

    Attributes:
        seconds: since the call began.
        process: its number.
        kind: ``driver``, ``actor`` or ``engine`` (Ray's own processes).
        megabytes: of memory that it has in use, with what it shares.
        cpu: seconds of processor time so far.
    """

    seconds: float
    process: int
    kind: str
    megabytes: float
    cpu: float


class _Status(NamedTuple):
    parent: int
    megabytes: float
    cpu: float


def call(words: Sequence[str], log: str, every: float = 1.0, until: Callable[[], bool] | None = None) -> list[Sample]:
    """Run ``rle-onestage predict`` and look at its processes.

    Args:
        words: of the command line, after ``predict``.
        log: file of what it prints.
        every: seconds between two looks.
        until: says when to kill the driver by signal 9; None: never.

    Returns:
        The samples in order.

    Raises:
        ConfigError: the call fails.
    """
    samples: list[Sample] = []
    begin = time.monotonic()
    with open(log, "ab") as file:
        driver = subprocess.Popen(
            [sys.executable, "-m", "rle_onestage.cli", "predict", *words], stdout=file, stderr=file
        )
        try:
            while driver.poll() is None:
                samples += look(driver.pid, time.monotonic() - begin)
                if until is not None and until():
                    break
                time.sleep(every)
        finally:
            family = [process for process in tree(driver.pid) if process != driver.pid]
            with contextlib.suppress(ProcessLookupError):
                driver.send_signal(signal.SIGKILL)
            driver.wait()
            _end(family)
    if until is None and driver.returncode:
        raise ConfigError(f"rle-onestage predict ended with {driver.returncode}; {log} says why")
    return samples


def look(driver: int, seconds: float) -> list[Sample]:
    """A sample of each process that came from a driver."""
    found = []
    for process, status in tree(driver).items():
        kind = "driver" if process == driver else "actor" if _is_actor(process) else "engine"
        found.append(Sample(seconds, process, kind, status.megabytes, status.cpu))
    return found


def tree(root: int) -> dict[int, _Status]:
    """The processes that came from one, with itself."""
    there: dict[int, _Status] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError, ValueError):
            there[int(name)] = _status(int(name))
    found = {root} & there.keys()
    while more := {process for process, status in there.items() if status.parent in found} - found:
        found |= more
    return {process: there[process] for process in sorted(found)}


def _status(process: int) -> _Status:
    with open(f"/proc/{process}/stat", "rb") as file:
        words = file.read().rpartition(b")")[2].split()
    parent, cpu, pages = int(words[1]), int(words[11]) + int(words[12]), int(words[21])
    return _Status(parent, pages * _PAGE / 1e6, cpu / _TICKS)


def _is_actor(process: int) -> bool:
    """Whether a process is an actor of Ray Data, by the name that it has given itself."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{process}/cmdline", "rb") as file:
            name = file.read(200)
        return name.startswith(b"ray::") and b"MapWorker" in name
    return False


def _end(processes: Sequence[int]) -> None:
    """Wait for processes of a driver that is gone, and end those that do not end by themselves."""
    begins = {process: _begin(process) for process in processes}
    limit = time.monotonic() + _PATIENCE
    while left := [process for process, begin in begins.items() if begin and _begin(process) == begin]:
        if time.monotonic() > limit:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return
        time.sleep(0.2)


def _begin(process: int) -> int:
    """When a process began, which tells it from a later one of the same number; 0: it is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{process}/stat", "rb") as file:
        words = file.read().rpartition(b")")[2].split()
        return 0 if words[0] in (b"Z", b"X") else int(words[19])
    return 0
