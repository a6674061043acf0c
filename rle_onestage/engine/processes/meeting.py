"""Where the processes of a training meet: the store, the group, and what a lost partner looks like."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from rle_onestage.compat import create_local_process_group
from rle_onestage.engine.device import claim_device
from rle_onestage.engine.processes.first_machine import parse_address, wait_for_store
from rle_onestage.errors import ConfigError

TIMEOUT = timedelta(minutes=30)
_POLL_SECONDS = 0.02


def open_store(dist_url: str, world_size: int, machine_rank: int) -> tuple[dist.TCPStore | None, tuple[str, int]]:
    """The key-value store at which the processes meet, and its (host, port).

    It lives in the parent of the first machine's processes, so that it outlives each of them and the others can
    still ask who failed.
    """
    if dist_url == "auto":
        host, port = "127.0.0.1", 0
    else:
        host, port = parse_address(dist_url)
    if machine_rank != 0:
        wait_for_store(host, port)
        return None, (host, port)
    try:
        store = dist.TCPStore(host, port, world_size, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--dist-url {dist_url} cannot be used ({str(error).splitlines()[0]}); choose another port or auto, or end "
            "the process that uses it"
        ) from error
    return store, (host, store.port)


def fresh_view(store: dist.Store, rank: int, world_size: int) -> dist.Store:
    """A view of a store in which nothing of an earlier attempt stands.

    torchrun keeps its store when it restarts the processes, with the addresses of the dead ones in it. The number of
    the restart does not tell the attempts apart, as each machine counts its own. So the first process names the attempt
    by a new word, and lists who has answered to that; who is not on the list has read the word of an earlier attempt.

    Args:
        store: that all processes reach.
        rank: of this process.
        world_size: of all of them.

    Raises:
        RuntimeError: the others do not come in time.
    """
    own = secrets.token_hex(16)
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    prefix = "rle_onestage/attempt"
    if rank == 0:
        store.set(prefix, own)
        keys = [f"{prefix}/{own}/{other}" for other in range(1, world_size)]
        _await(store, keys, deadline)
        store.set(f"{prefix}/{own}", json.dumps([store.get(key).decode() for key in keys]))
        return dist.PrefixStore(f"rle_onestage/{own}", store)
    while time.monotonic() < deadline:
        _await(store, [prefix], deadline)
        word = store.get(prefix).decode()
        store.set(f"{prefix}/{word}/{rank}", own)
        if store.check([f"{prefix}/{word}"]) and own in json.loads(store.get(f"{prefix}/{word}")):
            return dist.PrefixStore(f"rle_onestage/{word}", store)
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the first of the {world_size} processes did not come within {TIMEOUT}")


def _meet(store: dist.Store, rank: int, world_size: int) -> None:
    """Return when all processes are there: what comes next waits for the others in C++."""
    prefix = "rle_onestage/here"
    store.set(f"{prefix}/{rank}", "")
    everybody = [f"{prefix}/{other}" for other in range(world_size)]
    _await(store, everybody, time.monotonic() + TIMEOUT.total_seconds())


def _await(store: dist.Store, keys: list[str], deadline: float) -> None:
    """Wait for keys of a store; signals are handled meanwhile, as they are not in ``store.wait()``."""
    while keys and not store.check(keys):
        if time.monotonic() >= deadline:
            raise RuntimeError(f"not all of them came within {TIMEOUT}")
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def process_group(
    *,
    device: Callable[[], str],
    rank: int,
    world_size: int,
    local_rank: int,
    local_size: int,
    address: tuple[str, int] | None = None,
) -> Iterator[None]:
    """Join the processes' group for the block, with Detectron2's notion of a machine.

    Args:
        device: gives the settled name of the device.
        rank: of this process.
        world_size: processes of all machines.
        local_rank: of this process on its machine.
        local_size: processes of this machine.
        address: (host, port) of the store that :func:`open_store` made; None: what torchrun describes.
    """
    backend = claim_device(device(), local_rank, local_size)
    try:
        if address is None:
            store, _, _ = next(rendezvous("env://", rank, world_size, timeout=TIMEOUT))
            store = fresh_view(store, rank, world_size)
        else:
            host, port = address
            store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=TIMEOUT)
            _meet(store, rank, world_size)
        dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=TIMEOUT, store=store)
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


def is_lost_partner(error: BaseException) -> bool:
    """Whether a collective failed because a process at the other end is gone."""
    text = str(error).lower()
    signs = ("connection closed", "connection reset", "broken pipe", "socket error", "connection was likely closed")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)
