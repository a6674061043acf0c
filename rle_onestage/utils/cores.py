"""How many processor cores this process may use, which in a container are fewer than the machine has."""

import contextlib
import os


def usable_cores(root: str = "/sys/fs/cgroup") -> int:
    """By the process's affinity and the quota of its control group; at least one.

    Args:
        root: where the system shows the control group.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, count if quota is None else min(count, int(quota)))


def own_threads() -> int:
    """Number of threads to compute with if the caller names none: ``OMP_NUM_THREADS``, or else all usable cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else usable_cores()


def _quota(root: str) -> float | None:
    """Cores' worth of time that the control group may take, None where there is no limit."""
    parts: list[str] = []
    with contextlib.suppress(OSError):
        parts = _read(f"{root}/cpu.max").split()  # version 2: "max 100000" or "150000 100000"
    if not parts:
        with contextlib.suppress(OSError):
            parts = [_read(f"{root}/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]  # version 1
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):  # "max", or -1
        return None
    return int(parts[0]) / int(parts[1])


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read(100)
