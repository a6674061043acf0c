"""What AP does not say: the error of each joint, the best match of each labelled person, the worst images."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from ..structures import oks
from ..structures.boxes import iou_matrix
from ..structures.covariance import correlation_of, unpacked
from ..utils.tables import table_text
from .ground_truth import GroundTruth, People
from .results import Result, boxes_array, by_image, keypoints_array

MATCH_IOU = 0.5


class Matches(NamedTuple):
    """Predictions matched to labelled people, stacked over all images; S matches. Lengths are in pixels."""

    predicted: np.ndarray  # (S, K, 2)
    expected: np.ndarray  # (S, K) the joint's predicted OKS
    std: np.ndarray  # (S, K, 2) predicted standard deviations, NaN where the results have none
    joints: np.ndarray  # (S, K, 2)
    visibility: np.ndarray  # (S, K)
    area: np.ndarray  # (S,)
    score: np.ndarray  # (S,)
    predicted_area: np.ndarray  # (S,) what the model took for the area, NaN where the results have none
    image_id: np.ndarray  # (S,)
    correlation: np.ndarray  # (S, K) predicted, of the errors in x and y, NaN where the results have none
    visible: np.ndarray  # (S, K) predicted probability that a labelled joint is visible, NaN likewise
    input_area: np.ndarray  # (S,) ``predicted_area`` in pixels of the network's input, where that is known


def oks_matrix(keypoints: np.ndarray, people: People, oks_sigmas: Sequence[float]) -> np.ndarray:
    """OKS of every prediction with every labelled person.

    Args:
        keypoints: (N, K, 3) predictions.
        people: M labelled people.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Returns:
        (N, M) in [0, 1].
    """
    return oks.pairwise_oks(
        torch.from_numpy(keypoints[..., :2].copy()),
        torch.from_numpy(people.joints),
        torch.from_numpy(people.visibility > 0),
        torch.from_numpy(people.area),
        torch.as_tensor(oks_sigmas, dtype=torch.float64),
    ).numpy()


def joint_oks(matches: Matches, oks_sigmas: Sequence[float]) -> np.ndarray:
    """OKS of each matched joint.

    Args:
        matches: S matches.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Returns:
        (S, K) in [0, 1], also for unlabelled joints, where it means nothing.
    """
    distance2 = ((matches.predicted - matches.joints) ** 2).sum(-1)
    parts = (distance2, np.maximum(matches.area, 1e-9), oks_sigmas)
    return oks.joint_oks(*(torch.as_tensor(part, dtype=torch.float64) for part in parts)).numpy()


def person_oks(matches: Matches, oks_sigmas: Sequence[float]) -> np.ndarray:
    """OKS of each matched person over its labelled joints.

    Args:
        matches: S matches.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Returns:
        (S,) in [0, 1]; 0 for people without a labelled joint.
    """
    labelled = matches.visibility > 0
    return (joint_oks(matches, oks_sigmas) * labelled).sum(1) / np.maximum(labelled.sum(1), 1)


def greedy_match(similarity: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Match rows, best first, each to its most similar free column at or above the threshold.

    Args:
        similarity: (N, M), rows in the order of their score.
        threshold: lowest similarity of a match.

    Returns:
        Pairs (row, column).
    """
    free = similarity.copy()
    pairs = []
    for row in range(free.shape[0]):
        column = int(free[row].argmax()) if free.shape[1] else -1
        if column >= 0 and free[row, column] >= threshold:
            pairs.append((row, column))
            free[:, column] = -1.0
    return pairs


def match_people(truth: GroundTruth, results: list[Result], *, max_people: int = 20) -> Matches:
    """Match results to labelled people at a box IoU of 0.5, greedily by score.

    Args:
        truth: the labels.
        results: COCO results with ``bbox`` and ``keypoints``.
        max_people: results per image that count, best first.
    """
    people, groups, k = truth.people(), by_image(results), truth.num_joints
    rows = []
    for image_id, group in groups.items():
        if image_id not in people:
            continue
        group, labels = group[:max_people], people[image_id]
        keypoints = keypoints_array(group, k)
        for i, j in greedy_match(iou_matrix(boxes_array(group), labels.boxes), MATCH_IOU):
            area: Any = group[i].get("person_area", math.nan)  # a number of each row, stacked below
            rows.append(
                Matches(
                    predicted=keypoints[i, :, :2],
                    expected=keypoints[i, :, 2],
                    std=_per_joint(group[i], "keypoint_sigmas", k, 2),
                    joints=labels.joints[j],
                    visibility=labels.visibility[j],
                    area=labels.area[j],
                    score=group[i]["score"],
                    predicted_area=area,
                    image_id=image_id,
                    correlation=correlation_of(unpacked(_per_joint(group[i], "keypoint_covariances", k, 3))),
                    visible=_per_joint(group[i], "keypoint_visibility", k, 1)[:, 0],
                    input_area=group[i].get("input_area", area),
                )
            )
    if not rows:
        pairs, each, none = np.zeros((0, k, 2)), np.zeros((0, k)), np.zeros(0)
        return Matches(
            predicted=pairs, expected=each, std=pairs, joints=pairs, visibility=each, area=none, score=none,
            predicted_area=none, image_id=none, correlation=each, visible=each, input_area=none,
        )  # fmt: skip
    return Matches(*(np.stack(column) for column in zip(*rows)))


def _per_joint(result: Result, key: str, joints: int, numbers: int) -> np.ndarray:
    """So many numbers of each joint (K, n), NaN where the result has none."""
    return np.array(result.get(key, [math.nan] * (numbers * joints)), dtype=float).reshape(joints, numbers)


