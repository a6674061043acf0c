"""Precision and recall by the threshold of the score, and the threshold of the best F1.

COCO matches the detections of an image in the order of their scores. What a detection is matched with depends on those
above it alone, so one matching holds for every threshold.
"""

from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError


class Curve(NamedTuple):
    """One row for each different score, highest first: what all detections from there up give."""

    threshold: np.ndarray  # (n,)
    right: np.ndarray  # (n,) people found
    wrong: np.ndarray  # (n,) detections of nobody
    people: float  # labelled people who count

    @classmethod
    def of(cls, score: np.ndarray, right: np.ndarray, wrong: np.ndarray, people: float) -> "Curve":
        """The curve of detections that are matched already.

        Args:
            score: (D,) of the detections, highest first.
            right: (D,) how often each counts as right: matched to a person.
            wrong: (D,) how often as wrong: matched to nobody.
            people: labelled people who count.
        """
        ends = np.append(score[1:] != score[:-1], True)[: len(score)]  # of equal scores
        last = np.flatnonzero(ends)
        return cls(score[last], np.cumsum(right)[last], np.cumsum(wrong)[last], float(people))

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


def best_threshold(found: Curve) -> dict[str, Any]:
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


def at_threshold(found: Curve, threshold: float) -> dict[str, Any]:
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
