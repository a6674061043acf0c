"""Tar archives: where each member lies, and reading one.

A member of an archive that is not compressed is a piece of the file, so that reading it is a seek.
"""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .errors import ShardError

BLOCK = 512  # bytes; a member begins at a multiple of it, behind its header
_PACKERS = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
)
AGAIN = "copy or write it again"


class Place(NamedTuple):
    """Where a member of an archive lies."""

    name: str
    offset: int  # of its first byte in the archive
    size: int  # bytes


def scan(path: str) -> Iterator[Place]:
    """The regular files in an archive, in their order; only headers are read.

    Raises:
        ShardError: it cannot be opened, is compressed, damaged or cut short, or has a member that leads out of it.
    """
    try:
        with open(path, "rb") as file:
            _refuse_packed(path, file)
            yield from _places(path, file)
    except (tarfile.TarError, EOFError) as error:
        raise ShardError(path, f"is damaged or cut short ({error}); {AGAIN}") from error
    except OSError as error:
        raise ShardError(path, f"cannot be read ({error.strerror})") from error


def _places(path: str, file: BinaryIO) -> Iterator[Place]:
    size, end = os.fstat(file.fileno()).st_size, 0
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            end = member.offset_data + -(-member.size // BLOCK) * BLOCK if member.isreg() else archive.offset
            if end > size:
                raise ShardError(path, f"is cut short in its member {member.name}; {AGAIN}")
            archive.members = []  # type: ignore[attr-defined]  # unknown to typeshed; tarfile would keep them all
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise ShardError(path, f"has the member {member.name}, which is a link or no plain file; leave it out")
            if member.name.startswith(("/", "\\")) or ".." in member.name.replace("\\", "/").split("/"):
                raise ShardError(path, f"has the member {member.name}, whose name leads out of it; rename it")
            yield Place(member.name, member.offset_data, member.size)
    file.seek(end)
    if file.read(BLOCK) != bytes(BLOCK):  # tarfile takes whatever it does not know for the end
        raise ShardError(path, f"is damaged or cut short at byte {end}, where its end is not marked; {AGAIN}")


def _refuse_packed(path: str, file: BinaryIO) -> None:
    start = file.read(BLOCK)
    file.seek(0)
    if not start:
        raise ShardError(path, f"is empty; {AGAIN}")
    for sign, name, command in _PACKERS:
        if start.startswith(sign):
            raise ShardError(
                path, f"is compressed by {name}, in which no member can be looked up; unpack it once with {command}"
            )


def read_at(path: str, offset: int, size: int, total: int) -> bytes:
    """The bytes of a member.

    Args:
        path: of the archive.
        offset: of the member's first byte.
        size: of the member.
        total: bytes that the archive had when it was looked through.

    Raises:
        ShardError: it cannot be read, or is another archive since.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == total:
                file.seek(offset - BLOCK)
                found = file.read(BLOCK + size)
                if len(found) == BLOCK + size and _is_header_of(found[:BLOCK], size):
                    return found[BLOCK:]
    except OSError as error:
        raise ShardError(path, f"cannot be read ({error.strerror})") from error
    raise ShardError(path, "was changed after it was looked through; start again")


def _is_header_of(header: bytes, size: int) -> bool:
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return member.isreg() and (member.size == size or size >= 8**11)  # what has more bytes says so elsewhere
