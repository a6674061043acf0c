"""Which people and joints are sure enough to be labels."""

from typing import NamedTuple

import numpy as np

from .fusing import FusedPerson, as_detections, similarity
from .options import LabelOptions


class Label(NamedTuple):
    """A labelled person, or a region to be ignored if no joint is kept; pixels of the image."""

    box: np.ndarray  # (4,) x0, y0, x1, y1, within the image
    area: float  # COCO area, square pixels
    score: float
    joints: np.ndarray  # (K, 2)
    sigmas: np.ndarray  # (K, 2)
    correlations: np.ndarray  # (K,) of the errors in x and y
    kept: np.ndarray  # (K,) bool: labelled; nothing is said of the others


class ImageLabels(NamedTuple):
    """The labels of one image, best score first."""

    people: list[Label]
    ignored: list[Label]


def kept_joints(
    person: FusedPerson, expected: np.ndarray, names: tuple[str, ...], size: tuple[int, int], options: LabelOptions
) -> np.ndarray:
    """Which joints of a person are sure enough.

    Args:
        person: as all views have it.
        expected: (K,) expected OKS at the fused standard deviations.
        names: K joint names.
        size: height and width of the image.
        options: the thresholds.

    Returns:
        (K,) bool.
    """
    root = np.sqrt(person.area)
    sigma = np.sqrt((person.sigmas**2).mean(-1)) / root
    inside = ((person.joints >= 0) & (person.joints <= (size[1], size[0]))).all(-1)
    return (
        inside
        & (sigma <= options.max_sigma.of(names))
        & (expected >= options.min_oks.of(names))
        & (person.presence >= options.min_presence.of(names))
        & (person.spread / root <= options.max_spread.of(names))
        & (person.disagreement <= options.max_disagreement.of(names))
    )


def decide(
    people: list[FusedPerson],
    expected: np.ndarray,
    *,
    names: tuple[str, ...],
    oks_sigmas: tuple[float, ...],
    size: tuple[int, int],
    options: LabelOptions,
) -> ImageLabels:
    """Label who is sure; whoever is doubtful becomes a region to be ignored.

    A doubtful detection that is alike a labelled person is that person once more and is left out. A sure one that is
    alike a better labelled one is doubtful.

    Args:
        people: N, as all views have them.
        expected: (N, K) expected OKS of the joints at the fused standard deviations.
        names: K joint names.
        oks_sigmas: (K,) COCO's.
        size: height and width of the image.
        options: the thresholds.
    """
    if not people:
        return ImageLabels([], [])
    alike = similarity(as_detections(people), oks_sigmas) >= options.match
    order = sorted(range(len(people)), key=lambda i: -people[i].score)
    kept = [kept_joints(p, e, names, size, options) for p, e in zip(people, expected)]
    labelled: list[int] = []
    for i in order:
        if _is_sure(people[i], kept[i], options) and not alike[i, labelled].any():
            labelled.append(i)
    sure = [_label(people[i], kept[i], size) for i in labelled]
    nothing = np.zeros(len(names), dtype=bool)
    ignored = [
        _label(people[i], nothing, size)
        for i in order
        if i not in labelled and options.ignore_regions and people[i].score >= options.ignore_score
        and (_is_sure(people[i], kept[i], options) or not alike[i, labelled].any())
    ]  # fmt: skip
    return ImageLabels(*([label for label in labels if _has_size(label.box)] for labels in (sure, ignored)))


def _is_sure(person: FusedPerson, kept: np.ndarray, options: LabelOptions) -> bool:
    return (
        person.views >= options.views_needed and person.score >= options.min_score and kept.sum() >= options.min_joints
    )


def _label(person: FusedPerson, kept: np.ndarray, size: tuple[int, int]) -> Label:
    """The box is enlarged to hold the kept joints and clipped to the image; an area is no larger than its box."""
    points = np.concatenate([person.box.reshape(2, 2), person.joints[kept]])
    limit = np.array([size[1], size[0]], dtype=float)
    low, high = points.min(0).clip(0, limit), points.max(0).clip(0, limit)
    area = min(person.area, float((high - low).prod()))
    box = np.concatenate([low, high])
    return Label(box, area, person.score, person.joints, person.sigmas, person.correlations, kept)


def _has_size(box: np.ndarray) -> bool:
    return bool((box[2:] - box[:2] >= 1).all())
