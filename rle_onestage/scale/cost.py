"""What many images cost on some machines, and where more machines stop helping.

An actor takes ``1 / rate`` seconds an image and has whole units to do, so that the slowest of ``n`` actors does
``ceil(units / n)`` of them. All actors read from and write to one storage, which passes so many bytes a second. Engine
and models start first. So ``seconds = start + max(ceil(units / n) * rows / rate, images * bytes / bandwidth)``, where
``n`` counts no more actors of a machine than it has cores for.
"""

import contextlib
import math
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ConfigError, MediaError
from . import storage
from .progress import Summary, duration

_PROBE = 64 * 2**20  # bytes


class Machine(NamedTuple):
    """What each machine has.

    Attributes:
        actors: that run there.
        cores: of it.
        threads: of an actor.
    """

    actors: int
    cores: int
    threads: int

    @property
    def working(self) -> float:
        """Actors' worth of work that its cores do at once."""
        return min(float(self.actors), self.cores / self.threads)


class Estimate(NamedTuple):
    """What a job takes.

    Attributes:
        machines: how many.
        actors: of all of them.
        seconds: that it takes.
        images_per_second: with the start.
        efficiency: share of what as many times one machine would do.
        limit: what bounds it: ``actors``, ``storage`` or ``units``.
    """

    machines: int
    actors: int
    seconds: float
    images_per_second: float
    efficiency: float
    limit: str


def estimate(images: int, machines: int, machine: Machine, measured: Summary, bandwidth: float) -> Estimate:
    """What a job takes on some machines.

    Args:
        images: how many.
        machines: how many.
        machine: what each has.
        measured: a job of the same kind on one of them.
        bandwidth: of the storage that all share, bytes a second.
    """
    seconds, limit = _seconds(images, machines, machine, measured, bandwidth)
    alone, _ = _seconds(images, 1, machine, measured, bandwidth)
    return Estimate(machines, machines * machine.actors, seconds, images / seconds, alone / (machines * seconds), limit)


def _seconds(images: int, machines: int, machine: Machine, measured: Summary, bandwidth: float) -> tuple[float, str]:
    """Seconds, and what bounds them."""
    if measured.actor_rate <= 0 or bandwidth <= 0:
        raise ConfigError(f"{measured.output} has no measured rate; let a job of some hundred images end there first")
    units = math.ceil(images / measured.rows)
    actors = machines * machine.actors
    share = machine.working / machine.actors  # of a core's time that an actor gets
    work = math.ceil(units / actors) * min(measured.rows, images) / (measured.actor_rate * share)
    moved = images * (measured.read_bytes + measured.written_bytes) / bandwidth
    limit = "storage" if moved > work else "units" if units < actors else "actors"
    return measured.start_seconds + max(work, moved), limit


def most_actors(images: int, measured: Summary, bandwidth: float) -> tuple[int, str]:
    """How many working actors still help, and what stops it: ``storage`` or ``units``."""
    by_storage = bandwidth / max(measured.actor_rate * (measured.read_bytes + measured.written_bytes), 1e-9)
    units = math.ceil(images / measured.rows)
    return (units, "units") if units <= by_storage else (max(1, int(by_storage)), "storage")


def write_rate(folder: str) -> float:
    """Bytes a second that a folder takes, by a file of 64 MiB that is written and removed.

    Raises:
        MediaError: it cannot be written.
    """
    address = storage.joined(folder, f".probe{os.getpid()}")
    block = os.urandom(2**20)
    begin = time.perf_counter()
    with storage.written(address) as file:
        for _ in range(_PROBE // len(block)):
            file.write(block)
    seconds = time.perf_counter() - begin
    with contextlib.suppress(MediaError):
        storage.remove(address)
    return _PROBE / seconds


def format_estimates(images: int, found: Sequence[Estimate], measured: Summary, bandwidth: float) -> str:
    """A table, and where it stops scaling."""
    lines = ["machines  actors    images/s        time  machine hours  of linear  bound by"]
    for each in found:
        hours = each.machines * each.seconds / 3600
        lines.append(
            f"{each.machines:8d}  {each.actors:6d}  {each.images_per_second:10.1f}  {duration(each.seconds):>10}  "
            f"{hours:13.2f}  {100 * each.efficiency:7.0f} %  {each.limit}"
        )
    most, limit = most_actors(images, measured, bandwidth)
    what = "one unit each" if limit == "units" else "the storage passes no more bytes"
    lines.append(
        f"measured: {measured.actor_rate:.1f} images/s an actor, {measured.start_seconds:.1f} s to start, "
        f"{measured.read_bytes / 1e3:.1f} kB read and {measured.written_bytes / 1e3:.1f} kB written an image; "
        f"storage {bandwidth / 1e6:.0f} MB/s"
    )
    lines.append(f"more than {most} working actors do not help: {what}")
    return "\n".join(lines)
