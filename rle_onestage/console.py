"""What a tool prints never ends its work: a reader that left, a terminal that is gone, a full disk, odd file names.

And some warnings of other packages are not printed, while the user's own filters stay as they are.
"""

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

# Errors of a stream by which a reader loses what it waits for: a full disk, a quota, a disk that fails.
_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# This process and the one that started it, noted before the imports that take seconds.
_STARTED = (os.getpid(), os.getppid())


def starter() -> int:
    """The number of the process that started this one, also where that is gone and another took its orphans over."""
    process, parent = _STARTED
    return parent if process == os.getpid() else os.getppid()


def open_closed_streams() -> None:
    """Where whoever started the process closed one of its standard streams, put a stream to nowhere in its place.

    Otherwise what prints fails, and the next file that is opened gets the stream's number and what others print to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                _open_nowhere(number, name)


def _open_nowhere(number: int, name: str) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)  # its number may be another file's by now
    except OSError:
        os.dup2(nowhere, number)
    if nowhere == number:
        os.set_inheritable(number, True)  # processes that are started get it too
    mode = "r" if number == 0 else "w"
    setattr(sys, name, open(nowhere, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Within the block Ctrl-C ends the process, with a word and exit code 130.

    For imports, which take seconds, and some of which turn a KeyboardInterrupt into an error of their own. After the
    block it is a KeyboardInterrupt again, also where the package has let the system end the command as it started.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        if is_first_on_machine() and sys.stderr is not None:
            os.write(2, b"interrupted\n")
        os._exit(128 + signum)

    before = None
    with contextlib.suppress(ValueError):  # not the main thread: signals are someone else's
        if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(signal.SIGINT, leave)
            before = signal.default_int_handler
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def is_first_on_machine() -> bool:
    """Whether this process is to print what all processes of a training would: torchrun says which it is."""
    rank = os.environ.get("LOCAL_RANK", "")
    return not (rank.isdecimal() and rank.strip("0"))


class LostOutput(Exception):
    """Text that was printed is lost, not to a reader that left, but to a full or failing disk."""


class LastingStream:
    """Passes text on to a stream; when that takes no more, the rest goes nowhere.

    ``tool | head -1`` closes the pipe after a line. What the tool was asked to write is then written none the less, and
    its exit code says how that went.

    Args:
        stream: of text, such as ``sys.stdout``.

    Attributes:
        lost: why text was lost that somebody waits for, such as "No space left on device"; None if none was.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write some text.

        Args:
            text: what to write.

        Returns:
            Its length in characters.
        """
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a stream whose way with such characters could not be changed
            self._stream.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._leave(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send on what waits."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._leave(error)

    def _leave(self, error: Exception) -> None:
        """Point the descriptor to nowhere, so that also what waits in buffers can go, now and when Python ends."""
        if isinstance(error, OSError) and error.errno in _LOST:
            self.lost = error.strerror
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let what is printed in the block neither end it nor fill the screen with errors of the log.

    File names need not be text of the terminal's encoding: other characters come out as ``\\xff``.

    Raises:
        LostOutput: after the block, if its output was lost to a full or failing disk.
    """
    before = sys.stdout, sys.stderr
    handling = [getattr(stream, "errors", None) for stream in before]
    for stream in before:
        _set_errors(stream, "backslashreplace")
    lasting = sys.stdout, sys.stderr = tuple(stream and LastingStream(stream) for stream in before)
    try:
        yield
    finally:
        for stream in lasting:
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before
        for stream, errors in zip(before, handling):
            _set_errors(stream, errors)
    if lasting[0] and lasting[0].lost:
        raise LostOutput(f"what was printed is lost ({lasting[0].lost})")


def _set_errors(stream: Any, errors: str | None) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        stream.reconfigure(errors=errors)


class QuietWarnings:
    """A context in which some warnings are not shown; it may be entered by several threads at once.

    ``warnings.catch_warnings`` would drop the filters that packages set when they are imported in the block, and is not
    made for threads. The filter is put into the list by hand: by ``warnings.filterwarnings`` all warnings that were
    shown once would be shown again.

    Args:
        message: regular expression on the start of the message; empty for all.
        module: regular expression on the start of the name of the module that warns; empty for all.
        category: class of the warnings.
    """

    def __init__(self, *, message: str = "", module: str = "", category: type[Warning] = Warning):
        texts = [re.compile(message, re.IGNORECASE) if message else None, re.compile(module) if module else None]
        self._filter = ("ignore", texts[0], category, texts[1], 0)
        self._lock, self._users = threading.Lock(), 0
        self._added = False

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1 and self._filter not in warnings.filters:
                warnings.filters.insert(0, self._filter)  # type: ignore[attr-defined]  # typeshed has a Sequence
                self._added = True

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._added:
                with contextlib.suppress(ValueError):  # someone else has put other filters in their place
                    warnings.filters.remove(self._filter)  # type: ignore[attr-defined]  # as above
                self._added = False
