"""Cameras and streams: connected again where they break off, and what is said of their end and their sound."""

import os
import re
import signal
import socket
import threading
import time

import av
import numpy as np
import pytest
from demo_toys import options, within
from media_toys import encode, grey, one_person, read, video

from rle_onestage.demo import run_video
from rle_onestage.errors import MediaError
from rle_onestage.evaluation.tracks import read_tracks
from rle_onestage.video.io import VideoReader, live
from rle_onestage.video.io.live import CameraSource, Newest, Reconnecting
from rle_onestage.video.tracking import PoseTracker


class Server:
    """Sends a file over HTTP, without a length unless told, so often; then nobody answers."""

    def __init__(self, path, connections, head=""):
        with open(path, "rb") as file:
            self.data = file.read()
        self.head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n{head}\r\n".encode()
        self.socket, self.seen = socket.socket(), 0
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(5)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/live"
        threading.Thread(target=self._run, args=(connections,), daemon=True).start()

    def _run(self, connections):
        for _ in range(connections):
            client, _ = self.socket.accept()
            self.seen += 1
            client.recv(4000)
            client.sendall(self.head + self.data)
            client.close()
        self.socket.close()


@pytest.fixture
def cut_stream(tmp_path, monkeypatch):
    """A stream that breaks off in the middle of a packet, while the decoder holds frames."""
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.02)
    path = str(tmp_path / "a.ts")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(i % 25), "bgr24")))
        container.mux(stream.encode(None))
    size = os.path.getsize(path)
    os.truncate(path, size - 400)
    return path


@pytest.mark.parametrize("following", [False, True])
def test_the_last_frames_of_a_stream_that_breaks_off_have_times(cut_stream, tmp_path, following):
    server, found = Server(cut_stream, 1), tmp_path / "r.jsonl"
    tracker = PoseTracker(one_person.skeleton) if following else None
    chosen = options(json=str(found), output=str(tmp_path / "o.mp4"), reconnect=0)
    assert within(60, lambda: run_video(one_person, server.address, chosen, tracker)) == 0
    tracks = read_tracks(str(found))
    assert tracks.frames > 1 and np.isfinite(tracks.time).all() and (np.diff(tracks.time) >= 0).all()
    assert len(read(tmp_path / "o.mp4")) == tracks.frames


def test_a_stream_is_connected_again_and_its_times_go_on(cut_stream, caplog):
    server = Server(cut_stream, 3)
    begin = time.monotonic()
    with VideoReader(server.address, reconnect=2) as reader:
        times = [frame.time for frame in reader]
        assert "and no try to connect again is left (2 of 2 connected)" in reader.report()
    assert server.seen == 3 and times[-1] > 3 * 1.2 and all(b > a for a, b in zip(times, times[1:]))
    assert times[-1] < time.monotonic() - begin + 1
    assert "try 1 of 2" in caplog.text and "try 2 of 2" in caplog.text


def test_the_tries_have_a_limit_and_the_end_is_said(cut_stream, caplog):
    server = Server(cut_stream, 1)
    with VideoReader(server.address, reconnect=2) as reader:
        assert len(list(reader)) > 1
        assert "2 tries to connect again failed" in reader.report() and "\n" not in reader.report()
    assert "try 2 of 2" in caplog.text and "try 3" not in caplog.text


@pytest.mark.parametrize(
    "reconnect, words", [(0, r"reading stopped \(|gives no more frames"), (1, "and 1 try to connect again failed")]
)
def test_the_demo_says_that_a_stream_was_lost(cut_stream, tmp_path, caplog, reconnect, words):
    server = Server(cut_stream, 1)
    chosen = options(json=str(tmp_path / "r.jsonl"), reconnect=reconnect)
    assert within(60, lambda: run_video(one_person, server.address, chosen)) == 0
    said = [message for message in caplog.messages if re.search(words, message)]
    assert len(said) == 1 and said[0].startswith(f"{server.address}: ")


class Endless:
    """A camera that goes on until it is told to stop, and then ends as one that was unplugged."""

    name, fps, frames, has_sound, start, skipped = "camera 0", 25.0, 0, False, 0.0, 0

    def __init__(self, ask):
        self.ask, self.given, self.stopped = ask, 0, threading.Event()

    def read(self):
        self.given += 1
        if self.given == 5:
            self.ask()
        return None if self.stopped.wait(0.01) else (grey(1), 0.01 * self.given)

    def shortfall(self):
        return "it gives no more frames"

    def stop(self):
        self.stopped.set()

    def close(self):
        pass


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_says_nothing_of_a_camera_that_its_user_stopped(tmp_path, monkeypatch, caplog, signum):
    camera = Endless(lambda: os.kill(os.getpid(), signum))
    monkeypatch.setattr("rle_onestage.video.io.reader.Reconnecting", lambda connect, limit: camera)
    assert run_video(one_person, 0, options(json=str(tmp_path / "r.jsonl"))) == 128 + signum
    assert camera.stopped.is_set() and "no more frames" not in caplog.text


