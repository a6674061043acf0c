"""Videos with something wrong: pixels that are not square, sound that fails, what is no video."""

import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from demo_toys import options, within
from image_toys import saved, scene
from media_toys import encode, grey, one_person, read
from PIL import Image

from rle_onestage.demo import run_video
from rle_onestage.errors import MediaError
from rle_onestage.evaluation.tracks import read_tracks
from rle_onestage.video.io import VideoReader, VideoWriter, window
from rle_onestage.video.io import sound as sound_module
from rle_onestage.video.io import writer as writer_module


def with_pixels(path, aspect, size=(64, 48), turn=0):
    """A video whose pixels have an aspect (width, height), and a white square of 16 x 16 stored pixels."""
    if turn and not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write such a file")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.sample_aspect_ratio = Fraction(*aspect)
        if turn:
            stream.set_display_rotation(turn)
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[16:32, 16:32] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode(None))
    return str(path)


def extent(image):
    """Width and height of what is white."""
    rows, columns = np.nonzero(image[..., 0] > 128)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize(
    "aspect, turn, size, square",
    [
        ((2, 1), 0, (128, 48), (32, 16)),
        ((1, 2), 0, (64, 96), (16, 32)),
        ((2, 1), 90, (48, 128), (16, 32)),
        ((1, 1), 0, (64, 48), (16, 16)),
        ((1000, 1001), 0, (64, 48), (16, 16)),
        ((300, 1), 0, (64, 48), (16, 16)),  # damage
    ],
)
def test_people_have_the_proportions_that_a_player_shows(tmp_path, aspect, turn, size, square):
    with VideoReader(with_pixels(tmp_path / "a.mp4", aspect, turn=turn)) as reader:
        frames = list(reader)
        assert reader.size == size
    assert len(frames) == 3 and all((f.image.shape[1], f.image.shape[0]) == size for f in frames)
    assert np.abs(np.subtract(extent(frames[1].image), square)).max() <= 2


def test_what_is_written_of_wide_pixels_is_shown_as_wide(tmp_path):
    source, out = with_pixels(tmp_path / "a.mp4", (2, 1)), tmp_path / "b.mp4"
    assert run_video(one_person, source, options(output=str(out), json=str(tmp_path / "c.jsonl"))) == 0
    stream = av.open(str(out)).streams.video[0]
    assert (stream.width, stream.height) == (128, 48) and (stream.sample_aspect_ratio or 1) == 1
    assert read_tracks(str(tmp_path / "c.jsonl")).header["width"] == 128


def streams(path):
    with av.open(str(path)) as container:
        return {s.type: (s.codec_context.codec.canonical_name, container.decode(s)) for s in container.streams}


def sound_seconds(path):
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize(
    "source, codec, ending, what, kept",
    [
        ("avi", "libmp3lame", ".mp4", "copied", "mp3"),
        ("avi", "libmp3lame", ".mov", "copied", "mp3"),
        ("avi", "adpcm_ms", ".avi", "encoded", "pcm_s16le"),
        ("avi", "adpcm_ms", ".mp4", "encoded", "aac"),
    ],
)
def test_sound_of_avi_with_coarse_clock_is_kept(tmp_path, source, codec, ending, what, kept):
    try:
        clip = encode(tmp_path / f"a.{source}", sound=codec)
    except (av.FFmpegError, ValueError):
        pytest.skip(f"this FFmpeg has no {codec}")
    out = tmp_path / f"b{ending}"
    with VideoWriter(str(out), 12, sound_path=clip) as writer:
        for i in range(12):
            writer.write(grey(i), i / 12)
    assert writer.sound == what and len(read(out)) == 12
    assert streams(out)["audio"][0] == kept and abs(sound_seconds(out) - 1) < 0.1


def damaged(tmp_path, *swaps):
    clip = encode(tmp_path / "a.mp4", sound="aac")
    with open(clip, "rb") as file:
        data = file.read()
    for old, new in swaps:
        assert old in data
        data = data.replace(old, new)
    with open(clip, "wb") as file:
        file.write(data)
    return clip


def test_a_damaged_description_of_the_sound_costs_the_sound_alone(tmp_path, caplog):
    clip, out = damaged(tmp_path, (b"mp4a", b"xp4q"), (b"esds", b"esdx")), tmp_path / "b.mp4"
    assert run_video(one_person, clip, options(output=str(out))) == 0
    assert len(read(out)) == 12 and "sound could not be kept (its codec is not known)" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("error", [ValueError("broken"), AttributeError("none"), av.error.InvalidDataError(1, "bad")])
