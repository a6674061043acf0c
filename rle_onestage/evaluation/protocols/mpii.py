"""MPII's PCKh for single people, beside COCO's metrics over all people of an image.

PCKh (Andriluka et al., CVPR 2014, ``evalMPII.m``; its Python form is in simple baselines, HRNet and mmpose): a joint is
right where it is no further from the label than a share of the head's size, 0.6 of the diagonal of the head box. Of
each joint the share that is right counts; the mean weights joints by their number and leaves out pelvis and thorax.
"""

import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...data.benchmarks.mpii import FIRST_PIXEL
from ...errors import DataError, counted
from ...structures.skeleton import MPII
from ...utils.label_address import split_layout
from ..ground_truth import GroundTruth
from ..metrics import coco_metrics
from ..results import Result, extent

logger = logging.getLogger(__name__)

# Of the head box's diagonal: SC_BIAS of evalMPII.m.
_HEAD = 0.6
_GROUPS = {
    "Head": ("head_top",),
    **{part.capitalize(): (f"left_{part}", f"right_{part}") for part in
       ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
}  # fmt: skip
PCKH_METRICS = (*_GROUPS, "PCKh", "PCKh@0.1")
_LEFT_OUT = ("pelvis", "thorax")
_FIELDS = {"jnt_missing": ("K", "N"), "pos_gt_src": ("K", 2, "N"), "headboxes_src": (2, 2, "N")}


class HeadFile(NamedTuple):
    """Matlab's file of the ground truth, for N people in the order of the JSON file; pixels counted from 1."""

    joints: np.ndarray  # (N, K, 2)
    labelled: np.ndarray  # (N, K) bool
    head: np.ndarray  # (N,) size of the head, pixels


def mpii_metrics(
    truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int, backend: str
) -> OrderedDict[str, OrderedDict[str, float]]:
    """COCO's metrics, and PCKh where Matlab's file is there; see :class:`~.Metrics`.

    Args:
        truth: of a file in MPII's layout.
        results: COCO results.
        oks_sigmas: (16,) OKS sigmas.
        max_people: results an image that count in COCO's metrics.
        backend: see :func:`~.metrics.coco_metrics`.

    Returns:
        ``keypoints``, and ``pckh``.
    """
    if any("people" not in image for image in truth.images.values()):
        raise DataError(
            f"{truth.source} is not in MPII's layout, which MPII's scores need; give mpii_val.json:mpii, or score it "
            "as another set"
        )
    metrics = coco_metrics(truth.dataset, results, "keypoints", oks_sigmas, max_people=max_people, backend=backend)
    tables = OrderedDict(keypoints=metrics)
    path = head_file_of(truth.source)
    if os.path.isfile(path):
        people = max((image["file_people"] for image in truth.images.values()), default=0)
        tables["pckh"] = pckh(truth, results, read_head_file(path, people))
    else:
        logger.warning("%s is not there, so PCKh is not computed; put it beside the labels", path)
    return tables


def head_file_of(source: str) -> str:
    """Path of Matlab's file beside a JSON file of labels: ``mpii_gt_val.mat`` beside ``mpii_val.json``."""
    folder, name = os.path.split(split_layout(source).file)
    stem = os.path.splitext(name)[0]
    return os.path.join(folder, f"mpii_gt_{stem.removeprefix('mpii_')}.mat")


def read_head_file(path: str, people: int) -> HeadFile:
    """Read Matlab's file of the ground truth.

    Args:
        path: of the file.
        people: N, how many it must have.

    Raises:
        DataError: it cannot be read, or has another layout.
    """
    from scipy.io import loadmat  # here: its import takes time that every command would pay
    from scipy.io.matlab import MatReadError

    try:
        content: Mapping[str, Any] = loadmat(path, variable_names=list(_FIELDS))
    except (OSError, ValueError, TypeError, NotImplementedError, LookupError, MatReadError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a Matlab file of version 5 ({error}); give the file that comes "
                        "with the JSON files of MPII") from error  # fmt: skip
    sizes = {"K": MPII.num_joints, "N": people}
    arrays = {}
    for key, dims in _FIELDS.items():
        wanted = tuple(sizes[d] if isinstance(d, str) else d for d in dims)
        value = content.get(key)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or value.shape != wanted:
            found = "is missing" if value is None else f"has the shape {getattr(value, 'shape', ())}"
            raise DataError(f"{path}: `{key}` {found}, but must have {wanted} for {people} people; give the file that "
                            "belongs to the JSON file")  # fmt: skip
        arrays[key] = value.astype(float)
    boxes = arrays["headboxes_src"]
    return HeadFile(
        joints=arrays["pos_gt_src"].transpose(2, 0, 1),
        labelled=arrays["jnt_missing"].T == 0,
        head=_HEAD * np.linalg.norm(boxes[1] - boxes[0], axis=0),
    )


def pckh(truth: GroundTruth, results: list[Result], heads: HeadFile) -> OrderedDict[str, float]:
    """PCKh@0.5 of groups of joints and in all, and PCKh@0.1.

    Args:
        truth: of a file in MPII's layout; the people of its images count.
        results: COCO results. A person without one is missed.
        heads: of all people of the file.

    Returns:
        ``Head``, ``Shoulder``, ``Elbow``, ``Wrist``, ``Hip``, ``Knee``, ``Ankle``, ``PCKh`` and ``PCKh@0.1`` in
        percent; NaN without a labelled joint.
    """
    chosen = chosen_results(truth, results)
    places = [person["place"] for image in truth.images.values() for person in image["people"]]
    predicted = np.full((len(places), MPII.num_joints, 2), np.inf)
    for row, place in enumerate(places):
        if place in chosen:
            predicted[row] = np.reshape(chosen[place]["keypoints"], (-1, 3))[:, :2] + FIRST_PIXEL
    labelled = heads.labelled[places]
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.linalg.norm(predicted - heads.joints[places], axis=-1) / heads.head[places, None]
    count = labelled.sum(0)
    half, tenth = (_percent(((distance <= share) & labelled).sum(0), count) for share in (0.5, 0.1))
    index = {name: i for i, name in enumerate(MPII.names)}
    table = OrderedDict((group, _mean(half[[index[name] for name in names]])) for group, names in _GROUPS.items())
    weight = count * ~np.isin(MPII.names, _LEFT_OUT)
    for name, shares in (("PCKh", half), ("PCKh@0.1", tenth)):
        table[name] = float((np.nan_to_num(shares) * weight).sum() / weight.sum()) if weight.sum() else float("nan")
    return table


def _percent(right: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Shares (K,) in percent, NaN of nothing."""
    return np.where(count > 0, 100.0 * right / np.maximum(count, 1), np.nan)


def _mean(shares: np.ndarray) -> float:
    return float(shares.mean())


def chosen_results(truth: GroundTruth, results: list[Result]) -> dict[int, Result]:
    """The result that is taken for each labelled person: place in the file -> result.

    MPII tells where a person is and how tall, at test time too. A result that says in ``annotation_id`` whose it is
    (the place in the file from 1, as programs that crop each person know it) is that person's, the best score first.
    Other results are given to the people of their image one to one, the largest first of score times the IoU of two
    squares: that round the person's centre with the person's height as its side, and that round the result's centre
    with the longer side of its box.
    """
    own = [result for result in results if "annotation_id" in result]
    if own and len(own) < len(results):
        raise DataError(
            f"{counted(len(results) - len(own), 'result')} of {len(results)} for {truth.source} have no "
            "`annotation_id`, and others have; give it in all or in none"
        )
    if own:
        best: dict[int, Result] = {}
        for result in sorted(own, key=lambda r: -r["score"]):
            if type(result["annotation_id"]) is int:
                best.setdefault(result["annotation_id"] - 1, result)
        return best
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(result["image_id"], []).append(result)
    chosen: dict[int, Result] = {}
    for image_id, group in groups.items():
        people = truth.images[image_id]["people"]
        value = _square_iou(people, group) * np.array([result["score"] for result in group])
        while value.size and value.max() > 0:
            person, number = np.unravel_index(int(value.argmax()), value.shape)
            chosen[people[person]["place"]] = group[number]
            value[person], value[:, number] = 0, 0
    return chosen


def _square_iou(people: list[dict[str, Any]], group: list[Result]) -> np.ndarray:
    """IoU (people, results) of the squares round people and round results."""
    boxes = np.array([result.get("bbox") or extent(result) for result in group], dtype=float)
    centers = np.array([person["center"] for person in people], dtype=float)[:, None]  # (people, 1, 2)
    sides = np.array([person["height"] for person in people], dtype=float)[:, None]
    others, lengths = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(1)
    low = np.maximum(centers - sides[..., None] / 2, others - lengths[:, None] / 2)
    high = np.minimum(centers + sides[..., None] / 2, others + lengths[:, None] / 2)
    common = (high - low).clip(0).prod(-1)
    return common / (sides**2 + lengths**2 - common)
