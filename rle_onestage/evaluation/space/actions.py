"""Human3.6M's scores: one person in each frame, errors by action.

Of each frame the best result counts. Protocol 1 is MPJPE, protocol 2 PA-MPJPE, both on every 64th frame of subjects 9
and 11 (Martinez et al., ICCV 2017). The papers' average is the mean over the actions, ``mean`` here; ``pose_3d`` has
the mean over all joints of all frames.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from ...structures.depth_density import SpaceDensity
from ..ground_truth import GroundTruth
from ..results import Result
from .errors import match_in_space, space_metrics

# Name of a table -> metric.
BY_ACTION = {"MPJPE by action": "MPJPE", "PA-MPJPE by action": "PA-MPJPE", "N-MPJPE by action": "N-MPJPE"}


def action_tables(
    truth: GroundTruth, results: Sequence[Result], names: Sequence[str], density: SpaceDensity | None = None
) -> OrderedDict[str, Mapping[str, float]]:
    """The tables of Human3.6M.

    Args:
        truth: labels whose images say their ``action``.
        results: COCO results with ``keypoints_3d``.
        names: K joint names.
        density: of the model's intervals, or None.

    Returns:
        ``pose_3d``, and a table for each of :data:`BY_ACTION`: millimetres of each action, and their ``mean``.
    """
    best: dict = {}
    for result in results:
        image = result["image_id"]
        if image not in best or result["score"] > best[image]["score"]:
            best[image] = result
    matches = match_in_space(truth, list(best.values()), names, least_iou=0.0)
    tables: OrderedDict[str, Mapping[str, float]] = OrderedDict(pose_3d=_finite(space_metrics(matches, names, density)))
    actions = np.array([str(truth.images[image].get("action") or "other") for image in matches.image_id])
    rows = OrderedDict(
        (action, space_metrics(matches.at(actions == action, int((actions == action).sum())), names))
        for action in dict.fromkeys(actions.tolist())
    )
    for table, metric in BY_ACTION.items():
        values = OrderedDict((action, row[metric]) for action, row in rows.items())
        tables[table] = OrderedDict([*values.items(), ("mean", float(np.mean(list(values.values())) if values else 0))])
    return tables


def space_tables(
    evaluator_type: str,
    truth: GroundTruth,
    results: Sequence[Result],
    names: Sequence[str],
    density: SpaceDensity | None = None,
    *,
    max_people: int = 20,
) -> OrderedDict[str, Mapping[str, float]]:
    """The tables of joints in space: ``pose_3d``, and for Human3.6M those of its actions.

    Args:
        evaluator_type: how the set is scored.
        truth: labels with joints in space.
        results: COCO results with ``keypoints_3d``.
        names: K joint names.
        density: of the model's intervals, or None.
        max_people: results an image that count, best first.
    """
    if evaluator_type == "h36m":
        return action_tables(truth, results, names, density)
    matches = match_in_space(truth, results, names, max_people=max_people)
    return OrderedDict(pose_3d=_finite(space_metrics(matches, names, density)))


def _finite(row: Mapping[str, float]) -> OrderedDict[str, float]:
    return OrderedDict((key, value) for key, value in row.items() if math.isfinite(value))
