"""The demo on videos: stages side by side, and every way in which a run can end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from demo_toys import Lagging, failing_at, options, plain, stages, within
from media_toys import encode, grey, image_file, no_more_than, noise, numbers, one_person, read, video

from rle_onestage.demo import run_video
from rle_onestage.errors import MediaError
from rle_onestage.evaluation import read_tracks
from rle_onestage.structures import COCO
from rle_onestage.utils import signals
from rle_onestage.video import io as media
from rle_onestage.video.tracking import PoseTracker

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")


def test_video(tmp_path):
    source, out = video(tmp_path / "in.mp4", times=[0, 0.1, 0.15, 0.4, 0.5, 0.9]), tmp_path / "out" / "drawn.mp4"
    assert run_video(one_person, source, options(output=str(out), json=str(tmp_path / "r.jsonl"))) == 0
    frames = read(out)
    assert os.listdir(tmp_path / "out") == ["drawn.mp4"] and frames[0].image.shape == (48, 64, 3)
    assert np.allclose([f.time for f in frames], [0, 0.1, 0.15, 0.4, 0.5, 0.9], atol=0.001)
    assert (np.abs(frames[3].image.astype(int) - 30) > 60).any()
    tracks = read_tracks(tmp_path / "r.jsonl")
    assert tracks.frame.tolist() == list(range(6)) and tracks.frames == 6 and tracks.header["source"] == "in.mp4"
    assert tracks.time[3] == pytest.approx(0.4, abs=0.001) and (tracks.scores > 0.5).all()
    run_video(one_person, source, options(output=str(tmp_path / "folder")))
    assert os.listdir(tmp_path / "folder") == ["in.mp4"] and not stages()


def test_what_it_says_at_the_end(tmp_path, caplog):
    caplog.set_level("INFO")
    source = encode(tmp_path / "v.mp4", sound="aac")

    def slow(image):
        time.sleep(0.02)
        return one_person(image)

    run_video(slow, source, options(output=str(tmp_path / "out.mp4"), draw=plain))
    line = r"12 frames in [\d.]+ s, [\d.]+ frames/s \(reading (\d+) %, model (\d+) %, .*\)\n"
    said = re.search(line, caplog.text)
    assert said and int(said[2]) > 60 > int(said[1])
    assert caplog.messages[-1] == f"12 people found in 12 frames; the video is {tmp_path / 'out.mp4'}"
    with media.VideoReader(str(tmp_path / "out.mp4")) as reader:
        assert reader.sound_path
    results = str(tmp_path / "r.jsonl")
    run_video(one_person, source, options(json=results), Lagging())
    assert caplog.messages[-1] == f"2 tracked people (24 in all frames) found in 12 frames; results are in {results}"


@pytest.mark.parametrize("tracker, reach", [(None, "reaches 0.5"), (PoseTracker(COCO), "is sure enough for a track")])
def test_where_nobody_is_found_the_best_score_is_said(tmp_path, caplog, tracker, reach):
    def weak(image):
        people = one_person(image)
        people.scores[:] = 0.119
        return people

    caplog.set_level("INFO")
    run_video(weak, encode(tmp_path / "v.mp4"), options(json=str(tmp_path / "r.jsonl")), tracker)
    said = f"nobody {reach}; the best score is 0.11 (--confidence-threshold 0.11 draws it)"
    assert caplog.messages[-1] == said
    header = read_tracks(tmp_path / "r.jsonl").header
    assert header["limbs"][0] == [1 + joint for joint in COCO.limbs[0]]


def test_a_folder_of_frames_and_a_camera(tmp_path, monkeypatch):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        image_file(folder / f"{i}.png", (64, 48) if i < 2 else (48, 48))
    run_video(one_person, str(folder), options(output=str(tmp_path / "out"), fps=10, json=str(tmp_path / "r")))
    assert os.listdir(tmp_path / "out") == ["frames.mp4"] and len(read(tmp_path / "out" / "frames.mp4")) == 3
    assert read_tracks(tmp_path / "r").time.tolist() == [0, 0.1, 0.2]


@pytest.mark.parametrize("stage", ["reading", "model", "batch", "tracking", "drawing"])
def test_a_failure_in_any_stage_leaves_what_was_done(tmp_path, monkeypatch, stage):
    source, tracker = video(tmp_path / "in.mp4", frames=20), Lagging()
    given = {"output": str(tmp_path / "out.mp4"), "json": str(tmp_path / "r"), "draw": plain}
    predictor = one_person
    if stage == "reading":
        broken = failing_at(6, media.reader.ContainerSource.read)  # the fourth after the first
        monkeypatch.setattr("rle_onestage.video.io.reader.ContainerSource.read", lambda self: broken(self))
    elif stage == "model":
        predictor = failing_at(6, one_person)
    elif stage == "batch":
        predictor = type(
            "P",
            (),
            {
                "__call__": lambda s, i: one_person(i),
                "batch": failing_at(3, lambda s, i: [one_person(image) for image in i]),
            },
        )()
        given["batch"] = 2
    elif stage == "tracking":
        tracker.push = failing_at(6, tracker.push)
    else:
        given["draw"] = failing_at(6, plain)
    with pytest.raises(RuntimeError, match="broken"):
        within(10, lambda: run_video(predictor, source, options(**given), tracker))
    number = {"tracking": 3, "batch": 4}.get(stage, 5)  # frames in a tracker that failed are lost
    assert numbers(read(tmp_path / "out.mp4")) == list(range(number))
    assert read_tracks(tmp_path / "r").frames == number and not stages()
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4", "r"]


def test_a_full_disk_ends_the_run(tmp_path):
    source = video(tmp_path / "in.mp4", frames=60, size=(128, 96), image=noise)
    given = options(output=str(tmp_path / "out.mp4"), json=str(tmp_path / "r"), draw=plain)
    with no_more_than(100_000), pytest.raises(MediaError, match="disk is full after"):
        within(10, lambda: run_video(one_person, source, given))
    assert len(read(tmp_path / "out.mp4")) > 3 and len(read_tracks(tmp_path / "r").frame) > 3 and not stages()


def test_full_results_leave_the_video_complete(tmp_path):
    source = video(tmp_path / "in.mp4", frames=20)
    given = options(output=str(tmp_path / "o.mp4"), json=str(tmp_path / "r"))
    with no_more_than(6000), pytest.raises(MediaError, match="r cannot be written on"):
        within(10, lambda: run_video(one_person, source, given))
    assert len(read(tmp_path / "o.mp4")) >= 2 and len(read_tracks(tmp_path / "r").frame) >= 2


@pytest.mark.parametrize("signum", signals.ENDING)
def test_interrupted_video_remains_playable(tmp_path, signum):
    source, seen = video(tmp_path / "in.mp4", frames=20), []

    def predictor(image):
        seen.append(1)
        if len(seen) == 4:
            os.kill(os.getpid(), signum)
            time.sleep(0.05)
        return one_person(image)

    def slow(image, people, time_):  # so that all that can wait is full
        time.sleep(0.02)
        return image

    given = options(output=str(tmp_path / "o.mp4"), json=str(tmp_path / "r"), draw=slow)
    assert run_video(predictor, source, given, Lagging()) == 128 + signum
    assert 4 <= len(read(tmp_path / "o.mp4")) == len(seen) == read_tracks(tmp_path / "r").frames < 8


SCRIPT = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from demo_toys import Lagging, failing_at, options, plain, stages, within
from media_toys import one_person
from rle_onestage.demo import DemoOptions, run_video
from rle_onestage.structures.skeleton import COCO

def slow(image):
    print("frame", flush=True)
    time.sleep(0.05)
    return one_person(image)

for name in {names!r}:
    options = DemoOptions(COCO, output=name + ".mp4", json=name + ".jsonl")
    print("code", run_video(slow, {source!r}, options), flush=True)
"""


