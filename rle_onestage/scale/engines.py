"""Who does the units: this process, or Ray Data, which schedules, retries and bounds what waits."""

import contextlib
import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, PoseError
from ..interop.packages import optional_package
from ..utils.cores import usable_cores
from .plan import Unit
from .work import Report, Tell, Worker

LOCAL = "local"
HOW_TO_INSTALL = "pip install 'rle-onestage[ray]'"
_PATIENCE = 10.0  # seconds for an address to answer
_RETRIES = 3  # of a unit whose worker dies: more, and the unit itself kills them
_STORE = 128 * 2**20  # bytes of Ray's object store on this machine: units and reports are small


@dataclass(frozen=True)
class RayOptions:
    """How many actors do the work, and with what.

    Attributes:
        address: of a cluster; ``local``: one is started on this machine and ends with the job.
        actors: how many; None: as many as the cluster's CPUs, or GPUs, allow.
        threads: CPUs of each.
        gpus: of each; a share lets several actors decode for one GPU.
    """

    address: str = LOCAL
    actors: int | None = None
    threads: int = 1
    gpus: float = 0.0


class InProcess:
    """Does units in this process, one after the other.

    Args:
        tell: is told of images while the work goes on.
    """

    actors = 1

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell

    def run(self, worker: Worker, units: Iterable[Unit]) -> Iterator[Report]:
        """Yield the report of each unit."""
        for unit in units:
            yield worker(unit, self._tell)

    def map(self, call: Callable[[Sequence[Unit]], list[Report]], groups: Iterable[Sequence[Unit]]) -> Iterator[Report]:
        """Yield the reports of groups of units."""
        for group in groups:
            yield from call(group)

    def close(self) -> None:
        """Nothing is open."""


def needed_by_ray() -> tuple[Any, Any]:
    """The packages ``ray`` and ``ray.data``.

    Raises:
        MissingPackageError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    return optional_package("ray", HOW_TO_INSTALL), optional_package("ray.data", HOW_TO_INSTALL)


class OnRay:
    """Does units by actors of Ray Data.

    Args:
        options: how.

    Raises:
        MissingPackageError: Ray is not installed.
        ConfigError: the cluster does not answer, or has too few CPUs or GPUs.
    """

    def __init__(self, options: RayOptions) -> None:
        self.options = options
        self._ray, self._data = needed_by_ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._connect()
        if options.actors is not None and options.address != LOCAL:
            self.actors = options.actors  # a cluster may grow when it is asked for more than it has
        else:
            room = self._most_actors()
            self.actors = min(options.actors or room, room)
        context = self._data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(self, worker: Worker, units: Sequence[Unit]) -> Iterator[Report]:
        """Yield the report of each unit, as they are ready."""
        yield from self._map(_UnitActor, [[unit] for unit in units], worker.task)

    def map(self, call: Callable[[Sequence[Unit]], list[Report]], groups: Sequence[Sequence[Unit]]) -> Iterator[Report]:
        """Yield the reports of groups of units, as they are ready."""
        yield from self._map(_GroupActor, groups, call)

    def _map(self, actor: type, groups: Sequence[Sequence[Unit]], told: Any) -> Iterator[Report]:
        size = min(self.actors, len(groups))
        if not size:
            return
        data = self._data.from_items(
            [{"units": json.dumps(list(group))} for group in groups], override_num_blocks=len(groups)
        )
        with warnings.catch_warnings():
            # Ray has no other way yet to say how often a unit is tried whose worker dies; its own is for ever.
            warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
            mapped = data.map_batches(
                actor,
                batch_size=1,
                compute=self._data.ActorPoolStrategy(size=size),
                fn_constructor_args=(told, os.getcwd()),
                num_cpus=self.options.threads,
                num_gpus=self.options.gpus or None,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(self.options.threads)}},
                max_restarts=-1,
                max_task_retries=_RETRIES,
            )
        try:
            for row in mapped.iter_rows():
                for report in json.loads(row["reports"]):
                    yield Report(*report)
        except PoseError:
            raise
        except Exception as error:  # of Ray, whatever it is: what was written stays
            raise PoseError(_sentence(error)) from error

    def _connect(self) -> None:
        """Join a cluster, or start one on this machine."""
        address = self.options.address
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        try:
            if address == LOCAL:
                # More actors than cores share them.
                cores = max(usable_cores(), (self.options.actors or 0) * self.options.threads)
                self._ray.init(
                    address=LOCAL, num_cpus=cores, include_dashboard=False, object_store_memory=_STORE, **quiet
                )
            else:
                _check_answers(address)
                self._ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(
                f"the Ray cluster {address} cannot be reached ({reason}); check --ray, or give --ray {LOCAL}"
            ) from error

    def _most_actors(self) -> int:
        """How many actors the cluster has room for."""
        there, options = self._ray.cluster_resources(), self.options
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        room = int(gpus / options.gpus) if options.gpus else int(cpus // options.threads)
        if room < 1:
            raise ConfigError(
                f"the Ray cluster {options.address} has {cpus:g} CPUs and {gpus:g} GPUs, and an actor needs "
                f"{options.threads} and {options.gpus:g}; ask for fewer with --threads and --gpus-per-actor"
            )
        return room

    def close(self) -> None:
        """Leave the cluster; one that this object started ends."""
        if self._started:
            self._ray.shutdown()


class _UnitActor:
    """An actor of Ray: a :class:`~.work.Worker`, whose words are those of a table.

    Args:
        told: what :meth:`_made` makes the work of.
        folder: of the process that began the job, by which relative paths go. Where a machine has no such folder, what
            is named by them cannot be read there, and the rows say so.
    """

    def __init__(self, told: Any, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self.call: Callable[[Sequence[Unit]], list[Report]] = self._made(told)

    def _made(self, told: Any) -> Callable[[Sequence[Unit]], list[Report]]:
        worker = Worker(told)
        return lambda units: [worker(unit) for unit in units]

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Do the units of a batch."""
        groups = [[_unit(each) for each in json.loads(str(text))] for text in batch["units"]]
        return {"reports": [json.dumps(self.call(group)) for group in groups]}


class _GroupActor(_UnitActor):
    """An actor that does units together."""

    def _made(self, told: Any) -> Callable[[Sequence[Unit]], list[Report]]:
        return told


def _unit(words: list[Any]) -> Unit:
    """A unit from JSON."""
    number, kind, files, *rest = words
    return Unit(number, kind, tuple(files), *rest)


def _check_answers(address: str) -> None:
    """Raises ConnectionError where nobody listens at ``host:port``; other addresses are Ray's to look at."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    with socket.create_connection((host, int(port)), timeout=_PATIENCE):
        pass


def _sentence(error: Exception) -> str:
    """What Ray says of an error, in one sentence."""
    cause = getattr(error, "cause", None) or error
    name, text = type(cause).__name__, str(cause)
    if name.startswith("Actor") or "Crashed" in name:  # ActorDiedError, ActorUnavailableError, WorkerCrashedError
        reason = f"a unit's worker died {_RETRIES + 1} times ({name})"
    else:
        lines = text.strip().splitlines()
        reason = f"{name}: {lines[-1] if lines else ''}"
    return f"Ray could not end the work: {reason}; what was written stays, and the same command goes on with the rest"
