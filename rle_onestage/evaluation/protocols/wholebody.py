"""COCO-WholeBody's scores: COCO's metrics for the body, feet, face and hands, and for all joints together.

As its own code computes them (Jin et al., ECCV 2020; https://github.com/jin-s13/COCO-WholeBody,
``myeval_wholebody.py``): a person counts in a part where one of its joints is labelled, the area is the person's, and a
result counts where one of its joints in the part has a confidence above 0. A result's ``foot_score``, ``face_score``,
``lefthand_score``, ``righthand_score`` or ``wholebody_score`` ranks it where it has one, else its ``score``.
"""

from collections import OrderedDict
from collections.abc import Sequence

from ...errors import DataError, counted
from ...structures import WHOLEBODY, WHOLEBODY_PARTS
from ..ground_truth import GroundTruth
from ..metrics import coco_metrics
from ..results import Result, extent, sure_results

_PARTS = {"wholebody": (0, WHOLEBODY.num_joints), **WHOLEBODY_PARTS}
WHOLEBODY_TABLES = ("keypoints", *WHOLEBODY_PARTS, "hands")
_HANDS = ("lefthand", "righthand")


def wholebody_metrics(
    truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int, backend: str
) -> OrderedDict[str, OrderedDict[str, float]]:
    """COCO-WholeBody's metrics; see :class:`~.Metrics`.

    Args:
        truth: with 133 joints.
        results: COCO results with 133 joints.
        oks_sigmas: (133,) OKS sigmas.
        max_people: results an image that count.
        backend: see :func:`~.metrics.coco_metrics`.

    Returns:
        ``keypoints`` (all joints), ``body``, ``foot``, ``face``, ``lefthand``, ``righthand``, and ``hands``, the mean
        of both hands.
    """
    if truth.num_joints != WHOLEBODY.num_joints:
        raise DataError(
            f"{truth.source} has {counted(truth.num_joints, 'joint')}, but COCO-WholeBody's scores are of "
            f"{WHOLEBODY.num_joints}; give coco_wholebody_val_v1.0.json:wholebody, or score it as another set"
        )
    results = [result if "bbox" in result else {**result, "bbox": _body(result)} for result in results]
    tables: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
    for part, (start, end) in _PARTS.items():
        tables["keypoints" if part == "wholebody" else part] = coco_metrics(
            part_of_truth(truth, start, end).dataset,
            sure_results(part_of_results(results, part, start, end)),
            "keypoints",
            oks_sigmas[start:end],
            max_people=max_people,
            backend=backend,
        )
    left, right = (tables[hand] for hand in _HANDS)
    tables["hands"] = OrderedDict((name, (left[name] + right[name]) / 2) for name in left)
    return tables


def part_of_truth(truth: GroundTruth, start: int, end: int) -> GroundTruth:
    """Labels with some joints alone.

    Args:
        truth: all joints.
        start: first joint of the part.
        end: the joint behind its last.
    """
    annotations = []
    for a in truth.annotations:
        keypoints = a["keypoints"][3 * start : 3 * end]
        number = sum(flag > 0 for flag in keypoints[2::3])
        annotations.append({**a, "keypoints": keypoints, "num_keypoints": number})
    part = truth.changed(annotations)
    part.num_joints = end - start
    return part


def part_of_results(results: Sequence[Result], part: str, start: int, end: int) -> list[Result]:
    """Results with some joints alone, and the score of that part.

    Args:
        results: all joints.
        part: its name.
        start: first joint of the part.
        end: the joint behind its last.
    """
    key = "score" if part == "body" else f"{part}_score"
    return [
        {**result, "keypoints": result["keypoints"][3 * start : 3 * end], "score": result.get(key, result["score"])}
        for result in results
    ]


def _body(result: Result) -> list[float]:
    """The box of a result that has none, round the joints of the body as in the benchmark's code."""
    return extent({"keypoints": result["keypoints"][: 3 * WHOLEBODY_PARTS["body"][1]]})