def joint_errors(
    matches: Matches, oks_sigmas: Sequence[float], names: Sequence[str]
) -> OrderedDict[str, dict[str, float]]:
    """The per-joint table.

    Args:
        matches: S matches.
        oks_sigmas: (K,) COCO's OKS sigmas.
        names: K joint names.

    Returns:
        Joint name (and ``all``, ``visible``, ``hidden``) -> dict of ``count``; ``mean_px`` and
        ``median_px`` distance in pixels; ``mean_relative`` and ``median_relative`` distance in percent of
        sqrt(area); ``oks`` and ``expected_oks`` (what the model predicted for itself) in percent; and ``z_rms``, the
        root mean square of residual / predicted sigma, which is 1 where sigma is right. NaN without a labelled joint.
    """
    residual = matches.predicted - matches.joints  # (S, K, 2)
    distance = np.linalg.norm(residual, axis=-1)  # (S, K)
    size = np.sqrt(np.maximum(matches.area, 1e-9))[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z2 = ((residual / matches.std) ** 2).mean(-1)
    similarity = joint_oks(matches, oks_sigmas)
    values = (distance, distance / size * 100, similarity * 100, matches.expected * 100, z2)
    table: OrderedDict[str, dict[str, float]] = OrderedDict()
    for k, name in enumerate(names):
        table[name] = _row(values, matches.visibility > 0, k)
    table["all"] = _row(values, matches.visibility > 0)
    table["visible"] = _row(values, matches.visibility == 2)
    table["hidden"] = _row(values, matches.visibility == 1)
    return table


def _row(values: tuple[np.ndarray, ...], mask: np.ndarray, k: int | None = None) -> dict[str, float]:
    """A row of the table over the joints that ``mask`` (S, K) picks; of joint ``k`` alone."""
    chosen = (v[mask] if k is None else v[mask[:, k], k] for v in values)
    distance, relative, similarity, expected, z2 = (v if v.size else np.full(1, math.nan) for v in chosen)
    return dict(
        count=int(mask.sum() if k is None else mask[:, k].sum()),
        mean_px=float(distance.mean()),
        median_px=float(np.median(distance)),
        mean_relative=float(relative.mean()),
        median_relative=float(np.median(relative)),
        oks=float(similarity.mean()),
        expected_oks=float(expected.mean()),
        z_rms=float(np.sqrt(z2.mean())),
    )


def best_match(
    truth: GroundTruth,
    results: list[Result],
    oks_sigmas: Sequence[float],
    *,
    score_threshold: float = 0.1,
    max_people: int = 20,
) -> OrderedDict[str, float]:
    """OKS of the best prediction for each labelled person, whatever else was predicted.

    For data where other people in the images are unlabelled (LSPET), so that AP counts right predictions as wrong.
    It is like a recall: more predictions cannot make it worse, therefore the threshold on the score.

    Args:
        truth: the labels.
        results: COCO results.
        oks_sigmas: (K,) COCO's OKS sigmas.
        score_threshold: lowest score of a result that counts.
        max_people: results per image that count, best first.

    Returns:
        ``OKS`` (mean), ``OKS50`` and ``OKS75`` (share of people at or above), in percent, and
        ``people``; NaN without people.
    """
    groups = by_image([r for r in results if r["score"] >= score_threshold])
    best: list[float] = []
    for image_id, people in truth.people().items():
        group = groups.get(image_id, [])[:max_people]
        if group:
            best.extend(oks_matrix(keypoints_array(group, truth.num_joints), people, oks_sigmas).max(0).tolist())
        else:
            best.extend([0.0] * len(people.area))
    found = np.array(best)
    shares = [100.0 * float(v.mean()) if found.size else math.nan for v in (found, found >= 0.5, found >= 0.75)]
    return OrderedDict(zip(["OKS", "OKS50", "OKS75", "people"], [*shares, found.size]))


class ImageScore(NamedTuple):
    """How one image did: its mean OKS over labelled people, those without a match counting 0."""

    image_id: Any  # as the file has it: a number or text
    file_name: str
    oks: float
    people: int


def worst_images(
    truth: GroundTruth,
    results: list[Result],
    oks_sigmas: Sequence[float],
    count: int,
    *,
    score_threshold: float = 0.1,
    max_people: int = 20,
) -> list[ImageScore]:
    """The images with the lowest mean OKS over their labelled people.

    Each labelled person has one result at most, and each result one person, so that the sum of their OKS is largest.
    A result of somebody without a label takes nobody's place, whatever its score. Results below the threshold do not
    count.

    Args:
        truth: the labels.
        results: COCO results.
        oks_sigmas: (K,) COCO's OKS sigmas.
        count: how many to return.
        score_threshold: lowest score of a result that counts.
        max_people: results per image that count, best first.

    Returns:
        The images, worst first.
    """
    groups = by_image([r for r in results if r["score"] >= score_threshold])
    scores: list[ImageScore] = []
    for image_id, people in truth.people().items():
        group = groups.get(image_id, [])[:max_people]
        total = 0.0
        if group:
            similarity = oks_matrix(keypoints_array(group, truth.num_joints), people, oks_sigmas)
            total = similarity[linear_sum_assignment(similarity, maximize=True)].sum()
        number = len(people.area)
        scores.append(ImageScore(image_id, truth.images[image_id]["file_name"], float(total / number), number))
    return sorted(scores, key=lambda s: (s.oks, str(s.image_id)))[:count]


def format_joint_errors(table: Mapping[str, Mapping[str, float]]) -> str:
    """The per-joint table as text.

    Args:
        table: of :func:`joint_errors`.
    """
    header = ["joint", "labelled", "mean px", "median px", "mean %", "median %", "OKS %"]
    header += ["expected OKS %", "residual/sigma"]
    rows = [[name, *row.values()] for name, row in table.items()]
    return table_text(rows, header)
