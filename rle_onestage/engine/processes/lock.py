"""One training at a time in an ``OUTPUT_DIR``: the system's lock on a file in it, held by the first process.

The system drops it with the process, however that ends, so a lock that nobody holds never counts. Its
holder deletes the file at the end, while it is locked. Who has opened it before that, and locks it afterwards, finds
that the file has lost its name, and tries again; so there are never two holders.
"""

import contextlib
import errno
import importlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from rle_onestage.errors import ConfigError, cut
from rle_onestage.utils.signals import ORPHAN_SECONDS

fcntl: ModuleType | None
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger("rle_onestage")

NAME = ".training.lock"
# A training whose processes were killed, or are restarted, may still be ending: so long, and a little for the system.
PATIENCE_SECONDS = ORPHAN_SECONDS + 10.0
_POLL_SECONDS = 0.2
_SAID_LENGTH = 200
_MOST_TRIES = 100  # at files that lose their name just then
_held: dict[str, int] = {}  # resolved folder -> descriptor
_used: list[str] = []
_made: list[str] = []  # folders that were not there before, the outermost first
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def missing_folders(folder: str) -> list[str]:
    """The folder and those that it is in, as far as they are not there, the outermost first."""
    folder, missing = os.path.abspath(folder), []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing[::-1]


def note_made(folders: Iterable[str]) -> None:
    """Remember folders that were made for a training, which go with :func:`release` where nothing came into them."""
    _made.extend(folder for folder in folders if folder not in _made)


def claim(folder: str, patience: float | None = None) -> None:
    """Make a folder this process's own until :func:`release`, or its end. A second call does nothing.

    Args:
        folder: an existing one.
        patience: seconds to wait for another process to leave it; None: ``PATIENCE_SECONDS``, for a training that goes
            on after its processes were killed.

    Raises:
        ConfigError: another process trains in it; names that. Or the file cannot be written.
    """
    folder = os.path.realpath(folder)
    if folder in _held:
        return
    if fcntl is None:
        logger.info("This system has no flock: nothing keeps a second training out of %s", folder)
        return
    deadline = time.monotonic() + (PATIENCE_SECONDS if patience is None else patience)
    path, said = os.path.join(folder, NAME), False
    while True:
        try:
            descriptor, taken = _try(path, fcntl)
        except OSError as error:
            raise ConfigError(
                f"OUTPUT_DIR {folder} cannot be locked ({path}: {error.strerror}); choose another folder or change its "
                "permissions"
            ) from error
        if not taken:
            break
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"OUTPUT_DIR {folder} belongs to a training that is running ({_holder(path)}); end that one first, or "
                "choose another OUTPUT_DIR"
            )
        if not said:
            said = True
            logger.warning(
                "OUTPUT_DIR %s still belongs to %s; waiting up to %.0f s for its end",
                folder, _holder(path), deadline - time.monotonic(),
            )  # fmt: skip
        time.sleep(_POLL_SECONDS)
    if descriptor is not None:
        _held[folder] = descriptor


def release(folder: str) -> None:
    """Let others have a folder, without the file of the lock, and without the folder where it was made for nothing."""
    folder = os.path.realpath(folder)
    descriptor = _held.pop(folder, None)
    if descriptor is not None:
        path = os.path.join(folder, NAME)
        with contextlib.suppress(OSError):  # the file stays then, and counts for nothing
            if _is_still(path, descriptor):
                os.remove(path)  # while it is locked: afterwards it may be another process's
        os.close(descriptor)
    _remove_made()


def release_all() -> None:
    """Let others have what this process still holds, as its work has ended."""
    for folder in list(_held):
        release(folder)
    _remove_made()


def _remove_made() -> None:
    """Remove the folders of :func:`note_made` that are empty, as a training that was refused leaves nothing."""
    for folder in _made[::-1]:
        with contextlib.suppress(OSError):  # it has files, or another process was faster
            os.rmdir(folder)
    _made.clear()


def note(folder: str) -> None:
    """Remember that the training of this process, or of its group, has begun in a folder."""
    if folder not in _used:
        _used.append(folder)


def forget_notes() -> None:
    """Forget what :func:`note` was told, as other work begins in this process."""
    _used.clear()


def used() -> list[str]:
    """The folders that :func:`note` was told of, the latest first."""
    return _used[::-1]


def _try(path: str, fcntl: ModuleType) -> tuple[int | None, bool]:
    """(descriptor of the locked file, or None where it cannot be locked; whether another process has it)."""
    for _ in range(_MOST_TRIES):
        descriptor, taken = _open_locked(path, fcntl)
        if descriptor is None:
            return None, taken
        if _is_still(path, descriptor):
            with contextlib.suppress(OSError):  # a full disk: the lock holds, only the name of its holder is missing
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_me()).encode(), 0)
            return descriptor, False
        os.close(descriptor)  # its name is gone: the holder before has ended, or somebody has deleted the folder
    return None, True


def _open_locked(path: str, fcntl: ModuleType) -> tuple[int | None, bool]:
    """What :func:`_try` gives, of a file that may have lost its name."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                return None, True
            logger.warning(
                "%s cannot be locked (%s), as on some network disks: nothing keeps a second training out",
                path, error.strerror,
            )  # fmt: skip
            return None, False
        return descriptor, False
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _me() -> dict[str, Any]:
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": started, "command": " ".join(sys.argv)}


def _holder(path: str) -> str:
    """Who holds a lock, in words."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            told = json.loads(file.read(1 << 16))
        command = cut(str(told["command"]), _SAID_LENGTH)
        return f"process {told['process']} on {told['host']} since {told['since']}: {command}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that did not say its number"


def _forget() -> None:
    """A forked process shares the lock and would keep it when this one is killed; it gives up its part."""
    for descriptor in _held.values():
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
