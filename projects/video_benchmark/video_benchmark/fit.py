"""Accelerations of joints that make the next measurement most likely."""

from typing import TYPE_CHECKING

import numpy as np

from rle_onestage.structures.skeleton import split_side
from rle_onestage.video.tracking import motion

from .variants import Variant, run

if TYPE_CHECKING:
    from rle_onestage.structures.skeleton import Skeleton
    from rle_onestage.video.tracking.tracker import TrackerOptions
    from video_benchmark.clips import Clip
    from video_benchmark.detections import Found


# Person sizes per second to the 3/2.
CANDIDATES = (0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 9.0)
_LONGEST_GAP = 0.25  # seconds; after it a track starts anew


def fit_accelerations(
    cases: "dict[str, tuple[Clip, Found]]", skeleton: "Skeleton", options: "TrackerOptions"
) -> dict[str, float]:
    """The best of ``CANDIDATES`` for each kind of joint (both sides together), by the likelihood of the innovations.

    The innovation (measurement minus prediction) is taken as Laplace with the filter's variance: long tails.

    Args:
        cases: of :func:`~.detections.load_all`.
        skeleton: of the joints.
        options: of the tracker.

    Returns:
        dict kind of joint -> acceleration.
    """
    total = np.zeros((len(CANDIDATES), skeleton.num_joints))
    for clip, found in cases.values():
        done = run(Variant(options, smooth=False), clip, found, skeleton)
        for track in np.unique(done.raw.track_id):
            rows = np.flatnonzero(done.raw.track_id == track)
            data = done.raw.keypoints[rows], done.raw.sigmas[rows], done.raw.frame[rows] / clip.rate, done.sizes[rows]
            total += [_surprise(*data, acceleration, options) for acceleration in CANDIDATES]
    kinds = [split_side(name)[0] for name in skeleton.names]
    return {kind: CANDIDATES[total[:, [k == kind for k in kinds]].sum(1).argmin()] for kind in dict.fromkeys(kinds)}


def _surprise(
    points: np.ndarray,
    sigmas: np.ndarray,
    times: np.ndarray,
    sizes: np.ndarray,
    acceleration: float,
    options: "TrackerOptions",
) -> np.ndarray:
    """Negative log-likelihood (K,) of a track's measurements (T, K, 2), each given those before it."""
    accelerations = np.full(points.shape[1], acceleration)
    variance = options.noise * np.square(sigmas)
    total, state = np.zeros(points.shape[1]), None
    for i in range(len(points)):
        one = slice(i, i + 1)
        gap = times[i] - times[i - 1]
        if state is None or gap > _LONGEST_GAP:
            state = motion.initial_state(points[one], variance[one], options.speed * sizes[one])
            continue
        state = motion.predict(state, gap, sizes[one], accelerations, options.relaxation).predicted
        spread = np.sqrt(state.pp + variance[one])
        away = np.abs(points[one] - state.position) / spread
        total += (np.sqrt(2) * away + np.log(spread)).sum((0, 2))
        state = motion.widen(state, points[one], variance[one], options.surprise)
        state = motion.update(state, points[one], variance[one], options.outlier)
    return total
