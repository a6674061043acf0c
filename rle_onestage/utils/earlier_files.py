"""What a file that people edit, or a training goes on with, is called once another takes its name."""

import itertools
import logging
import os
import shutil

from .output_files import kind_of, write_bytes

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
    other = next(name for number in itertools.count(1) if not os.path.lexists(name := earlier_name(path, number)))
    try:
        os.link(os.path.realpath(path), other)
    except OSError:  # a file system without links
        shutil.copy2(path, other)
    return other


def _has(path: str, content: bytes) -> bool:
    """Whether a file has this content."""
    if os.path.getsize(path) != len(content):
        return False
    with open(path, "rb") as file:
        return file.read() == content
