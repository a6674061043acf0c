"""COCO's matching, kept so that its metrics can be computed anew for any choice of the images.

``COCOeval.evaluate`` matches detections with people image by image; only ``COCOeval.accumulate`` looks at all images.
Here the second step takes a weight for each image, how often it counts, so that a bootstrap over images costs a
cumulative sum.
"""

import contextlib
import io
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rle_onestage.evaluation.metrics import for_coco, load_results

from .labels import LabelledSet

# COCO's ranges of the area, in square pixels of the image, and finer ones of our own. COCO labels no joints of people
# below 32 x 32 pixels, so that its "small" is empty.
COCO_AREAS = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
SIDES = (0, 48, 96, 192)  # lower ends of our own classes: square root of the area, pixels
SIZES = {f"{low} to {high} px": (low**2.0, high**2.0) for low, high in zip(SIDES, SIDES[1:])}
SIZES |= {f"{SIDES[-1]} px and more": (SIDES[-1] ** 2.0, 1e10)}
AREAS = {**COCO_AREAS, **SIZES}
SHORT = {"all": "AP", "medium": "APm", "large": "APl", **{name: f"AP {name}" for name in SIZES}}
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)


class AreaMatches(NamedTuple):
    """The D detections that count in one range of the area, best first."""

    image: np.ndarray  # (D,) index of the image
    score: np.ndarray  # (D,)
    right: np.ndarray  # (T, D) bool: matched to a person of that range, at each OKS threshold
    wrong: np.ndarray  # (T, D) bool: matched to nobody
    people: np.ndarray  # (I,) people of that range in each image


class Matching(NamedTuple):
    """What COCO matches, in I images."""

    image_ids: list
    areas: dict[str, AreaMatches]
    pairs: np.ndarray  # (P, 2) place in the list of results, annotation id; at an OKS of 0.5, people who count


def match(labelled: LabelledSet, results: list[dict], *, max_people: int = 20) -> Matching:
    """Match results with people as COCO does.

    Args:
        labelled: the set.
        results: COCO results of its images. Boxes are left out, because not all models have them: a result's area,
            which decides whether an unmatched one counts in a range, is the extent of its joints.
        max_people: results an image that count, best first (COCO: 20).
    """
    bare = [{k: r[k] for k in ("image_id", "category_id", "keypoints", "score")} for r in results]
    dataset, bare, image_ids = for_coco(labelled.truth.dataset, bare)
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO()
        labels.dataset = dataset
        labels.createIndex()
        evaluation = COCOeval(labels, load_results(labels, COCO, bare), "keypoints")
        params = evaluation.params
        params.imgIds, params.catIds = sorted(labels.getImgIds()), [1]
        params.kpt_oks_sigmas = np.asarray(labelled.skeleton.oks_sigmas, dtype=float)
        params.maxDets, params.iouThrs = [max_people], THRESHOLDS
        params.areaRng, params.areaRngLbl = [list(limits) for limits in AREAS.values()], list(AREAS)
        evaluation.evaluate()
    count = len(image_ids)
    found = [evaluation.evalImgs[a * count : (a + 1) * count] for a in range(len(AREAS))]
    areas = {name: _of_area(images) for name, images in zip(AREAS, found)}
    return Matching(image_ids, areas, _pairs(found[0]))


def _of_area(images: list) -> "AreaMatches":
    """Stack COCO's answers for each image; None is an image without people and results."""
    rows = [(i, e) for i, e in enumerate(images) if e is not None]
    people = np.zeros(len(images))
    parts = [(np.zeros(0, int), np.zeros(0), *2 * (np.zeros((len(THRESHOLDS), 0), bool),))]
    for i, e in rows:
        people[i] = np.sum(np.asarray(e["gtIgnore"]) == 0)
        score = np.asarray(e["dtScores"], dtype=float)
        matched, ignored = (np.asarray(e[key]).reshape(len(THRESHOLDS), -1) != 0 for key in ("dtMatches", "dtIgnore"))
        parts.append((np.full(len(score), i), score, matched & ~ignored, ~matched & ~ignored))
    image, score, right, wrong = (np.concatenate(part, -1) for part in zip(*parts))
    order = np.argsort(-score, kind="mergesort")
    return AreaMatches(image[order], score[order], right[:, order], wrong[:, order], people)


def _pairs(images: list) -> np.ndarray:
    pairs = [
        (detection - 1, int(person))  # COCO numbers results from 1
        for e in images
        if e is not None
        for detection, person, ignored in zip(e["dtIds"], e["dtMatches"][0], e["dtIgnore"][0])
        if person and not ignored
    ]
    return np.array(pairs, dtype=int).reshape(-1, 2)


def metrics(matching: Matching, weights: np.ndarray | None = None, areas: tuple[str, ...] = tuple(AREAS)) -> dict:
    """COCO's keypoint metrics.

    Args:
        matching: from :func:`match`.
        weights: (I,) how often each image counts, 0 or more; None: once.
        areas: names of the ranges that are wanted; ``all`` gives AP, AP50, AP75 and AR, the others their AP.

    Returns:
        OrderedDict name -> percent; NaN where nobody is in that range.
    """
    out = OrderedDict()
    for name in areas:
        precision, recall = _curves(matching.areas[name], weights)
        out[SHORT[name]] = _mean(precision)
        if name == "all":
            out |= {"AP50": _mean(precision[0]), "AP75": _mean(precision[5]), "AR": _mean(recall)}
    return out


def _curves(matches: "AreaMatches", weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T, R) at COCO's recalls, and the highest recall (T,); NaN without people."""
    weights = np.ones(len(matches.people)) if weights is None else np.asarray(weights, dtype=float)
    people = weights @ matches.people
    if not people:
        return np.full((len(THRESHOLDS), len(RECALLS)), np.nan), np.full(len(THRESHOLDS), np.nan)
    weight = weights[matches.image]
    right, wrong = (np.cumsum(part * weight, 1) for part in (matches.right, matches.wrong))
    # Of an image that counts twice, the two copies of a detection stand side by side: the envelope of precision, which
    # is all that counts, is that of the pair.
    recall, precision = right / people, right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    precision = np.concatenate([precision, np.zeros((len(precision), 1))], 1)
    at = np.stack([p[np.searchsorted(r, RECALLS)] for r, p in zip(recall, precision)])
    return at, recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))


def _mean(values: np.ndarray) -> float:
    return 100.0 * float(np.mean(values))
