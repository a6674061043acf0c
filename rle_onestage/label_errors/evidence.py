"""What a model says of each label: how much likelier it is where it lies than a label put somewhere at random."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor, nn

from ..engine.models import bare
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.per_joint import MATCH_IOU, greedy_match
from ..evaluation.results import boxes_array, by_image, instances_to_coco
from ..structures.boxes import iou_matrix
from ..structures.covariance import mirrored_covariances, unpacked
from ..structures.error_density import ErrorDensity

# Nothing is surer than this: neither that a prediction is about right, nor that a joint is there.
DOUBT = 0.003


class Views(nn.Module):
    """A model that looks at each image twice: as it is, and mirrored.

    Where the two disagree (most of all about left and right), neither is reason to call a label wrong.

    Args:
        model: called with ``list[dict]``.
        flip_index: (K,) which joint is which in a mirror.
    """

    def __init__(self, *, model: nn.Module, flip_index: Sequence[int]) -> None:
        super().__init__()
        self.model, self.flip_index = bare(model), list(flip_index)

    def forward(self, inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        """``list[dict]`` with ``instances`` and, mirrored back, ``mirrored``.

        Args:
            inputs: of a test loader.
        """
        straight = self.model(inputs)
        mirrored = self.model([{**item, "image": item["image"].flip(-1)} for item in inputs])
        return [
            {"instances": one["instances"], "mirrored": self._back(other["instances"])}
            for one, other in zip(straight, mirrored)
        ]

    def _back(self, people: Instances) -> Instances:
        width = people.image_size[1]
        boxes = people.pred_boxes.tensor
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        keypoints = people.pred_keypoints[:, self.flip_index].clone()
        keypoints[..., 0] = width - keypoints[..., 0]
        people.pred_keypoints = keypoints
        people.pred_keypoint_sigmas = people.pred_keypoint_sigmas[:, self.flip_index]
        if people.has("pred_keypoint_covariances"):
            people.pred_keypoint_covariances = mirrored_covariances(people.pred_keypoint_covariances, self.flip_index)
        for name in ("pred_keypoint_presence", "pred_keypoint_visibility"):
            if people.has(name):
                people.set(name, people.get(name)[:, self.flip_index])
        return people


class Collector:
    """Gathers what :class:`Views` gives as COCO results, a list for each view; the evaluator of a run over a set."""

    KEYS = ("instances", "mirrored")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.results: dict[str, list[dict[str, Any]]] = {key: [] for key in self.KEYS}

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Instances]]) -> None:
        """Take the outputs for some images.

        Args:
            inputs: of the model.
            outputs: of :class:`Views`.
        """
        for given, output in zip(inputs, outputs):
            for key in self.KEYS:
                self.results[key].extend(instances_to_coco(output[key], given["image_id"]))

    def evaluate(self) -> dict[str, Any]:
        """No metrics."""
        return {}


class Prediction(NamedTuple):
    """One predicted person, in the file's coordinates."""

    joints: np.ndarray  # (K, 2)
    sigmas: np.ndarray  # (K, 2) standard deviations
    covariances: np.ndarray  # (K, 2, 2) of these
    expected: np.ndarray  # (K,) OKS
    presence: np.ndarray  # (K,)
    box: np.ndarray  # (4,) x0, y0, x1, y1
    score: float


class Case(NamedTuple):
    """A labelled person and what the views predict for it."""

    annotation: dict[str, Any]
    labels: np.ndarray  # (K, 2)
    visibility: np.ndarray  # (K,)
    views: list[Prediction]  # one of each view that found the person, the straight one first
    others: list[Prediction]  # whom else the straight view sees


def match_cases(
    truth: GroundTruth, views: Sequence[list[dict[str, Any]]], *, min_score: float = 0.1, max_people: int = 20
) -> list[Case]:
    """Match predictions to labelled people, at a box IoU of 0.5, greedily by score.

    Args:
        truth: a :class:`~.ground_truth.GroundTruth`.
        views: for each view the COCO results of all images.
        min_score: lowest score of a prediction.
        max_people: predictions an image, best first.

    Returns:
        The :class:`Case` of each labelled person, in the file's order.
    """
    groups = [by_image([r for r in results if r["score"] >= min_score]) for results in views]
    people = truth.people()
    cases: list[Case] = []
    for image_id, annotations in truth.by_image().items():
        found = [[_prediction(r, truth.num_joints) for r in group.get(image_id, [])[:max_people]] for group in groups]
        labels = people[image_id]
        matched = [_match(group, labels) for group in found]
        for row, annotation in enumerate(annotations):
            own = [group[pairs[row]] for group, pairs in zip(found, matched) if row in pairs]
            others = [p for i, p in enumerate(found[0]) if i != matched[0].get(row)]
            cases.append(Case(annotation, labels.joints[row], labels.visibility[row], own, others))
    return cases


def _match(predictions: list[Prediction], labels: Any) -> dict[int, int]:
    """Row of the person -> index of the prediction."""
    boxes = np.array([p.box for p in predictions]).reshape(-1, 4)
    return {column: row for row, column in greedy_match(iou_matrix(boxes, labels.boxes), MATCH_IOU)}


