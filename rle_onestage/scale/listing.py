"""The files that a name of an input stands for: a file, a folder with those below it, or a pattern."""

import functools
import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem
from fsspec.utils import glob_translate

from ..errors import MediaError, counted
from .file_systems import asked, reason_of
from .storage import exists, file_system, is_remote, whole

logger = logging.getLogger(__name__)

PLAN = "_plan.json"  # what a folder of results has
_HIDDEN = "._"  # begin names that a folder does not stand for
_PART = re.compile(r"part-\d+\.parquet")


class Entry(NamedTuple):
    """A file.

    Attributes:
        address: path or address.
        size: in bytes.
        changed: when it was written, as its file system says it; "" where it does not.
    """

    address: str
    size: int
    changed: str


def find(given: str) -> list[Entry]:
    """The files that a file, a folder (with those in it) or a pattern names, in order of their names.

    Args:
        given: path or address.

    Raises:
        MediaError: it does not exist, cannot be listed, or nothing matches.
    """
    try:
        there = asked(lambda: _find_remote(given) if is_remote(given) else _find_local(whole(given)))
        found = [each for each, is_result in zip(there, _are_results(whole(given), there)) if not is_result]
    except FileNotFoundError as error:
        raise MediaError(f"input {given} does not exist; check --input") from error
    except OSError as error:
        raise MediaError(f"{given} cannot be listed ({reason_of(error)}); check --input") from error
    if len(found) < len(there):
        logger.info("%s: %s of predictions left out", given, counted(len(there) - len(found), "file"))
    if there and not found:
        raise MediaError(f"{given} has predictions alone; give the images")
    if not found:
        what = "no file matches" if glob.has_magic(given) else "there is no file in"
        raise MediaError(f"{what} {given}; check --input")
    return found


def _are_results(given: str, found: list[Entry]) -> list[bool]:
    """Whether each file is one of a job's results, which would be taken for a table of paths."""

    @functools.cache
    def has_plan(folder: str) -> bool:
        return exists(f"{folder}/{PLAN}")

    parts = [each.address.rpartition("/") for each in found]
    return [
        each.address != given and bool(_PART.fullmatch(name)) and has_plan(folder)
        for (folder, _, name), each in zip(parts, found)
    ]


def _is_shown(name: str) -> bool:
    """Whether a file or folder is not hidden."""
    return not name.startswith(tuple(_HIDDEN))


def _find_local(path: str) -> list[Entry]:
    if os.path.isdir(path):
        files = list(_walked(path))
    elif os.path.exists(path):
        files = [path]
    elif glob.has_magic(path):
        files = [name for name in _without_loops(glob.glob(path, recursive=True)) if os.path.isfile(name)]
    else:
        os.stat(path)  # says what is wrong
        files = []
    return [local_entry(name) for name in sorted(files)]


def _walked(top: str) -> Iterator[str]:
    """Files below a folder; those that are hidden are not walked, nor are links to folders."""
    links: list[str] = []
    closed: list[str] = []

    def failed(error: OSError) -> None:
        if not isinstance(error, PermissionError):  # what a disk keeps for itself, such as lost+found
            raise error
        closed.append(error.filename)

    for folder, folders, names in os.walk(top, onerror=failed):
        folders[:] = filter(_is_shown, folders)
        links += [each for name in folders if os.path.islink(each := os.path.join(folder, name))]
        yield from (os.path.join(folder, name) for name in names if _is_shown(name))
    if links:
        logger.warning(
            "%s: %s left out, such as %s; name them with --input too", top, counted(len(links), "link to a folder",
            "links to folders"), links[0],
        )  # fmt: skip
    if closed:
        logger.warning(
            "%s: %s may not be read and left out, such as %s", top, counted(len(closed), "folder"), closed[0]
        )


def _without_loops(paths: Iterable[str]) -> Iterator[str]:
    """Paths without those that go through one folder twice, as links to a folder above make them."""
    known: dict[str, bool] = {}
    for path in paths:
        folder = os.path.dirname(path)
        if folder not in known:
            parts = os.path.abspath(folder).split(os.sep)
            real = [os.path.realpath(os.sep.join(parts[: end + 1]) or os.sep) for end in range(len(parts))]
            known[folder] = len(set(real)) == len(real)
        if known[folder]:
            yield path


def local_entry(path: str) -> Entry:
    """What is known of a file on this machine, also where it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a link to nothing: whoever reads it says so
        return Entry(path, 0, "")
    return Entry(path, status.st_size, str(status.st_mtime_ns))


def _find_remote(address: str) -> list[Entry]:
    system, path = file_system(address)
    scheme = address.partition("://")[0]
    if not address.endswith("/") and (info := _file_at(system, path)) is not None:
        return [_entry(address, info)]
    if glob.has_magic(path):  # which hides what begins with a dot, as on this disk
        base = path[: path.rfind("/", 0, min(path.find(sign) for sign in "*?[" if sign in path)) + 1]
        wanted, hidden = re.compile(glob_translate(path)), "."
    else:
        base, wanted, hidden = path.rstrip("/") + "/", re.compile(""), _HIDDEN
    entries = []
    for name, info in sorted(_below(system, base).items()):
        inner = name.lstrip("/").removeprefix(base.lstrip("/"))
        if wanted.match(name) and not any(part.startswith(tuple(hidden)) for part in inner.split("/")):
            whole = name if "://" in name else f"{scheme}://{name.lstrip('/')}"
            entries.append(_entry(whole, info))
    return entries


def _file_at(system: Any, path: str) -> dict[str, Any] | None:
    """What a file system knows of a file; None: there is no such file, but maybe a folder."""
    try:
        info = system.info(path)
    except FileNotFoundError:
        if not glob.has_magic(path) and not system.ls(path):  # a folder of an object store is the files in it
            raise
        return None
    return info if info.get("type") == "file" else None


def _entry(address: str, info: dict[str, Any]) -> Entry:
    changed = info.get("mtime") or info.get("LastModified") or info.get("created") or info.get("etag") or ""
    return Entry(address, int(info.get("size") or 0), str(changed))


def _below(system: Any, base: str) -> dict[str, dict[str, Any]]:
    """Name -> what is known, of all files below a folder."""
    kind = type(system)
    if isinstance(system, AsyncFileSystem):
        own = kind._find is not AsyncFileSystem._find
    else:
        own = kind.find is not AbstractFileSystem.find
    if own:  # an object store, which lists all in one go
        return system.find(base, detail=True)
    # fsspec's own leaves out folders that cannot be listed.
    found, folders = {}, [base]
    while folders:
        folder = folders.pop()
        for info in system.ls(folder, detail=True):
            if info["type"] != "directory":
                found[info["name"]] = info
            elif info["name"].rstrip("/") != folder.rstrip("/"):
                folders.append(info["name"])
    return found
