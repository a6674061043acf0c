"""Where inputs lie and results go: the local disk, or any file system that fsspec or pyarrow knows by its address."""

import contextlib
import fnmatch
import glob
import gzip
import os
import secrets
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import fsspec

from ..errors import MediaError, PoseError
from ..utils.bounded import within
from ..utils.bounded_reading import MOST_BYTES, READ_SECONDS, BlockedImage, UnreadableImage, read_file
from ..utils.output_files import UNFINISHED, replaced_when_done
from ..utils.paths import absolute


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


class AwayError(OSError):
    """A file system does not give a file that it may give another time."""


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
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        with contextlib.suppress(Exception):  # what pyarrow knows without another package, such as s3:// and gs://
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import FileSystem

            found, path = FileSystem.from_uri(address)
            return ArrowFSWrapper(found), path
        raise MediaError(
            f"{address} cannot be reached ({error}); check the address, or install what it asks for"
        ) from error


def joined(folder: str, name: str) -> str:
    """The address of a name in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(local(folder), name)


def find(given: str) -> list[Entry]:
    """The files that a file, a folder (with those in it) or a pattern names, in order of their names.

    Those on the local disk have absolute paths: a job that goes on in another folder finds them.

    Args:
        given: path or address.

    Raises:
        MediaError: it does not exist, or nothing matches.
    """
    found = _find_remote(given) if is_remote(given) else _find_local(whole(given), given)
    if not found:
        what = "no file matches" if glob.has_magic(given) else "there is no file in"
        raise MediaError(f"{what} {given}; check --input")
    return found


def _find_local(path: str, given: str) -> list[Entry]:
    files: list[str] = []
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            folders[:] = filter(_is_shown, folders)  # the others are not walked
            files += [os.path.join(folder, name) for name in names if _is_shown(name)]
    elif os.path.exists(path):
        files = [path]
    elif glob.has_magic(path):
        files = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)]
    else:
        raise MediaError(f"input {given} does not exist; check --input")
    return [local_entry(name) for name in sorted(files)]


def _is_shown(name: str) -> bool:
    """Whether a file or folder is not hidden."""
    return not name.startswith((".", "_"))


def local_entry(path: str) -> Entry:
    """What is known of a file on this machine, also where it is not there."""
    try:
        status = os.stat(path)
    except OSError:  # a link to nothing: whoever reads it says so
        return Entry(path, 0, "")
    return Entry(path, status.st_size, str(status.st_mtime_ns))


def _find_remote(address: str) -> list[Entry]:
    system, path = file_system(address)
    scheme = address.partition("://")[0]
    try:
        if glob.has_magic(path):
            base = path[: path.rfind("/", 0, min(path.find(sign) for sign in "*?[" if sign in path)) + 1]
            there = system.find(base, detail=True)
            wanted = {name: info for name, info in there.items() if fnmatch.fnmatch(name, path)}
        else:
            wanted = system.find(path, detail=True)
    except Exception as error:  # of any file system
        raise MediaError(f"{address} cannot be listed ({type(error).__name__}: {error}); check --input") from error
    entries = []
    for name, info in sorted(wanted.items()):
        if _is_shown(name.rpartition("/")[2]):
            changed = info.get("mtime") or info.get("LastModified") or info.get("created") or info.get("etag") or ""
            entries.append(Entry(f"{scheme}://{name.lstrip('/')}", int(info.get("size") or 0), str(changed)))
    if not entries and not glob.has_magic(path):
        raise MediaError(f"input {address} does not exist; check --input")
    return entries


def read_bytes(address: str) -> bytes:
    """All bytes of a file of an image.

    Raises:
        UnreadableImage: it cannot be read, or is too large.
    """
    if not is_remote(address):
        return read_file(local(address))
    try:
        return within(READ_SECONDS, lambda: _read_remote(address), name="image reader")
    except TimeoutError as error:
        raise BlockedImage(address, READ_SECONDS) from error
    except PoseError:
        raise
    except Exception as error:  # of any file system
        raise UnreadableImage(address, f"it cannot be opened ({type(error).__name__}: {error})") from error


def _read_remote(address: str) -> bytes:
    system, path = file_system(address)
    size = system.size(path) or 0
    if size > MOST_BYTES:
        raise UnreadableImage(address, f"the file has {size / 2**30:.1f} GB, more than can be decoded")
    return system.cat_file(path)


def opened(address: str) -> IO[bytes]:
    """A file, open for reading bytes, which can be sought in.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(address):
        return open(local(address), "rb")
    system, path = file_system(address)
    try:
        return system.open(path, "rb")
    except OSError:
        raise
    except Exception as error:  # of any file system
        raise AwayError(f"{type(error).__name__}: {error}") from error


def may_pass(error: BaseException | None) -> bool:
    """Whether an error is of the storage, so that reading again may help, not of what lies on it.

    Decoders of damaged files raise OSError too, without the number that an operating system gives.
    """
    if not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile):
        return False
    return error.errno is not None or type(error) is not OSError


def names_in(folder: str) -> list[str]:
    """Names of the files in a folder; none where there is no such folder."""
    if not is_remote(folder):
        path = local(folder)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []
    system, path = file_system(folder)
    try:
        return sorted(name.rstrip("/").rpartition("/")[2] for name in system.ls(path, detail=False))
    except FileNotFoundError:
        return []


def make_folder(folder: str) -> None:
    """Make a folder.

    Raises:
        MediaError: it cannot be made.
    """
    try:
        if is_remote(folder):
            system, path = file_system(folder)
            system.makedirs(path, exist_ok=True)
        else:
            os.makedirs(local(folder), exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MediaError(f"{folder} cannot be made ({reason}); give another place with --output") from error


def remove(address: str) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(OSError):
        if is_remote(address):
            system, path = file_system(address)
            system.rm_file(path)
        else:
            os.remove(local(address))


@contextlib.contextmanager
def written(address: str) -> Iterator[IO[bytes]]:
    """Yield a file to write to; it has its name when the block ends well, and leaves nothing when it does not.

    Args:
        address: where to.

    Raises:
        MediaError: it cannot be written.
    """
    try:
        if not is_remote(address):
            with replaced_when_done(local(address)) as temporary, open(temporary, "wb") as file:
                yield file
            return
        system, path = file_system(address)
        folder, _, name = path.rpartition("/")
        # Two calls, or a worker that was given up and its successor, may write the same file at the same time.
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}{UNFINISHED}"
        try:
            with system.open(temporary, "wb") as file:
                yield file
            if system.exists(path):
                system.rm_file(path)
            system.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(temporary)
            raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise MediaError(
            f"{address} cannot be written ({reason}); make room or mend it, and give the same command again: what was "
            "written is not computed again"
        ) from error


def size_of(address: str) -> int:
    """Bytes of a file."""
    if not is_remote(address):
        return os.path.getsize(local(address))
    system, path = file_system(address)
    return int(system.size(path) or 0)
