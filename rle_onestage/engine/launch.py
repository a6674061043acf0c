"""Starting one or several processes: by ``--num-gpus`` or under torchrun, on CUDA (NCCL) or CPU (gloo).

The config's device decides which: a CPU training on a machine with GPUs leaves these alone.
"""

import contextlib
import functools
import logging
import os
import signal
import sys
import time
from datetime import timedelta
from multiprocessing import connection
from urllib.parse import urlparse

import torch.distributed as dist
import torch.multiprocessing as mp

from rle_onestage.compat import create_local_process_group, local_rank_from_environment
from rle_onestage.engine.device import claim_device, settle_device, usable_processes
from rle_onestage.engine.setup import configured_device
from rle_onestage.errors import EXIT_CODE, ConfigError, PoseError

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=30)
# How long the other processes may take to end after one has failed, before they are killed.
GRACE_SECONDS = 15
FAILED_KEY = "rle_onestage/failed"
LOST_PARTNER = (
    "another process ended without a word (killed, or out of memory?); see its output, then go on with the same "
    "command and --resume"
)


def launch(main, num_gpus=1, *, num_machines=1, machine_rank=0, dist_url="auto", device=None, args=()):
    """Run ``main(*args)`` in as many processes as asked for, and turn errors into one sentence and an exit code.

    Under torchrun (``RANK`` and ``WORLD_SIZE`` in the environment) each process joins the group that torchrun
    describes, and the numbers and the address are not used. On the CPU, ``num_gpus`` is the number of processes.

    Args:
        main: a function at module level.
        num_gpus: processes on this machine; on CUDA not more than it has GPUs.
        num_machines, machine_rank: as in Detectron2.
        dist_url: where the processes meet, e.g. ``tcp://host:port``; "auto" finds a free port of this machine.
        device: what they compute on, as ``MODEL.DEVICE``. None: that of the config which ``args`` names (parsed
            arguments with ``config_file`` and ``opts``) or has, and the CPU without one.
        args: arguments of ``main``.

    Raises:
        SystemExit: after an error (2), or after a signal (128 + its number).
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _run_under_torchrun(main, args, device)
        return
    num_gpus = max(num_gpus, 1)
    if num_machines * num_gpus == 1:
        _guarded(main, args)
        return
    try:
        _check_machines(num_machines, machine_rank, dist_url)
        device = _settled(device, args)
        num_gpus = usable_processes(device, num_gpus, num_machines=num_machines)
        world_size = num_machines * num_gpus
        store, address = _open_store(dist_url, world_size, machine_rank) if world_size > 1 else (None, None)
    except ConfigError as error:
        _complain(error)
        sys.exit(EXIT_CODE)
    if world_size == 1:
        _guarded(main, args)
        return
    _spawn(main, args, device, num_gpus, num_machines, machine_rank, address)
    del store  # it lives in this process as long as the others do


def _settled(device, args):
    """The device of :func:`launch`'s arguments."""
    if device is not None:
        return settle_device(device, quiet=True)
    for argument in args:
        if hasattr(argument, "config_file"):
            return configured_device(argument.config_file, getattr(argument, "opts", None) or [])
        if hasattr(argument, "MODEL"):
            return settle_device(argument.MODEL.DEVICE, quiet=True)
    return "cpu"


def _check_machines(num_machines, machine_rank, dist_url):
    problem = None
    if not 0 <= machine_rank < num_machines:
        problem = f"--machine-rank is {machine_rank}; it must be from 0 to {num_machines - 1} (--num-machines less one)"
    elif num_machines > 1 and (dist_url == "auto" or "127.0.0.1" in dist_url):
        problem = "--dist-url must name the first machine when there are several, e.g. tcp://host:29500"
    if problem:
        raise ConfigError(problem)


def _open_store(dist_url, world_size, machine_rank):
    """The key-value store at which the processes meet, and its (host, port).

    It lives in the parent of the first machine's processes, so that it outlives each of them and the others can
    still ask who failed.
    """
    if dist_url == "auto":
        host, port = "127.0.0.1", 0
    else:
        parts = urlparse(dist_url)
        if parts.scheme != "tcp" or not parts.hostname or not parts.port:
            raise ConfigError(f"--dist-url is {dist_url!r}; give tcp://host:port, or auto on a single machine")
        host, port = parts.hostname, parts.port
    if machine_rank != 0:
        return None, (host, port)
    try:
        store = dist.TCPStore(host, port, world_size, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--dist-url {dist_url} cannot be used ({str(error).splitlines()[0]}); choose another port or auto, or end "
            "the process that uses it"
        ) from error
    return store, (host, store.port)


