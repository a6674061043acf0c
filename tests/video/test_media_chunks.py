"""Pieces of a video give, together, the frames and times of one pass over the whole."""

import av
import numpy as np
import pytest

from rle_onestage.video.io.chunks import WHOLE, ChunkSource, find_chunks
from rle_onestage.video.io.sources import ContainerSource

CODECS = [
    pytest.param("a.mp4", "libx264", {"g": "6", "bf": "2", "x264-params": "open-gop=1:scenecut=0"}, id="open-gop"),
    pytest.param("a.mp4", "libx264", {"g": "5", "bf": "0"}, id="mp4"),
    pytest.param("a.mkv", "mpeg4", {"g": "5"}, id="mkv"),
    pytest.param("a.ts", "libx264", {"g": "5"}, id="mpegts"),
    pytest.param("a.avi", "mjpeg", {}, id="mjpeg"),
]


def clip(path, codec="libx264", options=None, frames=32):
    """A clip of a square that moves over noise."""
    noise = np.random.default_rng(0).integers(0, 80, (64, 96, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            image = noise.copy()
            image[20:40, 2 * number : 2 * number + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def frames_of(source):
    """All frames of a source."""
    found = []
    while (item := source.read()) is not None:
        found.append(item)
    source.close()
    return found


@pytest.mark.parametrize("name, codec, options", CODECS)
def test_pieces_are_the_whole(tmp_path, name, codec, options):
    path = clip(tmp_path / name, codec, options)
    chunks = find_chunks(path, 7)
    whole = frames_of(ContainerSource(path))
    if name != "a.ts":  # which may be sought in or not, by FFmpeg's version
        assert len(chunks) >= 3 and sum(chunk.frames for chunk in chunks) == 32
        assert min(chunk.frames for chunk in chunks[:-1]) >= 5  # frames in another order than shown
    pieces = [frames_of(ChunkSource(path, chunk)) for chunk in chunks]
    together = [frame for piece in pieces for frame in piece]
    assert len(whole) == len(together) == 32
    for (one, time), (other, clock) in zip(whole, together):
        assert np.array_equal(one, other)
        assert clock - together[0][1] == time  # to the last bit: the tracker is to see the same
    if len(chunks) > 1:
        assert [len(piece) for piece in pieces] == [chunk.frames for chunk in chunks]


def test_an_open_file_gives_the_same_pieces(tmp_path):
    path = clip(tmp_path / "a.mp4", options={"g": "6"})
    chunks = find_chunks(path, 6)
    with open(path, "rb") as file:
        assert find_chunks(file, 6) == chunks
    with open(path, "rb") as file:
        (first, *_) = frames_of(ChunkSource("a.mp4", chunks[1], file))
    assert np.array_equal(first[0], frames_of(ChunkSource(path, chunks[1]))[0][0])


def test_a_clock_that_jumps_back_is_one_piece(tmp_path):
    """Recordings that were joined: their times say nothing about their order."""
    path = clip(tmp_path / "a.ts", options={"g": "5"})
    with open(path, "rb") as file:
        data = file.read()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(data + data)
    assert [(chunk.start, chunk.end) for chunk in find_chunks(str(joined), 5)] == [(None, None)]
    assert len(frames_of(ChunkSource(str(joined), WHOLE))) == len(frames_of(ContainerSource(str(joined)))) > 32


def test_what_is_no_video_is_one_piece(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert find_chunks(str(tmp_path / "a.mp4"), 5) == [WHOLE]
