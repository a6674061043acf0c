"""Do joints jitter, are they right, do they come late? Tracks beside true motion.

With the error ``e_t`` of a joint and its true velocity ``v_t``: *error* is the mean of ``|e_t|``, *jitter* the mean
of ``|e_(t+1) - 2 e_t + e_(t-1)|`` (the error of the acceleration, in a frame), both in percent of the person's size
(square root of the area); *lag* is the delay in frames that explains the error best: ``e = -lag v`` by least squares;
*error/sigma* is the root mean square of the error in reported standard deviations, 1 if they are honest.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .clips import similarities

if TYPE_CHECKING:
    from video_benchmark.clips import Clip, Tracked


NAMES = ("error", "jitter", "lag", "error/sigma")
# A detection less similar to everybody is nobody's.
_MATCH = 0.5


class Pairs(NamedTuple):
    """People found, and who they are: R pairs.

    ``found`` (R,): rows of the tracks; ``true`` (R,): rows of the clip. ``before``, ``after`` (R,): the pair of the
    same two identities one frame earlier and later, -1 if there is none.
    """

    found: np.ndarray
    true: np.ndarray
    before: np.ndarray
    after: np.ndarray


def match(clip: "Clip", tracked: "Tracked", sigmas: tuple[float, ...]) -> "Pairs":
    """Who is who, frame by frame: the assignment with the largest sum of OKS, of at least 0.5.

    Args:
        clip: :class:`~.clips.Clip`.
        tracked: :class:`~.clips.Tracked`, people as found.
        sigmas: (K,) COCO's.

    Returns:
        :class:`Pairs`.
    """
    rows_found, rows_true = [], []
    for mine, theirs, oks in similarities(clip, tracked, sigmas):
        rows, columns = linear_sum_assignment(-oks)
        good = oks[rows, columns] >= _MATCH
        rows_true.append(mine.start + rows[good])
        rows_found.append(theirs.start + columns[good])
    found, true = np.concatenate(rows_found).astype(int), np.concatenate(rows_true).astype(int)
    index = {
        key: i for i, key in enumerate(zip(tracked.frame[found], tracked.track_id[found], clip.people.track_id[true]))
    }
    before, after = (
        np.array([index.get((frame + step, a, b), -1) for frame, a, b in index], dtype=int) for step in (-1, 1)
    )
    return Pairs(found, true, before, after)


def smoothness(clip: "Clip", pairs: "Pairs", keypoints: np.ndarray, sigmas: np.ndarray) -> dict[str, tuple]:
    """The metrics of a clip.

    Args:
        clip: :class:`~.clips.Clip`.
        pairs: :func:`match` of the people as found.
        keypoints: (N, K, 2) of the same people, smoothed or not.
        sigmas: (N, K, 2) standard deviations of the same people.

    Returns:
        dict of ``NAMES`` -> (sum, weight), to be added up over clips by :func:`smoothness_metrics`.
    """
    truth, labelled = clip.people.keypoints[pairs.true], clip.labelled[pairs.true]
    size = np.sqrt(clip.area[pairs.true])[:, None, None]
    error = (keypoints[pairs.found] - truth) / size
    middle = np.flatnonzero((pairs.before >= 0) & (pairs.after >= 0))
    before, after = pairs.before[middle], pairs.after[middle]
    # In the size of the middle frame: it changes little, and a change of size is no jitter.
    scale = size[middle]
    bend = (error[before] * size[before] - 2 * error[middle] * scale + error[after] * size[after]) / scale
    seen = labelled[middle] & labelled[before] & labelled[after]
    velocity = (truth[after] - truth[before]) / 2 / scale
    distance, jitter = np.linalg.norm(error, axis=-1), np.linalg.norm(bend, axis=-1)
    return {
        "error": (100 * distance[labelled].sum(), labelled.sum()),
        "jitter": (100 * jitter[seen].sum(), seen.sum()),
        "error/sigma": (np.square(error * size / sigmas[pairs.found])[labelled].sum(), 2 * labelled.sum()),
        "lag": (-(velocity * error[middle])[seen].sum(), np.square(velocity)[seen].sum()),
    }


def smoothness_metrics(results: list[dict[str, tuple]]) -> dict[str, float]:
    """Metrics of several clips together: dict of ``NAMES`` -> percent of the person's size, frames, or a ratio."""
    means = {name: sum(r[name][0] for r in results) / max(sum(r[name][1] for r in results), 1e-12) for name in NAMES}
    means["error/sigma"] = np.sqrt(means["error/sigma"])
    return {name: float(value) for name, value in means.items()}
