"""The one place where file systems are asked, those of others too: each of their errors is an ``OSError`` here.

What fsspec and pyarrow know by an address fails with classes of its own (botocore's, aiohttp's, Google's), or never
answers. Whoever reads a file from here needs to know neither.
"""

import errno
import io
import os
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import PoseError
from ..utils.bounded import within
from ..utils.bounded_reading import READ_SECONDS
from ..utils.output_files import kind_of_mode

Answer = TypeVar("Answer")

# Seconds that a file system of others may take for what it gets: it may send 50 MB at once.
WRITE_SECONDS = 600
_MOST = 2**22  # bytes that are asked for at once, so that a slow network is not taken for one that does not answer
_BUFFER = 2**18
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# What reading again does not help against.
_CERTAIN = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_CERTAIN_NUMBERS = (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)


class AwayError(OSError):
    """A file system does not give a file that it may give another time."""


class NoFileError(OSError):
    """What has a file's name is a folder, a pipe or a device."""


def asked(work: Callable[[], Answer], seconds: float | None = None) -> Answer:
    """What a file system answers.

    Args:
        work: asks it.
        seconds: to wait for the answer; None: for ever.

    Raises:
        OSError: it says no, in whatever class of its own (:class:`AwayError`), or nothing (``TimeoutError``).
    """
    try:
        return work() if seconds is None else within(seconds, work, name="file system")
    except (OSError, PoseError):
        raise
    except Exception as error:  # of any file system
        raise AwayError(f"{type(error).__name__}: {error}") from error


def reason_of(error: BaseException) -> str:
    """What an error says, as a clause."""
    reason = str(getattr(error, "strerror", None) or error).strip()
    return reason.splitlines()[0] if reason else type(error).__name__


def may_pass(error: BaseException | None) -> bool:
    """Whether an error is of the storage, so that reading again may help, not of what lies on it."""
    return isinstance(error, OSError) and not isinstance(error, NoFileError)


def is_certain(error: BaseException | None) -> bool:
    """Whether an error of the storage is an answer, such as that there is no such file."""
    return not may_pass(error) or isinstance(error, _CERTAIN) or getattr(error, "errno", None) in _CERTAIN_NUMBERS


class StorageFile(io.BufferedReader):
    """A file open for reading bytes, which can be sought in and which knows whether its storage broke off.

    Decoders and archives turn an error of the storage into one of their own, or into the end of the file. So whoever
    has read the file asks :attr:`broke`.

    Args:
        name: of the file.
        opened: gives the file.
        ends: to who reads it a break is the end of the file. FFmpeg's callbacks cannot raise.

    Attributes:
        enough: set by who has read all that is wanted, as more may be read ahead.

    Raises:
        OSError: it cannot be opened.
    """

    raw: "_Source"

    def __init__(self, name: str, opened: Callable[[], Any], ends: bool = False) -> None:
        super().__init__(_Source(name, opened, ends), _BUFFER)
        self.enough = False

    @property
    def broke(self) -> OSError | None:
        """The first error of the storage; None: there was none, or all that is wanted had been read."""
        return None if self.enough else self.raw.broke


class _Source(io.RawIOBase):
    """Bytes of a file, each wait for which is bounded."""

    def __init__(self, name: str, opened: Callable[[], Any], ends: bool) -> None:
        super().__init__()
        self.name, self.broke, self._ends = name, None, ends
        self._place = self._there = 0  # where the reader is, and where the file is
        self._file: Any = None
        self._file = asked(opened, READ_SECONDS)

    broke: OSError | None

    def _asked(self, work: Callable[[], Answer], ended: Answer) -> Answer:
        """An answer; after an error no other one is asked for, so that nobody reads past a gap."""
        if self.broke is None:
            try:
                return asked(work, READ_SECONDS)
            except OSError as error:
                self.broke = error
        if self._ends:
            return ended
        raise self.broke

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as one answer reaches."""
        view = memoryview(buffer).cast("B")
        data = self._asked(lambda: self._read(min(len(view), _MOST)), b"")
        view[: len(data)] = data
        self._place = self._there = self._place + len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        if self._there != self._place:
            self._file.seek(self._place)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; the file itself is asked when it is read, as buffers seek all the time."""
        if whence == os.SEEK_END:
            begin = self._there = self._asked(self._end, self._there)
        else:
            begin = self._place if whence == os.SEEK_CUR else 0
        if begin + offset < 0:  # as bytes of a damaged file may ask for: no error of the storage
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._place = begin + offset
        return self._place

    def _end(self) -> int:
        self._file.seek(0, os.SEEK_END)
        return int(self._file.tell())

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close it; one that has not answered is left to itself."""
        if not self.closed and self._file is not None and not isinstance(self.broke, TimeoutError):
            try:
                asked(self._file.close, READ_SECONDS)
            except OSError:  # all that was wanted has been read
                pass
        super().close()


class Sink(io.RawIOBase):
    """A file open for writing bytes.

    Args:
        file: of a file system.
        seconds: to wait for each of its answers; None: for ever.

    Raises:
        OSError: by all methods.
    """

    def __init__(self, file: Any, seconds: float | None) -> None:
        super().__init__()
        self._file, self._seconds, self._written = file, seconds, 0

    def write(self, data: Any) -> int:
        """Write all bytes."""
        # The buffer may be given to somebody else while an answer that is late is on its way.
        view = bytes(data)
        asked(lambda: self._file.write(view), self._seconds)
        self._written += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes so far."""
        return self._written

    def writable(self) -> bool:
        """It is."""
        return True

    def finish(self) -> None:
        """Have all of it written."""
        asked(self._file.close, self._seconds)


def open_local(path: str) -> io.FileIO:
    """A file of this disk, open for reading without a buffer, so that it can be closed while a read hangs.

    Args:
        path: of a regular file.

    Raises:
        NoFileError: it is none.
        OSError: it cannot be opened.
    """
    try:
        # Not blocking, so that a pipe without a writer opens too, and can be told from a file.
        descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    except ValueError as error:  # a zero byte in the name
        raise NoFileError(str(error)) from error
    if kind := kind_of_mode(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFileError(f"it is {kind}, not a file")
    return io.FileIO(descriptor, "rb")
