"""Clips for trackers: motion that crosses, hides, leaves and returns; identities; sets made before these existed."""

import json

import cv2
import numpy as np
import pytest
from synthetic_people import PRESETS, body, make_dataset, make_settings, writer
from synthetic_people.actions import BUSY
from synthetic_people.clips import CAMERAS, Clip, in_image, people_of
from synthetic_people.scene import _box, _covered
from synthetic_people.statistics import clip_figures, clips_sentence, clips_summary
from synthetic_people.stride import cycle_length, phases, run_share, stride_pose

from rle_onestage.errors import DataError

RATE, FRAMES = 25, 150
LAYOUT = PRESETS["clips"].layout
SMALL = dict(preset="clips", videos=1, frames=5, size=(96, 72), people=(3, 3), seed=2, workers=1, quiet=True)


@pytest.fixture(scope="module")
def clips():
    """Without a rendering."""
    return [Clip(seed=4, number=k, size=(480, 360), layout=LAYOUT, frames=FRAMES, rate=RATE) for k in range(4)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "set"
    make_dataset(folder, **SMALL)
    return folder


def seen(clip):
    """(u (M, F), depth (M, F)) of a clip's people."""
    return np.array([[clip.ground.seen(place) for place in p.place] for p in clip.people]).transpose(2, 0, 1)


def test_motion_is_smooth_and_within_the_limits(clips):
    for person in [p for clip in clips for p in clip.people[:2]]:
        assert (person.pose >= body.LIMITS[:, 0] - 1e-9).all() and (person.pose <= body.LIMITS[:, 1] + 1e-9).all()
        pace = np.diff(person.place, axis=0) * RATE
        assert np.linalg.norm(pace, axis=1).max() < 6
        assert np.linalg.norm(np.diff(pace, axis=0), axis=1).max() * RATE < 25
        assert np.abs(np.diff(person.yaw)).max() * RATE < 3.2
        joints = np.array([person.at(i).joints for i in range(0, 60)])
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=2) * RATE
        jerk = np.linalg.norm(np.diff(joints, 2, axis=0), axis=2) * RATE**2
        assert speed.max() < 16 and jerk.max() < 400


def test_every_action_is_smooth():
    for action in BUSY:
        pose = action(np.random.default_rng(0), 60, RATE)
        assert pose.shape == (60, len(body.DOF))
        assert 0.1 < np.abs(np.diff(pose, axis=0)).max() < 45  # degrees a frame: about 1100 degrees a second


@pytest.mark.parametrize("pace, slip", [(0.0, 1e-9), (0.6, 0.15), (1.4, 0.1), (2.2, 0.25)])
def test_the_planted_foot_stays(pace, slip):
    shape = body.BodyShape(1.75, 0.2, 0, 1, 0.105, 0.053, 1, 1, 1, 1, 0.5)
    speed = np.full(50, pace)
    pose = stride_pose(shape, phases(speed, 1.75, RATE), cycle_length(speed, 1.75), run_share(speed))
    posed = [body.forward_kinematics(shape, p) for p in pose]
    points = np.array([[p.points[f"{s}_{n}"] for s in ("left", "right") for n in ("heel", "toe")] for p in posed])
    points[..., 2] += np.cumsum(speed)[:, None] / RATE
    lowest = points[1:, :, 1].argmin(1)
    slipped = np.abs(np.diff(points[..., 2], axis=0)[np.arange(49), lowest]) * RATE
    assert slipped.mean() <= slip


def test_people_cross_hide_each_other_leave_and_return(clips):
    crossings = behind = returns = 0
    for clip in clips:
        u, depth = seen(clip)
        inside = (u > 0.02) & (u < 0.98)
        for i in range(len(u)):
            gone = np.flatnonzero(~inside[i])
            returns += len(gone) > 0 and inside[i, : gone[0]].any() and inside[i, gone[0] :].any()
            for j in range(i):
                swaps = np.flatnonzero(np.diff(np.sign(u[i] - u[j])))
                crossings += sum(inside[i, f] and abs(depth[i, f] - depth[j, f]) > 0.3 for f in swaps)
        for f in range(0, FRAMES, 5):
            boxes = [_box(clip.ground.camera, p.place[f], p.shape.height) for p in clip.people]
            behind += sum(_covered(a, b) > 0.8 for k, a in enumerate(boxes) for b in boxes[:k])
    assert crossings >= 12 and behind >= 12 and returns >= 3


def test_people_do_not_walk_through_each_other(clips):
    for clip in clips:
        places = np.array([p.place for p in clip.people])
        gaps = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(len(places), 1)]
        assert np.mean(gaps < 0.4) < 0.01


def test_small_and_crowded_clips_and_all_cameras_occur(clips):
    numbers = [people_of(9, k, (3, 12)) for k in range(10)]
    assert min(numbers) <= 4 and max(numbers) >= 11 and len(set(numbers)) >= 7
    assert {clip.camera_motion for clip in clips} == set(CAMERAS)
    for clip in clips:
        turned = np.ptp([c.rotation[2, 0] for c in clip.cameras])
        assert turned == 0 if clip.camera_motion == "still" else turned > 0.005


