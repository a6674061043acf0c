"""Errors of joints in space, in millimetres.

MPJPE is the mean distance of the joints after both poses are moved so that their roots are one point (Ionescu et al.,
"Human3.6M", PAMI 2014). N-MPJPE allows the prediction one factor of its size too, that of least squares (Rhodin et al.,
CVPR 2018), and PA-MPJPE a turn as well (Procrustes alignment; Umeyama, PAMI 1991). A joint counts where its place is
known and it is labelled in the image, as in training.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...structures.boxes import iou_matrix
from ...structures.depth_density import SpaceDensity
from ...structures.root import root_weights
from ..ground_truth import GroundTruth
from ..per_joint import MATCH_IOU, greedy_match
from ..results import Result, boxes_array, by_image

LEVELS = (0.5, 0.8, 0.9, 0.95)
_DEPTH = tuple(f"depth_{100 * level:g}" for level in LEVELS)
SPACE_METRICS = ("MPJPE", "PA-MPJPE", "N-MPJPE", "depth error", "MRPE", "found", "people", *_DEPTH)


class SpaceMatches(NamedTuple):
    """Predictions of S labelled people; millimetres, relative to the root."""

    predicted: np.ndarray  # (S, K, 3)
    sigmas: np.ndarray  # (S, K, 3); NaN where the results have none
    labels: np.ndarray  # (S, K, 3); NaN where a joint is not known, or not labelled in the image
    root_error: np.ndarray  # (S,) distance of the roots in the camera's axes; NaN where one is not known
    image_id: list[Any]  # S
    people: int  # labelled people, found or not

    def at(self, rows: np.ndarray, people: int) -> "SpaceMatches":
        """Some of them, of so many labelled people."""
        images = [self.image_id[row] for row in np.arange(len(self.labels))[rows]]
        return SpaceMatches(
            self.predicted[rows], self.sigmas[rows], self.labels[rows], self.root_error[rows], images, people
        )


def has_space(truth: GroundTruth, results: Sequence[Result]) -> bool:
    """Whether both the labels and the results have joints in space."""
    return any("keypoints_3d" in r for r in results) and any("points_3d" in a for a in truth.annotations)


def match_in_space(
    truth: GroundTruth,
    results: Sequence[Result],
    names: Sequence[str],
    *,
    max_people: int = 20,
    least_iou: float = MATCH_IOU,
) -> SpaceMatches:
    """Match results to labelled people with joints in space, by the IoU of boxes, greedily by score.

    Args:
        truth: the labels.
        results: COCO results with ``keypoints_3d``.
        names: K joint names, which say where the root is.
        max_people: results an image that count, best first.
        least_iou: of a match.
    """
    weights, _ = root_weights(names)
    groups, rows, people = by_image(list(results)), [], 0
    for image_id, labelled in truth.by_image().items():
        labels = [a for a in labelled if "points_3d" in a]
        people += len(labels)
        group = [r for r in groups.get(image_id, ())[:max_people] if "keypoints_3d" in r]
        if not labels or not group:
            continue
        everybody = boxes_array(labelled)
        for i, j in greedy_match(iou_matrix(boxes_array(group), everybody), least_iou):
            if "points_3d" in labelled[j]:
                rows.append((*_pair(group[i], labelled[j], weights), image_id))
    k = len(names)
    if not rows:
        none = np.zeros((0, k, 3))
        return SpaceMatches(none, none, none, np.zeros(0), [], people)
    predicted, sigmas, points, root, images = zip(*rows)
    return SpaceMatches(np.stack(predicted), np.stack(sigmas), np.stack(points), np.array(root), list(images), people)


def _pair(
    result: Result, label: dict[str, Any], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Predicted joints, their sigmas, labelled joints, and the distance of the roots."""
    shape = (len(weights), 3)
    predicted = np.reshape(np.array(result["keypoints_3d"], float), shape)
    sigmas = np.reshape(np.array(result.get("keypoint_3d_sigmas", np.full(shape, math.nan)), float), shape)
    points = _moved(np.array(label["points_3d"], float), predicted, weights)
    labelled = np.reshape(label["keypoints"], (-1, 3))[:, 2] > 0
    points = np.where(labelled[:, None], points, math.nan)
    root = np.array(result.get("root_3d", [math.nan] * 3), float) - np.array(label["root_3d"], float)
    return predicted, sigmas, points, float(np.linalg.norm(root))


