"""The one way in which files are written: whole or not at all; a device or a pipe is written through, or refused.

A file is written under a temporary name beside its place and renamed, also through a symbolic link, whose target is
replaced, not the link. A rename over ``/dev/null`` or a named pipe would replace the device for everybody.

:func:`write_bytes` and :class:`OutputFile` are for results, which may go through devices and pipes.
:func:`replaced_when_done` and :func:`write_text` are for what a training needs: it is on the disk before it is named.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator

from ..errors import ConfigError, MediaError

Path = str | os.PathLike[str]

# Seconds that a named pipe may have no reader.
PATIENCE = 10.0
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISBLK, "a disk"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
)
UNFINISHED = ".unfinished"
# The process that made a temporary name stands in it, see temporary_beside().
_TEMPORARY = re.compile(rf"\.rle(\d+)[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
_DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)")


def kind_of_mode(mode: int) -> str:
    """What the mode of ``os.stat`` says that is no regular file, such as "a pipe"; an empty string for files."""
    return next((name for test, name in _KINDS if test(mode)), "")


def kind_of(path: Path) -> str:
    """What a path is that is no regular file, such as "a pipe"; an empty string for files and new names."""
    if _descriptor(path) is not None:
        return "an open descriptor"
    try:
        return kind_of_mode(os.stat(path).st_mode)
    except (OSError, ValueError):
        return ""


def is_stdout(path: Path) -> bool:
    """Whether what is written to a path comes out where the process prints."""
    if _descriptor(path) == 1:
        return True
    try:
        return stat.S_ISREG(os.stat(path).st_mode) is False and os.path.samestat(os.stat(path), os.fstat(1))
    except (OSError, ValueError):
        return False


def check_target(path: Path, option: str, through: bool = True) -> None:
    """Fail early where a file cannot be written to a path.

    Args:
        path: where to.
        option: the flag that it came by.
        through: devices and pipes can be written.

    Raises:
        MediaError: it is a folder, a disk, a socket; or, without ``through``, a device or pipe; or no name that a file
            can have. ``-`` is refused, which elsewhere means the output of the process.
    """
    if os.fspath(path) in ("", "-"):
        remedy = "give /dev/stdout for what is printed" if path else "name a file"
        raise MediaError(f"{os.fspath(path)!r} cannot be written, it is no name of a file; {remedy} with {option}")
    check_name(path, option)
    descriptor = _descriptor(path)
    if descriptor is not None and _is_closed(descriptor):
        raise MediaError(f"{path} cannot be written (it is closed); give a file with {option}")
    kind = kind_of(path)
    allowed = ("", "a pipe", "a device", "an open descriptor") if through else ("",)
    if kind not in allowed:
        raise MediaError(f"{path} cannot be written (it is {kind}); give a file with {option}")


def check_folder(path: Path, option: str) -> None:
    """Raises MediaError where the folder of a file that is to be written is not there.

    Args:
        path: of the file.
        option: the flag that it came by.
    """
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise MediaError(f"{path} cannot be written, as there is no folder {folder}; make it, or change {option}")


def check_name(path: Path, option: str) -> None:
    """Raises MediaError for a name that the file system does not take: found after the work, it would cost the work.

    Args:
        path: of a file that is to be written.
        option: the flag that it came by.
    """
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", errno.EINVAL) not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            shown = os.fspath(path) if len(os.fspath(path)) < 120 else f"{os.fspath(path)[:100]}..."
            sentence = f"{shown} cannot be written ({reason}); give another name with {option}"
            raise MediaError(sentence) from error


def temporary_beside(path: Path, ending: str = "") -> str:
    """A new name in the folder of a path, short however long that path's own name is.

    Args:
        path: of the file that is to be written.
        ending: of the new name.
    """
    folder = os.path.dirname(os.path.realpath(path))
    return os.path.join(folder, f".rle{os.getpid()}{secrets.token_hex(4)}{ending}")


class OutputFile:
    """A file open for writing bytes, unbuffered; :meth:`commit` gives it its name.

    Args:
        path: where to.

    Attributes:
        path: where to.
        file: to write to.
        through: whether this is a device or a pipe, where all that is written has gone out.
        temporary: the name until :meth:`commit`, None when written through.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary: str | None = None
        descriptor, kind = _descriptor(path), kind_of(path)
        self.through = bool(kind)
        if descriptor is not None:
            if _is_closed(descriptor):
                raise OSError(errno.EBADF, "it is closed")
            if sys.stdout is not None:
                sys.stdout.flush()
            self.file = os.fdopen(os.dup(descriptor), "wb", buffering=0)
        elif kind in ("a pipe", "a device"):
            self.file = os.fdopen(_open_waiting(path), "wb", buffering=0)
        elif kind:
            raise OSError(errno.EINVAL, f"it is {kind}")
        else:
            self.temporary = temporary_beside(path)
            self.file = open(self.temporary, "xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Write all bytes."""
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) or 0 :]

    def commit(self) -> None:
        """Close it and give it its name."""
        self.file.close()
        if self.temporary is not None:
            _give_name(self.temporary, self.path)

    def discard(self) -> None:
        """Close it and leave nothing of it."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self.temporary is not None:
            with contextlib.suppress(OSError):
                os.remove(self.temporary)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, or through a device or a pipe.

    Args:
        path: where to.
        data: the whole content.

    Raises:
        OSError: it cannot be written.
    """
    output = OutputFile(path)
    try:
        output.write(data)
        output.commit()
    except BaseException:
        output.discard()
        raise


