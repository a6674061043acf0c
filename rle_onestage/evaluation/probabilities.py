"""Are the probabilities of joints right: of being in the image at all (presence), and of being visible?"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..data.coco.flags import count_flags
from ..data.hidden import hidden_told
from ..data.lookup import set_options
from ..structures.boxes import iou_matrix
from ..utils.tables import table_text
from .ground_truth import GroundTruth
from .per_joint import MATCH_IOU, greedy_match
from .results import Result, boxes_array, by_image

BINS = 10  # of the probability, of equal width
KINDS = ("presence", "visibility")
Row = OrderedDict[str, float]  # metrics of some joints by name


class Claims(NamedTuple):
    """What was said of the joints of S matched people, and what is true."""

    said: np.ndarray  # (S, K) probabilities
    true: np.ndarray  # (S, K) bool
    known: np.ndarray  # (S, K) bool, where the labels say what is true


class Curve(NamedTuple):
    """Reliability: the joints whose probability is in each of some bins."""

    said: np.ndarray  # mean probability
    true: np.ndarray  # share of those of whom it is true
    joints: np.ndarray  # how many


def dataset_claims(
    dataset_name: str, truth: GroundTruth, results: Sequence[Result], *, max_people: int = 20
) -> OrderedDict[str, Claims]:
    """:func:`joint_claims` of a registered data set, by what is known of how it was labelled.

    Args:
        dataset_name: its name.
        truth: its labels, or some of them.
        results: COCO results with ``bbox``.
        max_people: results an image that count, best first.
    """
    says = any("keypoint_visibility" in result for result in results)
    return joint_claims(
        truth,
        results,
        max_people=max_people,
        told=says and hidden_told(dataset_name).told,
        absent_known=set_options(dataset_name).unlabelled == "absent",
    )


def joint_claims(
    truth: GroundTruth,
    results: Sequence[Result],
    *,
    max_people: int = 20,
    told: bool | None = None,
    absent_known: bool = True,
) -> OrderedDict[str, Claims]:
    """Match results to labelled people at a box IoU of 0.5, greedily by score, and take what they say of the joints.

    Args:
        truth: the labels.
        results: COCO results with ``bbox``.
        max_people: results an image that count, best first.
        told: whether the labels tell hidden joints from visible ones; None: if both flags occur in them.
        absent_known: whether a joint without label is known to be absent.

    Returns:
        ``presence`` and ``visibility``, each where all results say it and the labels know it.
    """
    if told is None:
        told = labels_tell(truth)
    found: OrderedDict[str, Claims] = OrderedDict()
    for kind, wanted in zip(KINDS, (absent_known, told)):
        key = f"keypoint_{kind}"
        if not wanted or not results or not all(key in result for result in results):
            continue
        pairs = _pairs(truth, results, key, max_people)
        said = np.array([said for said, _ in pairs], float).reshape(-1, truth.num_joints)
        flags = np.array([flags for _, flags in pairs], float).reshape(-1, truth.num_joints)
        labelled = flags > 0
        if kind == "presence":
            found[kind] = Claims(said, labelled, np.isfinite(said))
        else:
            found[kind] = Claims(said, flags == 2, labelled & np.isfinite(said))
    return found


def labels_tell(truth: GroundTruth) -> bool:
    """Whether the labels tell hidden joints from visible ones: both flags occur often enough."""
    flags = [people.visibility.ravel() for people in truth.people().values()]
    return count_flags(np.concatenate([np.zeros(0), *flags])).tell


def _pairs(
    truth: GroundTruth, results: Sequence[Result], key: str, max_people: int
) -> list[tuple[Sequence[float], np.ndarray]]:
    """For each matched person what the result says of the joints, and the labels' flags (K,)."""
    people, pairs = truth.people(), []
    for image_id, group in by_image(results).items():
        if image_id in people:
            group, labels = group[:max_people], people[image_id]
            matched = greedy_match(iou_matrix(boxes_array(group), labels.boxes), MATCH_IOU)
            pairs += [(group[i][key], labels.visibility[j]) for i, j in matched]
    return pairs