def test_a_clip_is_a_function_of_its_seed(made, tmp_path):
    make_dataset(tmp_path / "again", **SMALL)
    make_dataset(tmp_path / "other", **{**SMALL, "seed": 3})
    files = [(f / "annotations" / "videos" / "000001.json").read_bytes() for f in (made, *tmp_path.iterdir())]
    assert len(set(files)) == 2
    name = "videos/000001.mp4"
    assert (made / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_labels_have_times_and_hidden_people_and_the_size_asked_for(made):
    data = json.loads((made / "annotations" / "videos" / "000001.json").read_text())
    assert [image["time"] for image in data["images"]] == [0, 0.04, 0.08, 0.12, 0.16]
    for image in data["images"]:
        labelled = {a["track_id"] for a in data["annotations"] if a["image_id"] == image["id"]}
        assert not labelled & set(image["hidden"]) and labelled <= {1, 2, 3}
    assert data["videos"][0]["camera_motion"] in CAMERAS
    assert cv2.VideoCapture(str(made / "videos" / "000001.mp4")).read()[1].shape == (72, 96, 3)
    assert json.loads((made / "statistics.json").read_text())["videos"]["clips"][0]["frames"] == 5


class Picked:
    """A performance of which only some frames are shown."""

    def __init__(self, performance, frames):
        self.performance, self.frames = performance, frames

    def at(self, frame):
        return self.performance.at(self.frames[frame])


def test_who_comes_back_is_the_same_track():
    clip = Clip(seed=4, number=0, size=(96, 72), layout=LAYOUT, frames=FRAMES, rate=RATE)
    people = clip.people[:]
    inside = np.array([[in_image(p.at(f).joints, clip.cameras[f]) for f in range(FRAMES)] for p in people])
    outside = np.array([(u < -0.1) | (u > 1.1) for u in seen(clip)[0]])
    away = {k: np.flatnonzero(o) for k, o in enumerate(outside)}
    who = next(k for k, f in away.items() if len(f) and inside[k, : f[0]].any() and inside[k, f[-1] :].any())
    first, last = away[who][[0, -1]]
    picks = [np.flatnonzero(inside[who, :first])[0], first, last + np.flatnonzero(inside[who, last:])[-1]]
    clip.people, clip.frames = [Picked(p, picks) for p in people], 3
    clip.cameras = [clip.cameras[f] for f in picks]
    (_, before, camera, _), (_, gone, _, more), (_, after, _, _) = clip.render(1)
    assert gone[who] is None and who + 1 not in more["hidden"]
    assert before[who] is not None and after[who] is not None
    depth = camera.project(people[who].at(picks[0]).joints)[1]
    assert before[who]["keypoints_depth"] == pytest.approx(depth, abs=1e-3)


def label(frame, track, x, width=10):
    return {"image_id": frame + 1, "track_id": track, "bbox": [x, 0, width, 20]}


def test_figures_tell_an_occlusion_from_an_exit_and_count_crossings():
    hidden = [[]] * 3 + [[1]] * 2 + [[]] * 15
    images = [{"id": f + 1, "frame_index": f, "hidden": h} for f, h in enumerate(hidden)]
    first = [label(f, 1, 0) for f in range(20) if f not in (3, 4, 10, 11)]  # hidden, then outside
    second = [label(f, 2, 3 if f in (6, 7, 9, 16) else 50) for f in range(20)]  # two times close, one with a break
    data = {"videos": [{"rate": RATE}], "images": images, "annotations": first + second}
    figures = clip_figures(data)
    assert figures["full_occlusions"] == 1 and figures["full_occlusion_seconds_max"] == pytest.approx(0.08)
    assert figures["exits_with_reentry"] == 1 and figures["crossings"] == 2 and figures["people"] == 2
    words = clips_sentence("videos", clips_summary([figures, figures]))
    assert "2 clips of 2 to 2 people" in words and "2 full occlusions" in words and "4 crossings" in words


def test_figures_of_a_clip_without_people():
    figures = clip_figures({"videos": [{"rate": RATE}], "images": [], "annotations": []})
    assert figures["people"] == figures["crossings"] == 0
    assert "0 clips" in clips_sentence("videos", clips_summary([]))


def test_a_set_made_before_clips_existed_is_accepted(tmp_path):
    tiny = dict(train=1, val=0, videos=0, size=64, workers=1, quiet=True)
    make_dataset(tmp_path / "a", **tiny)
    settings = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert set(settings) == {"generator_version", "train", "val", "videos", "frames", "size", "seed", "supersampling",
                             "layout"}  # fmt: skip
    assert set(json.loads((tmp_path / "a" / "statistics.json").read_text())) == {"train", "val"}
    same = make_settings("quickstart", train=1, val=0, videos=0, size=64)
    assert writer.find_existing(str(tmp_path / "a"), same, False)
    clips = dict(preset="clips", **{**tiny, "train": 1})
    with pytest.raises(DataError, match="video_style"):
        make_dataset(tmp_path / "a", **clips)
