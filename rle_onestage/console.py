"""What a tool prints never ends its work: a reader that left, a terminal that is gone, a full disk, odd file names."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class LastingStream:
    """Passes text on to a stream; when that takes no more, the rest goes nowhere.

    ``tool | head -1`` closes the pipe after a line. What the tool was asked to write is then written none the less, and
    its exit code says how that went.

    Args:
        stream: of text, such as ``sys.stdout``.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

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
        except (OSError, ValueError):  # ValueError: it is closed
            self._leave()
        return len(text)

    def flush(self) -> None:
        """Send on what waits."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._leave()

    def _leave(self) -> None:
        """Point the descriptor to nowhere, so that also what waits in buffers can go, now and when Python ends."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let what is printed in the block neither end it nor fill the screen with errors of the log.

    File names need not be text of the terminal's encoding: other characters come out as ``\\xff``.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        reconfigure = getattr(stream, "reconfigure", None)  # not every stream that stands in for one has it
        if reconfigure is not None:
            with contextlib.suppress(ValueError, OSError):
                reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (stream and LastingStream(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, LastingStream):
                stream.flush()
        sys.stdout, sys.stderr = before
