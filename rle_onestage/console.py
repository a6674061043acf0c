"""What a tool prints never ends its work: a reader that left, a terminal that is gone, a full disk, odd file names.

And some warnings of other packages are not printed, while the user's own filters stay as they are.
"""

import contextlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any


class LastingStream:
    """Passes text on to a stream; when that takes no more, the rest goes nowhere.

    ``tool | head -1`` closes the pipe after a line. What the tool was asked to write is then written none the less, and
    its exit code says how that went.

    Args:
        stream: of text, such as ``sys.stdout``.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write some text; gives its length."""
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
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what has none is left as it is
    sys.stdout, sys.stderr = (stream and LastingStream(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, LastingStream):
                stream.flush()
        sys.stdout, sys.stderr = before


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
