"""Videos in pieces that can be decoded apart, with the frames and times that one pass over the whole gives.

A piece begins at a key frame and ends before the next piece's. Of a file whose clock is not plain (times that are
missing, run backwards or jump), or in which that key frame cannot be sought, there is one piece: the whole.
"""

from collections.abc import Generator
from typing import IO, NamedTuple

import av
import numpy as np

from .formats import LONGEST_STEP
from .sources import _LONGEST_GAP, ContainerSource, quiet


class Chunk(NamedTuple):
    """A piece of a video.

    Attributes:
        start: time stamp of its first frame, in units of the stream; None: from the beginning on.
        end: that of the next piece's; None: to the end.
        frames: how many it has, as its packets say; 0 if unknown.
    """

    start: int | None
    end: int | None
    frames: int


WHOLE = Chunk(None, None, 0)


class _Packets(NamedTuple):
    """Of each packet of a stream, in the order of the file."""

    times: np.ndarray  # (P,) int64, units of the stream
    keys: np.ndarray  # (P,) bool


def find_chunks(source: str | IO[bytes], frames: int) -> list[Chunk]:
    """The pieces of a video; no frame is decoded for it.

    Args:
        source: path, or an open file.
        frames: that a piece has at least in the order of the file, but for the last one.

    Returns:
        At least one; the whole where nothing is known, also of what is no video: who reads it says so.
    """
    quiet()
    try:
        with av.open(source) as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                return [WHOLE]
            stream = container.streams.video[0]
            packets = _packets(container, stream)
            if packets is None or not stream.time_base:
                return [WHOLE]
            longest = _LONGEST_GAP if "mpegts" in container.format.name else LONGEST_STEP
            starts = _starts(packets, frames, longest / float(stream.time_base))
            if any(not _can_be_sought(container, stream, start) for start in starts):
                return [WHOLE._replace(frames=len(packets.times))]
    except (av.FFmpegError, OSError, ValueError):
        return [WHOLE]
    bounds = [None, *starts, None]
    ends = [np.iinfo(np.int64).min, *starts, np.iinfo(np.int64).max]
    counts = np.histogram(packets.times.astype(float), np.array(ends, dtype=float))[0].tolist()
    return [Chunk(start, end, count) for start, end, count in zip(bounds, bounds[1:], counts)]


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> _Packets | None:
    """Times and keys of all packets; None where one has no time."""
    times, keys = [], []
    for packet in container.demux(stream):
        if packet.size == 0:  # the end
            continue
        if packet.pts is None or packet.is_corrupt:
            return None
        times.append(packet.pts)
        keys.append(packet.is_keyframe)
    return _Packets(np.array(times, dtype=np.int64), np.array(keys, dtype=bool)) if times else None


def _starts(packets: _Packets, frames: int, longest: float) -> list[int]:
    """Where pieces begin, without the first one.

    Args:
        packets: of the stream.
        frames: that a piece has at least.
        longest: step from a frame to the next that times may have, in units of the stream.
    """
    times = packets.times
    steps = np.diff(np.sort(times))
    if len(times) < 2 or steps.min() <= 0 or steps.max() > longest:
        return []
    before = np.maximum.accumulate(times)
    # A key frame before which, in the file, only earlier frames stand; those shown before it may follow.
    apart = packets.keys[1:] & (times[1:] > before[:-1])
    places = np.flatnonzero(apart) + 1
    found, last = [], 0
    for place in places.tolist():
        if place - last >= frames:
            found.append(int(times[place]))
            last = place
    return found


def _can_be_sought(container: av.container.InputContainer, stream: av.VideoStream, start: int) -> bool:
    """Whether seeking comes to the very key frame."""
    container.seek(start, stream=stream)
    first = next((packet for packet in container.demux(stream) if packet.size), None)
    return first is not None and first.pts == start and first.is_keyframe


class ChunkSource(ContainerSource):
    """The frames of a piece of a video, with the time on the file's own clock in seconds.

    Args:
        address: path, or what messages call the video.
        chunk: the piece, of :func:`find_chunks`.
        file: the open file where the address is no path.

    Raises:
        MediaError: it cannot be opened or has no frames.
    """

    def __init__(self, address: str, chunk: Chunk, file: IO[bytes] | None = None) -> None:
        self.chunk = chunk
        super().__init__(address, file=file)

    @property
    def is_past(self) -> bool:
        """Whether a frame of the next piece was seen, so that none of this one is missing behind."""
        return self._past

    def _decode(self) -> Generator[tuple[np.ndarray, float], None, None]:
        if self.chunk.start is not None:
            self._container.seek(self.chunk.start, stream=self._stream)
        yield from super()._decode()

    def _wanted(self, frame: av.VideoFrame) -> bool:
        """Frames of the piece. Those that are shown before its key frame and stand behind it are of the one before."""
        if frame.pts is None:
            return True
        self._past |= self.chunk.end is not None and frame.pts >= self.chunk.end
        return not self._past and (self.chunk.start is None or frame.pts >= self.chunk.start)

    def _time(self, frame: av.VideoFrame) -> float:
        if self.chunk.start is None and self.chunk.end is None:
            return super()._time(frame)
        base = frame.time_base or self._stream.time_base
        # find_chunks() cuts only what has times and their unit throughout.
        return 0.0 if frame.pts is None or base is None else float(frame.pts * base)
