"""What a file that people edit, or a training goes on with, is called once another takes its name."""

import filecmp
import itertools
import logging
import os
import shutil
from collections.abc import Iterable

from .output_files import kind_of, replaced_when_done, write_bytes

logger = logging.getLogger(__name__)


def earlier_name(name: str, number: int = 1) -> str:
    """The name of a file that another replaces: ``model_final_earlier.pth``.

    Args:
        name: of the file.
        number: of earlier files of this name; those of the second are ``model_final_earlier_2.pth`` and so on.
    """
    stem, ending = os.path.splitext(name)
    return f"{stem}_earlier{f'_{number}' if number > 1 else ''}{ending}"


def write_keeping_earlier(path: str, content: bytes) -> None:
    """Write a file that people edit: one of another content that has its name already is kept, which a warning says.

    Args:
        path: where to.
        content: the whole of it.

    Raises:
        OSError: it cannot be written.
    """
    kept = keep_earlier(path, content)
    write_bytes(path, content)
    if kept:
        logger.warning("%s was there already: the earlier file is %s now", path, kept)


def keep_earlier(path: str, content: bytes) -> str | None:
    """Keep the file that is about to be replaced by another content, under a free name beside it.

    Args:
        path: that is to be written.
        content: that it will have. Where it has it already, nothing is kept.

    Returns:
        The path of the earlier file; None where nothing is lost.

    Raises:
        OSError: it cannot be kept.
    """
    if kind_of(path) or not os.path.isfile(path) or _has(path, content):
        return None
    return keep_as(path, (earlier_name(path, number) for number in itertools.count(1)))


def keep_as(path: str, names: Iterable[str]) -> str:
    """Give a file a second name, which it keeps when another file takes its first one.

    Args:
        path: of the file.
        names: endlessly many; the first one that is free, or that has this content already, is taken.

    Returns:
        That name.

    Raises:
        OSError: it cannot be kept.
    """
    other = next(name for name in names if not os.path.lexists(name) or _are_alike(path, name))
    if os.path.lexists(other):
        return other
    try:
        os.link(os.path.realpath(path), other)
    except OSError:  # a file system without links
        with replaced_when_done(other) as temporary:
            shutil.copy2(path, temporary)
    return other


def _are_alike(path: str, other: str) -> bool:
    """Whether two paths are of one file, or of two with the same content."""
    return os.path.isfile(other) and (os.path.samefile(path, other) or filecmp.cmp(path, other, shallow=False))


def _has(path: str, content: bytes) -> bool:
    """Whether a file has this content."""
    if os.path.getsize(path) != len(content):
        return False
    with open(path, "rb") as file:
        return file.read() == content