def test_a_source_that_ends_because_it_was_stopped_is_not_lost():
    newest = None

    class Waiting(Endless):
        def stop(self):
            super().stop()
            newest._thread.join(30)  # it ends before whoever stops it goes on

    newest = Newest(Waiting(lambda: None))
    assert newest.read() is not None
    newest.stop()
    assert not newest._thread.is_alive() and newest.shortfall() == ""


def test_a_source_that_was_lost_before_it_was_stopped_is_lost():
    newest = Newest(Camera())
    within(30, lambda: [None for _ in iter(newest.read, None)])
    newest.stop()
    assert newest.shortfall() == "it gives no more frames"


def test_sound_of_a_stream_is_said_to_be_lost_because_it_is_live(tmp_path, caplog):
    server = Server(encode(tmp_path / "a.ts", sound="aac"), 1)
    chosen = options(output=str(tmp_path / "o.mp4"), reconnect=0)
    assert within(60, lambda: run_video(one_person, server.address, chosen)) == 0
    assert caplog.text.count("its sound is not kept, because it is live") == 1


def test_sound_of_a_file_over_http_is_said_to_be_lost_and_how_to_keep_it(tmp_path, caplog):
    clip = encode(tmp_path / "a.mp4", sound="aac", options={"movflags": "faststart"})
    server = Server(clip, 3, f"Content-Length: {os.path.getsize(clip)}\r\n")
    assert within(60, lambda: run_video(one_person, server.address, options(output=str(tmp_path / "o.mp4")))) == 0
    assert "because it comes over the network; download it first to keep the sound" in caplog.text
    assert "live" not in " ".join(caplog.messages).replace(server.address, "") and len(read(tmp_path / "o.mp4")) == 12


class Camera:
    """Gives two frames, then nothing."""

    name, fps, frames, has_sound, start = "camera 0", 25.0, 0, False, 0.0

    def __init__(self):
        self.skipped, self.left, self.closed = 1, 2, False

    def read(self):
        self.left -= 1
        return None if self.left < 0 else (grey(1), 0.04 * (1 - self.left))

    def shortfall(self):
        return "it gives no more frames"

    def close(self):
        self.closed = True


def test_a_camera_is_released_before_it_is_opened_again(monkeypatch):
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.001)
    opened = []

    def connect():
        assert all(camera.closed for camera in opened)
        if len(opened) == 3:
            raise MediaError("camera 0 cannot be opened; check that it is connected, and its number")
        opened.append(Camera())
        return opened[-1]

    source = Reconnecting(connect, 3)
    frames = []
    while (item := source.read()) is not None:
        frames.append(item[1])
    assert len(frames) == 6 and frames == sorted(frames) and source.skipped == 3
    assert source.shortfall() == "cannot be opened, and no try to connect again is left (2 of 3 connected)"


def test_a_good_connection_gives_new_tries(monkeypatch):
    monkeypatch.setattr(live, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(live, "_GOOD", -1.0)
    opened = []

    def connect():
        opened.append(Camera())
        return opened[-1]

    source = Reconnecting(connect, 1)
    assert all(source.read() is not None for _ in range(10)) and len(opened) == 5
    monkeypatch.setattr(live, "_GOOD", 60.0)
    assert source.read() is None and source.shortfall().endswith("is left (1 of 1 connected)")


def test_waiting_for_the_next_try_can_be_stopped(monkeypatch):
    monkeypatch.setattr(live, "_FIRST_WAIT", 100.0)
    newest = Newest(Reconnecting(Camera, 5))
    assert newest.read() is not None
    time.sleep(0.3)
    threading.Timer(0.2, newest.stop).start()

    def to_the_end():
        while newest.read() is not None:
            pass

    within(5, to_the_end)
    newest.close()
    assert not newest._thread.is_alive() and newest.shortfall() == ""


def test_a_camera_of_negative_number_is_a_sentence():
    for number in (-1, 2**40):
        with pytest.raises(MediaError, match=f"camera {number} does not exist"):
            CameraSource(number)


def test_no_reconnection_to_what_never_gave_a_frame(tmp_path):
    path = tmp_path / "empty.ts"
    with open(video(tmp_path / "a.mp4"), "rb") as file:
        path.write_bytes(file.read()[:100])
    server = Server(path, 5)
    with pytest.raises(MediaError):
        within(20, lambda: VideoReader(server.address))
    assert server.seen <= 2