def test_sound_that_fails_on_the_way_ends_there_and_the_frames_go_on(tmp_path, monkeypatch, after, error):
    clip, calls = encode(tmp_path / "a.mp4", sound="aac"), []
    real = writer_module.Sound.until

    def failing(self, seconds):
        calls.append(1)
        if len(calls) > after + 2:  # the two rehearsals
            raise error
        return real(self, seconds)

    monkeypatch.setattr(writer_module.Sound, "until", failing)
    with VideoWriter(str(tmp_path / "b.mp4"), 12, sound_path=clip) as writer:
        for i in range(12):
            writer.write(grey(i), i / 12)
    assert len(read(tmp_path / "b.mp4")) == 12 and writer.sound in ("cut", "lost") and "sound" in writer.report()


@pytest.mark.parametrize("copied", [True, False])
def test_sound_that_cannot_be_read_on_is_said_to_be_cut(tmp_path, monkeypatch, copied):
    clip = encode(tmp_path / "a.mp4", sound="aac", seconds=4.0)
    real = sound_module.Sound._packets

    class Broken:
        """A source whose reading fails after some packets."""

        def __init__(self, source):
            self.source = source

        def demux(self, stream):
            for number, packet in enumerate(self.source.demux(stream)):
                if number > 30:
                    raise OSError("the disk is gone")
                yield packet

        def close(self):
            self.source.close()

    def packets(self):
        self._input = Broken(self._input)
        return real(self)

    monkeypatch.setattr(sound_module.Sound, "_packets", packets)
    monkeypatch.setattr(sound_module, "_can_copy", lambda *_: copied)
    with VideoWriter(str(tmp_path / "b.mp4"), 12, sound_path=clip) as writer:
        for i in range(50):
            writer.write(grey(i % 12), i / 12)
    assert writer.sound == "cut" and "its sound ends early (the disk is gone)" in writer.report()


def test_a_pipe_with_sound_is_opened_once_and_said(tmp_path, caplog):
    clip, pipe, out = encode(tmp_path / "a.ts", sound="aac"), tmp_path / "pipe.ts", tmp_path / "b.mp4"
    os.mkfifo(pipe)

    def feed():
        with open(clip, "rb") as source, open(pipe, "wb") as target:
            target.write(source.read())

    threading.Thread(target=feed, daemon=True).start()
    assert within(30, lambda: run_video(one_person, str(pipe), options(output=str(out)))) == 0
    assert len(read(out)) == 12 and "sound is not kept, because it is no file" in caplog.text


@pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF", "WEBP", "TIFF"])
def test_an_image_is_no_video(tmp_path, name):
    path = tmp_path / "a.mp4"
    path.write_bytes(saved(name))
    with pytest.raises(MediaError) as caught:
        VideoReader(str(path))
    assert "is an image, not a video; give it with --input" in str(caught.value)


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"\0\0\0\x18ftypheic" + bytes(300), r"is an image \(HEIC\), not a video; give it with --input"),
        (b"<html>404</html>", r"cannot be opened \(it is a web page\)"),
        (b"", r"cannot be opened \(it is empty\)"),
        (b"no video\n" * 99, r"cannot be opened \(Invalid data"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, data, sentence):
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=sentence):
        VideoReader(str(path))


def test_a_video_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"secret")

    def refused(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refused)
    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(MediaError, match="cannot be opened .*Permission denied"):
        VideoReader(str(path))


def test_images_that_move_are_videos(tmp_path):
    moving = [Image.fromarray(scene(seed=seed)) for seed in (1, 2)]
    for name, ending in (("GIF", "gif"), ("PNG", "apng")):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(saved(name, save_all=True, append_images=moving, duration=100))
        assert len(read(path)) == 3


def test_a_display_that_is_not_there_is_a_sentence(monkeypatch):
    """Qt would end the process."""
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MediaError, match="display :77 cannot be reached|headless"):
        window.check_window()
    monkeypatch.setattr(window, "_try_window", lambda: window._NO_WINDOWS)
    with pytest.raises(MediaError, match="headless"):
        window.check_window()
