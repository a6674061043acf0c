"""How a job goes, and what it came to."""

import json
import logging
import time
from typing import NamedTuple

from ..errors import MediaError, counted
from ..utils.packaged_files import DRAWN_SCORE
from . import storage
from .plan import SUMMARY, Unit
from .work import Report

logger = logging.getLogger(__name__)

_EVERY = 10.0  # seconds between two lines
_NAMED = 3  # errors that are named


class Summary(NamedTuple):
    """What a job came to.

    Attributes:
        output: folder of the results.
        images: rows: images and frames, also those with an error.
        people: that were found.
        errors: rows with an error.
        samples: the first errors, each with its image.
        computed: rows that this call computed; the others were there.
        seconds: that this call took, with the start of its engine.
        start_seconds: of these, until an actor had its model.
        images_per_second: of this call, from then on; 0 where it computed nothing.
        actor_rate: images/s of an actor that works.
        actors: how many worked.
        threads: of each.
        read_bytes: of an image, on average.
        written_bytes: of an image, on average.
        rows: images of a unit.
        max_errors: share of rows that may have an error, and of shards, tables and pieces of videos that may be lost.
        holders: shards, tables (or parts of them) and pieces of videos.
        lost: of these, not read to their end.
        away: units whose storage was away for some of them; the same command tries them again.
        min_score: of the people.
        drawn: of the people those whose score demo draws; None where files of an earlier version do not say it.
    """

    output: str
    images: int
    people: int
    errors: int
    samples: tuple[str, ...]
    computed: int
    seconds: float
    start_seconds: float
    images_per_second: float
    actor_rate: float
    actors: int
    threads: int
    read_bytes: float
    written_bytes: float
    rows: int
    max_errors: float
    holders: int = 0
    lost: int = 0
    away: int = 0
    min_score: float = 0.0
    drawn: int | None = None

    @property
    def failed(self) -> bool:
        """Whether more rows have an error than may, or more of what holds many images is lost in part."""
        return self.errors > self.max_errors * self.images or self.lost > self.max_errors * self.holders

    def __str__(self) -> str:
        there = self.images - self.computed
        words = f"{counted(self.people, 'person', 'people')} of {_at_least(self.min_score)}"
        if self.drawn is not None and self.min_score < DRAWN_SCORE:
            words += f" ({self.drawn} of {DRAWN_SCORE} or more, those that demo draws)"
        words += f" in {counted(self.images, 'image')}"
        words += f" ({there} of them were there)" if there else ""
        if self.computed:
            words += f", {self.images_per_second:.1f} images/s by {counted(self.actors, 'actor')}"
        return f"{words}, {self.written_bytes * self.images / 1e6:.1f} MB in {self.output}"


class Progress:
    """Tells how a job goes: rate, share, time left.

    Args:
        units: that are to be done now.
        done: weight of those that are done already.
    """

    def __init__(self, units: list[Unit], done: int) -> None:
        self._weights = {unit.number: unit.weight for unit in units}
        self._before = done
        self._total = done + sum(self._weights.values())
        self._done = 0.0  # weight of this call
        self._part = 0  # images of a unit that is not done yet
        self._begin = self._told = time.perf_counter()
        self.first: float | None = None  # seconds until the first unit was begun
        self.images, self.busy, self.read = 0, 0.0, 0

    def tell(self, images: int) -> None:
        """Take images of a unit that is not done yet."""
        self._part += images
        self._say()

    def add(self, report: Report) -> None:
        """Take a unit."""
        now = time.perf_counter()
        if self.first is None:
            self.first = max(0.0, now - self._begin - report.seconds)
        self.images, self._part = self.images + report.rows, 0
        self.busy, self.read = self.busy + report.seconds, self.read + report.read
        self._done += self._weights.get(report.unit, 0)
        self._say()

    @property
    def seconds(self) -> float:
        """Since the first unit was begun."""
        return max(time.perf_counter() - self._begin - (self.first or 0.0), 1e-9)

    def _say(self) -> None:
        now = time.perf_counter()
        if now - self._told < _EVERY:
            return
        self._told = now
        spent, images, done = now - self._begin, self.images + self._part, self._done + self._part
        done = min(done, float(self._total - self._before))  # a shard's number of images is a guess
        share = min((self._before + done) / max(self._total, 1), 1.0)
        left = max(self._total - self._before - done, 0.0) * spent / max(done, 1e-9)
        logger.info(
            "%s, %.1f images/s, %.0f %% done, about %s left",
            counted(images, "image"), images / spent, 100 * share, duration(left),
        )  # fmt: skip


def _at_least(score: float) -> str:
    """The scores of a job's people in words."""
    return f"a score of {score:g} or more" if score > 0 else "any score"


def percent(share: float) -> str:
    """A share in words, of three digits at most: "100 %", "12.5 %", "0.01 %"."""
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def say(summary: Summary) -> None:
    """Say what a job came to, and which errors there were."""
    logger.info("%s", summary)
    if summary.errors:
        logger.warning(
            "%s could not be used, %s of all (%s may be), such as: %s",
            counted(summary.errors, "image"), percent(summary.errors / summary.images), percent(summary.max_errors),
            "; ".join(summary.samples[:_NAMED]).replace("\n", "\\n"),
        )  # fmt: skip
    if summary.lost:
        logger.warning(
            "%d of %d shards, tables and pieces of videos could not be read to their end (%s may be); the column "
            "error names them", summary.lost, summary.holders, percent(summary.max_errors),
        )  # fmt: skip
    if summary.away:
        logger.warning("the storage of %s was away: the same command tries again", counted(summary.away, "unit"))


def write_summary(summary: Summary) -> None:
    """Write a job's summary beside its results.

    Raises:
        MediaError: it cannot be written.
    """
    with storage.written(storage.joined(summary.output, SUMMARY)) as file:
        file.write(json.dumps(summary._asdict(), indent=1).encode())


def read_summary(output: str) -> Summary:
    """The summary that a job left.

    Raises:
        MediaError: there is none.
    """
    address = storage.joined(output, SUMMARY)
    try:
        with storage.opened(address) as file:
            data = json.load(file)
        return Summary(**{**data, "samples": tuple(data["samples"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(
            f"{address} cannot be read ({error}); let rle-onestage predict end a job of some hundred images there first"
        ) from error