def _moved(points: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Labelled joints (K, 3) relative to the root of all joints, where it is the middle of all and some have no place.

    They are relative to the middle of those that have one. It is taken to be where that of the same joints is in the
    prediction, so that a joint without a label is no error.
    """
    known = np.isfinite(points).all(1)
    if known.all() or not known.any() or not (weights > 0).all():
        return points
    return points + predicted[known].mean(0) - weights @ predicted


def joint_distances(predicted: np.ndarray, labels: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Distances (S, K) after the roots are one point; NaN for joints that do not count.

    Args:
        predicted: (S, K, 3).
        labels: (S, K, 3) relative to the root; NaN for joints that do not count.
        root: (K,) weights of the joints whose mean is the root.
    """
    origin = np.einsum("k,skd->sd", root, predicted)
    return np.linalg.norm(predicted - origin[:, None] - labels, axis=-1)


def n_mpjpe(predicted: np.ndarray, labels: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Distances (S, K) after the roots are one point and the prediction has the size of least squares.

    Args:
        predicted: (S, K, 3).
        labels: (S, K, 3), see :func:`joint_distances`.
        root: (K,), see there.
    """
    moved = predicted - np.einsum("k,skd->sd", root, predicted)[:, None]
    known = np.isfinite(labels)
    common = np.where(known, moved * np.nan_to_num(labels), 0).sum((1, 2))
    square = np.where(known, moved**2, 0).sum((1, 2))
    factor = common / np.maximum(square, 1e-12)
    return np.linalg.norm(factor[:, None, None] * moved - labels, axis=-1)


def pa_mpjpe(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distances (S, K) after the similarity (turn, size, shift) of least squares, without mirroring.

    Args:
        predicted: (S, K, 3).
        labels: (S, K, 3); NaN for joints that do not count.
    """
    result = np.full(labels.shape[:2], math.nan)
    for row, own, label in zip(result, predicted, labels):
        known = np.isfinite(label).all(1)
        if not known.any():
            continue
        a, b = own[known] - own[known].mean(0), label[known] - label[known].mean(0)
        u, s, vt = np.linalg.svd(b.T @ a)
        sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
        turn = (u * sign) @ vt
        size = (s * sign).sum() / max((a**2).sum(), 1e-12)
        row[known] = np.linalg.norm(size * a @ turn.T - b, axis=1)
    return result


def _mean(distances: np.ndarray) -> float:
    known = np.isfinite(distances)
    return float(distances[known].mean()) if known.any() else math.nan


def errors_in_space(matches: SpaceMatches, names: Sequence[str]) -> OrderedDict[str, np.ndarray]:
    """The errors whose means :func:`space_metrics` has, in millimetres.

    Args:
        matches: S people.
        names: K joint names.

    Returns:
        (S, K) by the name of the metric, and (S, 1) for the root; NaN for what does not count.
    """
    root, _ = root_weights(names)
    predicted, labels = matches.predicted, matches.labels
    return OrderedDict(
        (
            ("MPJPE", joint_distances(predicted, labels, root)),
            ("PA-MPJPE", pa_mpjpe(predicted, labels)),
            ("N-MPJPE", n_mpjpe(predicted, labels, root)),
            ("depth error", np.abs(predicted[..., 2] - labels[..., 2])),
            ("MRPE", matches.root_error[:, None]),
        )
    )


def space_metrics(
    matches: SpaceMatches, names: Sequence[str], density: SpaceDensity | None = None
) -> OrderedDict[str, float]:
    """The metrics of :data:`SPACE_METRICS`.

    Args:
        matches: S people.
        names: K joint names.
        density: of the model's intervals, for their coverage; None: no coverage.

    Returns:
        MPJPE, PA-MPJPE, N-MPJPE, the mean absolute error of depth relative to the root, and MRPE (the mean distance of
        the roots in the camera's axes) in millimetres; ``found``, the share of the labelled people in percent;
        ``people``, their number; and the share of depths within the intervals of 50, 80, 90 and 95 %, in percent.
        NaN where something cannot be known.
    """
    table = OrderedDict((name, _mean(values)) for name, values in errors_in_space(matches, names).items())
    table["found"] = 100.0 * len(matches.labels) / matches.people if matches.people else math.nan
    table["people"] = float(matches.people)
    for level, name in zip(LEVELS, _DEPTH):
        table[name] = math.nan if density is None else float(100.0 * coverage(matches, density, level)[2])
    return table


def coverage(matches: SpaceMatches, density: SpaceDensity, level: float) -> np.ndarray:
    """Share of x, y and depth (3,) within their intervals, over the joints that can be off: the root cannot.

    Args:
        matches: S people.
        density: of the intervals.
        level: probability.
    """
    widths = density.half_width(level).cpu().numpy()
    error = np.abs(matches.predicted - matches.labels)
    counts = np.isfinite(error) & (matches.sigmas > 0)
    inside = counts & (error <= widths * np.nan_to_num(matches.sigmas))
    number = counts.sum((0, 1))
    return np.where(number > 0, inside.sum((0, 1)) / np.maximum(number, 1), math.nan)
