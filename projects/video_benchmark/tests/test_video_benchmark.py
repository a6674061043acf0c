"""Metrics of tracking and smoothing against cases worked out by hand, and the benchmark from detections to tables."""

import json

import numpy as np
import pytest
from media_toys import one_person, read, video
from video_benchmark import commands, report
from video_benchmark.clips import Clip, Tracked, read_clip, similarities
from video_benchmark.detections import Found
from video_benchmark.filters import moving_average, one_euro
from video_benchmark.fit import fit_accelerations
from video_benchmark.identity import identity_metrics, identity_results
from video_benchmark.smoothness import match, smoothness, smoothness_metrics
from video_benchmark.tune import TRACKING, identity_score, tune
from video_benchmark.variants import Variant, filtered, run

from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import read_tracks
from rle_onestage.structures.skeleton import COCO
from rle_onestage.video.tracking import TrackerOptions

SHAPE = np.random.default_rng(5).uniform(-0.5, 0.5, (17, 2)) * (30, 90)
AREA = 1600.0  # so that the size is 40 pixels
FRAMES = 30


def clip_of(places):
    """A clip of people at ``places`` (P, T, 2), all joints labelled."""
    people, frames = places.shape[:2]
    frame, track = (v.ravel() for v in np.meshgrid(np.arange(frames), np.arange(people), indexing="ij"))
    keypoints = SHAPE + places[track, frame][:, None]
    number = len(frame)
    return Clip(frames, 25.0, Tracked(frame, track + 1, keypoints), np.ones((number, 17), bool), np.full(number, AREA))


def walkers():
    """Two people who walk to the right, far from each other."""
    x = 100 + 5.0 * np.arange(FRAMES)
    return clip_of(np.stack([np.stack([x, np.full(FRAMES, y)], 1) for y in (150.0, 350.0)]))


def found_of(clip, noise=2.0):
    """Detections of all people of a clip, with noise."""
    rng = np.random.default_rng(0)
    points = clip.people.keypoints + rng.normal(0, noise, clip.people.keypoints.shape)
    number = len(points)
    return Found(
        frame=clip.people.frame,
        boxes=np.concatenate([points.min(1), points.max(1)], 1).astype(np.float32),
        scores=np.full(number, 0.8, np.float32),
        keypoints=np.concatenate([points, np.full((number, 17, 1), 0.9)], -1).astype(np.float32),
        sigmas=np.full((number, 17, 2), noise, np.float32),
        presence=np.ones((number, 17), np.float32),
        areas=clip.area.astype(np.float32),
        size=np.array([480, 640]),
    )


def test_perfect_tracks_and_swapped_ones():
    clip = walkers()
    right = identity_metrics([identity_results(clip, clip.people, COCO.oks_sigmas)])
    assert right["IDF1"] == right["HOTA"] == right["MOTA"] == 100 and right["IDSW"] == 0
    ids = clip.people.track_id.copy()
    late = clip.people.frame >= 20
    ids[late] = 3 - ids[late]  # the two swap names for the last third
    swapped = identity_metrics([identity_results(clip, clip.people._replace(track_id=ids), COCO.oks_sigmas)])
    assert swapped["IDSW"] == 2 and swapped["DetA"] == pytest.approx(100)
    assert swapped["IDF1"] == pytest.approx(100 * 2 / 3) and swapped["MOTA"] == pytest.approx(100 * (60 - 2) / 60)
    # Association of a detection: 20 with its own name, 10 of each not; then 10, and 20 of each not.
    a = (20 * 20 / 40 + 10 * 10 / 50) / 30
    assert swapped["AssA"] == pytest.approx(100 * a)


def test_oks_is_that_of_the_labelled_joints():
    clip = walkers()
    moved = clip.people._replace(keypoints=clip.people.keypoints + np.array([3.0, 4.0]))
    _, _, oks = similarities(clip, moved, COCO.oks_sigmas)[4]
    k = 2 * np.array(COCO.oks_sigmas)
    assert oks[0, 0] == pytest.approx(np.exp(-25 / (2 * AREA * k**2)).mean()) and oks[0, 1] < 1e-6
    clip.labelled[:, 5:] = False
    _, _, oks = similarities(clip, moved, COCO.oks_sigmas)[4]
    assert oks[0, 0] == pytest.approx(np.exp(-25 / (2 * AREA * k[:5] ** 2)).mean())