def test_signals_to_a_process(tmp_path):
    source = video(tmp_path / "in.mp4", frames=1500, size=(32, 32), image=lambda i, size: grey(i % 25, size))
    signals = (signal.SIGTERM, signal.SIGINT)
    names = [str(tmp_path / signum.name) for signum in signals]
    script = SCRIPT.format(root=ROOT, tests=os.path.join(ROOT, "tests"), source=source, names=names)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            for signum, name in zip(signals, names):
                assert [process.stdout.readline() for _ in range(5)] == ["frame\n"] * 5
                process.send_signal(signum)
                code = next(line for line in process.stdout if line != "frame\n")
                assert code == f"code {128 + signum}\n"
                assert 4 <= len(read(f"{name}.mp4")) == read_tracks(f"{name}.jsonl").frames < 1000
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert len(os.listdir(tmp_path)) == 5


def test_a_camera_is_stopped_by_a_signal_while_no_frame_comes(tmp_path, monkeypatch):
    hold = threading.Event()

    class Camera:
        name, fps, frames, start, has_sound, skipped, given = "camera 0", 25.0, 0, 0.0, False, 0, 0

        def read(self):
            self.given += 1
            if self.given < 3:
                time.sleep(0.05)
                return grey(self.given), self.given / 25
            os.kill(os.getpid(), signal.SIGTERM)
            return hold.wait(5) or None

        def shortfall(self):
            return ""

        def close(self):
            pass

    monkeypatch.setattr("rle_onestage.video.io.reader.CameraSource", lambda number: Camera())
    threading.Timer(1.5, hold.set).start()  # a camera whose driver returns late
    assert run_video(one_person, 0, options(output=str(tmp_path / "out"))) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "out") == ["camera0.mp4"]


