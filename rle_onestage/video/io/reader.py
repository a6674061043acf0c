"""Frames of a video file, a folder of images, a camera or a stream."""

import os
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import numpy as np

from ...errors import MediaError, counted
from .formats import check_rate
from .live import RECONNECT, CameraSource, Newest, Reconnecting
from .sources import DEFAULT_FPS, ContainerSource, FolderSource

Source = str | os.PathLike[str] | int  # a path, an address, or a camera's number
_PATIENCE = 2.0  # seconds


class Frame(NamedTuple):
    """One frame."""

    image: np.ndarray  # (H, W, 3) BGR uint8, contiguous
    time: float  # seconds since the first frame
    number: int  # from 0 on, of the frames that were given


def is_address(source: Source) -> TypeGuard[str]:
    """Whether a source is an address such as ``rtsp://camera/1`` rather than a path or a camera's number."""
    return isinstance(source, str) and re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def local_path(source: Source) -> str | None:
    """The absolute path of a source that is a file or a folder, also ``file://...`` and ``~/...``; None of others."""
    if isinstance(source, int) or is_address(source):
        return None
    return os.path.abspath(os.path.expanduser(os.fspath(source).removeprefix("file://")))


def without_password(source: Source) -> Source:
    """An address for messages and file names: ``rtsp://user:***@camera/1``; other sources as they are."""
    return re.sub(r"(://[^/:]*):[^/]*@", r"\1:***@", source) if is_address(source) else source


class VideoReader:
    """Frames of a video, each with its time.

    Containers are read with FFmpeg: any that it knows, of constant or variable rate, turned upright where the file says
    that it was taken sideways. Damaged frames are left out and counted. Cameras and streams are live: a frame that is
    overtaken by a newer one is dropped and counted; one that breaks off is connected anew, a limited number of times,
    and its times go on. What lies behind ``http(s)://`` and has a length is read like a file. All frames need not have
    one size.

    Args:
        source: path of a file or of a folder of images (in natural order), an address, or a camera's number.
        fps: frames per second of a folder (25 unless told); others know their own.
        reconnect: how often in a row a live source that breaks off is connected anew.

    Attributes:
        name: of the source, for people.
        fps: frames per second on average.
        frames: their declared number, 0 if unknown.
        size: (width, height) of the first frame.
        live: whether it is a camera or stream.
        start: seconds of the first frame on the file's own clock.
        sound_path: the file to take the sound from, or None.
        sound_note: why not, where there is sound.

    Raises:
        MediaError: it does not exist, does not open, or has no frame that can be read.
        ConfigError: ``fps`` is no rate.
    """

    def __init__(self, source: Source, *, fps: float | None = None, reconnect: int = RECONNECT) -> None:
        if fps is not None:
            check_rate(fps, "fps")
        self._lock = threading.Lock()
        self._source: Newest | ContainerSource | FolderSource = _open(source, fps, reconnect)
        self.live = isinstance(self._source, Newest)
        self.name, self.fps, self.frames = self._source.name, self._source.fps, self._source.frames
        try:
            first = self._source.read()
        except BaseException:
            self._source.close()
            raise
        if first is None:
            self._source.close()
            remedy = "check that it is connected" if self.live else "check that it is a video and is complete"
            raise MediaError(f"{self.name} cannot be opened as a video, it has no readable frame; {remedy}")
        self._first: tuple[np.ndarray, float] | None = first
        self.start, self.size = self._source.start, (first[0].shape[1], first[0].shape[0])
        self.sound_path, self.sound_note = _sound_of(source, self.live) if self._source.has_sound else (None, "")
        self._given, self._ended = 0, False

    @property
    def skipped(self) -> int:
        """Damaged frames that were left out so far."""
        return self._source.skipped

    @property
    def dropped(self) -> int:
        """Frames of a live source that were overtaken so far."""
        return getattr(self._source, "dropped", 0)

    def __iter__(self) -> Iterator[Frame]:
        """Yield :class:`Frame` until the end, or until :meth:`stop`."""
        while (item := self._next()) is not None:
            yield Frame(item[0], item[1], self._given)
            self._given += 1

    def _next(self) -> tuple[np.ndarray, float] | None:
        with self._lock:  # so that nobody closes the file under a thread that reads
            if self._ended:
                return None
            item, self._first = self._first or self._source.read(), None
            self._ended = item is None
            return item

    def report(self) -> str:
        """What was amiss, as one line, or an empty string: frames left out or dropped, an end that came early."""
        clauses = [f"{counted(self.skipped, 'damaged frame')} left out"] if self.skipped else []
        shortfall = self._source.shortfall() if self._ended else ""
        clauses += [shortfall] if shortfall else []
        clauses += [f"{counted(self.dropped, 'frame')} dropped to keep up"] if self.dropped else []
        return f"{self.name}: {'; '.join(clauses)}" if clauses else ""

    def stop(self) -> None:
        """End the reading from another thread: a live source that waits for a frame stops waiting."""
        if isinstance(self._source, Newest):
            self._source.stop()

    def close(self) -> None:
        """Release the file or camera."""
        self.stop()
        # A thread that waits for a local source that stalls (a pipe, a lost network drive) is left to itself.
        if not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            self._first = None
            self._source.close()
        finally:
            self._lock.release()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def check_source(source: Source) -> None:
    """Look for a file or folder before anything else is done.

    Args:
        source: path, address, or a camera's number.

    Raises:
        MediaError: it is not there.
    """
    path = local_path(source)
    if path is not None and source == "":
        raise MediaError("the name of the video is empty; give --video-input a file, a folder or an address")
    if path is not None and not os.path.exists(path):
        raise MediaError(f"video {source} does not exist; check --video-input")


def _sound_of(source: Source, live: bool) -> tuple[str | None, str]:
    """(path, "") to take the sound from; (None, reason) of what can be read only once, or is not fetched twice."""
    path = local_path(source)
    if live:
        return None, "its sound is not kept, because it is live"
    if path is None:
        return None, "its sound is not kept, because it comes over the network; download it first to keep the sound"
    if not os.path.isfile(path):
        return None, "its sound is not kept, because it is no file and can be read only once"
    return path, ""


def _open(source: Source, fps: float | None, reconnect: int) -> Newest | ContainerSource | FolderSource:
    if isinstance(source, int):
        return Newest(Reconnecting(lambda: CameraSource(source), reconnect))
    if is_address(source):

        def connect() -> ContainerSource:
            return ContainerSource(source, live=True, name=str(without_password(source)))

        stream, sent_ahead = connect(), source.lower().startswith(("http:", "https:"))
        if sent_ahead and stream.duration:
            return stream
        return Newest(Reconnecting(connect, reconnect, stream), paced=sent_ahead)
    check_source(source)
    path = local_path(source) or ""
    if os.path.isdir(path):
        return FolderSource(path, fps or DEFAULT_FPS)
    return ContainerSource(path)
