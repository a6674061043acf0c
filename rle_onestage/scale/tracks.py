"""Identities in videos whose frames were looked at in pieces.

People are found in all pieces at once. Then one tracker goes over the rows of a video in order, as
``rle-onestage demo --track`` does in one pass: its identities are the same, because it sees the same people at the
same times.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from ..errors import MediaError, PoseError
from ..evaluation.people_parquet import Row, instances_of
from ..structures.skeleton import Skeleton
from ..utils.arrow import arrow
from ..video.tracking import PoseTracker
from . import storage
from .file_systems import reason_of
from .plan import FRAMES, Unit, part_name
from .work import Report, Task, report_of, write_part

_LEAST_STEP = 1e-6  # seconds, between frames that have the same time


class VideoTracker:
    """Makes the files of videos from those of their frames.

    Args:
        task: of the job.
        skeleton: the joints.
    """

    def __init__(self, task: Task, skeleton: Skeleton) -> None:
        self.task, self.skeleton = task, skeleton

    def __call__(self, units: Sequence[Unit]) -> list[Report]:
        """Track the people of one video.

        Args:
            units: all of the video, in order.

        Returns:
            A report of each.
        """
        tracked = _Tracked(self.skeleton)
        try:
            return [self._done(unit, tracked) for unit in units]
        except PoseError as error:
            return [Report(units[0].number, fatal=str(error))]

    def _done(self, unit: Unit, tracked: "_Tracked") -> Report:
        begin, name = time.perf_counter(), part_name(unit.number)
        found = storage.joined(storage.joined(self.task.output, FRAMES), name)
        rows = (tracked(row) for row in read_rows(found, len(self.skeleton.names)))
        seen = report_of(found, self.task.digest) or Report(unit.number)
        begun = Report(unit.number, lost=seen.lost, away=seen.away)
        report = write_part(storage.joined(self.task.output, name), rows, self.task, begun)
        return report._replace(seconds=time.perf_counter() - begin)


class _Tracked:
    """Gives the rows of a video their numbers, their times from 0 on, and the identities of their people."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._tracker = PoseTracker(skeleton, smooth=False)
        self._first: float | None = None
        self._last, self._number = -np.inf, 0

    def __call__(self, row: Row) -> Row:
        if row.people is None or row.time is None:
            return row._replace(place=None, time=None)
        if self._first is None:
            self._first = row.time
        seconds = row.time - self._first
        if seconds <= self._last:
            seconds = self._last + _LEAST_STEP
        people = row.people
        people.place = torch.arange(len(people))
        tracks = np.zeros(len(people), dtype=np.int64)
        shown = self._tracker(people, seconds)
        tracks[shown.place.numpy()] = shown.ID.numpy()
        people.remove("place")
        number, self._last, self._number = self._number, seconds, self._number + 1
        return row._replace(place=number, time=seconds, tracks=tracks)


def read_rows(address: str, num_joints: int) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        address: of a Parquet file of a job.
        num_joints: K.

    Raises:
        MediaError: it cannot be read.
    """
    pa = arrow()
    try:
        with storage.opened(address) as file:
            for batch in pa.parquet.ParquetFile(file).iter_batches(256):
                yield from _rows(pa.Table.from_batches([batch]), num_joints)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these
        raise MediaError(
            f"{address} cannot be read ({reason_of(error)}); mend it, and give the same command again"
        ) from error


def _rows(table: Any, num_joints: int) -> Iterator[Row]:
    columns = {name: table[name].to_pylist() for name in ("path", "index", "time", "height", "width", "error")}
    sizes = [(height or 1, width or 1) for height, width in zip(columns["height"], columns["width"])]
    people: list[Instances] = instances_of(table["people"], sizes, num_joints)
    for place, found in enumerate(people):
        error, size = columns["error"][place], sizes[place] if columns["height"][place] else None
        tracks = found.track.numpy()
        found.remove("track")
        yield Row(
            columns["path"][place], columns["index"][place], columns["time"][place], size, error,
            None if error is not None else found, tracks,
        )  # fmt: skip
