"""Tracking: similarity, assignment, identities through crossings and gaps, Instances in and out."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.errors import DataError
from rle_onestage.structures.skeleton import COCO
from rle_onestage.video.tracking import PoseTracker, Tracker, TrackerOptions
from rle_onestage.video.tracking.association import assign, pose_similarity
from rle_onestage.video.tracking.joints import accelerations_for

RATE = 25.0
SHAPE = np.random.default_rng(5).uniform(-0.5, 0.5, (17, 2)) * (30, 90)
OPTIONS = TrackerOptions(high=0.3, low=0.1, birth=0.3, duplicate=0.5, confirm=2, keep=1.0, carry=0.2, noise=1.0)


def people(*places, scores=None, sigma=2.0, noise=None):
    """``Instances`` of people that stand at (x, y); ``noise``: (generator, pixels)."""
    points = np.array([SHAPE + place for place in places]).reshape(-1, 17, 2)
    if noise:
        points = points + noise[0].normal(0, noise[1], points.shape)
    out = Instances((480, 640))
    corners = np.concatenate([points.min(1), points.max(1)], 1) if len(points) else np.zeros((0, 4))
    out.pred_boxes = Boxes(torch.from_numpy(corners).float())
    out.scores = torch.tensor([0.8] * len(points) if scores is None else scores)
    out.pred_classes = torch.zeros(len(points), dtype=torch.int64)
    out.pred_keypoints = torch.cat([torch.from_numpy(points), torch.ones(len(points), 17, 1)], -1).float()
    out.pred_keypoint_sigmas = torch.full((len(points), 17, 2), sigma)
    return out


def follow(frames, **kwargs):
    """What a tracker gives for each frame."""
    tracker = PoseTracker(COCO, options=OPTIONS, **kwargs)
    out = [ready for i, frame in enumerate(frames) for ready in tracker.push(frame, i / RATE)]
    return out + tracker.finish()


def test_similarity_is_the_expected_oks():
    rng = np.random.default_rng(0)
    tolerance, area = np.array([0.1, 0.2]), np.array([900.0])
    track, detection = np.zeros((1, 2, 2)), np.array([[[2.0, -1.0], [5.0, 3.0]]])
    p, r = rng.uniform(0.5, 9, (1, 2, 2)), rng.uniform(0.5, 9, (1, 2, 2))
    d = (detection - track)[0] + rng.normal(size=(400000, 2, 2)) * np.sqrt(p + r)[0]
    expected = np.exp(-np.square(d).sum(-1) / (2 * tolerance**2 * area)).mean(0)
    alone = rng.normal(size=(400000, 2, 2)) * np.sqrt(r)[0]
    best = np.exp(-np.square(alone).sum(-1) / (2 * tolerance**2 * area)).mean(0)
    found = pose_similarity(track, p, detection, r, area, tolerance)
    assert found[0, 0] == pytest.approx(expected.sum() / best.sum(), rel=0.01)


def test_similarity_is_one_at_the_place_and_ignores_what_was_not_measured():
    points, variance = np.random.default_rng(0).normal(0, 50, (1, 3, 2)), np.full((1, 3, 2), 4.0)
    tolerance, area = np.full(3, 0.1), np.array([400.0])
    assert pose_similarity(points, 0 * variance, points, variance, area, tolerance) == pytest.approx(1)
    moved = points.copy()
    moved[0, 2] += 1000
    variance[0, 2] = np.inf
    assert pose_similarity(points, np.zeros((1, 3, 2)), moved, variance, area, tolerance) == pytest.approx(1)
    assert pose_similarity(points[:0], variance[:0], points, variance, area, tolerance).shape == (0, 1)


def test_assignment_takes_the_best_sum_of_allowed_pairs():
    similarity = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert [v.tolist() for v in assign(similarity, similarity > 0)] == [[0, 1], [1, 0]]
    assert [v.tolist() for v in assign(similarity, similarity > 0.85)] == [[0], [0]]
    assert [len(v) for v in assign(similarity[:0], similarity[:0] > 0)] == [0, 0]


def test_a_good_pair_is_not_given_up_for_two_poor_ones():
    similarity = np.array([[0.9, 0.2], [0.16, 0.0]])
    rows, columns = assign(similarity, similarity >= 0.15)
    assert rows.tolist() == [0] and columns.tolist() == [0]


@pytest.mark.parametrize("lag", [0, 5])
def test_people_who_cross_keep_their_identities(lag):
    rng = np.random.default_rng(1)
    frames = [people((100 + 5 * i, 240), (400 - 5 * i, 243), noise=(rng, 1.0)) for i in range(60)]
    ids = [[one.ID[(one.pred_keypoints[:, :, 0].mean(1) - x).abs().argmin()].item() for x in (100 + 5 * i, 400 - 5 * i)]
           for i, one in enumerate(follow(frames, lag=lag)) if abs(300 - 10 * i) > 40]  # fmt: skip
    assert all(pair == ids[0] for pair in ids) and len(set(ids[0])) == 2


def test_a_hidden_person_is_predicted_with_growing_sigma_and_comes_back_as_the_same():
    gap = range(20, 35)
    frames = [people(*([] if i in gap else [(100 + 4 * i, 240)])) for i in range(50)]
    for one in frames:
        one.pred_keypoint_covariances = torch.full((len(one), 17, 2, 2), 3.0)
    out = follow(frames)
    for one in out:  # the filter's own, which takes x and y each by itself
        sigmas = one.pred_keypoint_sigmas
        assert torch.equal(one.pred_keypoint_covariances, torch.diag_embed(sigmas.square()))
    assert [one.ID.tolist() for one in out[:20]] == [[1]] * 20
    predicted = [one for one in out[20:35] if len(one)]
    assert len(predicted) == 5 and all(one.predicted.all() for one in predicted)  # 0.2 seconds
    assert [one.ID.tolist() for one in out[35:]] == [[1]] * 15
    sigmas = [one.pred_keypoint_sigmas.mean().item() for one in predicted]
    assert sigmas == sorted(sigmas) and sigmas[0] > out[19].pred_keypoint_sigmas.mean()
    # Carried where it goes, not frozen; and less sure.
    assert predicted[-1].pred_keypoints[0, :, 0].mean() == pytest.approx(SHAPE[:, 0].mean() + 100 + 4 * 24, abs=4)
    assert predicted[-1].pred_keypoints[..., 2].mean() < out[19].pred_keypoints[..., 2].mean()


def test_with_a_lag_a_gap_is_filled():
    frames = [people(*([] if 20 <= i < 28 else [(100 + 4 * i, 240)])) for i in range(50)]
    out = follow(frames, lag=10)
    assert [one.ID.tolist() for one in out] == [[1]] * 50
    for i in range(20, 28):
        assert out[i].predicted.all()
        assert out[i].pred_keypoints[0, :, :2].numpy() == pytest.approx(SHAPE + (100 + 4 * i, 240), abs=1.0)


def test_who_stays_away_too_long_is_somebody_new():
    frames = [people(*([] if 10 <= i < 40 else [(100, 240)])) for i in range(45)]
    out = follow(frames)
    assert out[9].ID.tolist() == [1] and out[44].ID.tolist() == [2]


def test_a_low_score_keeps_a_track_but_starts_none():
    place = (100, 240)
    out = follow([people(place, scores=[0.8 if i < 5 else 0.15]) for i in range(20)])
    assert [one.ID.tolist() for one in out] == [[1]] * 20 and not out[-1].predicted.any()
    assert sum(len(one) for one in follow([people(place, scores=[0.15])] * 10)) == 0


def test_a_second_detection_of_a_person_starts_no_track():
    frames = [people((100, 240), (104, 240), scores=[0.8, 0.6]) if i > 2 else people((100, 240)) for i in range(10)]
    assert {number for one in follow(frames) for number in one.ID.tolist()} == {1}


def test_a_single_detection_is_not_shown():
    frames = [people((100, 240))] * 10 + [people((100, 240), (400, 240))] + [people((100, 240))] * 10
    assert {number for one in follow(frames) for number in one.ID.tolist()} == {1}


def test_without_smoothing_the_people_are_as_they_were_found():
    rng = np.random.default_rng(2)
    frames = [people((100, 240), (300, 240), scores=[0.7, 0.8], noise=(rng, 3.0)) for _ in range(10)]
    for before, after in zip(frames, follow(frames, smooth=False)):
        assert (after.pred_keypoints == before.pred_keypoints.flip(0)).all()  # best first
        assert (after.pred_boxes.tensor == before.pred_boxes.tensor.flip(0)).all()


def test_smoothing_brings_joints_nearer_and_more_so_with_a_lag():
    rng = np.random.default_rng(3)
    frames = [people((100 + 3 * i, 240), noise=(rng, 3.0), sigma=3.0) for i in range(80)]

    def error(out):
        return np.mean([np.abs(one.pred_keypoints[0, :, :2].numpy() - SHAPE - (100 + 3 * i, 240)).mean()
                        for i, one in enumerate(out) if 20 <= i < 60])  # fmt: skip

    raw, online, late = (error(follow(frames, **k)) for k in ({"smooth": False}, {}, {"lag": 8}))
    assert online < 0.7 * raw and late < 0.8 * online


def test_an_uncertain_joint_moves_less():
    rng = np.random.default_rng(4)
    frames = [people((100, 240), noise=(rng, 2.0)) for _ in range(20)]
    last = frames[-1]
    last.pred_keypoints[:, :2, 0] += 10
    last.pred_keypoint_sigmas[:, 0] = 30.0
    moved = (follow(frames)[-1].pred_keypoints[0, :2, 0] - torch.from_numpy(SHAPE[:2, 0] + 100)).tolist()
    assert abs(moved[0]) < 0.3 * abs(moved[1])


def test_frames_come_back_in_order_and_one_for_one():
    frames = [people(*[(100 + 100 * k, 200 + i) for k in range(i % 4)]) for i in range(17)]
    for lag in (0, 1, 6, 40):
        assert len(follow(frames, lag=lag)) == 17
    tracker = PoseTracker(COCO, lag=3)
    assert [len(tracker.push(frame, i / RATE)) for i, frame in enumerate(frames[:6])] == [0, 0, 0, 1, 1, 1]
    assert len(tracker.finish()) == 3 and tracker.finish() == []


def test_bad_joints_do_no_harm():
    frames = [people((100, 240)) for _ in range(8)]
    frames[0].pred_keypoints[0, 3] = float("nan")
    frames[4].pred_keypoints[0, 5] = float("inf")
    frames[5].pred_keypoint_sigmas[0, 6] = float("nan")
    out = follow(frames)
    assert [one.ID.tolist() for one in out] == [[1]] * 8
    assert all(torch.isfinite(one.pred_keypoints).all() for one in out)


def test_misuse_is_said():
    with pytest.raises(DataError, match="pred_keypoint_sigmas"):
        bare = people((100, 240))
        bare.remove("pred_keypoint_sigmas")
        PoseTracker(COCO)(bare, 0.0)
    with pytest.raises(DataError, match="17"):
        few = people((100, 240))
        few.pred_keypoints = few.pred_keypoints[:, :5]
        PoseTracker(COCO)(few, 0.0)
    with pytest.raises(ValueError, match="push"):
        PoseTracker(COCO, lag=2)(people((100, 240)), 0.0)


def test_memory_does_not_grow_with_the_video():
    tracker = PoseTracker(COCO, lag=3, options=OPTIONS)
    for i in range(300):
        tracker.push(people((100 + 7 * (i % 60), 240)), i / RATE)
    assert len(tracker._last) < 20 and len(tracker._waiting) == 3


def test_plain_arrays():
    tracker = Tracker(tolerance=2 * np.array(COCO.oks_sigmas), accelerations=accelerations_for(COCO), options=OPTIONS)
    for i in range(4):
        points = SHAPE[None] + (100 + i, 240)
        box = np.concatenate([points.min(1), points.max(1)], 1)
        found = tracker.detections(points, np.full((1, 17, 2), 2.0), box, [0.9])
        tracks = tracker.update(found, i / RATE)
    assert tracks.ids.tolist() == [1] and tracks.source.tolist() == [0]
    assert tracks.state.position[0, :17] == pytest.approx(SHAPE + (103, 240), abs=1.5)


def test_a_joint_that_is_never_seen_stays_with_the_person_for_long():
    rng, frames = np.random.default_rng(0), []
    for i in range(2000):
        frame = people((50 + i / 10, 200), noise=(rng, 3.0))  # more noise than the sigma says
        frame.pred_keypoint_presence = torch.ones(1, 17)
        frame.pred_keypoint_presence[:, 15:] = 0.0
        frames.append(frame)
    for out in follow(frames)[-100:]:
        assert out.ID.tolist() == [1] and torch.isfinite(out.pred_keypoints).all()
        middle = out.pred_boxes.get_centers()[:, None]
        assert (out.pred_keypoints[:, 15:, :2] - middle).abs().max() < 12
        assert 10 < out.pred_keypoint_sigmas[:, 15:].min() and out.pred_keypoint_sigmas.max() < 200


def test_a_hidden_joint_of_a_person_who_is_noisier_than_foreseen_keeps_a_sane_sigma():
    rng, frames = np.random.default_rng(0), []
    for i in range(300):
        frame = people((300, 200), noise=(rng, 6.0))
        frame.pred_keypoint_presence = torch.ones(1, 17)
        frame.pred_keypoint_presence[:, 9] = float(i < 50)
        frames.append(frame)
    out = follow(frames)
    assert out[60].pred_keypoint_sigmas[0, 9, 0] < out[-1].pred_keypoint_sigmas[0, 9, 0] < 600


def test_a_joint_that_appears_is_as_sure_as_the_others_at_once():
    frames = [people((300, 200)) for _ in range(12)]
    for i, frame in enumerate(frames):
        frame.pred_keypoint_presence = torch.ones(1, 17)
        frame.pred_keypoint_presence[:, 9] = float(i >= 6)
    sigmas = follow(frames)[7].pred_keypoint_sigmas[0, :, 0]
    assert sigmas[9] < 1.5 * sigmas[7]
    for out in follow(frames, lag=8):
        assert out.pred_keypoint_sigmas.min() > 0.2


def test_a_person_who_is_predicted_keeps_what_was_last_said_of_the_joints():
    """Whether joints are visible is not smoothed: each frame says it, and who is not found keeps the last word."""
    frames = [people((300, 200)) for _ in range(12)]
    for i, frame in enumerate(frames):
        frame.pred_keypoint_visibility = torch.full((1, 17), 0.9 - 0.05 * i)
    frames[8:10] = [frame[[]] for frame in frames[8:10]]
    for lag in (0, 4):
        found = follow(frames, lag=lag)
        assert [out.predicted.tolist() for out in found[7:11]] == [[False], [True], [True], [False]]
        said = [float(out.pred_keypoint_visibility[0, 3]) for out in found[7:11]]
        assert said == pytest.approx([0.55, 0.55, 0.55, 0.4])


@pytest.mark.parametrize("rate", [25.0, 4.0])
def test_low_scores_keep_a_track_also_where_frames_are_rare(rate):
    tracker = PoseTracker(COCO, options=OPTIONS)
    scores = [0.8, 0.8, 0.15, 0.15, 0.8]
    assert [tracker(people((300, 200), scores=[s]), i / rate).ID.tolist() for i, s in enumerate(scores)] == [[1]] * 5


def test_time_must_grow():
    tracker = PoseTracker(COCO, options=OPTIONS)
    tracker(people((300, 200)), 1.0)
    for time in (1.0, 0.5, float("nan")):
        with pytest.raises(DataError, match="grow"):
            tracker(people((300, 200)), time)
    assert tracker(people((300, 200)), 1.04).ID.tolist() == [1]


def test_a_person_of_no_area_does_no_harm():
    frames = [people((300, 200)) for _ in range(4)]
    for frame in frames:
        frame.pred_areas = torch.zeros(1)
    assert all(torch.isfinite(out.pred_keypoints).all() and len(out) == 1 for out in follow(frames))
