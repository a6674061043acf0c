"""Synthetic videos: smooth motion, identities, files that open."""

import json

import cv2
import numpy as np
import pytest
from synthetic_people import body, make_dataset, poses
from synthetic_people.scene import Layout, sample_scene
from synthetic_people.seeds import stream
from synthetic_people.video import RATE, Motion

FRAMES = 20


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video") / "set"
    make_dataset(folder, train=0, val=0, videos=1, frames=FRAMES, size=160, seed=1, workers=1, quiet=True)
    with open(folder / "annotations" / "videos" / "000001.json") as file:
        return folder / "videos" / "000001.mp4", json.load(file)


def test_frames_match_the_labels(video):
    path, data = video
    reader = cv2.VideoCapture(str(path))
    count = 0
    while True:
        ok, frame = reader.read()
        if not ok:
            break
        assert frame.shape[:2] == (data["images"][count]["height"], data["images"][count]["width"])
        count += 1
    assert count == len(data["images"]) == FRAMES
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE)
    assert [image["frame_index"] for image in data["images"]] == list(range(FRAMES))


def test_tracks_are_unique_in_a_frame_and_move_smoothly(video):
    _, data = video
    seen = {}
    for annotation in data["annotations"]:
        key = annotation["image_id"], annotation["track_id"]
        assert key not in seen
        seen[key] = np.array(annotation["keypoints"]).reshape(17, 3), annotation["bbox"][3]
    steps = []
    for (image, track), (joints, height) in seen.items():
        if (image + 1, track) in seen:
            after = seen[image + 1, track][0]
            both = (joints[:, 2] > 0) & (after[:, 2] > 0)
            steps += (np.linalg.norm(joints[both, :2] - after[both, :2], axis=1) / height).tolist()
    assert len({track for _, track in seen}) >= 2
    assert len(steps) > 100 and max(steps) < 0.25 and np.median(steps) < 0.05


def test_motion_is_smooth_and_within_the_limits():
    for number in range(4):
        scene = sample_scene(2, "videos", number, (160, 128), Layout(people=(2, 2)))
        for k, person in enumerate(scene.people):
            motion = Motion(stream(2, "videos", number, "motion", k), person, 50, RATE)
            assert (motion.pose >= body.LIMITS[:, 0] - 1e-9).all() and (motion.pose <= body.LIMITS[:, 1] + 1e-9).all()
            joints = np.array([motion.at(i).joints for i in range(50)])
            speed = np.linalg.norm(np.diff(joints, axis=0), axis=2) * RATE
            jerk = np.linalg.norm(np.diff(joints, 2, axis=0), axis=2) * RATE**2
            assert speed.max() < 16 and jerk.max() < 400  # metres per second, and per second squared


def test_gait_repeats_after_one_turn_and_is_symmetric():
    phase = np.linspace(0, 1, 7)
    assert poses.gait(phase) == pytest.approx(poses.gait(phase + 1), abs=1e-9)
    late = poses.gait(phase + 0.5)
    assert body.mirrored(poses.gait(phase)) == pytest.approx(late, abs=1e-9)