def _prediction(result: dict[str, Any], num_joints: int) -> Prediction:
    keypoints = np.array(result["keypoints"], dtype=float).reshape(num_joints, 3)
    sigmas = np.array(result["keypoint_sigmas"], dtype=float).reshape(num_joints, 2)
    numbers = result.get("keypoint_covariances", np.insert(sigmas**2, 1, 0.0, axis=1))  # upright if it is not known
    return Prediction(
        keypoints[:, :2],
        sigmas,
        unpacked(np.array(numbers, dtype=float).reshape(num_joints, 3)),
        keypoints[:, 2],
        np.array(result["keypoint_presence"], dtype=float),
        boxes_array([result])[0],
        result["score"],
    )


class Ratios(NamedTuple):
    """Log-likelihood ratios of a person's labels, in nats, against a label put at random into the person's box."""

    own: np.ndarray  # (K, K): label j as joint k
    others: np.ndarray  # (n, K): label j as the same joint, or its mirror, of the others in the image
    presence: np.ndarray  # (K,) probability that the joint is labelled
    surprise: np.ndarray  # (K,) nats that the label's density lies below the density's peak


def compare(case: Case, density: ErrorDensity, sigmas: Sequence[float], flip_index: Sequence[int]) -> Ratios:
    """What the model says of each label of a case, if it is right about the joint at all.

    The density of a label is the prediction's, averaged over the views; the label at random is even over the box round
    labels and predictions. No sigma counts as smaller than the distance by which annotators differ (COCO's sigma of the
    joint times the square root of the area, over sqrt(2) for each coordinate).

    Args:
        case: a :class:`Case` with at least one view.
        density: :class:`~.error_density.ErrorDensity`.
        sigmas: (K,) COCO's.
        flip_index: (K,) which joint is which in a mirror.

    Returns:
        :class:`Ratios`.
    """
    floor = np.asarray(sigmas)[:, None] * np.sqrt(case.annotation["area"]) / np.sqrt(2)
    everybody = [*case.views, *case.others]
    points = np.stack([p.joints for p in everybody])[:, None]  # (n, 1, K, 2)
    std = np.stack([p.sigmas for p in everybody])[:, None]
    residual = case.labels[:, None] - points  # (n, K, K, 2): label j as joint k
    std = np.broadcast_to(np.maximum(std, floor), residual.shape)
    ratios = density.log_prob(_tensor(residual), _tensor(std)).double().numpy() + np.log(_box_area(case))
    number, index = len(case.views), np.arange(len(floor))
    z = residual[0, index, index] / std[0, index, index]
    return Ratios(
        own=np.logaddexp.reduce(ratios[:number], 0) - np.log(number),
        others=np.maximum(ratios[number:, index, index], ratios[number:, index, flip_index]),
        presence=np.mean([p.presence for p in case.views], 0).clip(DOUBT, 1 - DOUBT),
        surprise=(density.log_peak() - density.log_q(_tensor(z))).clamp(min=0).double().numpy(),
    )


def share_of_misses(
    ratios: np.ndarray, labelled: np.ndarray, flip_index: Sequence[int], *, steps: int = 50
) -> np.ndarray:
    """The share of each joint's labels about which the model is no better than chance, by expectation maximisation.

    Labels are taken for a mixture of the model's density and the even one. As most labels are right, the share is the
    model's failing at this joint; so that one contradiction at a joint that the model often misses says little.

    Args:
        ratios: (S, K) of each label as its own joint.
        labelled: (S, K) bool.
        flip_index: (K,); mirrored joints share.
        steps: of the maximisation.

    Returns:
        (K,) in [DOUBT, 1 - DOUBT].
    """
    ratios, labelled = (np.concatenate([v, v[:, flip_index]]) for v in (ratios, labelled))
    share = np.full(ratios.shape[1], 0.05)
    for _ in range(steps):
        # One miss in 20 beforehand, as if seen on 20 labels: for sets with few.
        miss = share / (share + (1 - share) * np.exp(ratios.clip(max=50)))
        share = ((miss * labelled).sum(0) + 1) / (labelled.sum(0) + 20)
    return share.clip(DOUBT, 1 - DOUBT)


class Evidence(NamedTuple):
    """As :class:`Ratios`, when the model's misses are reckoned with: a label that it contradicts may still be right."""

    own: np.ndarray  # (K, K)
    others: np.ndarray  # (K,) of whoever fits best
    presence: np.ndarray  # (K,)


def weigh(ratios: Ratios, misses: np.ndarray) -> Evidence:
    """The evidence of a case: ``log((1 - m) exp(ratio) + m)`` with the share ``m`` of misses.

    Args:
        ratios: of the case.
        misses: (K,) of :func:`share_of_misses`.
    """
    hit, miss = np.log1p(-misses), np.log(misses)
    others = np.logaddexp(hit + ratios.others, miss).max(0, initial=-np.inf)
    return Evidence(np.logaddexp(hit + ratios.own, miss), others, ratios.presence)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _box_area(case: Case) -> float:
    """Of the box round the labels and the predictions, where a label put at random may lie."""
    points = np.concatenate([case.labels[case.visibility > 0], *(p.joints for p in case.views)])
    return float(np.prod(np.ptp(points, axis=0).clip(min=8.0)))
