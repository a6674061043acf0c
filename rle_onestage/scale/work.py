"""A unit of work done: its images read, its people found, its Parquet file written."""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import torch

from ..errors import MediaError, PoseError
from ..evaluation.people_parquet import Row, schema, table_of
from ..utils.arrow import arrow
from ..utils.packaged_files import DRAWN_SCORE
from . import storage
from .batching import rows_of, windows
from .file_systems import Sink, reason_of
from .models import ModelChoice, predictor_for
from .plan import FRAMES, Unit, part_name
from .reading import Item, read_unit

Tell = Callable[[int], None]  # is told of so many more images
_ERRORS_KEPT = 3
_GROUP = 1024  # rows of a row group
_REPORT = b"rle_onestage_report"  # of a file, beside Parquet's own: the plan and the report of its unit
COMPRESSION = "zstd"


@dataclass(frozen=True)
class Task:
    """What every worker of a job is told.

    Attributes:
        output: folder of the results.
        digest: of the plan.
        model: which.
        version: of the model, as the rows say it.
        batch: images that the model gets at once.
        threads: of the CPU.
        column: of tables.
        min_score: of people that are kept.
        joints: their names, limbs and half-widths, see :func:`~.evaluation.joint_factors.joint_factors`.
        category_id: of the people, as COCO results say it.
    """

    output: str
    digest: str
    model: ModelChoice
    version: str
    batch: int
    threads: int
    column: str | None
    min_score: float
    joints: dict[str, Any]
    category_id: int | str


class Report(NamedTuple):
    """What became of a unit.

    Attributes:
        unit: its number.
        rows: of its file.
        errors: rows with an error.
        people: that were found.
        seconds: that it took.
        read: bytes.
        written: bytes.
        samples: the first errors, each with its image.
        fatal: why the job cannot go on; "" where it can.
        loading: seconds that the model took to load, 0 where it was there.
        lost: 1 where a shard, table or piece of a video could not be read to its end; nobody knows how many images
            that are.
        away: 1 where its storage, or that of one of its images, was away: the next call tries again.
        drawn: of the people those whose score demo draws; None in files of an earlier version, which have no number.
    """

    unit: int
    rows: int = 0
    errors: int = 0
    people: int = 0
    seconds: float = 0.0
    read: int = 0
    written: int = 0
    samples: tuple[str, ...] = ()
    fatal: str = ""
    loading: float = 0.0
    lost: int = 0
    away: int = 0
    drawn: int | None = None


class Worker:
    """Does units of a job, one after the other, with a model that it loads once.

    Args:
        task: of the job.
        predictor: a model that is loaded already.
    """

    def __init__(self, task: Task, predictor: Any = None) -> None:
        self.task, self._predictor = task, predictor

    def __call__(self, unit: Unit, tell: Tell | None = None) -> Report:
        """Do a unit; what is wrong with the job, not with an image, is said in the report.

        Args:
            unit: of the plan.
            tell: is called while the work goes on.
        """
        try:
            begin = time.perf_counter()
            if self._predictor is None:
                set_threads(self.task.threads)
                self._predictor = predictor_for(self.task.model, self.task.threads)
            loading = time.perf_counter() - begin
            report = self._done(unit, tell)
            return report._replace(loading=loading)
        except PoseError as error:
            return Report(unit.number, fatal=str(error))

    def _done(self, unit: Unit, tell: Tell | None) -> Report:
        begin, read = time.perf_counter(), [0]
        folder = storage.joined(self.task.output, FRAMES) if unit.kind == "video" else self.task.output
        rows = self._rows(unit, read, tell)
        report = write_part(
            storage.joined(folder, part_name(unit.number)), rows, self.task, Report(unit.number), unit.kind
        )
        return report._replace(seconds=time.perf_counter() - begin, read=read[0])

    def _rows(self, unit: Unit, read: list[int], tell: Tell | None) -> Iterator[Row]:
        """The rows of a unit; ``read[0]`` counts bytes."""

        def counted(items: Iterable[Item]) -> Iterator[Item]:
            for item in items:
                read[0] += item.read
                yield item

        task = self.task
        for window in windows(counted(read_unit(unit, task.column)), task.batch):
            yield from rows_of(window, self._predictor, task.batch, task.min_score)
            if tell is not None:
                tell(len(window))


def set_threads(number: int) -> None:
    """Let this process compute with so many threads."""
    torch.set_num_threads(number)
    cv2.setNumThreads(number)


def write_part(address: str, rows: Iterable[Row], task: Task, report: Report, kind: str = "images") -> Report:
    """Write a unit's file as its rows come, whole or not at all.

    Args:
        address: of the file.
        rows: in order.
        task: of the job.
        report: to be filled in.
        kind: of the unit; an error without a place in what holds several images is of the whole.

    Raises:
        MediaError: it cannot be written.
    """
    samples: list[str] = []
    source, report = iter(rows), report._replace(drawn=0)
    with storage.written(address) as file:
        made = {"joints": task.joints["keypoints"], "category_id": task.category_id, **task.joints}
        del made["keypoints"]
        with _Writer(file, made) as writer:
            while group := list(itertools.islice(source, _GROUP)):
                bad = [row for row in group if row.error is not None]
                lost = kind != "images" and any(row.place is None for row in bad)
                away = any(row.away for row in bad)
                samples += [f"{row.path}: {row.error}" for row in bad][: _ERRORS_KEPT - len(samples)]
                scores = [row.people.scores for row in group if row.people is not None]
                report = report._replace(
                    rows=report.rows + len(group),
                    errors=report.errors + len(bad),
                    people=report.people + sum(map(len, scores)),
                    drawn=(report.drawn or 0) + sum(int((each >= DRAWN_SCORE).sum()) for each in scores),
                    lost=int(report.lost or lost),
                    away=int(report.away or away),
                )
                writer.add(group, task)
            report = report._replace(samples=tuple(samples))
            writer.tell({"plan": task.digest, "report": report._asdict()})
    return report._replace(written=file.tell())


class _Writer:
    """A Parquet file that grows, and says at its end what is in it."""

    def __init__(self, file: Sink, made: dict[str, Any]) -> None:
        pa = arrow()
        self._writer = pa.parquet.ParquetWriter(file, schema(made), compression=COMPRESSION)

    def __enter__(self) -> "_Writer":
        return self

    def add(self, rows: list[Row], task: Task) -> None:
        """Write a row group."""
        table = table_of(rows, task.model.name, task.version)
        self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))

    def tell(self, report: dict[str, Any]) -> None:
        """Write down what the whole file is; to be called last."""
        self._writer.add_key_value_metadata({_REPORT: json.dumps(report).encode()})

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            self._writer.close()
        except OSError:  # the disk is full: the first error says so
            if kind is None:
                raise


def report_of(address: str, digest: str) -> Report | None:
    """What a file says of itself; None where there is none, or it is damaged or of another plan.

    Args:
        address: of the file.
        digest: of the plan.

    Raises:
        MediaError: its storage is away.
    """
    pa = arrow()
    try:
        with storage.opened(address) as file:
            try:
                metadata = pa.parquet.read_metadata(file).metadata or {}
            except (OSError, ValueError) as error:
                if file.broke is not None:
                    raise file.broke from error
                return None
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MediaError(
            f"{address} cannot be read ({reason_of(error)}); mend it, and give the same command again"
        ) from error
    try:
        data = json.loads(metadata.get(_REPORT, b"{}"))
        if data.get("plan") != digest:
            return None
        report = {**data["report"], "samples": tuple(data["report"]["samples"])}
        return Report(**report)._replace(written=size)
    except (ValueError, KeyError, TypeError):
        return None
