"""What AP does not say: the error of each joint, the best match of each labelled person, the worst images."""

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate

from ..structures.boxes import iou_matrix
from ..structures.oks import pairwise_oks
from .results import boxes_array, by_image, keypoints_array

MATCH_IOU = 0.5


class Matches(NamedTuple):
    """Predictions matched to labelled people, stacked over all images; S matches."""

    predicted: np.ndarray  # (S, K, 2)
    expected: np.ndarray  # (S, K) the joint's predicted OKS
    spread: np.ndarray  # (S, K, 2) predicted standard deviations, NaN where the results have none
    joints: np.ndarray  # (S, K, 2)
    visibility: np.ndarray  # (S, K)
    area: np.ndarray  # (S,)
    score: np.ndarray  # (S,)
    predicted_area: np.ndarray  # (S,) what the model took for the area, NaN where the results have none
    image_id: np.ndarray  # (S,)


def oks_matrix(keypoints, people, sigmas):
    """OKS of predictions (N, K, 3) with :class:`~.ground_truth.People`: (N, M)."""
    return pairwise_oks(
        torch.from_numpy(keypoints[..., :2].copy()),
        torch.from_numpy(people.joints),
        torch.from_numpy(people.visibility > 0),
        torch.from_numpy(people.area),
        torch.as_tensor(sigmas, dtype=torch.float64),
    ).numpy()


def greedy_match(similarity, threshold):
    """Match rows, best first, each to its most similar free column at or above the threshold.

    Args:
        similarity: (N, M), rows in the order of their score.

    Returns:
        list of (row, column).
    """
    free = similarity.copy()
    pairs = []
    for row in range(free.shape[0]):
        column = int(free[row].argmax()) if free.shape[1] else -1
        if column >= 0 and free[row, column] >= threshold:
            pairs.append((row, column))
            free[:, column] = -1.0
    return pairs


def match_people(truth, results, *, max_people=20):
    """Match results to labelled people at a box IoU of 0.5, greedily by score.

    Args:
        truth: a :class:`~.ground_truth.GroundTruth`.
        results: COCO results with ``bbox`` and ``keypoints``.

    Returns:
        :class:`Matches`.
    """
    people, groups, k = truth.people(), by_image(results), truth.num_joints
    rows = []
    for image_id, group in groups.items():
        if image_id not in people:
            continue
        group, labels = group[:max_people], people[image_id]
        keypoints = keypoints_array(group, k)
        for i, j in greedy_match(iou_matrix(boxes_array(group), labels.boxes), MATCH_IOU):
            spread = np.array(group[i].get("keypoint_sigmas", [math.nan] * (2 * k)), dtype=float).reshape(k, 2)
            rows.append(
                (
                    keypoints[i, :, :2],
                    keypoints[i, :, 2],
                    spread,
                    labels.joints[j],
                    labels.visibility[j],
                    labels.area[j],
                    group[i]["score"],
                    group[i].get("person_area", math.nan),
                    image_id,
                )
            )
    if not rows:
        shapes = [(0, k, 2), (0, k), (0, k, 2), (0, k, 2), (0, k), (0,), (0,), (0,), (0,)]
        return Matches(*(np.zeros(shape) for shape in shapes))
    return Matches(*(np.stack(column) for column in zip(*rows)))


