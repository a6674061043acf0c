"""Precision and recall by the threshold of the score, at an OKS of 0.5, and the threshold of the best F1.

COCO matches the detections of an image in the order of their scores. What a detection is matched with depends on those
above it alone, so one matching holds for every threshold.
"""

from typing import Any, NamedTuple

import numpy as np

from rle_onestage.errors import DataError

from .matching import Matching


class Curve(NamedTuple):
    """One row for each different score, highest first: what all detections from there up give."""

    threshold: np.ndarray  # (n,)
    right: np.ndarray  # (n,) people found
    wrong: np.ndarray  # (n,) detections of nobody
    people: float  # labelled people who count

    @property
    def precision(self) -> np.ndarray:
        """(n,) in [0, 1]."""
        return self.right / np.maximum(self.right + self.wrong, 1e-12)

    @property
    def recall(self) -> np.ndarray:
        """(n,) in [0, 1]; NaN without people."""
        return self.right / self.people if self.people else np.full(len(self.right), np.nan)

    @property
    def f1(self) -> np.ndarray:
        """(n,) in [0, 1]."""
        return 2 * self.right / np.maximum(self.right + self.wrong + self.people, 1e-12)


def curve(matching: Matching, weights: np.ndarray | None = None) -> Curve:
    """The curve of a model on a set.

    Args:
        matching: from :func:`~.matching.match`. Detections of crowds and of people without joints do not count.
        weights: (I,) how often each image counts; None: once.
    """
    matches = matching.areas["all"]
    weights = np.ones(len(matches.people)) if weights is None else np.asarray(weights, dtype=float)
    weight = weights[matches.image]
    right, wrong = (np.cumsum(part[0] * weight) for part in (matches.right, matches.wrong))
    ends = np.append(matches.score[1:] != matches.score[:-1], True)[: len(matches.score)]  # of equal scores
    last = np.flatnonzero(ends)
    return Curve(matches.score[last], right[last], wrong[last], float(weights @ matches.people))


def best_threshold(found: Curve) -> dict:
    """The threshold of the best F1, the highest of equals, see :func:`at_threshold`; and where F1 is nearly as good.

    Returns:
        the row of that threshold, with ``nearly``, the lowest and the highest threshold with 99 % of that F1.

    Raises:
        DataError: nobody is labelled, or no detection is right.
    """
    if not found.people or not len(found.right) or not found.right[-1]:
        raise DataError("no detection of the set is right, so no threshold is best; give a set with labelled people")
    f1 = found.f1
    near = found.threshold[f1 >= 0.99 * f1.max()]
    return {**at_threshold(found, found.threshold[f1.argmax()]), "nearly": [float(near.min()), float(near.max())]}


def at_threshold(found: Curve, threshold: float) -> dict:
    """What detections of at least that score give.

    Returns:
        dict of ``threshold``; ``precision``, ``recall``, ``f1`` in percent (NaN where there is nothing to divide by);
        ``right``, ``wrong``, ``people``.
    """
    count = int(np.searchsorted(-found.threshold, -threshold, side="right"))
    right, wrong = (float(part[count - 1]) if count else 0.0 for part in (found.right, found.wrong))
    nan = float("nan")
    return {
        "threshold": float(threshold),
        "precision": 100 * right / (right + wrong) if right + wrong else nan,
        "recall": 100 * right / found.people if found.people else nan,
        "f1": 200 * right / (right + wrong + found.people) if right + wrong + found.people else nan,
        "right": right,
        "wrong": wrong,
        "people": found.people,
    }


def images_with_people(results: list[dict], image_ids: dict[int, dict[str, Any]] | list[int], threshold: float) -> dict:
    """How many images have a detection of at least that score; to be asked of images without people.

    Args:
        results: COCO results.
        image_ids: of all images.
        threshold: lowest score.

    Returns:
        dict of ``images``, ``with_people``, ``share`` in percent, and ``highest``, the ids and scores of the ten
        images with the highest score, so that they can be looked at.
    """
    highest = {image_id: 0.0 for image_id in image_ids}
    for result in results:
        if result["image_id"] in highest:
            highest[result["image_id"]] = max(highest[result["image_id"]], result["score"])
    count = sum(score >= threshold for score in highest.values())
    top = sorted(highest.items(), key=lambda pair: -pair[1])[:10]
    share = 100 * count / len(highest) if highest else float("nan")
    return {"images": len(highest), "with_people": count, "share": share, "highest": top}
