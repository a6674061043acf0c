"""What ``--input`` names, by kind: images, shards, tables and videos."""

import collections
import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence

from ..errors import MediaError, counted
from ..video.io import READ_TYPES, looks_like_video
from . import storage
from .file_systems import reason_of
from .listing import Entry, find, local_entry

logger = logging.getLogger(__name__)

KINDS = ("images", "tar", "parquet", "video")
_TARS = (".tar", ".tar.gz", ".tgz")
_TABLES = (".parquet", ".pq")
_LIST = ".txt"


def kind_of_name(address: str) -> str | None:
    """One of :data:`KINDS` by the ending of a file's name; None for others."""
    name = address.lower()
    if name.endswith(READ_TYPES):
        return "images"
    if name.endswith(_TARS):
        return "tar"
    if name.endswith(_TABLES):
        return "parquet"
    return "video" if looks_like_video(name) else None


def find_inputs(inputs: Sequence[str], output: str) -> list[tuple[str, Entry]]:
    """The files that inputs name with their kinds, in order and without repetition.

    A folder means all files of the known kinds in it and below, but for hidden ones; a text file (``.txt``) lists
    files, one a line, relative to its own folder; a file that is named itself is an image if its name says nothing
    else.

    Args:
        inputs: files, folders, patterns and lists; paths or addresses.
        output: folder of the results, which are no input.

    Raises:
        MediaError: something does not exist, nothing matches, or nothing is of a known kind.
    """
    found: dict[str, tuple[str, Entry]] = {}
    if not all(inputs):
        raise MediaError("the name after --input is empty; give files, folders or patterns")
    for given in dict(zip(map(storage.whole, inputs), inputs)).values():  # what is said of a folder is said once
        for kind, entry in _of(given):
            found.setdefault(storage.whole(entry.address), (kind, entry))
    outside = _outside(output)
    found = {name: each for name, each in found.items() if outside(name)}
    if not found:
        raise MediaError(f"--input names no file but those of --output {output}; give the images")
    return list(found.values())


def _outside(output: str) -> Callable[[str], bool]:
    """Says of a whole address whether its file is outside the folder of the results, whatever links lead there."""
    results = storage.whole(output).rstrip("/")
    if storage.is_remote(output):
        return lambda name: not name.startswith(f"{results}/")
    results, real = os.path.realpath(results), functools.cache(os.path.realpath)

    def outside(name: str) -> bool:
        return storage.is_remote(name) or not f"{real(os.path.dirname(name))}/".startswith(f"{results}/")

    return outside


def _of(given: str) -> Iterable[tuple[str, Entry]]:
    """Kind and file of each that an input names."""
    entries = find(given)
    if len(entries) == 1 and _is_file(given, entries[0]):
        if given.lower().endswith(_LIST):
            yield from _listed(given)
        else:
            yield kind_of_name(given) or "images", entries[0]
        return
    known = [(kind_of_name(entry.address), entry) for entry in entries]
    others = collections.Counter(
        os.path.splitext(entry.address)[1].lower() or "no ending" for kind, entry in known if kind is None
    )
    if others.total() == len(entries):
        raise MediaError(
            f"{given} has no images, shards, tables or videos by their names, such as a.jpg, a.tar, a.parquet or a.mp4 "
            f"({', '.join(sorted(others)[:8])}); check --input"
        )
    if others:
        logger.info("%s: %s left out (%s)", given, counted(others.total(), "other file"), ", ".join(sorted(others)[:8]))
    yield from ((kind, entry) for kind, entry in known if kind is not None)


def _is_file(given: str, entry: Entry) -> bool:
    """Whether an input names one file itself, rather than a folder or a pattern."""
    return entry.address == (given.rstrip("/") if storage.is_remote(given) else storage.whole(given))


def _listed(address: str) -> Iterable[tuple[str, Entry]]:
    """Kind and file of each line of a text file."""
    try:
        with storage.opened(address) as file:
            lines = file.read().decode("utf-8-sig").split("\n")  # names may have other line breaks
    except UnicodeDecodeError as error:
        raise MediaError(f"list {address} is no text ({error}); write a path a line, in UTF-8") from error
    except OSError as error:
        raise MediaError(f"list {address} cannot be read ({reason_of(error)}); check --input") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise MediaError(f"list {address} is empty; write a path a line")
    for name in names:
        whole = storage.beside(address, name)
        kind = kind_of_name(whole) or "images"
        # One that is missing costs that one alone: it becomes a row with its error.
        yield kind, Entry(whole, 0, "") if storage.is_remote(whole) else local_entry(storage.whole(whole))
