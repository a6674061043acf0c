"""Identities and smooth joints for people found in the frames of a video: Detectron2's ``Instances`` in and out."""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from ...errors import DataError
from ...structures.covariance import covariance_of
from ...structures.oks import expected_gaussian
from ...structures.skeleton import Skeleton
from . import motion
from .joints import accelerations_for
from .tracker import DEFAULTS, Detections, Tracker, TrackerOptions, Tracks, boxes_of

# Joints less likely than this to be in the image are not measured.
_PRESENT = 0.25
_NEEDED = ("pred_boxes", "scores", "pred_keypoints", "pred_keypoint_sigmas")


class _Frame(NamedTuple):
    """A frame that waits: its people, its tracks, and the prediction that led to them."""

    people: Instances
    tracks: Tracks
    transition: motion.Transition | None
    carry: float


class PoseTracker:
    """Tracks people through a video and smooths their joints.

        >>> tracker = PoseTracker(skeleton)
        >>> people = tracker(predictor(frame), time)  # people.ID, smooth people.pred_keypoints

    Args:
        skeleton: the :class:`~.skeleton.Skeleton` of the joints.
        smooth: give the filter's joints and sigmas, also those of people who are hidden for a moment; False: the joints
            as they were found, with an ``ID``.
        lag: how many later frames a frame may wait for, which makes it better (for files): then use :meth:`push` and
            :meth:`finish`.
        options: :class:`~.tracker.TrackerOptions`.
    """

    def __init__(
        self, skeleton: Skeleton, *, smooth: bool = True, lag: int = 0, options: TrackerOptions = DEFAULTS
    ) -> None:
        if lag < 0:
            raise ValueError(f"lag {lag} is negative; give 0 or a number of frames")
        self.tolerance = 2 * np.asarray(skeleton.oks_sigmas, dtype=float)
        accelerations = accelerations_for(skeleton)
        self.tracker = Tracker(tolerance=self.tolerance, accelerations=accelerations, options=options)
        self.smooth, self.lag = smooth, lag
        self._waiting: deque[_Frame] = deque()
        self._last: dict[int, tuple[Instances, int]] = {}  # key of a track -> (people, index) of its last detection

    def __call__(self, people: Instances, time: float) -> Instances:
        """The people of one frame with identities.

        Args:
            people: of a predictor: also those with low scores, which help to keep identities.
            time: of the frame, seconds; it must grow.

        Returns:
            ``Instances`` with the fields of the people and ``ID`` (N,) int64, above 0, the same for the same person;
            and ``predicted`` (N,) bool: not found in this frame, moved on by the filter with growing sigmas. Highest
            score first.

        Raises:
            DataError: a field is missing, or the time does not grow.
            ValueError: the tracker was made with a lag.
        """
        if self.lag:
            raise ValueError("a tracker with a lag answers later: use push() and finish()")
        return self.push(people, time)[0]

    def push(self, people: Instances, time: float) -> list[Instances]:
        """Take a frame; see :meth:`__call__`.

        Args:
            people: of the frame.
            time: seconds.

        Returns:
            the frames that are ready, at most one, ``lag`` frames late.
        """
        people = people.to(torch.device("cpu"))
        missing = [name for name in _NEEDED if not people.has(name)]
        if missing:
            raise DataError(f"people without {missing[0]} cannot be tracked; give what a Predictor gives")
        if people.pred_keypoints.shape[1] != len(self.tolerance):
            raise DataError(
                f"people have {people.pred_keypoints.shape[1]} joints but the tracker's skeleton has "
                f"{len(self.tolerance)}; make both from the same config"
            )
        tracks = self.tracker.update(self._detections(people), time)
        self._waiting.append(_Frame(people, tracks, self.tracker.transition, self.tracker.carry))
        return [self._release()] if len(self._waiting) > self.lag else []

    def finish(self) -> list[Instances]:
        """The frames that still wait, in order."""
        return [self._release() for _ in range(len(self._waiting))]

    def _detections(self, people: Instances) -> Detections:
        presence = people.get("pred_keypoint_presence") if people.has("pred_keypoint_presence") else None
        return self.tracker.detections(
            people.pred_keypoints[..., :2].double().numpy(),
            people.pred_keypoint_sigmas.double().numpy(),
            people.pred_boxes.tensor.double().numpy(),
            people.scores.double().numpy(),
            present=None if presence is None else presence.numpy() >= _PRESENT,
            area=people.pred_areas.double().numpy() if people.has("pred_areas") else None,
        )

    def _release(self) -> Instances:
        """The oldest waiting frame, as known with all that came after it."""
        state, ids, seen_again = self._look_back()
        people, tracks, _, carry = self._waiting.popleft()
        found = tracks.source >= 0
        self._last.update(
            (key, (people, source)) for key, source in zip(tracks.keys[found].tolist(), tracks.source[found].tolist())
        )
        shown = (ids > 0) & found
        if self.smooth:
            shown = (ids > 0) & (found | seen_again | (tracks.unseen <= carry))
        tracks = tracks._replace(state=state, ids=ids).rows(shown)
        out = self._instances(people, tracks)
        alive = set(self.tracker.tracks.keys.tolist())
        alive.update(key for frame in self._waiting for key in frame.tracks.keys.tolist())
        self._last = {key: value for key, value in self._last.items() if key in alive}
        return out

    def _look_back(self) -> tuple[motion.State, np.ndarray, np.ndarray]:
        """Of the oldest frame's tracks: smoothed states, identities, and whether they were found again."""
        frames = list(self._waiting)
        later = frames[-1].tracks
        seen = later.source >= 0
        for frame, following in zip(frames[-2::-1], frames[:0:-1]):
            tracks = frame.tracks
            if np.array_equal(tracks.keys, later.keys):
                mine: motion.Index = slice(None)
                theirs: motion.Index = mine  # views instead of copies: half the time
            else:
                mine = np.flatnonzero(np.isin(tracks.keys, later.keys))
                theirs = np.searchsorted(later.keys, tracks.keys[mine])
            ids, again = tracks.ids.copy(), np.zeros(len(tracks.ids), bool)
            ids[mine], again[mine] = later.ids[theirs], seen[theirs]
            state = tracks.state
            transition = following.transition
            if self.smooth and transition is not None:
                transition = transition._replace(predicted=transition.predicted.rows(mine))
                after = later.state.rows(theirs)
                smooth = motion.smooth(state.rows(mine), transition, after)
                # A point that was not measured so far was put somewhere: that does not make it surer than it is later.
                never = np.isnan(tracks.measured[mine])
                smooth = smooth._replace(pp=np.where(never, np.maximum(smooth.pp, after.pp), smooth.pp))
                state = state.put(mine, smooth)
            later, seen = tracks._replace(state=state, ids=ids), again | (tracks.source >= 0)
        return later.state, later.ids, seen

    def _instances(self, people: Instances, tracks: Tracks) -> Instances:
        """The people of some tracks, highest score first."""
        order = np.argsort(-tracks.scores, kind="stable")
        tracks = tracks.rows(order)
        found = torch.from_numpy(tracks.source >= 0)
        if found.all():
            out = people[torch.from_numpy(tracks.source)]
        else:
            out = _gather([self._last[key] for key in tracks.keys.tolist()], people.image_size)
        out.ID = torch.from_numpy(tracks.ids)
        out.predicted = ~found
        return self._smoothed(out, tracks) if self.smooth else out

    def _smoothed(self, out: Instances, tracks: Tracks) -> Instances:
        """People with the joints, sigmas, covariances and boxes of the filter."""
        joints = len(self.tolerance)
        points = tracks.state.position[:, :joints]
        lasting = self.tracker.options.lasting * np.nan_to_num(tracks.measured)
        sigmas = np.sqrt((tracks.state.pp + lasting)[:, :joints])
        scale = self.tolerance[None, :, None] * np.sqrt(tracks.area)[:, None, None]
        expected = expected_gaussian(torch.from_numpy(sigmas / scale)).prod(-1, keepdim=True)
        out.pred_keypoints = torch.cat([torch.from_numpy(points), expected], -1).to(out.pred_keypoints)
        out.pred_keypoint_sigmas = torch.from_numpy(sigmas).to(out.pred_keypoint_sigmas)
        if out.has("pred_keypoint_covariances"):  # the filter's own: it takes x and y each by itself
            none = torch.zeros_like(out.pred_keypoint_sigmas[..., 0])
            out.pred_keypoint_covariances = covariance_of(out.pred_keypoint_sigmas, none)
        out.pred_boxes = Boxes(torch.from_numpy(boxes_of(tracks.state.position)).to(out.pred_boxes.tensor))
        return out


def _gather(rows: list[tuple[Instances, int]], size: tuple[int, int]) -> Instances:
    """Instances of (people, index) pairs."""
    parts = [people[index : index + 1] for people, index in rows]
    for part in parts:
        part._image_size = tuple(size)
    return Instances.cat(parts)
