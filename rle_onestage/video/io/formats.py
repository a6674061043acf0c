"""The containers and encoders that videos are written with."""

import os
from typing import NamedTuple

import av

from ...errors import ConfigError, MediaError


class Format(NamedTuple):
    """How files of one ending are written."""

    muxer: str  # FFmpeg's name of the container
    encoders: tuple[str, ...]  # of the frames, best first
    ticks: int | None  # times are kept in units of 1/ticks seconds; None: the container knows only a constant rate
    copied: tuple[str, ...]  # codecs of sound that it takes as they are; empty: any
    sound: str  # encoder for the others


_MP4_SOUND = ("aac", "mp3", "ac3", "eac3", "alac")
_MP4 = Format("mp4", ("libx264", "mpeg4"), 90000, (*_MP4_SOUND, "opus", "flac"), "aac")
FORMATS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Format("mov", ("libx264", "mpeg4"), 90000, (*_MP4_SOUND, "pcm_s16le", "pcm_s24le"), "aac"),
    ".mkv": Format("matroska", ("libx264", "mpeg4"), 1000, (), "aac"),
    # AVI has no times of its own: what is not shown in the order of writing, or begins before 0, would come late.
    ".avi": Format("avi", ("mpeg4",), None, ("mp3", "ac3", "pcm_s16le"), "pcm_s16le"),
    ".webm": Format("webm", ("libvpx-vp9", "libvpx"), 1000, ("opus", "vorbis"), "libopus"),
}
VIDEO_TYPES = tuple(FORMATS)
# Endings that mean a video, or images that move, which cannot be written.
_OTHERS = (".gif", ".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".m2ts", ".ogv", ".3gp", ".mxf", ".vob", ".hevc", ".h264")
# Constant quality; what is drawn are thin lines, which low quality smears.
_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "mpeg4": {"qmin": "2", "qmax": "6"},
    "libvpx-vp9": {"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
    "libvpx": {"crf": "10", "b": "8M", "deadline": "realtime", "cpu-used": "7"},
}
# Frames per second that can be told from a mistake: FFmpeg takes a rate outside for none, or ends the process.
RATES = (0.001, 1000.0)
# Seconds from one frame to the next. MP4 counts how far frames are out of order, three steps, in 31 bits of its ticks:
# beyond 2 hours a step, FFmpeg ends the process.
LONGEST_STEP = 3600.0
# Longest sides of a frame.
_LONGEST_SIDES = {"libx264": 16384, "mpeg4": 8190, "libvpx-vp9": 65534, "libvpx": 16382}
_HYBRID = (61, 7)  # libavformat of FFmpeg 7.1


def looks_like_video(path: str) -> bool:
    """Whether a path is named like a video, also one of a kind that cannot be written."""
    return path.lower().endswith(VIDEO_TYPES + _OTHERS)


def has_encoder(name: str) -> bool:
    """Whether this FFmpeg has an encoder."""
    try:
        av.codec.Codec(name, "w")
    except (av.FFmpegError, ValueError):
        return False
    return name in av.codec.codecs_available


def encoder_for(path: str) -> tuple[Format, str]:
    """The :class:`Format` and the encoder for a path.

    Args:
        path: of the video.

    Raises:
        MediaError: no container has its ending, or this FFmpeg has no encoder for it.
    """
    ending = os.path.splitext(path)[1].lower()
    there = {key: next(filter(has_encoder, known.encoders), None) for key, known in FORMATS.items()}
    encoder = there.get(ending)
    if encoder is None:
        usable = ", ".join(key for key, name in there.items() if name)
        problem = "encoder" if ending in FORMATS else "container"
        raise MediaError(f"video {path} cannot be written, no {problem} is there for {ending!r}; end it with {usable}")
    return FORMATS[ending], encoder


def is_rate(fps: float) -> bool:
    """Whether a number of frames per second can be read and written."""
    return RATES[0] <= fps <= RATES[1]


def check_rate(fps: float, name: str) -> None:
    """Raises ConfigError for frames per second that cannot be written.

    Args:
        fps: the number.
        name: the flag or argument that it came by.
    """
    if not is_rate(fps):
        raise ConfigError(f"{name} is {fps:g}; give from {RATES[0]:g} to {RATES[1]:g} frames per second")


def check_frame_size(path: str, size: tuple[int, int]) -> None:
    """Raises MediaError where the encoder for a path takes no frames of a size.

    Args:
        path: of the video.
        size: width and height of the frames.
    """
    _, encoder = encoder_for(path)
    most = _LONGEST_SIDES[encoder]
    if max(size) > most:
        raise MediaError(
            f"video {path} cannot be written, its frames have {size[0]} x {size[1]} pixels and {encoder} takes sides "
            f"up to {most}; make the source smaller, or give --json alone"
        )


def muxer_options(muxer: str) -> dict[str, str]:
    """Options with which a file plays however its writing ends: each packet goes to the disk when it is there.

    A plain MP4 has its index at the end and is lost without. Fragments of a second each have their own; where FFmpeg
    can, the complete file still gets one index and is a plain MP4.

    Args:
        muxer: FFmpeg's name of the container.
    """
    # Frames wait a second for sound that may come, not ten.
    options = {"flush_packets": "1", "max_interleave_delta": "1000000"}
    if muxer not in ("mp4", "mov"):
        return options
    hybrid = av.library_versions["libavformat"] >= _HYBRID
    flags = "hybrid_fragmented" if hybrid else "frag_keyframe+empty_moov+default_base_moof"
    # Offsets below zero, because frames out of order would else begin later than the sound.
    return {**options, "movflags": f"{flags}+negative_cts_offsets", "frag_duration": "1000000"}


def encoder_options(name: str) -> dict[str, str]:
    """Options of an encoder.

    Args:
        name: FFmpeg's name of it.
    """
    return dict(_OPTIONS[name])
