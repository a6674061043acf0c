"""Starting one or several processes: by ``--num-gpus`` or under torchrun, on CUDA (NCCL) or CPU (gloo).

The config's device decides which: a CPU training on a machine with GPUs leaves these alone.

torch's ``elastic_launch`` does not stand behind ``--num-gpus``: it ends a signalled training after 30 seconds, and with
a traceback of its own. Here each process gets the signal once and saves, and one of them says one sentence.
"""

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch.distributed as dist

from rle_onestage.console import LostOutput, QuietWarnings, is_first_on_machine, lasting_output, open_closed_streams
from rle_onestage.engine.checkpoint import last_checkpoint
from rle_onestage.engine.device import settle_device, usable_processes
from rle_onestage.engine.processes import lock
from rle_onestage.engine.processes.children import run_processes
from rle_onestage.engine.processes.environment import place_from_environment
from rle_onestage.engine.processes.meeting import is_lost_partner, open_store, process_group
from rle_onestage.engine.setup import configured_device
from rle_onestage.errors import EXIT_CODE, CheckpointError, ConfigError, PoseError, shown
from rle_onestage.utils import signals

logger = logging.getLogger(__name__)

FAILED_KEY = "rle_onestage/failed"
MOST_PROCESSES = 1024  # on one machine
LOST_PARTNER = (
    "another process ended without a word (killed, or out of memory?); see its output, then go on with the same "
    "command and --resume"
)


def launch(
    main: Callable,
    num_gpus: int = 1,
    *,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    device: str | None = None,
    args: Sequence[Any] = (),
) -> None:
    """Run ``main(*args)`` in as many processes as asked for, and turn errors into one sentence and an exit code.

    Under torchrun (``RANK`` and ``WORLD_SIZE`` in the environment) each process joins the group that torchrun
    describes, and the numbers and the address are not used. On the CPU, ``num_gpus`` is the number of processes.

    Args:
        main: a function at module level.
        num_gpus: processes on this machine; on CUDA not more than it has GPUs.
        num_machines: that train together.
        machine_rank: number of this machine, from 0.
        dist_url: where the processes meet, e.g. ``tcp://host:port``; "auto" finds a free port of this machine.
        device: what they compute on, as ``MODEL.DEVICE``. None: that of the config which ``args`` names (parsed
            arguments with ``config_file`` and ``opts``) or has, and the CPU without one.
        args: arguments of ``main``.

    Raises:
        SystemExit: after an error (2), or after a signal (128 + its number).
    """
    open_closed_streams()
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _run_under_torchrun(main, args, device)
        return
    num_gpus = max(num_gpus, 1)
    if num_machines == num_gpus == 1 and machine_rank == 0:
        _guarded(main, args)
        return
    try:
        _check_processes(num_gpus)
        _check_machines(num_machines, machine_rank, dist_url)
        device = _settled(device, args)
        num_gpus = usable_processes(device, num_gpus, num_machines=num_machines)
        world_size = num_machines * num_gpus
        store, address = open_store(dist_url, world_size, machine_rank) if world_size > 1 else (None, None)
    except ConfigError as error:
        _complain(error)
        sys.exit(EXIT_CODE)
    if world_size == 1:
        _guarded(main, args)
        return
    shared = (main, args, device, num_gpus, num_machines, machine_rank, address)
    try:
        code = run_processes(_run_worker, shared, num_gpus)
    except ConfigError as error:
        _complain(error)
        code = EXIT_CODE
    if code:
        sys.exit(code)
    del store  # it lives in this process as long as the others do


def _settled(device: str | None, args: Sequence[Any]) -> str:
    """The device of :func:`launch`'s arguments."""
    if device is not None:
        return settle_device(device, quiet=True)
    for argument in args:
        if hasattr(argument, "config_file"):
            options = getattr(argument, "opts", None) or []
            return configured_device(argument.config_file, options, getattr(argument, "imports", ()))
        if hasattr(argument, "MODEL"):
            return settle_device(argument.MODEL.DEVICE, quiet=True)
    return "cpu"


def _check_processes(count: int) -> None:
    if count > MOST_PROCESSES:
        raise ConfigError(f"--num-gpus is {shown(count)}; give at most {MOST_PROCESSES}, the processes of this machine")