def joint_errors(matches, sigmas, names):
    """The per-joint table.

    Args:
        matches: :class:`Matches`.
        sigmas: OKS sigmas (K,).
        names: joint names (K).

    Returns:
        OrderedDict joint name (and ``all``, ``visible``, ``hidden``) -> dict of ``count``; ``mean_px`` and
        ``median_px`` distance in pixels; ``mean_relative`` and ``median_relative`` distance in percent of
        sqrt(area); ``oks`` and ``expected_oks`` (what the model predicted for itself) in percent; and ``z_rms``, the
        root mean square of residual / predicted sigma, which is 1 where sigma is right. NaN without a labelled joint.
    """
    residual = matches.predicted - matches.joints  # (S, K, 2)
    distance = np.linalg.norm(residual, axis=-1)  # (S, K)
    scale = np.sqrt(np.maximum(matches.area, 1e-9))[:, None]
    oks = np.exp(-((distance / scale) ** 2) / (2 * (2 * np.asarray(sigmas)) ** 2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z2 = ((residual / matches.spread) ** 2).mean(-1)
    values = (distance, distance / scale * 100, oks * 100, matches.expected * 100, z2)
    table = OrderedDict()
    for k, name in enumerate(names):
        table[name] = _row(values, matches.visibility > 0, k)
    table["all"] = _row(values, matches.visibility > 0)
    table["visible"] = _row(values, matches.visibility == 2)
    table["hidden"] = _row(values, matches.visibility == 1)
    return table


def _row(values, mask, k=None):
    pick = (lambda v: v[mask]) if k is None else (lambda v: v[mask[:, k], k])
    distance, relative, oks, expected, z2 = (pick(v) for v in values)
    if not distance.size:
        nan = math.nan
        return dict(
            count=0,
            mean_px=nan,
            median_px=nan,
            mean_relative=nan,
            median_relative=nan,
            oks=nan,
            expected_oks=nan,
            z_rms=nan,
        )
    return dict(
        count=int(distance.size),
        mean_px=float(distance.mean()),
        median_px=float(np.median(distance)),
        mean_relative=float(relative.mean()),
        median_relative=float(np.median(relative)),
        oks=float(oks.mean()),
        expected_oks=float(expected.mean()),
        z_rms=float(np.sqrt(z2.mean())),
    )


def best_match(truth, results, sigmas, *, score_threshold=0.1, max_people=20):
    """OKS of the best prediction for each labelled person, whatever else was predicted.

    For data where other people in the pictures are unlabelled (LSPET), so that AP counts right predictions as wrong.
    It is like a recall: more predictions cannot make it worse, therefore the threshold on the score.

    Returns:
        OrderedDict of ``OKS`` (mean), ``OKS50`` and ``OKS75`` (share of people at or above), in percent, and
        ``people``; NaN without people.
    """
    groups, best = by_image([r for r in results if r["score"] >= score_threshold]), []
    for image_id, people in truth.people().items():
        group = groups.get(image_id, [])[:max_people]
        if group:
            best.extend(oks_matrix(keypoints_array(group, truth.num_joints), people, sigmas).max(0).tolist())
        else:
            best.extend([0.0] * len(people.area))
    oks = np.array(best)
    shares = [100.0 * float(v.mean()) if oks.size else math.nan for v in (oks, oks >= 0.5, oks >= 0.75)]
    return OrderedDict(zip(["OKS", "OKS50", "OKS75", "people"], [*shares, oks.size]))


class ImageScore(NamedTuple):
    """How one image did: its mean OKS over labelled people, those without a match counting 0."""

    image_id: int
    file_name: str
    oks: float
    people: int


def worst_images(truth, results, sigmas, count, *, score_threshold=0.1, max_people=20):
    """The images with the lowest mean OKS over their labelled people.

    Each person is matched at most once (greedily by score, at any OKS); results below the threshold do not count.

    Args:
        truth: a :class:`~.ground_truth.GroundTruth`.
        results: COCO results.
        sigmas: OKS sigmas (K,).
        count: how many to return.

    Returns:
        list of :class:`ImageScore`, worst first.
    """
    groups, scores = by_image([r for r in results if r["score"] >= score_threshold]), []
    for image_id, people in truth.people().items():
        group = groups.get(image_id, [])[:max_people]
        total = 0.0
        if group:
            oks = oks_matrix(keypoints_array(group, truth.num_joints), people, sigmas)
            total = sum(oks[i, j] for i, j in greedy_match(oks, 1e-6))
        number = len(people.area)
        scores.append(ImageScore(image_id, truth.images[image_id]["file_name"], float(total / number), number))
    return sorted(scores, key=lambda s: (s.oks, str(s.image_id)))[:count]


def format_joint_errors(table):
    """The per-joint table as text."""
    header = ["joint", "labelled", "mean px", "median px", "mean %", "median %", "OKS", "expected", "residual/sigma"]
    rows = [[name, *row.values()] for name, row in table.items()]
    return tabulate(rows, headers=header, tablefmt="pipe", floatfmt=".2f", numalign="right")
