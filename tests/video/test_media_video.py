"""Videos in and out: every way in which they can be odd, damaged or cut short."""

import contextlib
import os
import shutil
import threading
import time

import av
import numpy as np
import pytest
from media_toys import encode, grey, image_file, no_more_than, noise, numbers, read, video

from rle_onestage.errors import MediaError
from rle_onestage.video.io import VIDEO_TYPES, VideoReader, VideoWriter, is_address, natural_key
from rle_onestage.video.io.live import Newest


@pytest.mark.parametrize("ending", VIDEO_TYPES)
def test_round_trip_in_every_container(tmp_path, ending):
    path = video(tmp_path / f"v{ending}", frames=20)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.fps == pytest.approx(12, rel=0.02) and reader.size == (64, 48) and not reader.report()
    assert numbers(frames) == list(range(20)) and [f.number for f in frames] == list(range(20))
    assert np.allclose([f.time for f in frames], np.arange(20) / 12, atol=0.001)
    assert frames[0].image.dtype == np.uint8 and frames[0].image.flags.c_contiguous
    assert os.listdir(tmp_path) == [f"v{ending}"]


def test_colours_come_back(tmp_path):
    colour = np.array([200, 60, 30], np.uint8)
    frames = read(video(tmp_path / "v.mp4", 3, image=lambda i, size: np.tile(colour, (size[1], size[0], 1))))
    assert np.abs(frames[1].image.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_times_of_a_variable_rate_are_kept(tmp_path, ending):
    times = [0.0, 0.033, 0.2, 0.21, 0.9, 2.5]
    frames = read(video(tmp_path / f"v{ending}", times=times))
    assert np.allclose([f.time for f in frames], times, atol=0.0011) and numbers(frames) == list(range(6))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_video_taken_sideways_is_turned_upright(tmp_path, turn):
    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write such a file")

    def corner(number, size):
        image = grey(0, size)
        image[: size[1] // 2, : size[0] // 2] = 250
        return image

    with VideoReader(encode(tmp_path / "v.mp4", 2, image=corner, turn=turn)) as reader:
        image = next(iter(reader)).image
        assert reader.size == ((48, 64) if turn != 180 else (64, 48)) == image.shape[1::-1]
    expected = np.rot90(corner(0, (64, 48)), turn // 90)
    assert np.abs(image.astype(int) - expected).mean() < 8


def test_odd_sizes_gain_a_row_or_column(tmp_path):
    frames = read(video(tmp_path / "v.mp4", size=(63, 47)))
    assert frames[2].image.shape == (48, 64, 3) and np.abs(frames[2].image[-1].astype(int) - 20).max() < 6


def test_what_cannot_be_opened_gets_a_sentence(tmp_path, capfd):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    sound = str(tmp_path / "sound.wav")
    with av.open(sound, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
    cases = [
        (tmp_path / "none.mp4", "none.mp4 does not exist"),
        (text, "text.mp4 cannot be opened .*check"),
        (empty, "empty.mp4 cannot be opened .*check"),
        (sound, "sound.wav cannot be opened as a video, it has no frames"),
        (no_frames(tmp_path), "nothing.mp4 cannot be opened as a video, it has no readable frame"),
        (tmp_path, "has no images"),
        (99, "camera 99 cannot be opened"),
        ("rtsp://127.0.0.1:1/x", "rtsp://127.0.0.1:1/x cannot be opened .*network"),
    ]
    for source, message in cases:
        with pytest.raises(MediaError, match=message):
            VideoReader(source if isinstance(source, int) else str(source))
    assert not capfd.readouterr().err


def no_frames(folder):
    """A video with a header only: what a fragmented file is before its first fragment."""
    path = folder / "nothing.mp4"
    data = open(encode(folder / "x.mp4", options={"movflags": "empty_moov+frag_keyframe"}), "rb").read()
    path.write_bytes(data[: data.index(b"moof") - 4])
    os.remove(folder / "x.mp4")
    return path


@pytest.mark.parametrize("ending, options", [(".mp4", {"movflags": "faststart"}), (".mkv", {})])
def test_a_file_that_ends_early_gives_what_there_is(tmp_path, ending, options):
    path = encode(tmp_path / f"v{ending}", frames=48, image=noise, options=options)
    os.truncate(path, os.path.getsize(path) // 2)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert 12 < len(frames) < 36 and "ends early" in reader.report() and "4.0 s" in reader.report()


def test_a_whole_file_does_not_end_early(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.ts"):
        with VideoReader(encode(tmp_path / name, sound="aac", seconds=1.4)) as reader:
            assert len(list(reader)) == 12 and not reader.report()


def test_damaged_frames_in_the_middle_are_left_out(tmp_path, capfd):
    path = encode(tmp_path / "v.mp4", frames=24, image=noise)
    with av.open(path) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    with open(path, "r+b") as file:
        for position, size in packets[8:10]:
            file.seek(position)
            file.write(b"\xff" * size)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.skipped == 2 and "2 damaged frames left out" in reader.report()
    assert len(frames) == 22 and frames[-1].time == pytest.approx(23 / 12, abs=0.01)
    assert not capfd.readouterr().err


def test_a_folder_of_frames_in_natural_order(tmp_path):
    for i in (0, 1, 2, 9, 10, 11):
        image_file(tmp_path / f"frame{i}.png", (64, 48) if i < 10 else (32, 48))
    (tmp_path / "frame3.png").write_bytes(b"damaged")
    with VideoReader(str(tmp_path), fps=10) as reader:
        frames = list(reader)
        assert reader.skipped == 1 and reader.frames == 7 and reader.fps == 10
    assert [f.image.shape[1] for f in frames] == [64] * 4 + [32] * 2 and frames[3].time == pytest.approx(0.4)
    assert sorted(["b10", "b9", "a"], key=natural_key) == ["a", "b9", "b10"]


def test_a_change_of_size_is_read_as_it_is_and_written_fitted(tmp_path):
    first, second = encode(tmp_path / "a.ts", 4), encode(tmp_path / "b.ts", 4, size=(32, 48))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(open(first, "rb").read() + open(second, "rb").read())
    frames = read(joined)
    assert [f.image.shape[1] for f in frames] == [64] * 4 + [32] * 4
    assert np.allclose(np.diff([f.time for f in frames]), 1 / 12, atol=0.002)  # its clock starts anew in the middle
    with VideoWriter(str(tmp_path / "out.mp4"), 12) as writer:
        for frame in frames:
            writer.write(np.full_like(frame.image, 200), frame.time)
        assert "4 frames of another size" in writer.report()
    written = read(tmp_path / "out.mp4")
    assert {f.image.shape for f in written} == {(48, 64, 3)} and len(written) == 8
    assert written[-1].image[24, 2].max() < 10 and written[-1].image[24, 32].min() > 190


@pytest.mark.parametrize("name", ["v.gif", "v"])
def test_an_ending_without_container(tmp_path, name):
    with pytest.raises(MediaError, match=r"no container .*\.mp4"):
        VideoWriter(str(tmp_path / name), 12)
    assert not os.listdir(tmp_path)


def test_without_encoders(tmp_path, monkeypatch):
    missing = {"libx264", "libvpx", "libvpx-vp9"}
    has = lambda name: name not in missing  # noqa: E731
    monkeypatch.setattr("rle_onestage.video.io.formats.has_encoder", has)
    frames = read(video(tmp_path / "v.mp4", times=[0, 0.033, 0.2, 0.21, 0.9, 2.5]))
    assert numbers(frames) == list(range(6)) and frames[3].time == pytest.approx(0.21, abs=0.001)
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    with pytest.raises(MediaError, match=r"no encoder .*\.mp4, .*\.avi$"):
        VideoWriter(str(tmp_path / "v.webm"), 12)


def test_without_a_frame_nothing_is_left(tmp_path):
    with VideoWriter(str(tmp_path / "v.mp4"), 12):
        assert len(os.listdir(tmp_path)) == 1
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".webm"])
def test_a_full_disk_leaves_a_video_that_plays(tmp_path, ending):
    path = str(tmp_path / f"v{ending}")
    with no_more_than(150_000), pytest.raises(MediaError, match="disk is full after [0-9]+ frames.*usable") as caught:
        with VideoWriter(path, 12) as writer:
            for i in range(200):
                writer.write(noise(i, (128, 96)))
    assert os.listdir(tmp_path) == [f"v{ending}"]
    number = int(str(caught.value).split(" after ")[1].split()[0])
    assert len(str(caught.value).splitlines()) == 1
    assert number >= 6 and len(read(path)) == number


def test_a_disk_that_is_full_at_once_leaves_nothing(tmp_path):
    with no_more_than(20), pytest.raises(MediaError, match="disk is full before a frame"):
        video(tmp_path / "v.mp4", frames=50, image=noise)
    assert not os.listdir(tmp_path)


def test_the_last_bytes_may_be_those_that_do_not_fit(tmp_path):
    size = os.path.getsize(video(tmp_path / "whole.mp4", 30, image=noise))
    for less in (1, 300, 600):  # within the index at the end, give or take: the encoder's threads change its size a bit
        with contextlib.suppress(MediaError), no_more_than(size - less):
            video(tmp_path / "v.mp4", 30, image=noise)
        assert 28 <= len(read(tmp_path / "v.mp4")) <= 30


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
def test_what_is_on_the_disk_plays_also_when_the_process_is_killed(tmp_path, ending):
    writer = VideoWriter(str(tmp_path / f"v{ending}"), 12)
    for i in range(100):
        writer.write(grey(i % 25))
    (unfinished,) = os.listdir(tmp_path)
    shutil.copy(tmp_path / unfinished, tmp_path / f"killed{ending}")
    writer.close()
    assert len(read(tmp_path / f"killed{ending}")) >= 24


def test_a_complete_mp4_has_one_index(tmp_path):
    with av.open(video(tmp_path / "v.mp4", 40, image=noise)) as container:
        assert container.streams.video[0].frames == 40


def heard(path):
    """Codec of the sound, where it begins, its seconds, and its loudest frequency."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        blocks = [b.to_ndarray().astype(float).mean(0) for b in container.decode(stream)]
        wave, rate = np.concatenate(blocks), stream.codec_context.sample_rate
        pitch = np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave)
        return stream.codec_context.name, len(wave) / rate, pitch


@pytest.mark.parametrize(
    "source, ending, what, codec",
    [
        ("a.mp4", ".mp4", "copied", "aac"),
        ("a.mp4", ".mkv", "copied", "aac"),
        ("a.ts", ".mp4", "encoded", "aac"),
        ("a.mp4", ".webm", "encoded", "opus"),
        ("a.mp4", ".avi", "encoded", "pcm_s16le"),
    ],
)
def test_sound_is_kept_and_ends_with_the_images(tmp_path, source, ending, what, codec):
    encode(tmp_path / source, frames=24, sound="aac", seconds=2.0)
    out = tmp_path / f"out{ending}"
    with VideoReader(str(tmp_path / source)) as reader:
        with VideoWriter(str(out), reader.fps, sound_path=reader.sound_path, sound_start=reader.start) as writer:
            for frame in reader:
                if frame.number < 12:  # as when it is interrupted
                    writer.write(frame.image, frame.time)
    assert writer.sound == what and len(read(out)) == 12
    name, seconds, pitch = heard(out)
    assert name == codec and seconds == pytest.approx(1.0, abs=0.08) and pitch == pytest.approx(440, abs=5)
    with av.open(str(out)) as container:
        begins = [float(s.start_time * s.time_base) for s in container.streams if s.start_time is not None]
        assert max(begins) - min(begins) < 0.05


def test_sound_that_cannot_be_kept_is_told(tmp_path, monkeypatch):
    encode(tmp_path / "a.mp4", sound="aac")
    monkeypatch.setattr("rle_onestage.video.io.writer.Sound", lambda *a: (_ for _ in ()).throw(ValueError("unknown")))
    with VideoWriter(str(tmp_path / "v.mp4"), 12, sound_path=str(tmp_path / "a.mp4")) as writer:
        writer.write(grey(1))
        assert "sound could not be kept" in writer.report()
    assert len(read(tmp_path / "v.mp4")) == 1


class Fast:
    """Stands for a camera: a frame every two milliseconds."""

    name, fps, frames, start, has_sound, skipped = "fast", 500.0, 0, 0.0, False, 0

    def __init__(self, number=60):
        self.number, self.given, self.closed = number, 0, threading.Event()

    def read(self):
        time.sleep(0.002)
        self.given += 1
        return (np.full((2, 2, 3), self.given, np.uint8), self.given / 500) if self.given <= self.number else None

    def shortfall(self):
        return "unplugged"

    def close(self):
        self.closed.set()


def test_a_live_source_drops_frames_instead_of_falling_behind(monkeypatch):
    camera = Fast()
    monkeypatch.setattr("rle_onestage.video.io.reader.CameraSource", lambda number: camera)
    with VideoReader(0, reconnect=0) as reader:
        late, seen = [], 0
        for frame in reader:
            late.append(camera.given - int(frame.image[0, 0, 0]))
            seen += 1
            assert frame.number == seen - 1
            time.sleep(0.02)
        assert reader.live and max(late) <= 3
        assert 0 < reader.dropped == camera.number - seen
        assert f"unplugged; {reader.dropped} frames dropped" in reader.report()
    assert camera.closed.wait(1)


def test_a_live_source_that_stands_still_can_be_stopped(monkeypatch):
    camera, hold = Fast(), threading.Event()
    quick = camera.read
    camera.read = lambda: quick() if camera.given < 1 else hold.wait(10)
    monkeypatch.setattr("rle_onestage.video.io.reader.CameraSource", lambda number: camera)
    reader = VideoReader(0)
    threading.Timer(0.1, reader.stop).start()
    begin = time.monotonic()
    assert len(list(reader)) == 1 and time.monotonic() - begin < 2
    hold.set()
    reader.close()


def test_a_source_that_sends_ahead_is_paced():
    camera = Fast(5)
    camera.read, quick = (lambda: (item := quick()) and (item[0], item[1] * 20)), camera.read
    begin, paced = time.monotonic(), Newest(camera, paced=True)
    while paced.read() is not None:
        pass
    assert time.monotonic() - begin > 0.14 and paced.dropped == 0
    paced.close()


def test_repeated_times_do_not_shift_those_after_them(tmp_path):
    times = [0, 1, 2, 2, 2, 3, 4, 5]
    path = tmp_path / "repeated.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for i, tenths in enumerate(times):
            frame = av.VideoFrame.from_ndarray(grey(i), format="bgr24").reformat(format="bgr0")
            frame.pts = i
            for packet in stream.encode(frame):
                packet.pts = packet.dts = round(tenths * 0.1 / packet.time_base)
                container.mux(packet)
    read_times = np.array([frame.time for frame in read(path)])
    assert len(read_times) == 8 and (np.diff(read_times) > 0).all()
    assert read_times == pytest.approx(np.array(times) / 10, abs=0.011)


def test_names_with_a_colon_and_home_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    video("12:30:00.mp4")
    assert len(read("12:30:00.mp4")) == len(read("~/12:30:00.mp4")) == 6
    assert len(read(f"file://{tmp_path}/12:30:00.mp4")) == 6
    with pytest.raises(MediaError, match="empty"):
        VideoReader("")


def test_what_is_an_address():
    assert is_address("rtsp://camera/1") and is_address("udp://@:5000") and not is_address(0)
    assert not is_address("C:\\videos\\a.mp4") and not is_address("a/b.mp4")
