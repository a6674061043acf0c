"""What FFmpeg must not see, because it ends the process or hangs: times, rates, sizes, pipes without a writer."""

import errno
import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from demo_toys import options, within
from image_toys import saved
from media_toys import encode, grey, one_person, read, video

from rle_onestage.demo import run_video
from rle_onestage.demo.options import video_path
from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.evaluation.tracks import read_tracks
from rle_onestage.utils import output_files
from rle_onestage.video.io import VideoReader, VideoWriter


def jumping(path, times):
    """A Matroska file whose frames have times in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, moment in enumerate(times):
            picture = av.VideoFrame.from_ndarray(grey(i), "bgr24")
            picture.pts, picture.time_base = round(1000 * moment), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return str(path)


def test_a_jump_of_the_clock_ends_neither_the_process_nor_the_times(tmp_path, caplog):
    """FFmpeg's MP4 ends the process where frames are days apart."""
    source = jumping(tmp_path / "a.mkv", [0, 0.04, 1e10, 1e10 + 0.04])
    given = options(output=str(tmp_path / "o.mp4"), json=str(tmp_path / "r"))
    assert run_video(one_person, source, given) == 0
    frames, tracks = read(tmp_path / "o.mp4"), read_tracks(tmp_path / "r")
    assert len(frames) == 4 and frames[-1].time < 1 and max(tracks.time) < 1
    assert caplog.text.count("its clock jumps by") == 1 and "ends early" not in caplog.text
    with VideoReader(jumping(tmp_path / "b.mkv", [0, 0.04, 600, 600.04])) as reader:  # a screen that stood still
        assert [round(frame.time, 2) for frame in reader] == [0, 0.04, 600, 600.04]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_times_up_to_the_longest_step_are_written(tmp_path, ending):
    with VideoWriter(str(tmp_path / f"a{ending}"), 25) as writer:
        for i in range(6):
            writer.write(grey(i), 3600.0 * i)
    assert [round(frame.time, 2) for frame in read(tmp_path / f"a{ending}")] == [3600.0 * i for i in range(6)]


@pytest.mark.parametrize("moment", [1e10, float("nan"), float("inf"), float("-inf"), -1.0])
def test_times_that_no_container_holds_are_a_sentence(tmp_path, moment):
    with pytest.raises(MediaError, match="frame 1 is at .* give times that grow by 3600 s"):
        with VideoWriter(str(tmp_path / "a.mp4"), 25) as writer:
            writer.write(grey(0), 0)
            writer.write(grey(1), moment)
    assert len(read(tmp_path / "a.mp4")) == 1 and os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("fps", [5e-324, 1e-300, 0.0, -1.0, 1e300, 99999999999, float("nan"), float("inf")])
def test_rates_that_are_none_are_a_sentence(tmp_path, fps):
    """FFmpeg ends the process at some of them."""
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "0.png").write_bytes(saved("PNG"))
    for make in (
        lambda: options(fps=fps),
        lambda: VideoReader(str(folder), fps=fps),
        lambda: VideoWriter(str(tmp_path / "a.mp4"), fps),
    ):
        with pytest.raises(ConfigError, match=r"give from 0.001 to 1000 frames"):
            make()
    assert os.listdir(tmp_path) == ["frames"]


@pytest.mark.parametrize("fps", [0.001, 1000])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
def test_rates_at_the_limits_are_written(tmp_path, fps, ending):
    clip = video(tmp_path / f"a{ending}", frames=3, fps=fps)
    assert np.allclose([frame.time for frame in read(clip)], np.arange(3) / fps)


def test_frames_that_are_too_large_for_the_encoder_are_a_sentence(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "0.png").write_bytes(saved("PNG", np.zeros((2, 16400, 3), np.uint8)))
    given = options(output=str(tmp_path / "o.mp4"), json=str(tmp_path / "r"))
    with pytest.raises(MediaError, match="16400 x 2 pixels and .* takes sides up to .* give --json alone"):
        run_video(one_person, str(folder), given)
    assert os.listdir(tmp_path) == ["frames"]
    with pytest.raises(MediaError, match="16400 x 2 pixels"), VideoWriter(str(tmp_path / "o.mp4"), 25) as writer:
        writer.write(np.zeros((2, 16400, 3), np.uint8))
    assert run_video(one_person, str(folder), options(json=str(tmp_path / "r"))) == 0
    assert sorted(os.listdir(tmp_path)) == ["frames", "r"]


def test_what_cannot_even_be_begun_leaves_nothing(tmp_path, monkeypatch):
    """Whatever FFmpeg raises before the first frame, the writer says it and not a fault of its own."""
    monkeypatch.setattr(VideoWriter, "_add_frames", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError), VideoWriter(str(tmp_path / "o.mp4"), 25) as writer:
        writer.write(grey(0))
    assert not os.listdir(tmp_path)


def test_a_video_that_is_cut_off_is_said_to_be(tmp_path):
    clip = encode(tmp_path / "a.mp4")
    with open(clip, "r+b") as file:
        file.truncate(os.path.getsize(clip) // 2)
    with pytest.raises(MediaError, match=r"a.mp4 cannot be opened: a video \(MP4\) that is cut off or damaged"):
        VideoReader(clip)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_waited_for_in_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(output_files, "PATIENCE", 0.3)
    pipe = tmp_path / "a.avi"
    os.mkfifo(pipe)
    with pytest.raises(MediaError, match="a pipe that nobody writes to for 0.3 s"):
        within(5, lambda: VideoReader(str(pipe)))
    monkeypatch.setattr(output_files, "PATIENCE", 10.0)
    with open(encode(tmp_path / "b.avi"), "rb") as file:
        data = file.read()
    threading.Thread(target=lambda: pipe.write_bytes(data), daemon=True).start()
    assert len(within(10, lambda: read(pipe))) == 12


def test_ctrl_c_while_a_source_has_no_data_is_ctrl_c(monkeypatch):
    def interrupted(*args, **kwargs):
        raise InterruptedError(errno.EINTR, "Interrupted system call")

    monkeypatch.setattr(av, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        VideoReader("a.mp4" if os.path.exists("a.mp4") else __file__)


@pytest.mark.parametrize(
    "address, name",
    [
        ("rtsp://me:secret@127.0.0.1:1/x", "rtsp://me:***@127.0.0.1:1/x"),
        ("rtsp://me:sec@ret@127.0.0.1:1", "rtsp://me:***@127.0.0.1:1"),
        ("http://127.0.0.1:1/a@b", "http://127.0.0.1:1/a@b"),
    ],
)
def test_a_password_is_not_printed(address, name):
    with pytest.raises(MediaError) as caught:
        VideoReader(address)
    assert str(caught.value).startswith(f"{name} cannot be opened")
    assert "sec" not in os.path.basename(video_path(address, "out"))


def test_a_text_is_neither_image_nor_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("a line of notes\n" * 200)
    with pytest.raises(MediaError, match=r"notes.txt is a text file, not a video; check --video-input"):
        VideoReader(str(path))
