"""Counts and times of a run, and how it goes."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from detectron2.structures import Instances
from tqdm import tqdm

from ..errors import counted

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Tally:
    """Counts and times of a run."""

    def __init__(self) -> None:
        self.images = self.people = 0
        self.seconds = 0.0
        self.below: float | None = None  # best score of those who do not reach the threshold

    def predict(self, predictor: Callable[[np.ndarray], Instances], image: np.ndarray, threshold: float) -> Instances:
        """Predict with the clock running.

        Args:
            predictor: image -> people.
            image: (H, W, 3) BGR uint8.
            threshold: lowest score.

        Returns:
            the people that reach the threshold.
        """
        start = time.perf_counter()
        people = predictor(image)
        spent = time.perf_counter() - start
        kept = people.scores >= threshold
        if not kept.all():
            self.below = max(self.below or 0.0, float(people.scores[~kept].max()))
        people = people[kept]
        self.images, self.people, self.seconds = self.images + 1, self.people + len(people), self.seconds + spent
        return people

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        each = 1000 * self.seconds / max(self.images, 1)
        return (
            f"{counted(self.people, 'person', 'people')} in {counted(self.images, 'image')}, {rate:.1f} images/s "
            f"({each:.0f} ms each, without reading and drawing)"
        )


def best_score(score: float) -> str:
    """Say the best score of the people below the threshold, and the flag that draws this person.

    Args:
        score: in [0, 1].

    Returns:
        A clause of a message.
    """
    best = f"{math.floor(100 * score) / 100:.2f}"  # rounded down, so that the person reaches it
    return f"the best score is {best} (--confidence-threshold {best} draws it)"


def progress(items: Iterable[T], total: int | None, unit: str, tally: object) -> Iterator[T]:
    """Yield the items, with a bar on a terminal and elsewhere a line every ten seconds.

    Args:
        items: iterable.
        total: their number, or None.
        unit: what one is called.
        tally: what the line says.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit=unit, dynamic_ncols=True)
        return
    told = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - told > 10:
            told = time.perf_counter()
            logger.info("%s%s", tally, f"; {total} in all" if total else "")