@pytest.mark.parametrize("delay", [0.0, 1.0, 2.5])
def test_lag_is_the_delay(delay):
    clip = walkers()
    late = clip.people.keypoints - (5 * delay, 0)
    found = smoothness_metrics([smoothness(clip, match(clip, clip.people, COCO.oks_sigmas), late, 1 + 0 * late)])
    assert found["lag"] == pytest.approx(delay, abs=1e-9) and found["jitter"] == pytest.approx(0, abs=1e-9)
    assert found["error"] == pytest.approx(100 * 5 * delay / 40)


def test_jitter_of_an_error_that_alternates():
    clip = walkers()
    wrong = clip.people.keypoints.copy()
    wrong[..., 1] += np.where(clip.people.frame % 2, 1.0, -1.0)[:, None]
    found = smoothness_metrics([smoothness(clip, match(clip, clip.people, COCO.oks_sigmas), wrong, 1 + 0 * wrong)])
    assert found["error/sigma"] == pytest.approx(np.sqrt(0.5))  # y is off by one sigma, x is right
    assert found["jitter"] == pytest.approx(100 * 4 / 40) and found["error"] == pytest.approx(100 / 40)
    assert found["lag"] == pytest.approx(0, abs=1e-9)


def test_jitter_is_not_counted_across_a_change_of_identity():
    clip = walkers()
    people = clip.people._replace(track_id=clip.people.track_id + 10 * (clip.people.frame >= 15))
    jump = clip.people.keypoints + 7.0 * (clip.people.frame >= 15)[:, None, None]
    found = smoothness_metrics([smoothness(clip, match(clip, people, COCO.oks_sigmas), jump, 1 + 0 * jump)])
    assert found["jitter"] == pytest.approx(0, abs=1e-9) and found["error"] > 10


def test_moving_average_is_a_convolution():
    points = np.random.default_rng(0).normal(size=(12, 2, 2))
    out = moving_average(points, np.arange(12) / 25, 3 / 25)
    assert out[2:, 1, 0] == pytest.approx(np.convolve(points[:, 1, 0], np.ones(3) / 3, "valid"))
    assert out[0] == pytest.approx(points[0])


def test_one_euro_is_a_low_pass_at_rest_and_follows_what_moves_fast():
    time, steps = np.arange(40) / 25, np.zeros((40, 1, 2))
    steps[1:] = 1.0
    slow = one_euro(steps, time, np.full(40, 1e9), min_cutoff=1.0, beta=1.0)[:, 0, 0]
    share = 1 / (1 + 25 / (2 * np.pi))  # first-order low pass of 1 Hz
    assert slow[1:] == pytest.approx(1 - (1 - share) ** np.arange(1, 40))
    fast = one_euro(steps, time, np.full(40, 1e-3), min_cutoff=1.0, beta=1.0)[:, 0, 0]
    assert fast[1] > 0.95


