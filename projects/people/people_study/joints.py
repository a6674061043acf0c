"""Errors of joints, from the people that COCO matches at an OKS of 0.5."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from rle_onestage.evaluation import joint_errors
from rle_onestage.evaluation.calibration import joint_oks
from rle_onestage.evaluation.per_joint import Matches
from rle_onestage.structures.covariance import correlation_of, unpacked

from .labels import LabelledSet
from .matching import Matching

REACHED = 0.5  # OKS of a joint that counts as found


def matched_people(labelled: LabelledSet, results: list[dict], pairs: Iterable[Sequence[int]]) -> Matches:
    """Results and the people they are matched with.

    Args:
        labelled: the set.
        results: COCO results.
        pairs: (P, 2) place in ``results`` and annotation id.

    Returns:
        :class:`~rle_onestage.evaluation.per_joint.Matches` of P people; what results lack is NaN.
    """
    k = labelled.truth.num_joints
    annotations = {a["id"]: a for a in labelled.truth.annotations}
    found = [results[place] for place, _ in pairs]
    people = [annotations[number] for _, number in pairs]
    predicted, joints = (
        np.array([each["keypoints"] for each in rows], dtype=float).reshape(-1, k, 3) for rows in (found, people)
    )
    spread = [r.get("keypoint_sigmas", [math.nan] * (2 * k)) for r in found]
    covariances = [r.get("keypoint_covariances", [math.nan] * (3 * k)) for r in found]
    visible = [r.get("keypoint_visibility", [math.nan] * k) for r in found]
    area = np.array([r.get("person_area", math.nan) for r in found], dtype=float)
    return Matches(
        predicted=predicted[..., :2],
        expected=predicted[..., 2],
        std=np.array(spread, dtype=float).reshape(-1, k, 2),
        joints=joints[..., :2],
        visibility=joints[..., 2],
        area=np.array([a["area"] for a in people], dtype=float),
        score=np.array([r["score"] for r in found], dtype=float),
        predicted_area=area,
        image_id=np.array([a["image_id"] for a in people]),
        correlation=correlation_of(unpacked(np.array(covariances, dtype=float).reshape(-1, k, 3))),
        visible=np.array(visible, dtype=float).reshape(-1, k),
        input_area=area,
    )


def joint_table(labelled: LabelledSet, results: list[dict], matching: Matching) -> OrderedDict:
    """Errors by joint and by visibility flag.

    Returns:
        OrderedDict joint name, ``all``, ``visible``, ``hidden`` -> what
        :func:`~rle_onestage.evaluation.per_joint.joint_errors` gives, of matched people; and ``labelled``, the joints
        of all people, and ``reached``, the percentage of these that a matched person's joint comes near (an OKS of
        0.5 of the joint alone): who is missed counts here.
    """
    names, sigmas = labelled.skeleton.names, labelled.skeleton.oks_sigmas
    matches = matched_people(labelled, results, matching.pairs)
    near = (joint_oks(matches, sigmas) >= REACHED) & (matches.visibility > 0)
    table = joint_errors(matches, sigmas, names)
    people = labelled.truth.people().values()
    flags = np.concatenate([np.zeros((0, len(names))), *(each.visibility for each in people)])
    for name, row in table.items():
        all_flags, own_flags, own_near = flags, matches.visibility, near
        if name in names:
            column = names.index(name)
            all_flags, own_flags, own_near = (part[:, column] for part in (flags, own_flags, near))
        wanted = {"visible": (2,), "hidden": (1,)}.get(name, (1, 2))
        row["labelled"] = int(np.isin(all_flags, wanted).sum())
        reached = int((own_near & np.isin(own_flags, wanted)).sum())
        row["reached"] = 100.0 * reached / row["labelled"] if row["labelled"] else math.nan
    return table
