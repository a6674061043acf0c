"""Sources that do not wait: cameras and streams. Frames that nobody is ready for are dropped: no delay grows."""

import contextlib
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import cv2
import numpy as np

from ...errors import MediaError, counted
from .sources import DEFAULT_FPS

logger = logging.getLogger(__name__)

RECONNECT = 5
# Seconds to wait before the first try; twice as long before each that follows.
_FIRST_WAIT = 1.0
# A connection that lasted so many seconds was a good one: tries are counted anew after it.
_GOOD = 60.0
_LONGEST_NAP = 5.0
_CHECK = 0.2
_MOST_CAMERAS = 2**16


class Connection(Protocol):
    """A source that is open, see :mod:`.sources`."""

    name: str
    fps: float
    has_sound: bool

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded."""

    def read(self) -> tuple[np.ndarray, float] | None:
        """The next (image (H, W, 3) BGR uint8, seconds since the first), or None at the end."""

    def shortfall(self) -> str:
        """What there is to say at the end."""

    def close(self) -> None:
        """Release it."""


class CameraSource:
    """A camera by its number, read with OpenCV.

    Args:
        number: from 0 on.

    Raises:
        MediaError: it cannot be opened.
    """

    def __init__(self, number: int) -> None:
        if not 0 <= number < _MOST_CAMERAS:
            raise MediaError(f"camera {number} does not exist; cameras are numbered from 0 on")
        self.name, self.frames, self.skipped, self.start, self.has_sound = f"camera {number}", 0, 0, 0.0, False
        with quiet_stderr():
            self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            self._capture.release()
            raise MediaError(f"camera {number} cannot be opened; check that it is connected, and its number")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else DEFAULT_FPS
        self._begin: float | None = None

    def read(self) -> tuple[np.ndarray, float] | None:
        """The next (image (H, W, 3) BGR uint8, seconds since the first), or None when the camera is gone."""
        good, image = self._capture.read()
        now = time.monotonic()
        if not good:
            return None
        self._begin = now if self._begin is None else self._begin
        return image, now - self._begin

    def shortfall(self) -> str:
        """What there is to say at the end: a camera ends only when it fails."""
        return "it gives no more frames"

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class Reconnecting:
    """A live source that is connected anew when it breaks off; its times go on with the clock.

    Between tries it waits 1, 2, 4, ... seconds; each is said. A source that never gave a frame is not tried again.

    Args:
        connect: gives the source; raises MediaError.
        limit: tries in a row; those before a connection that lasted a minute do not count.
        first: the source, where it is connected already.

    Raises:
        MediaError: the first connection fails.
    """

    def __init__(self, connect: Callable[[], Connection], limit: int, first: Connection | None = None) -> None:
        self._connect, self._limit, self._source = connect, limit, first or connect()
        self.name, self.fps, self.has_sound = self._source.name, self._source.fps, self._source.has_sound
        self.start, self.frames = 0.0, 0
        self._tries, self._connected = 0, 0  # since the last good connection
        self._before, self._gone, self._lost = 0, "", False
        self._last: float | None = None
        self._base, self._moment, self._since = 0.0, 0.0, time.monotonic()
        self._closing = threading.Event()

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded, of all connections."""
        return self._before + (0 if self._lost else self._source.skipped)

    def read(self) -> tuple[np.ndarray, float] | None:
        """The next (image (H, W, 3) BGR uint8, seconds since the first), or None when it is gone for good."""
        while not self._closing.is_set():
            item = self._source.read()
            if item is not None:
                self._last, self._moment = self._base + item[1], time.monotonic()
                return item[0], self._last
            if self._last is None or not self._again(self._last):
                return None
        return None

    def _again(self, last: float) -> bool:
        """Connect anew, as often as it may be tried, and let times go on after the last; whether that worked."""
        reason = self._source.shortfall() or "it gives no more frames"
        self._before, self._lost = self._before + self._source.skipped, True
        self._source.close()  # first: a camera can be opened once only
        if time.monotonic() - self._since > _GOOD:
            self._tries = self._connected = 0
        while self._tries < self._limit:
            wait = _FIRST_WAIT * 2**self._tries
            self._tries += 1
            logger.warning("%s: %s; try %d of %d follows in %g s", self.name, reason, self._tries, self._limit, wait)
            if self._closing.wait(wait):
                return False
            try:
                self._source, self._lost = self._connect(), False
            except MediaError as error:
                reason = str(error).split(";")[0].removeprefix(f"{self.name} ")
                continue
            self._connected += 1
            self._since = time.monotonic()
            self._base = last + self._since - self._moment
            logger.info("%s: connected again", self.name)
            return True
        self._gone = f"{reason}{self._tried()}"
        return False

    def _tried(self) -> str:
        """The end of the sentence about a source that is gone: what became of the tries to connect again."""
        if not self._limit:
            return ""
        if not self._connected:
            return f", and {counted(self._limit, 'try', 'tries')} to connect again failed"
        return f", and no try to connect again is left ({self._connected} of {self._limit} connected)"

    def shortfall(self) -> str:
        """What there is to say at the end."""
        return self._gone or self._source.shortfall()

    def stop(self) -> None:
        """Wait no longer."""
        self._closing.set()

    def close(self) -> None:
        """Release the source."""
        self.stop()
        self._source.close()


