"""Files that appear whole or not at all; what is no file (a device, a pipe) is written through, or refused.

A file is written under a temporary name beside its place and renamed, also through a symbolic link, whose target is
replaced, not the link. A rename over ``/dev/null`` or a named pipe would replace the device for everybody.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time

from ..errors import MediaError

# Seconds that a named pipe may have no reader.
PATIENCE = 10.0
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISBLK, "a disk"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
)
_DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)")


def kind_of(path):
    """What a path is that is no regular file, such as "a pipe"; an empty string for files and new names."""
    if _descriptor(path) is not None:
        return "an open descriptor"
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return kind_of_mode(mode)


def kind_of_mode(mode: int) -> str:
    """What has a mode (``st_mode``) that is no regular file's; an empty string for files."""
    return next((name for test, name in _KINDS if test(mode)), "")


def is_stdout(path):
    """Whether what is written to a path comes out where the process prints."""
    if _descriptor(path) == 1:
        return True
    try:
        return stat.S_ISREG(os.stat(path).st_mode) is False and os.path.samestat(os.stat(path), os.fstat(1))
    except (OSError, ValueError):
        return False


def check_target(path, option, through=True):
    """Fail early where a file cannot be written to a path.

    Args:
        path: where to. option: the flag that it came by. through: devices and pipes can be written.

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


def check_name(path, option):
    """Raises MediaError for a name that the file system does not take: found after the work, it would cost the work.

    Args:
        path: of a file that is to be written. option: the flag that it came by.
    """
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", errno.EINVAL) not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            shown = os.fspath(path) if len(os.fspath(path)) < 120 else f"{os.fspath(path)[:100]}..."
            sentence = f"{shown} cannot be written ({reason}); give another name with {option}"
            raise MediaError(sentence) from error


def temporary_beside(path, ending=""):
    """A new name in the folder of a path, short however long that path's own name is."""
    folder = os.path.dirname(os.path.realpath(path))
    return os.path.join(folder, f".rle{os.getpid()}{secrets.token_hex(4)}{ending}")


class OutputFile:
    """A file open for writing bytes, unbuffered; :meth:`commit` gives it its name.

    Args:
        path: where to.

    Attributes:
        file: to write to. through: whether this is a device or a pipe, where all that is written has gone out.
        temporary: the name until :meth:`commit`, None when written through.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path):
        self.path, self.temporary = path, None
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

    def write(self, data):
        """Write all bytes."""
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) or 0 :]

    def commit(self):
        """Close it and give it its name."""
        self.file.close()
        if self.temporary is not None:
            os.replace(self.temporary, os.path.realpath(self.path))

    def discard(self):
        """Close it and leave nothing of it."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self.temporary is not None:
            with contextlib.suppress(OSError):
                os.remove(self.temporary)


def write_bytes(path, data):
    """Write a file whole or not at all, or through a device or a pipe.

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


def _descriptor(path):
    """The number of the process's own descriptor that a path names, or None.

    It is used as it is: opened anew, a file behind it would be cut off, and a socket would not open.
    """
    names = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    path = os.path.abspath(os.path.expanduser(os.fspath(path)))
    for _ in range(8):
        if path in names:
            return names[path]
        found = _DESCRIPTOR.fullmatch(path) or re.fullmatch(rf"/proc/{os.getpid()}/fd/(\d+)", path)
        if found:
            return int(found.group(1))
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except (OSError, ValueError):
            return None
    return None


def _is_closed(descriptor):
    """Whether a standard stream was closed by whoever started the process: what is opened then may get its number."""
    return descriptor < 3 and (sys.__stdin__, sys.__stdout__, sys.__stderr__)[descriptor] is None


def _open_waiting(path):
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
