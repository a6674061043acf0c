"""Where frames come from: a container that FFmpeg reads, and a folder of images.

Each source has ``name``, ``fps``, ``frames`` (declared number, 0 if unknown), ``start`` (seconds of the first frame on
the source's own clock), ``skipped`` (frames that could not be decoded), ``read()``, ``shortfall()`` and ``close()``.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Generator, Iterator
from typing import IO

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from ...errors import MediaError
from ...utils.image_headers import KINDS_OF_IMAGES, kind_of_data
from ...utils.images import UnreadableImage, read_image
from .formats import LONGEST_STEP, is_rate
from .images import images_in, natural_key
from .pipes import readable

logger = logging.getLogger(__name__)

DEFAULT_FPS = 25.0
# Seconds to wait for an address to answer, and for its next data.
_PATIENCE = (15.0, 30.0)
# A jump of the clock that is longer than this is a cut between recordings, in formats that allow such cuts; in the
# others it may be a screen that stood still.
_LONGEST_GAP = 10.0
# Seconds from one frame to the next where both have the same time.
_LEAST_STEP = 1e-3
_SQUARE = 0.005  # pixels that differ by less are rounding in a header, not seen by anybody
_WIDEST = 5.0  # times as wide as high, or the reverse; beyond it is damage
_TEXT = "tty"  # FFmpeg's name of text, of which it makes images
_IMAGES = ("image2", _TEXT)
_SEQUENCES = (b"avis", b"msf1", b"hevc", b"hevx")  # main brands of images that move
_HEAD = 4096
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def is_still(path: str) -> bool:
    """Whether a file is an image of those that share their boxes with videos.

    Args:
        path: of the file.
    """
    data = _head(path)
    return kind_of_data(data) in ("AVIF", "HEIC") and data[8:12] not in _SEQUENCES


def _head(path: str) -> bytes:
    """The first bytes of a file; none of a pipe, which can be opened only once, an address, or what may not be read."""
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:  # whoever opens the video says why
        return b""


def quiet() -> None:
    """Keep FFmpeg from writing to stderr: what matters is said in a sentence of ours."""
    av.logging.set_level(None)


class ContainerSource:
    """Frames of a video file or of an address, as FFmpeg decodes them.

    Damaged frames are left out and counted. Pixels that are not square are made so, by enlarging the side that is too
    short, so that people have the proportions that a player shows. Times are the container's own, from 0 at the first
    frame on; where its clock runs backwards (recordings that were joined), it goes on after the frame before.

    Args:
        address: path or address.
        live: it is an address: wait for a limited time.
        name: for people; the address unless told.
        file: the open file, where FFmpeg cannot open the address itself.

    Raises:
        MediaError: it cannot be opened or has no frames.
    """

    def __init__(
        self, address: str, live: bool = False, name: str | None = None, file: IO[bytes] | None = None
    ) -> None:
        quiet()
        self.name, self.skipped, self.start, self.reason = name or address, 0, 0.0, ""
        self._open = contextlib.ExitStack()  # the descriptor of a pipe
        try:
            opened = file or (address if live else self._open.enter_context(readable(address)))
            self._container = av.open(opened, "r", timeout=_PATIENCE if live else None)
        except (av.FFmpegError, OSError, ValueError) as error:
            self._open.close()
            if getattr(error, "errno", None) == errno.EINTR:  # Ctrl-C while it waits for data
                raise KeyboardInterrupt from error
            raise self._not_opened(address, live, error) from error
        self._refuse_image(address)
        if not self._container.streams.video or self._container.streams.video[0].codec_context is None:
            self._container.close()
            self._open.close()
            raise MediaError(
                f"{self.name} cannot be opened as a video, it has no frames of a known kind; check --video-input"
            )
        self._stream = stream = self._container.streams.video[0]
        # Threads by frame would be quicker, but delay frames, and PyAV loses whole ones beside a damaged one.
        stream.thread_type = "SLICE"
        rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
        self.fps = next(filter(is_rate, rates), DEFAULT_FPS)
        self.frames, self.duration = stream.frames, self._declared_seconds()
        self.has_sound = bool(self._container.streams.audio)
        self._joins = "mpegts" in self._container.format.name
        self._reformatter = VideoReformatter()
        self._packets, self._cut = 0, 0.0
        self._last: float | None = None
        self._offset: float | None = None
        self._size_said = False
        self._past = False  # no later frame is wanted
        self._decoded = self._decode()

    def _not_opened(self, address: str, live: bool, error: Exception) -> MediaError:
        reason = reason_of(error)
        if live:
            return MediaError(f"{self.name} cannot be opened ({reason}); check the address and the network")
        kind = kind_of_data(_head(address))
        if kind in KINDS_OF_IMAGES:
            return MediaError(f"{address} is an image ({kind}), not a video; give it with --input")
        if os.path.isfile(address):
            if kind.startswith("a video"):
                return MediaError(
                    f"{address} cannot be opened: {kind} that is cut off or damaged ({reason}); copy it anew"
                )
            reason = f"it is {kind}" if kind.startswith("a ") else reason if os.path.getsize(address) else "it is empty"
        return MediaError(f"{address} cannot be opened ({reason}); check that it is a video and is complete")

    def _refuse_image(self, address: str) -> None:
        """FFmpeg makes a video of one frame of an image, without its EXIF orientation, and one of a text."""
        kind = self._container.format.name
        if kind in _IMAGES or kind.endswith("_pipe") or is_still(address):
            self._container.close()
            self._open.close()
            if kind == _TEXT and kind_of_data(_head(address)) not in KINDS_OF_IMAGES:
                raise MediaError(f"{self.name} is a text file, not a video; check --video-input")
            raise MediaError(f"{self.name} is an image, not a video; give it with --input")

    def _declared_seconds(self) -> float:
        """Seconds that the file says it lasts, 0 if unknown: the shorter of what the stream and the whole say."""
        stream, container = self._stream, self._container
        known = [float(stream.duration * stream.time_base)] if stream.duration and stream.time_base else []
        known += [container.duration / av.time_base] if container.duration else []
        return min(known, default=0.0)

    def read(self) -> tuple[np.ndarray, float] | None:
        """The next (image (H, W, 3) BGR uint8, seconds), or None at the end."""
        return next(self._decoded, None)

    def _decode(self) -> Generator[tuple[np.ndarray, float], None, None]:
        try:
            for packet in self._container.demux(self._stream):
                self._packets += packet.size > 0 and not packet.is_corrupt
                yield from self._frames(packet)
                if self._past:
                    return
        except (av.FFmpegError, OSError) as error:
            self.reason = reason_of(error)
            yield from self._frames(None)  # what the decoder still holds

    def _frames(self, packet: av.Packet | None) -> Iterator[tuple[np.ndarray, float]]:
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError as error:
            if not isinstance(error, EOFError):
                self.skipped += 1
            return
        for frame in frames:
            if not self._wanted(frame):
                continue
            if frame.is_corrupt:
                self.skipped += 1
            else:
                yield self._upright(frame), self._time(frame)

    def _wanted(self, frame: av.VideoFrame) -> bool:
        """Whether a frame is given at all; here all are."""
        return True

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._shown_size(frame)
        image = self._reformatter.reformat(frame, width, height, format="bgr24").to_ndarray()
        turn = frame.rotation % 360
        return np.ascontiguousarray(cv2.rotate(image, _TURNS[turn]) if turn in _TURNS else image)

    def _shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a frame with square pixels, before it is turned."""
        ratio = float(self._stream.sample_aspect_ratio or 1)
        if not 1 / _WIDEST <= ratio <= _WIDEST:
            self._say_size(f"its pixels are said to be {ratio:g} times as wide as high, which is not believed")
            return frame.width, frame.height
        if abs(ratio - 1) < _SQUARE:
            return frame.width, frame.height
        size = round(frame.width * max(ratio, 1)), round(frame.height * max(1 / ratio, 1))
        self._say_size(f"its pixels are {ratio:.4g} times as wide as high: frames become {size[0]} x {size[1]}")
        return size

    def _say_size(self, sentence: str) -> None:
        if not self._size_said:
            logger.info("%s: %s", self.name, sentence)
        self._size_said = True

    def _time(self, frame: av.VideoFrame) -> float:
        """Seconds since the first frame."""
        # Of what a decoder gives after its source broke off, PyAV knows no unit: it is the stream's.
        base = frame.time_base or self._stream.time_base
        time = None if frame.pts is None or not base else float(frame.pts * base)
        if self._offset is None:
            self.start = self._offset = time or 0.0
        expected = 0.0 if self._last is None else self._last + 1 / self.fps
        if time is None:
            self._last = expected
            return expected
        seconds = time - self._offset
        step = 0.0 if self._last is None else seconds - self._last
        if step < -0.5 / self.fps or step > (_LONGEST_GAP if self._joins else LONGEST_STEP):
            self._say_jump(step)
            self._offset, seconds = time - expected, expected
        elif self._last is not None and step <= 0:  # a time that is repeated; those after it stay right
            seconds = self._last + _LEAST_STEP
        self._last = seconds
        return seconds

    def _say_jump(self, step: float) -> None:
        """Say, once, that the clock jumped forwards by so many seconds; backwards it does where recordings join."""
        if step > 0:
            if not self._cut:
                logger.warning("%s: its clock jumps by %.4g s; times go on without such jumps", self.name, step)
            self._cut += step - 1 / self.fps

    def shortfall(self) -> str:
        """A clause about what is missing at the end, or an empty string; to be asked when all was read."""
        step = 1 / self.fps
        seconds = 0.0 if self._last is None else self._last + step
        missing = self.frames - self._packets if self.frames else None
        late = bool(self.duration) and seconds + self._cut < self.duration - max(
            1.5 * step, 0.0 if self.frames else 1.0
        )
        if late and (missing is None or missing > 0):
            return f"it ends early: {seconds:.1f} of {self.duration:.1f} s could be read"
        if not self.duration and missing and missing > 0:
            return f"it ends early: {self._packets} of {self.frames} frames could be read"
        return f"reading stopped ({self.reason})" if self.reason else ""

    def close(self) -> None:
        """Close the container."""
        self._decoded.close()
        self._container.close()
        self._open.close()