@contextlib.contextmanager
def replaced_when_done(path: Path) -> Iterator[str]:
    """Yield a temporary name beside ``path``, which nobody else has; it becomes ``path`` when the block ends well.

    What was written is on the disk before it has its name, so that a power loss leaves the old file or the new one.

    Args:
        path: of the file.

    Yields:
        The temporary name.

    Raises:
        OSError: there is something that is no file, such as a device, which must not be replaced.
    """
    if kind := kind_of(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)
    temporary = temporary_beside(path, UNFINISHED)
    try:
        yield temporary
        _settle(temporary)
        _give_name(temporary, path)
        with contextlib.suppress(OSError):  # a folder cannot be opened everywhere
            _settle(os.path.dirname(os.path.realpath(path)))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def _give_name(temporary: str, path: Path) -> None:
    """Rename a file that is complete; through a symbolic link, whose target is replaced."""
    os.replace(temporary, os.path.realpath(path))


def _settle(path: str) -> None:
    """Have a file or a folder on the disk."""
    if not os.path.exists(path):  # nothing was written to the temporary name: the rename says so
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: str) -> None:
    """Delete the temporary files in a folder whose processes are gone, also those of earlier versions.

    Args:
        folder: where to look.
    """
    for name in os.listdir(folder):
        found = _TEMPORARY.fullmatch(name)
        if name.endswith(".pth.tmp") or (found and not is_running(int(found[1]))):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, name))


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine, which has not ended."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # no Linux
        return True
    return state not in (b"Z", b"X")  # killed, and nobody has asked for its exit code, as in many containers


def write_text(path: Path, text: str, *, remedy: str = "check that folder and the space left") -> None:
    """Write a text file atomically, in UTF-8.

    Args:
        path: of the file.
        text: what to write.
        remedy: what the message says to do where it cannot be written.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        with replaced_when_done(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); {remedy}") from error


def _descriptor(path: Path) -> int | None:
    """The number of the process's own descriptor that a path names, or None.

    It is used as it is: opened anew, a file behind it would be cut off, and a socket would not open.
    """
    names = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    place = os.path.abspath(os.path.expanduser(os.fspath(path)))
    for _ in range(8):
        if place in names:
            return names[place]
        found = _DESCRIPTOR.fullmatch(place) or re.fullmatch(rf"/proc/{os.getpid()}/fd/(\d+)", place)
        if found:
            return int(found.group(1))
        try:
            place = os.path.join(os.path.dirname(place), os.readlink(place))
        except (OSError, ValueError):
            return None
    return None


def _is_closed(descriptor: int) -> bool:
    """Whether a standard stream was closed by whoever started the process: what is opened then may get its number."""
    return descriptor < 3 and (sys.__stdin__, sys.__stdout__, sys.__stderr__)[descriptor] is None


def _open_waiting(path: Path) -> int:
    """Open a device or a pipe; wait a while for a pipe's reader, but not for ever."""
    begin, flags = time.monotonic(), os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    while True:
        try:
            descriptor = os.open(path, flags)
            os.set_blocking(descriptor, True)
            return descriptor
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > begin + PATIENCE:
                if error.errno == errno.ENXIO:
                    raise OSError(errno.ENXIO, f"nobody reads it for {PATIENCE:g} s") from error
                raise
        time.sleep(0.05)