def test_labels_are_read_and_what_is_wrong_is_said(tmp_path):
    path = tmp_path / "a.json"
    people = [{"image_id": 7, "track_id": 2, "keypoints": [1.0, 2.0, 2] + [0, 0, 0] * 16, "area": 9.0}]
    data = {
        "images": [{"id": 7, "frame_index": 0}], "annotations": people, "videos": [{"rate": 25}],
        "categories": [{"keypoints": list(COCO.names)}],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    clip = read_clip(path)
    assert clip.people.keypoints[0, 0].tolist() == [1.5, 2.5] and clip.labelled.sum() == 1 and clip.frames == 1
    for wrong in ("{", "{}", json.dumps({**data, "annotations": [{"image_id": 7}]})):
        path.write_text(wrong)
        with pytest.raises(DataError, match=r"a\.json"):
            read_clip(path)
    with pytest.raises(DataError, match=r"none\.json"):
        read_clip(tmp_path / "none.json")


def test_rows_of_a_run_belong_together():
    clip = walkers()
    done = run(Variant(), clip, found_of(clip), COCO)
    assert (done.found.track_id == done.raw.track_id).all() and (done.found.frame == done.raw.frame).all()
    assert np.abs(done.found.keypoints - done.raw.keypoints).mean() < 3
    assert (filtered(done, 25.0, "none") == done.raw.keypoints).all()


def test_report_says_that_smoothing_helps(tmp_path, monkeypatch, capsys):
    cases = {"a": (walkers(), found_of(walkers()))}
    monkeypatch.setattr(commands, "load_all", lambda clips, detections: cases)
    peer = tmp_path / "peer"
    peer.mkdir()
    np.savez(peer / "a.npz", rows=np.arange(60), ids=cases["a"][0].people.track_id)
    commands.report_clips("c", "d", str(tmp_path), COCO, peers={"peer": str(peer)}, one_euro=[(2.0, 1.0)], equal=0.05)
    data = json.loads((tmp_path / "report.json").read_text())
    assert (
        data["ours"]["jitter"] < 0.7 * data["no filter"]["jitter"]
        and data["ours"]["error"] < data["no filter"]["error"]
    )
    assert data["ours, 8 frames later"]["error"] < data["ours"]["error"]
    assert data["peer"]["IDF1"] == data["ours"]["IDF1"] == 100
    assert "| ours " in capsys.readouterr().out
    (peer / "a.npz").unlink()
    with pytest.raises(DataError, match=r"peer.a\.npz"):
        report.measure_peer(cases, str(peer), COCO)


def test_time_of_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(one_person, "skeleton", COCO, raising=False)
    monkeypatch.setattr(commands, "load_config", lambda config_file, options: None)
    monkeypatch.setattr(commands, "Predictor", lambda cfg: one_person)
    output = tmp_path / "out.mp4"
    commands.time_demo("c", [], video(tmp_path / "in.mp4"), str(output), rounds=2, lag=2)
    assert len(read(output)) == 6 and set(read_tracks(tmp_path / "out.jsonl").track_id.tolist()) == {1}
    rows = {row[0]: [float(v) for v in row[1:]] for row in table_rows(capsys.readouterr().out)}
    for alone, whole, ratio in zip(rows["model alone"], rows["whole demo"], rows["ratio"], strict=True):
        assert ratio == pytest.approx(whole / alone, abs=0.01 + 0.1 * (1 + ratio) / alone)


def table_rows(text):
    """Cells of the rows of a Markdown table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_options_by_name():
    assert commands.tracker_options(["keep=2", "match=0.2"]) == TrackerOptions(keep=2.0, match=0.2)
    for wrong in ("keep", "keep=long", "stay=2"):
        with pytest.raises(ConfigError, match=wrong):
            commands.tracker_options([wrong])


@pytest.mark.parametrize("acceleration", [0.5, 4.0])
def test_fitted_accelerations_are_those_of_the_motion(acceleration):
    rng, frames = np.random.default_rng(0), 300
    # A walk of the velocity, in the size of the person, about no mean motion: two people in opposite directions.
    velocity = np.zeros((frames, 1, 2))
    for i in range(1, frames):
        step = acceleration * 40 * np.sqrt(1 / 25) * rng.normal(size=(1, 2))
        velocity[i] = velocity[i - 1] * np.exp(-1 / 25 / TrackerOptions().relaxation) + step
    clip = clip_of(np.stack([300 + velocity.cumsum(0)[:, 0] / 25]))
    moving = found_of(clip, noise=0.5)
    fitted = fit_accelerations({"a": (clip, moving)}, COCO, TrackerOptions())
    assert all(0.4 * acceleration <= value <= 2.5 * acceleration for value in fitted.values())


def test_tuning_never_gets_worse_and_stays_within_its_ranges():
    clip = walkers()
    cases = {"a": (clip, found_of(clip))}
    start = Variant(TrackerOptions(high=0.6, birth=0.9))  # too high: nobody is followed
    steps = list(tune(start, cases, COCO, ranges=TRACKING, score=identity_score, trials=12, seed=1))
    assert steps[0][2] == 0 and steps[-1][2] > 100
    for name, (low, high) in TRACKING.items():
        assert low <= getattr(steps[-1][1].options, name) <= high or name not in ("birth", "high")
