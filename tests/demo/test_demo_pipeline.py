"""The stages of the demo on videos: side by side, bounded, in order."""

import threading
import time

import numpy as np
import pytest
import torch
from demo_toys import Lagging, options, plain
from media_toys import numbers, one_person, read, video

from rle_onestage.demo import run_video
from rle_onestage.demo.threads import Ahead
from rle_onestage.evaluation import read_tracks


def test_the_slowest_stage_sets_the_pace(tmp_path):
    def slow(image, *rest):
        time.sleep(0.05)
        return one_person(image) if not rest else image

    source = video(tmp_path / "in.mp4", frames=12)
    begin = time.perf_counter()
    run_video(slow, source, options(output=str(tmp_path / "o.mp4"), draw=slow))
    assert time.perf_counter() - begin < 1.0  # 12 * (0.05 + 0.05) would be 1.2


def test_batches(tmp_path):
    sizes = []

    class Predictor:
        def __call__(self, image):
            return self.batch([image])[0]

        def batch(self, images):
            sizes.append(len(images))
            return [one_person(image) for image in images]

    run_video(Predictor(), video(tmp_path / "in.mp4", 7), options(json=str(tmp_path / "r"), batch=3))
    assert sizes == [3, 3, 1] and read_tracks(tmp_path / "r").frame.tolist() == list(range(7))
    run_video(one_person, str(tmp_path / "in.mp4"), options(json=str(tmp_path / "r"), batch=3))
    assert read_tracks(tmp_path / "r").frames == 7


def test_a_tracker_that_lags(tmp_path):
    source, tracker, shown = video(tmp_path / "in.mp4"), Lagging(), []

    def predictor(image):
        people = one_person(image)
        people.scores[0] = float(image.mean()) / 1000
        return people

    def draw(image, people, time):
        shown.append((image.mean() / 10, float(people.scores[0]) * 100, time * 12))
        return image

    out = options(output=str(tmp_path / "out.mp4"), json=str(tmp_path / "r"), draw=draw)
    assert run_video(predictor, source, out, tracker) == 0
    assert np.allclose(shown, np.arange(6)[:, None], atol=0.15)  # each frame has its own people and time
    assert [n for n, _ in tracker.seen] == [2] * 6 and numbers(read(tmp_path / "out.mp4")) == list(range(6))
    tracks = read_tracks(tmp_path / "r")
    assert tracks.frame.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5] and tracks.ids == [0, 1]


def test_a_tracker_that_gives_too_few(tmp_path):
    with pytest.raises(RuntimeError, match="last 1 frame"):
        run_video(one_person, video(tmp_path / "in.mp4"), options(json=str(tmp_path / "r")), Lagging(lose=1))


def test_a_thread_ahead_is_bounded_and_can_be_closed():
    made, closed = [], threading.Event()

    def endless():
        try:
            while True:
                made.append(1)
                yield len(made)
        finally:
            closed.set()

    ahead = Ahead(endless(), 2)
    taken = ahead.taken()
    assert [next(taken), next(taken)] == [1, 2]
    time.sleep(0.05)
    assert len(made) <= 5
    ahead.close()
    assert ahead.join(5) and closed.is_set() and list(ahead) == []


class Slow:
    """Stands for a predictor on the CPU whose frames take unequal time."""

    device = torch.device("cpu")

    def __init__(self, broken=None):
        self.broken, self.threads, self.at_once, self.most = broken, set(), 0, 0
        self.lock = threading.Lock()

    def __call__(self, image):
        number = round(image.mean() / 10)
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.threads.add(torch.get_num_threads())
        time.sleep(0.02 + 0.04 * (number % 3))
        with self.lock:
            self.at_once -= 1
        if number == self.broken:
            raise RuntimeError("broken")
        return one_person(image)


def test_frames_are_predicted_side_by_side_and_stay_in_order(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        source, output = video(tmp_path / "in.mp4", 12), str(tmp_path / "out.mp4")
        predictor = Slow()
        assert run_video(predictor, source, options(output=output, draw=plain)) == 0
        assert numbers(read(output)) == list(range(12)) and predictor.most == 2 and predictor.threads == {1}
        with pytest.raises(RuntimeError, match="broken"):
            run_video(Slow(broken=7), source, options(output=output, draw=plain))
        assert numbers(read(output)) == list(range(7)) and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