# -------------------------------------------------------------------- the group


@contextlib.contextmanager
def _process_group(*, device, rank, world_size, local_rank, local_size, address=None):
    """Join the processes' group for the block, with Detectron2's notion of a machine.

    Args:
        device: gives the settled name of the device.
        address: (host, port) of the store that :func:`_spawn` made; None: what torchrun describes.
    """
    backend = claim_device(device(), local_rank, local_size)
    meeting = {"init_method": "env://"}
    try:
        if address is not None:
            meeting = {"store": dist.TCPStore(*address, world_size, is_master=False, timeout=TIMEOUT)}
        dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=TIMEOUT, **meeting)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"the {world_size} processes cannot meet ({str(error).splitlines()[0]}); check --dist-url, or the "
            "arguments of torchrun"
        ) from error
    create_local_process_group(local_size)
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _run_under_torchrun(main, args, device):
    local_rank, local_size = local_rank_from_environment()
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size == 1:
        _guarded(main, args)
        return
    options = dict(rank=rank, world_size=world_size, local_rank=local_rank, local_size=local_size)
    group = _process_group(device=functools.partial(_settled, device, args), **options)
    _guarded(main, args, group=group, rank=rank)


# -------------------------------------------------------------------- errors


def _complain(message):
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def _guarded(main, args, group=None, rank=0):
    """Run ``main``; an error becomes one sentence on stderr, whichever of the processes had it first.

    A process that only lost its partner stays silent. Errors that are not ours keep their traceback.
    """
    store = None
    try:
        # The group must not be left before the sentence is told: leaving it would wake the others too early.
        with contextlib.ExitStack() as stack:
            if group is not None:
                stack.enter_context(group)
                store = dist.distributed_c10d._get_default_store()
            try:
                main(*args)
            except PoseError as error:
                if _is_first_to_fail(store):
                    _complain(error)
                _exit(EXIT_CODE, store)
            except Exception as error:
                if store is None:
                    raise
                first = _is_first_to_fail(store)
                if _is_lost_partner(error):
                    if first:
                        _complain(LOST_PARTNER)
                    _exit(EXIT_CODE, store)
                if first:
                    raise
                _exit(1, store)
    except PoseError as error:  # from joining the group
        if rank == 0:
            _complain(error)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:
        if rank == 0:
            print("interrupted", file=sys.stderr, flush=True)
        sys.exit(130)


def _exit(code, store):
    """End this process; at once where there are partners, who may be waiting in a collective and never answer."""
    if store is None:
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_first_to_fail(store):
    if store is None:
        return True
    try:
        return store.add(FAILED_KEY, 1) == 1
    except RuntimeError:  # the store is gone with whoever held it, who has told then
        return False


def _is_lost_partner(error):
    """Whether a collective failed because a process at the other end is gone."""
    text = str(error).lower()
    signs = ("connection closed", "connection reset", "broken pipe", "socket error", "connection was likely closed")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


# -------------------------------------------------------------------- own processes


def _spawn(main, args, device, local_size, num_machines, machine_rank, address):
    """Start this machine's processes, hand on signals, and end all when one fails."""
    context = mp.get_context("spawn")
    shared = (main, args, device, local_size, num_machines, machine_rank, address)
    started = [context.Process(target=_worker, args=(index, *shared)) for index in range(local_size)]
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // local_size))
    for process in started:
        process.start()

    def pass_on(signum, frame):
        for process in started:
            if process.is_alive():
                os.kill(process.pid, signum)

    before = {signum: signal.signal(signum, pass_on) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = _wait(started)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if code:
        sys.exit(code)


def _wait(started):
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


def _worker(local_rank, main, args, device, local_size, num_machines, machine_rank, address):
    rank, world_size = machine_rank * local_size + local_rank, num_machines * local_size
    options = dict(rank=rank, world_size=world_size, local_rank=local_rank, local_size=local_size)
    _guarded(main, args, group=_process_group(device=lambda: device, address=address, **options), rank=rank)