def _check_machines(num_machines: int, machine_rank: int, dist_url: str) -> None:
    problem = None
    if num_machines == 1 and machine_rank != 0:
        problem = (
            f"--machine-rank is {shown(machine_rank)}, but there is one machine; leave it out, or give --num-machines"
        )
    elif num_machines < 1:
        problem = f"--num-machines is {num_machines}; give at least 1"
    elif not 0 <= machine_rank < num_machines:
        problem = f"--machine-rank is {machine_rank}; it must be from 0 to {num_machines - 1} (--num-machines less one)"
    elif num_machines > 1 and (dist_url == "auto" or "127.0.0.1" in dist_url):
        problem = "--dist-url must name the first machine when there are several, e.g. tcp://host:29500"
    if problem:
        raise ConfigError(problem)


def _run_under_torchrun(main: Callable, args: Sequence[Any], device: str | None) -> None:
    try:
        rank, world_size, local_rank, local_size = place_from_environment()
    except ConfigError as error:
        if is_first_on_machine():
            _complain(error)
        sys.exit(EXIT_CODE)
    signals.end_with_launcher()
    if world_size == 1:
        _guarded(main, args)
        return
    group = process_group(
        device=functools.partial(_settled, device, args), rank=rank, world_size=world_size, local_rank=local_rank,
        local_size=local_size,
    )  # fmt: skip
    _guarded(main, args, group=group, local_rank=local_rank)


def _run_worker(
    local_rank: int,
    main: Callable,
    args: Sequence[Any],
    device: str,
    local_size: int,
    num_machines: int,
    machine_rank: int,
    address: tuple[str, int],
) -> None:
    """One of the processes that :func:`launch` starts."""
    rank, world_size = machine_rank * local_size + local_rank, num_machines * local_size
    group = process_group(
        device=lambda: device, rank=rank, world_size=world_size, local_rank=local_rank, local_size=local_size,
        address=address,
    )  # fmt: skip
    _guarded(main, args, group=group, local_rank=local_rank)


# -------------------------------------------------------------------- errors


def _complain(message: object) -> None:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


# Detectron2's comm.gather uses what torch means to remove.
_OF_COMM = QuietWarnings(message="TypedStorage is deprecated")


def _guarded(
    main: Callable, args: Sequence[Any], group: contextlib.AbstractContextManager | None = None, local_rank: int = 0
) -> None:
    """Run ``main``; an error becomes one sentence on stderr, whichever of the processes had it first.

    Before they have met, the first process of each machine tells. A process that only lost its partner stays silent.
    Errors that are not ours keep their traceback.
    """
    store = None
    lock.forget_notes()
    try:
        # The group must not be left before the sentence is told: leaving it would wake the others too early.
        with lasting_output(), signals.raising(), _OF_COMM, contextlib.ExitStack() as stack:
            try:
                signals.let_through()
                if group is not None:
                    stack.enter_context(group)
                    store = dist.distributed_c10d._get_default_store()
                main(*args)
            except KeyboardInterrupt as error:
                if _is_first_to_fail(store) and (store is not None or local_rank == 0):
                    print("; ".join(["interrupted", *_where_to_go_on()]), file=sys.stderr, flush=True)
                _exit(signals.exit_code(error), store)
            except Exception as error:
                if store is None:  # also from joining the group
                    raise
                _fail_among_others(error, store)
    except PoseError as error:
        if local_rank == 0:
            _complain(error)
        sys.exit(EXIT_CODE)
    except LostOutput as error:
        _complain(f"{error}; write to a disk that has room")
        sys.exit(EXIT_CODE)
    finally:
        lock.release_all()  # where what had claimed a folder failed before its training


def _fail_among_others(error: Exception, store: dist.Store | None) -> NoReturn:
    """End with an error, at once, and say it unless another process has said what is wrong."""
    first = _is_first_to_fail(store)
    if isinstance(error, PoseError) or is_lost_partner(error):
        if first:
            _complain(error if isinstance(error, PoseError) else LOST_PARTNER)
        _exit(EXIT_CODE, store)
    if first:
        raise error
    _exit(1, store)


def _where_to_go_on() -> list[str]:
    """What an interrupted training that has begun says of its last checkpoint; nothing where none has begun."""
    for folder in lock.used():
        try:
            path = last_checkpoint(folder)
        except CheckpointError as error:
            return [str(error)]
        if path:
            return [f"go on from {path} with the same command and --resume"]
        return [f"nothing was saved in {folder}"]
    return []


def _exit(code: int, store: dist.Store | None) -> NoReturn:
    """End this process; at once where there are partners, who may be waiting in a collective and never answer."""
    if store is None:
        sys.exit(code)
    lock.release_all()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_first_to_fail(store: dist.Store | None) -> bool:
    if store is None:
        return True
    try:
        return store.add(FAILED_KEY, 1) == 1
    except RuntimeError:  # the store is gone with whoever held it, who has told then
        return False