class Newest:
    """Reads a source in a thread of its own and gives only the newest frame.

    Args:
        source: with ``read()`` and ``close()``.
        paced: give frames no earlier than their times say, for sources that send ahead (video over HTTP).

    Attributes:
        dropped: frames that were overtaken by a newer one before anybody asked.
    """

    def __init__(self, source: Connection, paced: bool = False) -> None:
        self._source, self._paced = source, paced
        self.name, self.fps, self.frames, self.has_sound = source.name, source.fps, 0, source.has_sound
        self.start, self.dropped = 0.0, 0
        self._newest: tuple[np.ndarray, float] | None = None
        self._error: Exception | None = None
        self._ended = self._closing = self._lost = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="live source", daemon=True)
        self._thread.start()

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded."""
        return self._source.skipped

    def _run(self) -> None:
        try:
            begin = None
            while not self._closing and (item := self._source.read()) is not None:
                begin = time.monotonic() - item[1] if begin is None else begin
                if self._paced:
                    begin = self._wait(begin, item[1])
                with self._news:
                    self.dropped += self._newest is not None
                    self._newest = item
                    self._news.notify_all()
        except Exception as error:  # handed to whoever reads
            self._error = error
        finally:
            with self._news:
                self._ended, self._lost = True, not self._closing
                self._news.notify_all()
            self._source.close()  # here, because nobody else may while this thread reads

    def _wait(self, begin: float, seconds: float) -> float:
        """Wait until a frame is due; gives the moment that its times count from, moved when the source stood still."""
        early = begin + seconds - time.monotonic()
        if early > 0:
            with self._news:
                self._news.wait_for(lambda: self._closing, min(early, _LONGEST_NAP))
        return begin - early if early < -1 else begin

    def read(self) -> tuple[np.ndarray, float] | None:
        """The newest (image, seconds) that was not given yet; waits for one; None at the end or after :meth:`stop`."""
        with self._news:
            while self._newest is None and not self._ended and not self._closing:
                self._news.wait(_CHECK)
            if self._closing:
                return None
            item, self._newest = self._newest, None
            if item is None and self._error is not None:
                raise self._error
            return item

    def shortfall(self) -> str:
        """What there is to say at the end: why the source ended, also when :meth:`stop` came after that."""
        return self._source.shortfall() if self._lost else ""

    def stop(self) -> None:
        """End the reading: whoever waits for a frame gets None."""
        with self._news:  # first: a source that ends because it was stopped is not lost
            self._closing = True
            self._news.notify_all()
        getattr(self._source, "stop", lambda: None)()

    def close(self) -> None:
        """Stop; the thread closes the source."""
        self.stop()
        self._thread.join(timeout=5)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the libraries below OpenCV from writing about cameras that do not open: we say it in a sentence."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    sys.stderr.flush()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
