"""What a tool prints never ends its work: a reader that left, a terminal that is gone, a full disk, odd file names."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

# Errors of a stream by which a reader loses what it waits for: a full disk, a quota, a disk that fails.
_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


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
