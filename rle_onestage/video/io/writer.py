"""Writes videos that play however their writing ends."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NoReturn, cast

import av
import cv2
import numpy as np
from av.container import OutputContainer

from ...errors import MediaError, counted
from ...utils.output_files import check_target, temporary_beside
from .formats import LONGEST_STEP, check_frame_size, check_rate, encoder_for, encoder_options, muxer_options
from .images import make_folder
from .sound import Sound, rehearse
from .sources import quiet, reason_of

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_FAILURES = (av.FFmpegError, OSError)
_MPEG4_TICKS = 60000  # its clock has 16 bits
_BT601 = 6  # of cv2's conversion, as FFmpeg numbers colour spaces
_LIMITED = 1


class VideoWriter:
    """Writes H.264 in MP4 (or what the path's ending names) under a temporary name, renamed on leaving.

    Use it as a context manager: whatever ends the block, the file is completed and what was written plays; also when
    the disk is full. Without any frame, nothing is left behind. Frames of another size than the first are fitted into
    its size with black borders; odd sizes are widened by a row or column. Whatever is wrong with the sound costs the
    sound, never the frames.

    Args:
        path: of the video; its folder is made.
        fps: frames per second, where frames come without a time and for containers of constant rate.
        size: (width, height); that of the first frame unless told.
        sound_path: file whose sound is kept, as far as the frames go; or None.
        sound_start: seconds of its clock at the first frame.

    Attributes:
        path: of the video.
        fps: frames per second.
        frames: written so far.
        resized: those that were fitted.
        sound: what became of the sound, ``copied``, ``encoded``, ``cut`` where it ends early, ``lost``, or an empty
            string without any.

    Raises:
        MediaError: it cannot be written.
        ConfigError: the frames per second are no rate.
    """

    def __init__(
        self,
        path: str,
        fps: float,
        size: tuple[int, int] | None = None,
        *,
        sound_path: str | None = None,
        sound_start: float = 0.0,
    ) -> None:
        quiet()
        check_rate(fps, "the rate of a video")
        self._format, self._encoder = encoder_for(path)
        if size:
            check_frame_size(path, size)
        make_folder(os.path.dirname(path))
        self.path, self.fps, self.frames, self.resized, self.sound = path, fps, 0, 0, ""
        self._size = (size[0], size[1]) if size else None
        self._sound_source, self._sound_reason = (sound_path, sound_start), ""
        self._sound: Sound | None = None
        self._container: OutputContainer | None = None
        self._pts: int | None = None
        self._last, self._end, self._closed = 0.0, 0.0, False
        check_target(path, "--output", through=False)  # containers are not written from the front to the end
        self._temporary = temporary_beside(path, os.path.splitext(path)[1])
        try:
            with open(self._temporary, "xb"):
                pass
        except OSError as error:
            raise MediaError(f"video {path} cannot be written ({error.strerror}); choose another --output") from error

    def _open(self, size: tuple[int, int]) -> OutputContainer:
        """Start the file: with the sound copied, else encoded, else without."""
        source, start = self._sound_source
        for sound in self._ways(source, start) if source else ("",):
            self._container = container = av.open(
                self._temporary, "w", format=self._format.muxer, container_options=muxer_options(self._format.muxer)
            )
            self._stream = self._add_frames(container, size)
            self._sound, self.sound = None, sound
            if source is None or sound == "lost":
                container.start_encoding()
                return container
            try:
                self._sound = Sound(source, start, container, self._format, sound == "copied")
                container.start_encoding()
                self.sound = "copied" if self._sound.copied else "encoded"
                return container
            except Exception as error:  # whatever a damaged file or this FFmpeg has: the frames go on without
                self._sound_reason = reason_of(error)
                self._close_quietly()
                if _is_full(error):
                    raise
        raise AssertionError("the last way is without sound")

    def _ways(self, source: str, start: float) -> Iterator[str]:
        """What to try with the sound: what a rehearsal without the frames gets by."""
        for copy in (True, False):
            try:
                rehearse(source, start, self._format, copy)
            except Exception as error:  # as in _open
                self._sound_reason = reason_of(error)
            else:
                yield "copied" if copy else "encoded"
        yield "lost"

    def _play(self, action: Callable[[Sound], object]) -> None:
        """Let the sound go on; where it cannot, the frames go on without."""
        if self._sound is None:
            return
        try:
            action(self._sound)
        except Exception as error:  # as in _open
            if _is_full(error):
                raise
            self._drop_sound(self._sound, error)

    def _drop_sound(self, sound: Sound, error: Exception) -> None:
        self._sound_reason, self.sound = reason_of(error), "cut" if self._end else "lost"
        with contextlib.suppress(Exception):
            sound.close()
        self._sound = None

    def _add_frames(self, container: OutputContainer, size: tuple[int, int]) -> av.VideoStream:
        rate = Fraction(self.fps).limit_denominator(1001)
        ticks = self._format.ticks
        ticks = min(ticks, _MPEG4_TICKS) if ticks and self._encoder == "mpeg4" else ticks
        options = encoder_options(self._encoder)
        stream = cast(av.VideoStream, container.add_stream(self._encoder, rate=rate, options=options))
        stream.width, stream.height = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._tick = Fraction(1, ticks) if ticks else 1 / rate
        context.colorspace, context.color_range = _BT601, _LIMITED
        if self._encoder == "mpeg4":
            context.bit_rate = max(400_000, int(0.2 * stream.width * stream.height * self.fps))
        elif self._encoder == "libx264":
            context.bit_rate = 0
        return stream

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: (height, width, 3) BGR uint8.
            time: seconds from the beginning, growing; number / fps unless told.

        Raises:
            MediaError: it cannot be written; the file is then complete up to the frame that the message names.
        """
        if self._closed:
            raise MediaError(f"video {self.path} is closed, no frame can be added")
        time = self.frames / self.fps if time is None else time
        self._check_time(time)
        size = self._size
        if size is None:
            size = frame.shape[1], frame.shape[0]
            check_frame_size(self.path, size)
            self._size = size
        if (frame.shape[1], frame.shape[0]) != size:
            frame, self.resized = _fit(frame, size), self.resized + 1
        try:
            container = self._container or self._open(size)
            self._play(lambda sound: sound.until(time))
            self._encode(container, self._video_frame(frame, time))
        except _FAILURES as error:
            self._fail(error)
        self.frames, self._last, self._end = self.frames + 1, time, time + 1 / self.fps

    def _check_time(self, time: float) -> None:
        """Refuse what no container holds, before FFmpeg sees it."""
        if not 0 <= time <= self._last + LONGEST_STEP:  # also what is no number
            raise MediaError(
                f"video {self.path}: frame {self.frames} is at {time:g} s, and the one before at {self._last:g} s; "
                f"give times that grow by {LONGEST_STEP:g} s at most"
            )

    def _video_frame(self, frame: np.ndarray, time: float) -> av.VideoFrame:
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
        made = av.VideoFrame.from_ndarray(planes, "yuv420p")
        made.colorspace, made.color_range = _BT601, _LIMITED
        pts = round(Fraction(time) / self._tick)
        self._pts = pts if self._pts is None else max(self._pts + 1, pts)
        made.pts, made.time_base = self._pts, self._tick
        with contextlib.suppress(AttributeError):  # older PyAV
            made.duration = max(1, round(1 / (Fraction(self.fps) * self._tick)))
        return made

    def _encode(self, container: OutputContainer, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            try:
                container.mux(packet)
            except _FAILURES as error:
                # Muxers hold packets back to put them in order, so that it may be one of the sound's that failed.
                if self._sound is None or _is_full(error):
                    raise
                self._drop_sound(self._sound, error)

    def close(self) -> None:
        """Complete the file and give it its name.

        Raises:
            MediaError: it cannot be completed; what was written stays under its name, and plays.
        """
        if self._closed:
            return
        if self._container is None or not self.frames:
            self._close_quietly()
            self._closed = True
            self._remove()
            return
        try:
            self._encode(self._container, None)
            self._play(lambda sound: sound.finish(self._end))
            self._note_end_of_sound()
            self._container.close()
        except _FAILURES as error:
            self._fail(error)
        self._close_quietly()
        self._rename()

    def _note_end_of_sound(self) -> None:
        error = self._sound and self._sound.why_cut(self._end)
        if error:
            self.sound, self._sound_reason = "cut", reason_of(error)

    def report(self) -> str:
        """What was amiss, as one line, or an empty string."""
        clauses = [f"{counted(self.resized, 'frame')} of another size fitted into {self._size}"] if self.resized else []
        lost = {"lost": "its sound could not be kept", "cut": "its sound ends early"}.get(self.sound)
        reason = f" ({self._sound_reason})" if self._sound_reason else ""
        clauses += [lost + reason] if lost else []
        return f"{self.path}: {'; '.join(clauses)}" if clauses else ""

    def _fail(self, error: Exception) -> NoReturn:
        """Keep what was written, and say so."""
        self._close_quietly()
        kept = _usable_frames(self._temporary)
        what = "the disk is full" if _is_full(error) else f"it cannot be written on ({reason_of(error)})"
        if not kept:
            self._closed = True
            self._remove()
            raise MediaError(
                f"video {self.path}: {what} before a frame was written; give another place with --output"
            ) from error
        self._rename()
        raise MediaError(
            f"video {self.path}: {what} after {counted(kept, 'frame')}, usable there; "
            "make room or give another place with --output"
        ) from error

    def _close_quietly(self) -> None:
        self._closed = self.frames > 0 or self._closed
        for part in (self._sound, self._container):
            if part is not None:
                with contextlib.suppress(Exception):  # what it was closed for is said
                    part.close()

    def _rename(self) -> None:
        self._closed = True
        try:
            os.replace(self._temporary, os.path.realpath(self.path))
        except OSError as error:
            raise MediaError(
                f"video {self.path} cannot be given its name ({error.strerror}); it stays as {self._temporary}"
            ) from error

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.remove(self._temporary)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in _FULL


def _fit(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame within (width, height), its sides in proportion, borders black."""
    width, height = size
    scale = min(width / frame.shape[1], height / frame.shape[0])
    inner = max(1, round(scale * frame.shape[1])), max(1, round(scale * frame.shape[0]))
    small = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = small
    return canvas


def _usable_frames(path: str) -> int:
    """How many frames of an incomplete file can be shown.

    All whole ones before the last key frame, and what can be decoded from there on: some of these may lack others.
    """
    before = 0
    group: list[av.Packet] = []
    with contextlib.suppress(*_FAILURES, LookupError), av.open(path) as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:  # cut off before what its decoder needs
            return 0
        with contextlib.suppress(*_FAILURES):
            for packet in container.demux(stream):
                if packet.is_keyframe:
                    before, group = before + len(group), []
                if packet.size and not packet.is_corrupt:
                    group.append(packet)
        return before + sum(_shown(stream, packet) for packet in (*group, None))
    return before


def _shown(stream: av.VideoStream, packet: av.Packet | None) -> int:
    try:
        return sum(not frame.is_corrupt for frame in stream.decode(packet))
    except _FAILURES:
        return 0
