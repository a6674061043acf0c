"""Memory of this process and time of others, as Linux tells them."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rle_onestage.errors import MediaError

MEGABYTE = 1e6


def resident() -> float:
    """Memory of this process that is in use, in MB.

    Raises:
        MediaError: this system does not tell.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError as error:
        raise MediaError("/proc/self/statm cannot be read; measure memory on Linux") from error
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


class Cost(NamedTuple):
    """Of a process from its start to its end.

    Attributes:
        wall: seconds that passed.
        cpu: seconds of all cores.
        printed: what it wrote to stdout.
    """

    wall: float
    cpu: float
    printed: str


def cost_of(command: Sequence[str]) -> Cost:
    """Run a program to its end.

    Raises:
        MediaError: it fails; with its last line.
    """
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None  # they are pipes
        printed, said = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if process.returncode:
        last = said.strip().splitlines()[-1:] or ["no word"]
        raise MediaError(f"{command[0]} ended with {process.returncode} ({last[0]}); run it by itself")
    return Cost(wall, usage.ru_utime + usage.ru_stime, printed.strip())
