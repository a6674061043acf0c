"""Where inputs lie and results go: the local disk, or any file system that fsspec or pyarrow knows by its address."""

import contextlib
import datetime
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import fsspec

from ..errors import MediaError, PoseError
from ..utils import output_files
from ..utils.bounded_reading import MOST_BYTES, READ_SECONDS, UnreadableImage, read_file
from ..utils.output_files import UNFINISHED, is_running, replaced_when_done
from ..utils.paths import absolute
from .file_systems import WRITE_SECONDS, Answer, Sink, StorageFile, asked, open_local, reason_of

# Temporary files on storage of others, with the machine and the process that write them.
_TEMPORARY = re.compile(rf"\..+\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
_OLD = datetime.timedelta(days=1)


def is_remote(address: str) -> bool:
    """Whether an address names another file system than the local disk."""
    return "://" in address and not address.startswith("file://")


def local(address: str) -> str:
    """The path of a local address."""
    return os.path.expanduser(address.removeprefix("file://"))


def whole(address: str) -> str:
    """An address that names the same file from every folder; of a path see :func:`~.paths.absolute`."""
    if not is_remote(address):
        return absolute(local(address))
    scheme, _, path = address.partition("://")
    return f"{scheme}://{path.lstrip('/')}"  # some file systems write a slash before the bucket, and list none


def file_system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path there.

    Raises:
        MediaError: neither fsspec nor pyarrow knows such addresses, or it cannot be reached.
    """
    try:
        return asked(lambda: fsspec.core.url_to_fs(address))
    except (ImportError, OSError) as error:
        with contextlib.suppress(Exception):  # what pyarrow knows without another package, such as s3:// and gs://
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import FileSystem

            found, path = FileSystem.from_uri(address)
            return ArrowFSWrapper(found), path
        raise MediaError(
            f"{address} cannot be reached ({reason_of(error)}); check the address, or install what it asks for"
        ) from error


def _asked_of(address: str, work: Callable[[Any, str], Answer]) -> Answer:
    """What the file system of an address answers; see :func:`~.file_systems.asked`.

    Args:
        address: of a file or folder.
        work: asks the file system about the path there.
    """
    # In this thread: fsspec makes an instance, with connections, for each thread, and what waits has a new one.
    system, path = file_system(address)
    return asked(lambda: work(system, path), READ_SECONDS)


def joined(folder: str, name: str) -> str:
    """The address of a name in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(local(folder), name)


def beside(address: str, name: str) -> str:
    """The address of what a file names: as it is, or relative to the file's own folder."""
    if "://" in name or os.path.isabs(name):
        return name
    if not is_remote(address):
        return os.path.join(os.path.dirname(whole(address)), name)
    scheme, _, path = address.partition("://")
    return f"{scheme}://{''.join(path.rpartition('/')[:2])}{name}"


def read_bytes(address: str) -> bytes:
    """All bytes of a file of an image.

    Raises:
        UnreadableImage: it cannot be read, or is too large; its cause says whether that may pass.
    """
    if not is_remote(address):
        return read_file(local(address))
    try:
        return _asked_of(address, lambda system, path: _read_remote(system, path, address))
    except OSError as error:
        raise UnreadableImage(address, f"it cannot be read ({reason_of(error)})") from error
    except UnreadableImage:
        raise
    except PoseError as error:  # nobody knows such addresses, which in a table or list costs that image alone
        raise UnreadableImage(address, str(error)) from error


def _read_remote(system: Any, path: str, address: str) -> bytes:
    size = system.size(path) or 0
    if size > MOST_BYTES:
        raise UnreadableImage(address, f"the file has {size / 2**30:.1f} GB, more than can be decoded")
    return system.cat_file(path)


def opened(address: str, ends: bool = False) -> StorageFile:
    """A file, open for reading bytes.

    Args:
        address: of it.
        ends: see :class:`~.file_systems.StorageFile`.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(address):
        return StorageFile(local(address), lambda: open_local(local(address)), ends)
    system, path = file_system(address)
    return StorageFile(address, lambda: system.open(path, "rb"), ends)


def names_in(folder: str) -> list[str]:
    """Names of the files in a folder; none where there is no such folder.

    Raises:
        MediaError: it cannot be listed.
    """
    try:
        return asked(lambda: _names_in(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MediaError(
            f"{folder} cannot be listed ({reason_of(error)}); mend it, and give the same command again"
        ) from error


def _names_in(folder: str) -> list[str]:
    if not is_remote(folder):
        return sorted(os.listdir(local(folder)))
    system, path = file_system(folder)
    return sorted(name.rstrip("/").rpartition("/")[2] for name in system.ls(path, detail=False))


def make_folder(folder: str) -> None:
    """Make a folder.

    Raises:
        MediaError: it cannot be made.
    """

    def make() -> None:
        if is_remote(folder):
            system, path = file_system(folder)
            system.makedirs(path, exist_ok=True)
        else:
            os.makedirs(local(folder), exist_ok=True)

    try:
        asked(make)
    except OSError as error:
        raise MediaError(f"{folder} cannot be made ({reason_of(error)}); give another place with --output") from error


def remove(address: str) -> None:
    """Delete a file that may be gone already.

    Raises:
        MediaError: it cannot be deleted.
    """

    def delete() -> None:
        if is_remote(address):
            system, path = file_system(address)
            system.rm_file(path)
        else:
            os.remove(local(address))

    try:
        asked(delete)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise MediaError(
            f"{address} cannot be deleted ({reason_of(error)}); mend it, and give the same command again"
        ) from error


def remove_folder(folder: str) -> None:
    """Delete a folder, if it is there and empty; many object stores have none."""

    def delete() -> None:
        if is_remote(folder):
            system, path = file_system(folder)
            system.rmdir(path)
        else:
            os.rmdir(local(folder))

    with contextlib.suppress(OSError):
        asked(delete)


@contextlib.contextmanager
def written(address: str) -> Iterator[Sink]:
    """Yield a file to write to; it has its name when the block ends well, and leaves nothing when it does not.

    Args:
        address: where to.

    Raises:
        MediaError: it cannot be written.
    """
    try:
        if is_remote(address):
            with _written_remote(address) as file:
                yield file
        else:
            with replaced_when_done(local(address)) as temporary, open(temporary, "wb") as output:
                file = Sink(output, None)
                yield file
                file.finish()
    except OSError as error:
        raise MediaError(
            f"{address} cannot be written ({reason_of(error)}); make room or mend it, and give the same command again: "
            "what was written is not computed again"
        ) from error


@contextlib.contextmanager
def _written_remote(address: str) -> Iterator[Sink]:
    system, path = file_system(address)
    folder, _, name = path.rpartition("/")
    # Two calls, or a worker that was given up and its successor, may write the same file at the same time.
    temporary = f"{folder}/.{name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}"

    def rename() -> None:
        if system.exists(path):
            system.rm_file(path)
        system.mv(temporary, path)

    file = Sink(asked(lambda: system.open(temporary, "wb"), READ_SECONDS), WRITE_SECONDS)
    try:
        yield file
        file.finish()
        asked(rename, WRITE_SECONDS)
    except BaseException:
        for step in (file.finish, lambda: asked(lambda: system.rm_file(temporary), READ_SECONDS)):
            with contextlib.suppress(OSError):  # first closed: what is sent later is there again
                step()
        raise


def exists(address: str) -> bool:
    """Whether there is a file.

    Raises:
        OSError: its file system does not say.
    """
    if not is_remote(address):
        return os.path.exists(local(address))
    return bool(_asked_of(address, lambda system, path: system.exists(path)))


def _machine() -> str:
    """What tells this machine from others in the names of temporary files."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def remove_unfinished(folder: str) -> None:
    """Delete temporary files of calls that were killed: of processes of this machine that are gone, and old ones.

    Args:
        folder: of results; none need be there.

    Raises:
        MediaError: it cannot be listed.
    """
    if not is_remote(folder):
        if os.path.isdir(local(folder)):
            output_files.remove_unfinished(local(folder))
        return
    for name in names_in(folder):
        found = _TEMPORARY.fullmatch(name)
        if found and ((found[1] == _machine() and not is_running(int(found[2]))) or _is_old(joined(folder, name))):
            with contextlib.suppress(MediaError):  # the next call does it
                remove(joined(folder, name))


def _is_old(address: str) -> bool:
    """Whether a file was written more than a day ago, as far as its file system says it."""
    try:
        written = _asked_of(address, lambda system, path: system.modified(path))
    except OSError:
        return False
    return datetime.datetime.now(written.tzinfo) - written > _OLD


def size_of(address: str) -> int:
    """Bytes of a file.

    Raises:
        OSError: its file system does not say.
    """
    if not is_remote(address):
        return os.path.getsize(local(address))
    return int(_asked_of(address, lambda system, path: system.size(path)) or 0)
