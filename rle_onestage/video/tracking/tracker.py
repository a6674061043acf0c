"""Online tracking of people by their joints: plain NumPy in and out.

Each frame, every track is moved on by :mod:`.motion` and compared with every detection; detections with a high score
choose among all tracks, then those with a low score among the tracks that are left and were seen lately (as in
ByteTrack, Zhang et al., ECCV 2022): a person half hidden gets a low score, and is still that person. What is left
over and has a high score starts a track.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ...structures.boxes import iou_matrix
from . import motion
from .association import assign, pose_similarity


@dataclass(frozen=True)
class TrackerOptions:
    """Thresholds and times. Chosen on clips of their own (``projects/video_benchmark``).

    Attributes:
        high: lowest score of the first round.
        low: lowest score of the second round.
        birth: lowest score that starts a track.
        match: lowest similarity of a pair in the first round.
        match_low: lowest similarity of a pair in the second round.
        overlap: share of the box overlap in the similarity; the rest is expected OKS.
        duplicate: a detection this similar to a track that has another one starts none.
        confirm: detections before a track is shown, except in the first frames.
        lately: seconds since it was seen within which a track takes low scores; two frames at least.
        keep: seconds that a track waits for its person.
        carry: seconds since it was seen within which a track is shown as predicted; two frames at least.
        noise: measured variance is this times the model's: the part that is new in each frame.
        lasting: the part that stays from frame to frame, which no filter removes, as a multiple of the former.
        box_noise: standard deviation of a box corner, person sizes.
        box_acceleration: of a box corner, person sizes per second to the 3/2.
        swing: factor of all joints' accelerations.
        speed: standard deviation of a new person's velocity, person sizes a second.
        relaxation: seconds, see :mod:`.motion`.
        outlier: standard deviations, see :func:`.motion.update`.
        surprise: mean squared innovation, see :func:`.motion.widen`.
    """

    high: float = 0.23
    low: float = 0.09
    birth: float = 0.5
    match: float = 0.095
    match_low: float = 0.46
    overlap: float = 0.4
    duplicate: float = 0.49
    confirm: int = 2
    lately: float = 0.1
    keep: float = 3.0
    carry: float = 0.4
    noise: float = 0.55
    lasting: float = 1.0
    box_noise: float = 0.08
    box_acceleration: float = 1.5
    swing: float = 1.0
    speed: float = 3.0
    relaxation: float = 0.2
    outlier: float = 3.3
    surprise: float = 0.8


DEFAULTS = TrackerOptions()
_NEW = 0.3  # weight of the last frame in running means


class Detections(NamedTuple):
    """People of one frame, N of them."""

    points: np.ndarray  # (N, J, 2) joints, then two corners of the box, in pixels
    variance: np.ndarray  # (N, J, 2) square pixels, infinite where there is no measurement
    scores: np.ndarray  # (N,)
    area: np.ndarray  # (N,) square pixels


class Tracks(NamedTuple):
    """The tracks of one frame, T of them."""

    ids: np.ndarray  # (T,) 0 until a track is confirmed
    keys: np.ndarray  # (T,) never reused, ascending
    state: motion.State
    source: np.ndarray  # (T,) index of this frame's detection, or -1
    unseen: np.ndarray  # (T,) seconds since the last detection
    hits: np.ndarray  # (T,) number of detections
    scores: np.ndarray  # (T,) of the last detection
    area: np.ndarray  # (T,) square pixels
    measured: np.ndarray  # (T, J, 2) running mean of the measurements' variance; NaN: never measured

    def rows(self, index: motion.Index) -> "Tracks":
        """Some of the tracks."""
        arrays = {name: getattr(self, name)[index] for name in self._fields if name != "state"}
        return self._replace(state=self.state.rows(index), **arrays)

    def joined(self, other: "Tracks") -> "Tracks":
        """These tracks, then the others."""
        names = (name for name in self._fields if name != "state")
        arrays = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        return self._replace(state=self.state.joined(other.state), **arrays)


class Tracker:
    """Tracks of people over frames.

    Args:
        tolerance: (K,) twice COCO's sigma of each joint.
        accelerations: (K,) strength of each joint's random acceleration, see :mod:`.motion`.
        options: :class:`TrackerOptions`.

    Attributes:
        tracks: :class:`Tracks` after the last update.
        transition: the last prediction, for the smoother.
        carry: seconds, the option or two frames.
    """

    def __init__(self, *, tolerance: np.ndarray, accelerations: np.ndarray, options: TrackerOptions = DEFAULTS) -> None:
        self.options = options
        self.tolerance = np.asarray(tolerance, dtype=float)
        box = [options.box_acceleration] * 2
        self.accelerations = np.concatenate([options.swing * np.asarray(accelerations, dtype=float), box])
        none, whole = np.zeros(0), np.zeros(0, int)
        state = motion.empty_state(len(self.accelerations))
        self.tracks = Tracks(whole, whole, state, whole, none, whole, none, none, state.pp)
        self.transition: motion.Transition | None = None
        self._time: float | None = None
        self.carry, self._lately = options.carry, options.lately
        self._next_id = self._next_key = 1
        self._frames = 0

    def detections(
        self,
        keypoints: np.ndarray,
        sigmas: np.ndarray,
        boxes: np.ndarray,
        scores: np.ndarray,
        *,
        present: np.ndarray | None = None,
        area: np.ndarray | None = None,
    ) -> Detections:
        """The input of :meth:`update` from what a network gives.

        Args:
            keypoints: (N, K, 2) pixels.
            sigmas: (N, K, 2) standard deviations in pixels.
            boxes: (N, 4) corners.
            scores: (N,).
            present: (N, K) bool: joints that are in the image; None: all.
            area: (N,) as COCO has it; None: 0.55 of the box's.

        Returns:
            :class:`Detections`.
        """
        keypoints, sigmas, boxes = (np.asarray(v, dtype=float) for v in (keypoints, sigmas, boxes))
        corners = boxes.reshape(-1, 2, 2)
        size = np.sqrt(np.clip(corners[:, 1] - corners[:, 0], 1.0, None).prod(-1))
        variance = self.options.noise * np.square(sigmas)
        bad = ~(np.isfinite(keypoints) & np.isfinite(sigmas)).all(-1)
        if present is not None:
            bad |= ~np.asarray(present)
        variance[bad] = np.inf
        box_variance = np.square(self.options.box_noise * size)[:, None, None] * np.ones((1, 2, 2))
        area = 0.55 * np.square(size) if area is None else np.maximum(np.asarray(area, dtype=float), 1.0)
        points = np.concatenate([np.where(bad[..., None], 0.0, keypoints), corners], 1)
        return Detections(points, np.concatenate([variance, box_variance], 1), np.asarray(scores, dtype=float), area)

    def update(self, detections: Detections, time: float) -> Tracks:
        """Take one frame.

        Args:
            detections: :class:`Detections`.
            time: of the frame, seconds; later than the last one.

        Returns:
            :class:`Tracks`, also those that have no detection in this frame.

        Raises:
            DataError: the time does not grow.
        """
        if not np.isfinite(time) or (self._time is not None and time <= self._time):
            raise DataError(f"a frame at {time} s came after one at {self._time} s; give times in seconds that grow")
        dt = 0.0 if self._time is None else time - self._time
        self._time, self._frames = time, self._frames + 1
        self.carry, self._lately = (max(t, 2 * dt) for t in (self.options.carry, self.options.lately))
        self._predict(dt)
        similarity = self._similarity(detections)
        rows, columns = self._match(similarity, detections.scores)
        self._update(rows, columns, detections)
        self._start(self._unclaimed(similarity, columns, detections.scores), detections)
        self._end()
        self._confirm()
        return self.tracks

    def _predict(self, dt: float) -> None:
        tracks = self.tracks
        if not dt:
            return
        self.transition = motion.predict(
            tracks.state, dt, np.sqrt(tracks.area), self.accelerations, self.options.relaxation
        )
        predicted = _about_the_middle(self.transition.predicted, np.isnan(tracks.measured), tracks.area)
        self.transition = self.transition._replace(predicted=predicted)
        self.tracks = tracks._replace(state=predicted, unseen=tracks.unseen + dt, source=np.full(len(tracks.ids), -1))

    def _similarity(self, detections: Detections) -> np.ndarray:
        state, joints = self.tracks.state, len(self.tolerance)
        pose = pose_similarity(
            state.position[:, :joints], state.pp[:, :joints], detections.points[:, :joints],
            detections.variance[:, :joints], detections.area, self.tolerance,
        )  # fmt: skip
        boxes = iou_matrix(boxes_of(state.position), boxes_of(detections.points))
        return (1 - self.options.overlap) * pose + self.options.overlap * boxes

    def _match(self, similarity: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pairs of both rounds."""
        o = self.options
        rows, columns = assign(similarity, (similarity >= o.match) & (scores >= o.high)[None])
        free = np.ones(len(self.tracks.ids), bool)
        free[rows] = False
        # A track seen of late; longer ago, a low score is not enough.
        lately = self.tracks.unseen <= self._lately
        second = (free & lately)[:, None] & ((scores >= o.low) & (scores < o.high))[None]
        more_rows, more_columns = assign(similarity, second & (similarity >= o.match_low))
        return np.concatenate([rows, more_rows]), np.concatenate([columns, more_columns])

    def _update(self, rows: np.ndarray, columns: np.ndarray, detections: Detections) -> None:
        tracks, seen = self.tracks, (detections.points[columns], detections.variance[columns])
        predicted = motion.widen(tracks.state.rows(rows), *seen, self.options.surprise)
        if self.transition is not None:  # the smoother is to know
            self.transition = self.transition._replace(predicted=self.transition.predicted.put(rows, predicted))
        state = motion.update(predicted, *seen, self.options.outlier)
        source, unseen, hits = tracks.source.copy(), tracks.unseen.copy(), tracks.hits.copy()
        scores, area, measured = tracks.scores.copy(), tracks.area.copy(), tracks.measured.copy()
        source[rows], unseen[rows], scores[rows] = columns, 0.0, detections.scores[columns]
        hits[rows] += 1
        area[rows] += _NEW * (detections.area[columns] - area[rows])
        new = detections.variance[columns]
        old = np.where(np.isnan(measured[rows]), new, measured[rows])
        measured[rows] = np.where(np.isfinite(new), (1 - _NEW) * old + _NEW * new, measured[rows])
        self.tracks = Tracks(
            tracks.ids, tracks.keys, tracks.state.put(rows, state), source, unseen, hits, scores, area, measured
        )

    def _unclaimed(self, similarity: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Detections that start a track."""
        free = scores >= self.options.birth
        free[columns] = False
        taken = self.tracks.source >= 0
        if taken.any():
            free &= similarity[taken].max(0) < self.options.duplicate
        return np.flatnonzero(free)

    def _start(self, columns: np.ndarray, detections: Detections) -> None:
        n = len(columns)
        area = detections.area[columns]
        there = np.isfinite(detections.variance[columns])
        variance = np.where(there, detections.variance[columns], np.nan)
        state = motion.initial_state(detections.points[columns], variance, self.options.speed * np.sqrt(area))
        state = _about_the_middle(state, ~there, area)
        keys = self._next_key + np.arange(n)
        self._next_key += n
        new = Tracks(
            np.zeros(n, int), keys, state, columns, np.zeros(n), np.ones(n, int), detections.scores[columns], area,
            variance,
        )  # fmt: skip
        self.tracks = self.tracks.joined(new)

    def _end(self) -> None:
        """Tracks that waited too long; those that were never confirmed wait for no one."""
        tracks = self.tracks
        self.tracks = tracks.rows(np.where(tracks.ids > 0, tracks.unseen <= self.options.keep, tracks.source >= 0))

    def _confirm(self) -> None:
        tracks, ids = self.tracks, self.tracks.ids.copy()
        new = np.flatnonzero(
            (ids == 0) & ((tracks.hits >= self.options.confirm) | (self._frames < self.options.confirm))
        )
        ids[new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)
        self.tracks = tracks._replace(ids=ids)


def _about_the_middle(state: motion.State, which: np.ndarray, area: np.ndarray) -> motion.State:
    """The states with some points, that were never measured, anywhere about their person and moving with its box.

    Args:
        state: of tracks whose last two points are corners.
        which: (T, J, 2) bool.
        area: (T,).
    """
    if not which.any():
        return state
    middle, variance = state.position[:, -2:].mean(1, keepdims=True), area[:, None, None]
    velocity = state.velocity[:, -2:].mean(1, keepdims=True)
    values = (middle, velocity, variance, 0.0, variance)
    return motion.State(*(np.where(which, new, old) for new, old in zip(values, state)))


def boxes_of(points: np.ndarray) -> np.ndarray:
    """Boxes (T, 4) of tracks or detections (T, J, 2): the last two points."""
    return points[:, -2:].reshape(-1, 4)
