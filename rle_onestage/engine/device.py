"""The device of ``MODEL.DEVICE``, what it computes in, the communication backend, and the GPU of each process."""

import contextlib
import logging

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from rle_onestage.errors import ConfigError

logger = logging.getLogger("rle_onestage")

KEY = "MODEL.DEVICE"
# How the processes of a training talk; other kinds of device train with one process.
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


def settle_device(name: str, *, key: str = KEY, fall_back: bool = True, quiet: bool = False) -> str:
    """The device that a name stands for on this machine.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``xpu``.
        key: what the name is of, for messages.
        fall_back: whether ``cuda`` is the CPU, with a warning, where there is no CUDA; else that is an error.
        quiet: without the warning.

    Returns:
        The name, or "cpu".

    Raises:
        ConfigError: it is no device that can be used, or this machine has none of it.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"{key} {name!r} is no device; use cpu, cuda, cuda:N, mps or xpu") from error
    if device.type == "cpu":
        return "cpu"
    if device.type not in ("cuda", "mps", "xpu"):
        raise ConfigError(f"{key} is {name}, which is not supported; use cpu, cuda, cuda:N, mps or xpu")
    there, count = _devices(device.type)
    if not there and device.type == "cuda" and fall_back:
        if not quiet and comm.is_main_process():
            logger.warning("%s is %s, but CUDA is not available: continuing on the CPU.", key, name)
        return "cpu"
    if not there:
        raise ConfigError(f"{key} is {name}, but this machine, or this build of torch, has no such device; use cpu")
    if device.index is not None and device.index >= count:
        raise ConfigError(f"{key} is {device}, but this machine has {count} of that kind, numbered from 0")
    return str(name)


def _devices(kind: str) -> tuple[bool, int]:
    """(whether there is one, how many)."""
    if kind == "mps":
        return torch.backends.mps.is_available(), 1
    module = getattr(torch, kind)
    return module.is_available(), module.device_count()


def usable_processes(name: str, asked: int, *, num_machines: int = 1) -> int:
    """How many processes of this machine train on a device: as many as asked for, but one a GPU at most.

    The batch of the config is that of all processes together, so that fewer only take longer.

    Args:
        name: of the device, settled.
        asked: ``--num-gpus``.
        num_machines: that train together.

    Raises:
        ConfigError: several processes cannot share the device, or the machines would not agree on their number.
    """
    device = torch.device(name)
    if asked * num_machines <= 1 or device.type == "cpu":
        return asked
    check_shareable(device)
    count = torch.cuda.device_count()
    if asked <= count:
        return asked
    if num_machines > 1:
        raise ConfigError(f"--num-gpus is {asked}, but this machine has {count}")
    logger.warning("--num-gpus is %d, but this machine has %d: training with %d process(es).", asked, count, count)
    return count


def check_shareable(device: torch.device) -> None:
    """Raises ConfigError unless several processes can train on the kind of device, each on one of its own."""
    if device.type not in BACKENDS:
        raise ConfigError(f"{KEY} is {device}, on which one process trains; leave out --num-gpus, or use cpu or cuda")
    if device.index is not None:
        raise ConfigError(f"{KEY} is {device}, one GPU for several processes; use cuda, which gives each its own")


def claim_device(name: str, local_rank: int, local_size: int) -> str:
    """Make a process's own device the present one, and say by what the processes talk.

    Args:
        name: of the device, settled.
        local_rank: of the process on its machine.
        local_size: processes there.

    Returns:
        The backend of ``torch.distributed``.

    Raises:
        ConfigError: there are more processes than GPUs.
    """
    device = torch.device(name)
    if device.type != "cpu":
        check_shareable(device)
        count = torch.cuda.device_count()
        if local_size > count:  # in all of them, so that the first one, which talks, does not wait for the others
            raise ConfigError(
                f"{local_size} processes on a machine with {count} GPU(s); start one for each GPU, or set {KEY} cpu"
            )
        torch.cuda.set_device(local_rank)
    return BACKENDS[device.type]


def describe_device(name: str) -> str:
    """What the log says of a device: its name, and which GPU that is."""
    device = torch.device(name)
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def seed_devices(state: int) -> None:
    """Seed the generators of the devices that are in use; those that come into use later are not."""
    for module in (torch.cuda, torch.xpu):
        if module.is_initialized():
            module.manual_seed_all(state)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(state)


def amp_dtype(cfg: CfgNode, device: torch.device) -> torch.dtype | None:
    """The type of automatic mixed precision that this device can do, or None when it is off.

    Args:
        cfg: reads ``SOLVER.AMP``.
        device: of the training.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    dtype = getattr(torch, cfg.SOLVER.AMP.DTYPE)
    if dtype == torch.float16 and device.type != "cuda":
        logger.warning("SOLVER.AMP.DTYPE float16 is for CUDA: using bfloat16 on %s.", device)
        return torch.bfloat16
    if dtype == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        logger.warning("This GPU has no bfloat16: using float16 for SOLVER.AMP.DTYPE.")
        return torch.float16
    return dtype


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager:
    """Mixed precision of a type within the block; None: none."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
