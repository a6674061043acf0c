"""torchrun's restarts: whether a training in ``OUTPUT_DIR`` is the one that the same torchrun began.

A restart comes without ``--resume``, and the folder may hold the checkpoints of an earlier training. So whoever begins
a training under torchrun leaves the name of that torchrun in the folder.
"""

import contextlib
import json
import logging
import os
import socket

from rle_onestage.errors import ConfigError
from rle_onestage.utils.output_files import kind_of
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger("rle_onestage")

NAME = ".training.torchrun"
_MAX_BYTES = 4096


def is_restart() -> bool:
    """Whether torchrun has started this process again, after one of an earlier attempt had failed."""
    count = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return count.isdecimal() and int(count) > 0


def note_begun(folder: str) -> None:
    """Leave in a folder that this process's torchrun has begun a training in it; nothing without torchrun."""
    launcher = _launcher()
    if launcher is None:
        forget(folder)
        return
    try:
        write_text(os.path.join(folder, NAME), json.dumps(launcher), remedy=CHECK_OUTPUT_DIR)
    except ConfigError as error:
        logger.warning("%s; a restart by torchrun begins the training anew", error)


def forget(folder: str) -> None:
    """Let no restart go on with what is in a folder."""
    with contextlib.suppress(OSError):  # not there; or no file, which notes nothing either
        os.remove(os.path.join(folder, NAME))


def has_begun(folder: str) -> bool:
    """Whether this process's torchrun has begun the training in a folder, in an earlier attempt."""
    launcher = _launcher()
    if kind_of(os.path.join(folder, NAME)):  # a pipe would block whoever opens it
        return False
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            noted = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    if launcher is None or not isinstance(noted, dict) or noted.get("run") != launcher["run"]:
        return False
    # Among several machines the first process may be another machine's now; the name of the run has to do.
    several = launcher["machines"] != 1 or noted.get("machines", 1) != 1
    return several or all(noted.get(key) == launcher[key] for key in ("host", "process"))


def _launcher() -> dict[str, str | int] | None:
    """The torchrun that started this process; its run is called "none" where nobody gave a name."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    machines = os.environ.get("GROUP_WORLD_SIZE", "1")
    return {
        "run": os.environ["TORCHELASTIC_RUN_ID"],
        "machines": int(machines) if machines.isdecimal() else 1,
        "host": socket.gethostname(),
        "process": os.getppid(),
    }