def test_bad_videos_and_outputs(tmp_path, capfd):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    good = video(tmp_path / "good.mp4")
    file = image_file(tmp_path / "file.png")
    cases = [
        (str(tmp_path / "none.mp4"), "out", "none.mp4 does not exist"),
        (str(text), "out", "text.mp4 cannot be opened"),
        (99, "out", "camera 99"),
        (good, good, "overwritten"),
        (good, file, "no video"),
        (good, os.path.join(file, "sub", "x.mp4"), "cannot be made"),
        (good, str(tmp_path / "x.gif"), "no container"),
    ]
    for source, output, message in cases:
        with pytest.raises(MediaError, match=message):
            run_video(one_person, source, options(output=output))
    with pytest.raises(MediaError, match="it is a folder"):
        run_video(one_person, good, options(output=str(tmp_path / "o.mp4"), json=str(tmp_path)))
    assert "moov" not in capfd.readouterr().err and not os.path.exists(tmp_path / "o.mp4") and not stages()


def test_the_window_belongs_to_the_caller_and_is_closed_by_the_user(tmp_path, monkeypatch):
    shown = []

    def show(image, wait):
        shown.append((wait, threading.current_thread()))
        return len(shown) < 3

    def draw(image, people, time):
        assert threading.current_thread() is threading.main_thread()
        return image

    monkeypatch.setattr(media, "check_window", lambda: None)
    monkeypatch.setattr(media, "show", show)
    assert run_video(one_person, video(tmp_path / "v.mp4"), options(draw=draw)) == 0
    assert shown == [(1, threading.main_thread())] * 3 and not stages()


@pytest.mark.parametrize("spelled", ["{}", "file://{}", "~/in.mp4"])
def test_nothing_replaces_the_input_or_the_output(tmp_path, monkeypatch, spelled):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = video(tmp_path / "in.mp4")
    before, source, other = (tmp_path / "in.mp4").read_bytes(), spelled.format(path), str(tmp_path / "out.mp4")
    for wrong in ({"output": path}, {"output": other, "json": path}, {"output": other, "json": other}):
        with pytest.raises(MediaError, match="overwritten"):
            run_video(one_person, source, options(**wrong))
        assert (tmp_path / "in.mp4").read_bytes() == before and os.listdir(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_source_that_stalls_can_be_stopped(tmp_path, signum):
    """A pipe whose writer stands still in the middle."""
    data = open(encode(tmp_path / "a.ts", 40, image=noise), "rb").read()
    pipe, output = str(tmp_path / "pipe.ts"), str(tmp_path / "out.mp4")
    os.mkfifo(pipe)
    done, many, started, seen = threading.Event(), threading.Event(), time.monotonic(), []

    def watched(image):
        seen.append(1)
        if len(seen) > 15:
            many.set()
        return one_person(image)

    def feed():
        with open(pipe, "wb") as file:
            file.write(data)
            file.flush()
            many.wait(60)
            time.sleep(0.5)  # in which the other frames are used up, and it waits for more
            os.kill(os.getpid(), signum)
            done.wait(60)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        assert run_video(watched, pipe, options(output=output, draw=plain)) == 128 + signum
        assert time.monotonic() - started < 30 and len(read(output)) > 10
    finally:
        done.set()
        feeder.join(10)