def area_under_curve(said: np.ndarray, true: np.ndarray) -> float:
    """Area under the ROC curve: how often a true one is said to be likelier than one that is not; ties count half.

    Args:
        said: (n,) probabilities.
        true: (n,) bool.

    Returns:
        From 0 to 1; NaN where all are true, or none.
    """
    from scipy.stats import rankdata  # here: its import takes time that every command would pay

    positive, number = int(true.sum()), len(true)
    if positive in (0, number):
        return math.nan
    ranks = float(rankdata(said)[true].sum()) - positive * (positive + 1) / 2
    return ranks / (positive * (number - positive))


def reliability_curve(said: np.ndarray, true: np.ndarray) -> Curve:
    """The bins that are not empty, in order.

    Args:
        said: (n,) probabilities.
        true: (n,) bool.
    """
    place = (said * BINS).clip(0, BINS - 1).astype(int)  # a file of results may hold what is no probability
    count = np.bincount(place, minlength=BINS)
    filled = count > 0
    mean_said, mean_true = (np.bincount(place, values, BINS)[filled] / count[filled] for values in (said, true * 1.0))
    return Curve(mean_said, mean_true, count[filled])


def calibration_error(said: np.ndarray, true: np.ndarray) -> float:
    """Expected calibration error: mean over the joints of how far the share of true ones in a bin is from what is said.

    Args:
        said: (n,) probabilities.
        true: (n,) bool.

    Returns:
        From 0 to 1; NaN without a joint.
    """
    curve = reliability_curve(said, true)
    if not curve.joints.sum():
        return math.nan
    return float((np.abs(curve.said - curve.true) * curve.joints).sum() / curve.joints.sum())


def probability_table(claims: Mapping[str, Claims], names: Sequence[str]) -> OrderedDict[str, Row]:
    """Metrics of the probabilities by joint.

    Args:
        claims: of :func:`joint_claims`.
        names: K joint names.

    Returns:
        ``all`` and the joints' names -> for each kind of ``claims``: ``presence_joints``, how many are known;
        ``presence_share``, those of whom it is true, in percent; ``presence_auc``, area under the ROC curve;
        ``presence_ece``, expected calibration error in percent; and likewise ``visibility_joints`` and so on. Empty
        without claims.
    """
    table: OrderedDict[str, Row] = OrderedDict()
    if not claims:
        return table
    for number, name in enumerate(["all", *names]):
        row: Row = OrderedDict()
        for kind, (said, true, known) in claims.items():
            chosen = known if not number else known & (np.arange(known.shape[1]) == number - 1)
            row[f"{kind}_joints"] = int(chosen.sum())
            row[f"{kind}_share"] = 100 * float(true[chosen].mean()) if chosen.any() else math.nan
            row[f"{kind}_auc"] = area_under_curve(said[chosen], true[chosen])
            row[f"{kind}_ece"] = 100 * calibration_error(said[chosen], true[chosen])
        table[name] = row
    return table


def probability_bins(claims: Mapping[str, Claims]) -> OrderedDict[str, dict[str, list[float]]]:
    """Reliability of each kind: ``said``, ``true`` and ``joints`` of the bins, see :class:`Curve`.

    Args:
        claims: of :func:`joint_claims`.
    """
    curves = {kind: reliability_curve(each.said[each.known], each.true[each.known]) for kind, each in claims.items()}
    return OrderedDict(
        (kind, {name: value.tolist() for name, value in curve._asdict().items()}) for kind, curve in curves.items()
    )


def format_probabilities(table: Mapping[str, Mapping[str, float]]) -> str:
    """The table as text.

    Args:
        table: of :func:`probability_table`, not empty.
    """
    kinds = [kind for kind in KINDS if f"{kind}_auc" in table["all"]]
    keys = [f"{kind}_{key}" for kind in kinds for key in ("joints", "share", "auc", "ece")]
    header = [f"{kind}: {key}" for kind in kinds for key in ("joints", "true %", "AUC", "ECE %")]
    rows = [[name, *(None if math.isnan(row[key]) else row[key] for key in keys)] for name, row in table.items()]
    return table_text(rows, ["joint", *header])
