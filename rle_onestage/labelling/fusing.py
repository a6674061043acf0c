"""From the detections of several views to people: who is who, and where all views together see each joint."""

from typing import NamedTuple

import numpy as np
import torch

from ..modeling.nms import pose_overlap
from ..structures.boxes import iou_matrix
from .views import Detections


class FusedPerson(NamedTuple):
    """One person as all views together have it, in the pixels of the image."""

    box: np.ndarray  # (4,) x0, y0, x1, y1
    area: float  # COCO area, square pixels
    score: float
    views: int  # how many found it
    joints: np.ndarray  # (K, 2)
    sigmas: np.ndarray  # (K, 2) standard deviations of x and y
    presence: np.ndarray  # (K,)
    spread: np.ndarray  # (K,) root mean square distance of the views from the joint, pixels
    disagreement: np.ndarray  # (K,) the same in the views' own standard deviations
    correlations: np.ndarray  # (K,) of the errors in x and y


def similarity(people: Detections, oks_sigmas: tuple[float, ...]) -> np.ndarray:
    """How alike people are: the mean of box IoU and OKS.

    The box tells people apart whose joints are mistaken (left for right), the joints those who stand close together.

    Args:
        people: N of them.
        oks_sigmas: (K,) COCO's.

    Returns:
        (N, N) in [0, 1]; OKS is that of the smaller area.
    """
    joints, areas = torch.from_numpy(people.joints), torch.from_numpy(people.areas)
    oks = pose_overlap(joints[None], areas[None], torch.tensor(oks_sigmas, dtype=torch.float64))[0].numpy()
    return (iou_matrix(people.boxes, people.boxes) + oks) / 2


def match_views(views: list[Detections], oks_sigmas: tuple[float, ...], threshold: float) -> list[Detections]:
    """Put the detections of one person together, at most one of each view.

    From the best score on, a detection joins the person whom it is most alike, or is a new person. It is compared with
    the person's best detection.

    Args:
        views: detections of each view.
        oks_sigmas: (K,) COCO's.
        threshold: of :func:`similarity`.

    Returns:
        The detections of each person, best first; people by their best score.
    """
    everything = stacked(views)
    view = np.repeat(np.arange(len(views)), [len(v.scores) for v in views])
    alike = similarity(everything, oks_sigmas)
    groups: list[list[int]] = []
    for row in np.argsort(-everything.scores, kind="stable"):
        free = [g for g in groups if alike[g[0], row] >= threshold and view[row] not in view[g]]
        if free:
            free[int(np.argmax([alike[group[0], row] for group in free]))].append(row)
        else:
            groups.append([row])
    return [everything.take(group) for group in groups]


def stacked(views: list[Detections]) -> Detections:
    """The detections of all views, one after the other."""
    return Detections(*(np.concatenate(values) for values in zip(*views)))


def fuse(found: Detections) -> FusedPerson:
    """One person of the detections in V views.

    Joints are weighted by the inverse of their variance. All views come from one model and one image, so their errors
    go together, and a mean of them is not sqrt(V) times as sure as one. The variance of a fused joint is that of the
    mixture of the views: the weighted mean of their variances plus their weighted mean square distance from the fused
    joint. The covariance of x and y is that of the same mixture, see :func:`_between_x_and_y`. Box and area are
    medians, score and presence are means.

    Args:
        found: V rows, all of one person.
    """
    precision = found.sigmas**-2  # (V, K, 2)
    weight = precision / precision.sum(0)
    joints = (weight * found.joints).sum(0)
    square = (found.joints - joints) ** 2
    between = (weight * square).sum(0)  # (K, 2)
    within = len(precision) / precision.sum(0)  # the weighted mean of 1 / precision
    sigmas = np.sqrt(within + between)
    return FusedPerson(
        box=np.median(found.boxes, axis=0),
        area=float(np.median(found.areas)),
        score=float(found.scores.mean()),
        views=len(found.scores),
        joints=joints,
        sigmas=sigmas,
        presence=found.presence.mean(0),
        spread=np.sqrt(between.sum(-1)),
        disagreement=np.sqrt((square * precision).mean((0, 2))),
        correlations=_between_x_and_y(found, weight, found.joints - joints) / sigmas.prod(-1),
    )


def _between_x_and_y(found: Detections, weight: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Covariance (K,) of x and y in the mixture of V views.

    A draw takes x from a view by the weights of x, and y by those of y. Both are of one view as often as these allow:
    with the smaller of the view's two weights. Then they have the view's own covariance. Else they come from two
    views, by what is left of the weights, and go together no more than these views' offsets do.

    Args:
        found: V rows, all of one person.
        weight: (V, K, 2) with the sums 1.
        offset: (V, K, 2) of the views from the fused joints, pixels.
    """
    same = weight.min(-1)  # (V, K)
    within = (same * (found.correlations * found.sigmas.prod(-1) + offset.prod(-1))).sum(0)
    left = weight - same[..., None]
    x, y = np.moveaxis((left * offset).sum(0), -1, 0)
    return within + x * y / np.maximum(1 - same.sum(0), 1e-12)


def as_detections(people: list[FusedPerson]) -> Detections:
    """Fused people as detections of one view.

    Args:
        people: at least one.
    """
    names = ("box", "joints", "sigmas", "presence", "score", "area", "correlations")
    return Detections(*(np.array([getattr(p, name) for p in people]) for name in names))
