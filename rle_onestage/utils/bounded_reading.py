"""Reading the files of images in bounded time.

A pipe that nobody writes to, or a network file system that does not answer, blocks whoever opens a file on it, and no
option of ``open`` prevents that. So a thread of its own reads each file, and whoever wants it waits for a limited time.
"""

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from ..errors import DataError
from .bounded import within
from .output_files import kind_of_mode
from .shards import ShardError, split_member
from .shards.members import read_member

# Seconds without an end of the reading, after which a file counts as blocked.
READ_SECONDS = 60
# What an image decoder takes.
MOST_BYTES = 2**31 - 1
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class UnreadableImage(DataError):
    """An image is missing, truncated, not an image, or of another size than its record says.

    Args:
        file_name: path of the image.
        reason: a clause that says what is wrong.
        remedy: a clause that says what to do.

    Attributes:
        file_name: path of the image.
        reason: a clause that says what is wrong.
    """

    def __init__(
        self, file_name: str, reason: str, remedy: str = "replace it or remove it from the annotation file."
    ) -> None:
        super().__init__(f"image {file_name} cannot be used: {reason}; {remedy}")
        self.file_name = file_name
        self.reason = reason


class BlockedImage(UnreadableImage):
    """The reading of an image does not end, which is no property of the image: a training may not leave it out.

    Args:
        file_name: path of the image.
        seconds: without an answer.
    """

    def __init__(self, file_name: str, seconds: float) -> None:
        reason = f"its file system does not answer for {seconds:g} s"
        super().__init__(file_name, reason, "check the disk or network drive that it is on")


def _all_bytes(file: BinaryIO) -> bytes:
    return file.read()


def read_file(file_name: str, work: Callable[[BinaryIO], Any] = _all_bytes) -> Any:
    """Read an image's file.

    Args:
        file_name: path of a regular file, or name of an image in a shard (:mod:`~rle_onestage.utils.shards`).
        work: what to do with the open file; by default all its bytes are read.

    Returns:
        What ``work`` gives.

    Raises:
        UnreadableImage: it cannot be opened, has more than 2 GB, or is a folder, pipe or device; or its shard cannot
            be used.
        BlockedImage: it takes more than ``READ_SECONDS``.
    """
    try:
        return within(READ_SECONDS, lambda: _read(file_name, work), name="image reader")
    except TimeoutError as error:
        raise BlockedImage(file_name, READ_SECONDS) from error


def _read(file_name: str, work: Callable[[BinaryIO], Any]) -> Any:
    if (member := split_member(file_name)) is not None:
        try:
            return work(io.BytesIO(read_member(member)))
        except ShardError as error:
            raise UnreadableImage(file_name, f"the shard {error.reason}") from error
    try:
        # Not blocking, so that a pipe without a writer opens too, and can be told from a file.
        descriptor = os.open(file_name, os.O_RDONLY | _NON_BLOCKING)
        try:
            _check_kind(file_name, os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                return work(file)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableImage(file_name, f"it cannot be opened ({error.strerror})") from error
    except ValueError as error:  # a zero byte in the name
        raise UnreadableImage(file_name, f"it cannot be opened ({error})") from error


def _check_kind(file_name: str, status: os.stat_result) -> None:
    """Raise UnreadableImage for what is no file, or too large a one."""
    kind = kind_of_mode(status.st_mode)
    if kind:
        raise UnreadableImage(file_name, f"it is {kind}, not a file")
    if status.st_size > MOST_BYTES:
        size = status.st_size / 2**30
        raise UnreadableImage(file_name, f"the file has {size:.1f} GB, more than can be decoded")
