"""torchrun's restarts: whether a training in ``OUTPUT_DIR`` is the one that the same torchrun began.

A restart comes without ``--resume``, and the folder may hold the checkpoints of an earlier training. So whoever begins
a training under torchrun leaves there which torchruns these were: one on each machine. Machines may leave and join; a
restart is one of the same training where at least one of the torchruns took part in the attempt before it. Their count
of restarts alone does not tell, as it stays 0 where a machine joins.
"""

import contextlib
import json
import logging
import os
import socket
from collections.abc import Sequence

from rle_onestage.console import starter
from rle_onestage.errors import ConfigError
from rle_onestage.utils.output_files import kind_of
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger("rle_onestage")

NAME = ".training.torchrun"
_MAX_BYTES = 2**20
_START_FIELD = 19  # of /proc/PID/stat behind the name: when the process was started


def is_restart() -> bool:
    """Whether torchrun has started this process again, after one of an earlier attempt had failed."""
    count = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return count.isdecimal() and int(count) > 0


def launcher() -> str | None:
    """The torchrun that started this process, as a name that no other process has had; None without one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    process = starter()
    return f"{socket.gethostname()} {process} {_started(process)}"


def note_begun(folder: str, launchers: Sequence[str | None]) -> None:
    """Leave in a folder that its training is that of this process's torchrun; nothing without torchrun.

    Args:
        folder: of the checkpoints.
        launchers: of all processes, see :func:`launcher`.
    """
    names = _names(launchers)
    if not names:
        forget(folder)
        return
    noted = {"run": _run(), "launchers": names}
    try:
        write_text(os.path.join(folder, NAME), json.dumps(noted), remedy=CHECK_OUTPUT_DIR)
    except ConfigError as error:
        logger.warning("%s; a restart by torchrun begins the training anew", error)


def forget(folder: str) -> None:
    """Let no restart go on with what is in a folder."""
    with contextlib.suppress(OSError):  # not there; or no file, which notes nothing either
        os.remove(os.path.join(folder, NAME))


def has_begun(folder: str, launchers: Sequence[str | None], *, restarted: bool = False) -> bool:
    """Whether the training in a folder is one that these torchruns have begun, in an earlier attempt.

    Args:
        folder: of the checkpoints.
        launchers: of all processes, see :func:`launcher`.
        restarted: it is a restart by the count of one of them. Then a run of the same name is the same, also where
            machines that had lost one another began with it apart.
    """
    noted = _noted(folder)
    return noted is not None and (restarted or any(name in noted for name in _names(launchers)))


def forget_earlier(folder: str) -> None:
    """Let no restart go on with what an earlier torchrun, whose run had the same name, has left in a folder."""
    if _noted(folder) is not None:
        forget(folder)


def _noted(folder: str) -> list | None:
    """The torchruns that a folder names, of a run with the name of this one; None where there is none."""
    if kind_of(os.path.join(folder, NAME)):  # a pipe would block whoever opens it
        return None
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            noted = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(noted, dict) or _run() is None or noted.get("run") != _run():
        return None
    return noted["launchers"] if isinstance(noted.get("launchers"), list) else None


def _run() -> str | None:
    """The name of torchrun's run, which is "none" where nobody gave one."""
    return os.environ.get("TORCHELASTIC_RUN_ID")


def _names(launchers: Sequence[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in launchers if name is not None))


def _started(process: int) -> str:
    """When a process was started, as its number is another's later on; "" where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return f"{boot} {fields[_START_FIELD].decode()}"
    except (OSError, ValueError, IndexError):
        return ""
