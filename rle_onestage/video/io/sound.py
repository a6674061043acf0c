"""The sound of a source, taken over into what is written."""

import io
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import cast

import av
from av.container import OutputContainer

from .formats import Format
from .sources import quiet

_GAP = 0.1  # seconds; a longer one is left
_EARLY = 0.5  # seconds; packets of sound last up to a tenth of that


class Sound:
    """Sound of a file, put beside the frames of another as these come.

    Copied as it is where the container takes its codec, else encoded anew. It ends where the frames end.

    Args:
        path: file with sound.
        start: seconds on the file's clock that become 0.
        output: the container that is written, before its header.
        known: its :class:`~.formats.Format`.
        copy: try to copy.

    Raises:
        av.FFmpegError, ValueError: there is no way to take it over.
    """

    def __init__(self, path: str, start: float, output: OutputContainer, known: Format, copy: bool) -> None:
        quiet()
        self._input, self._output, self._start = av.open(path), output, start
        try:
            self._stream = self._input.streams.audio[0]
            if self._stream.codec_context is None:
                raise ValueError("its codec is not known")
            self.copied = copy and _can_copy(self._stream, known)
            if self.copied:
                self._target = output.add_stream_from_template(self._stream)
            else:
                self._target = self._encoder(known.sound)
        except BaseException:
            self._input.close()
            raise
        self._items = self._copied() if self.copied else self._encoded()
        self._held: tuple[float, av.Packet | av.AudioFrame] | None = None
        self._last: int | None = None  # in units of the stream's clock where it is copied, else in samples
        self._broken: Exception | None = None  # what ended the reading
        self._until = 0.0  # seconds, of the last that was written

    def _encoder(self, name: str) -> av.AudioStream:
        context = self._stream.codec_context
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        rate = 48000 if name == "libopus" or not 8000 <= context.sample_rate <= 48000 else context.sample_rate
        target = cast(av.AudioStream, self._output.add_stream(name, rate=rate, layout=layout))
        formats = target.codec_context.codec.audio_formats or []
        sample_format = formats[0].name
        target.codec_context.format = formats[0]
        target.codec_context.open()
        self._resampler = av.AudioResampler(sample_format, layout, rate, target.codec_context.frame_size or 1024)
        return target

    def _packets(self) -> Iterator[av.Packet]:
        """Packets of the source that are whole: damage leaves a gap, or ends the sound, see :meth:`why_cut`."""
        try:
            for packet in self._input.demux(self._stream):
                if not packet.is_corrupt:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self._broken = error

    def _copied(self) -> Generator[tuple[float, av.Packet], None, None]:
        """(seconds, packet) ready to be written."""
        base = self._stream.time_base or Fraction(1, self._stream.codec_context.sample_rate)
        shift = round(self._start / base)
        for packet in self._packets():
            if packet.pts is None or packet.dts is None or packet.size == 0:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.dts < 0 or (self._last is not None and packet.dts <= self._last):
                continue
            self._last = packet.dts
            packet.stream = self._target
            yield float(packet.pts * base), packet

    def _encoded(self) -> Generator[tuple[float, av.AudioFrame], None, None]:
        """(seconds, decoded frame) ready to be encoded."""
        for packet in self._packets():
            try:
                frames = cast(list[av.AudioFrame], packet.decode())
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is None or not frame.time_base:
                    continue
                place = round((float(frame.pts * frame.time_base) - self._start) * frame.sample_rate)
                # Clocks of containers may be coarse (AVI: one tick a packet): samples that follow each other stay so.
                if self._last is not None and abs(place - self._last) < _GAP * frame.sample_rate:
                    place = self._last
                if place >= 0 and (self._last is None or place >= self._last):
                    self._last = place + frame.samples
                    frame.pts, frame.time_base = place, Fraction(1, frame.sample_rate)
                    yield place / frame.sample_rate, frame

    def until(self, seconds: float) -> None:
        """Write the sound before a moment of the video.

        Args:
            seconds: the moment.
        """
        while True:
            if self._held is None:
                self._held = next(self._items, None)
            if self._held is None or self._held[0] >= seconds:
                return
            (self._until, item), self._held = self._held, None
            if isinstance(item, av.Packet):
                self._output.mux(item)
            else:
                self._encode(self._resampler.resample(item))

    def _encode(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            self._output.mux(self._target.encode(frame))

    def finish(self, seconds: float) -> None:
        """Write the sound before a moment of the video, and what the encoder still holds.

        Args:
            seconds: the moment.
        """
        self.until(seconds)
        if not self.copied:
            self._encode(self._resampler.resample(None))
            self._output.mux(self._target.encode(None))

    def why_cut(self, seconds: float) -> Exception | None:
        """What ended the sound well before a moment of the video; None where it goes on or is over.

        Args:
            seconds: the moment.
        """
        return self._broken if self._until < seconds - _EARLY else None

    def close(self) -> None:
        """Close the source."""
        self._items.close()
        self._input.close()


def rehearse(path: str, start: float, known: Format, copy: bool, seconds: float = 2.0) -> None:
    """Take over the beginning of a sound into memory, before a file with frames depends on it.

    Args:
        path: see :class:`Sound`.
        start: see there.
        known: see there.
        copy: see there.
        seconds: how much.

    Raises:
        Exception: it fails; damaged descriptions make PyAV raise many kinds.
    """
    with av.open(io.BytesIO(), "w", format=known.muxer) as output:
        sound = Sound(path, start, output, known, copy)
        try:
            if copy and not sound.copied:
                raise ValueError("its codec does not go into this container")
            output.start_encoding()
            sound.finish(seconds)
        finally:
            sound.close()


def _can_copy(stream: av.AudioStream, known: Format) -> bool:
    name = stream.codec_context.codec.canonical_name  # its own name may be a decoder's, such as mp3float
    # In MPEG transport streams each packet of AAC carries its description, which others want in one place.
    if name == "aac" and not stream.codec_context.extradata:
        return False
    return not known.copied or name in known.copied