def reason_of(error: BaseException) -> str:
    """What FFmpeg or Python says of an error, without a full stop.

    Args:
        error: any.
    """
    return (getattr(error, "strerror", None) or str(error)).strip().rstrip(".") or type(error).__name__


class FolderSource:
    """The images of a folder as frames, in the order of their names with numbers by value.

    Args:
        folder: path.
        fps: frames per second.

    Raises:
        MediaError: there is none.
    """

    def __init__(self, folder: str, fps: float) -> None:
        names = images_in(folder, "--video-input")
        self.name, self.fps, self.frames = folder, fps, len(names)
        self.skipped, self.start, self.has_sound = 0, 0.0, False
        self._paths = iter([os.path.join(folder, name) for name in sorted(names, key=natural_key)])
        self._place = -1

    def read(self) -> tuple[np.ndarray, float] | None:
        """The next (image (H, W, 3) BGR uint8, seconds), or None at the end."""
        for path in self._paths:
            self._place += 1
            try:
                return read_image(path), self._place / self.fps
            except UnreadableImage as error:
                logger.warning("left out %s: %s", path, error.reason)
                self.skipped += 1
        return None

    def shortfall(self) -> str:
        """A folder never ends early."""
        return ""

    def close(self) -> None:
        """Nothing is open."""
