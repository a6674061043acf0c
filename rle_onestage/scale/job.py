"""Prediction over many images: the plan, what of it is done, the engine that does the rest, the summary."""

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import cv2
import torch

from .. import __version__
from ..errors import ConfigError, MediaError, PoseError, check_score, counted
from ..evaluation.joint_factors import density_of, joint_factors
from ..structures.skeleton import Skeleton
from ..utils.arrow import arrow
from ..utils.cores import own_threads
from ..utils.output_files import check_name
from . import coco, storage
from .engines import InProcess, OnRay, RayOptions, needed_by_ray
from .inputs import find_inputs
from .models import ModelChoice, Version, predictor_for, settled, version_of
from .plan import FRAMES, SUMMARY, Plan, Unit, part_name, settled_plan
from .progress import Progress, Summary, say, write_summary
from .tracks import VideoTracker
from .work import Report, Task, Worker, report_of, set_threads

logger = logging.getLogger(__name__)

_FEW = 3  # rows of a unit that may all be errors by themselves


@dataclass(frozen=True)
class JobOptions:
    """How a job works.

    Attributes:
        rows: images of a unit, which is one Parquet file. A tar shard is one unit, whatever it has.
        batch: images that the model gets at once, where it sees them in one size.
        column: of Parquet inputs, that has the images or their paths; None: the first that is named like one.
        min_score: of people that are kept.
        max_errors: share of rows that may have an error before the job counts as failed; also of shards, tables and
            pieces of videos that are lost in part.
        coco: also write COCO results, to the output's name and ``.json``, and names and half-widths of the joints, to
            ``..._joints.json``.
    """

    rows: int = 1000
    batch: int = 8
    column: str | None = None
    min_score: float = 0.0
    max_errors: float = 0.01
    coco: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1 or self.batch < 1:
            raise ConfigError(f"rows is {self.rows} and batch {self.batch}; give whole numbers above 0")
        check_score(self.min_score, "min_score")
        check_score(self.max_errors, "max_errors")


def predict(
    dataset: str | Sequence[str],
    model: str | ModelChoice = "people",
    *,
    output: str,
    ray: str | RayOptions | None = None,
    threads: int | None = None,
    options: JobOptions | None = None,
) -> Summary:
    """Find the people of many images and videos, and write them as Parquet files.

        >>> summary = predict("photographs", output="people")
        >>> pandas.read_parquet("people")

    What the output has already of the same job is not computed again. An image that cannot be read is a row with its
    error.

    Args:
        dataset: files, folders, patterns, lists (``.txt``), tar shards, Parquet files, videos; paths or addresses.
        model: a name of the model zoo, a config, weights, an exported file, or a :class:`~.models.ModelChoice`.
        output: the folder, or its address.
        ray: address of a Ray cluster, ``local``, or :class:`~.engines.RayOptions`; None: this process does the work.
        threads: of this process; None: ``OMP_NUM_THREADS``, or else all cores. Actors have those of their options.
        options: :class:`JobOptions`.

    Returns:
        What it came to; ``failed`` says whether too many images have an error.

    Raises:
        PoseError: inputs, model, output or cluster cannot be used, or the output has results of something else.
    """
    begin = time.perf_counter()
    options = options or JobOptions()
    choice = settled(model if isinstance(model, ModelChoice) else ModelChoice(model))
    on_ray = RayOptions(ray) if isinstance(ray, str) else ray
    inputs = [dataset] if isinstance(dataset, str) else list(dataset)
    _check_output(output, options)
    output = storage.whole(output) if on_ray else output  # for actors, which may be at work in another folder
    arrow()
    if on_ray:
        needed_by_ray()
    files = find_inputs(inputs, output)
    threads = on_ray.threads if on_ray else threads or own_threads()
    with _with_threads(threads):
        # Here too where actors have their own: what is wrong with it is said before anything is started.
        predictor = predictor_for(choice, threads)
        version = version_of(choice, __version__, getattr(predictor, "cfg", None))  # exported files have no config
        plan = settled_plan(_job_of(inputs, choice, options, version), files, output, options.rows, version)
        task = Task(
            output, plan.digest, choice, plan.job["version"], options.batch, threads, options.column,
            options.min_score, joint_factors(predictor.skeleton, density_of(predictor)), predictor.category.id,
        )  # fmt: skip
        if getattr(predictor, "tells_depth", False):
            logger.warning("joints in space (3-D) that %s may give have no column and are not kept", choice.name)
        skeleton, worker = predictor.skeleton, Worker(task, None if on_ray else predictor)
        del predictor  # actors have their own
        return _Job(plan, worker, skeleton, options, begin).run(on_ray)


def _job_of(inputs: list[str], choice: ModelChoice, options: JobOptions, version: Version) -> dict:
    """What the results depend on."""
    made = {key: value for key, value in asdict(options).items() if key not in ("max_errors", "coco")}
    given = [name if storage.is_remote(name) else storage.whole(name) for name in inputs]
    return {"input": given, "model": choice.name, "version": version.name, **made}


def _check_output(output: str, options: JobOptions) -> None:
    """Raises ConfigError for what is no folder, or would replace files of others.

    Removes what a call that was killed left half-written.
    """
    if not output:
        raise ConfigError("the name after --output is empty; give a folder")
    if options.coco and storage.is_remote(output):
        raise ConfigError(f"COCO results are written on this machine, and {output} is not; write Parquet, and copy it")
    if not storage.is_remote(output):
        check_name(storage.local(output), "--output")
        if os.path.exists(storage.local(output)) and not os.path.isdir(storage.local(output)):
            raise ConfigError(f"--output {output} is a file; give a folder")
    if options.coco:
        coco.check_own(output)
    for folder in (output, storage.joined(output, FRAMES)):
        storage.remove_unfinished(folder)


@contextlib.contextmanager
def _with_threads(number: int) -> Iterator[None]:
    """Within the block this process computes with so many threads."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    set_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


class _Job:
    """The work of one call.

    Args:
        plan: of the output.
        worker: that does its units.
        skeleton: the joints.
        options: of the job.
        begin: when it was called.
    """

    def __init__(self, plan: Plan, worker: Worker, skeleton: Skeleton, options: JobOptions, begin: float) -> None:
        self.plan, self.worker, self.task, self.skeleton = plan, worker, worker.task, skeleton
        self.options, self._begin = options, begin
        self._frames = storage.joined(self.task.output, FRAMES)
        videos = [unit for unit in plan.units if unit.kind == "video"]
        self._videos = [list(group) for _, group in itertools.groupby(videos, key=lambda unit: unit.files)]

    def run(self, on_ray: RayOptions | None) -> Summary:
        """Do what is left, and sum up."""
        done = self._reports(self.task.output, self.plan.units)
        videos = [units for units in self._videos if any(unit.number not in done for unit in units)]
        seen = self._reports(self._frames, [unit for units in videos for unit in units])
        of_videos = [unit for units in videos for unit in units if unit.number not in seen]
        left = [unit for unit in self.plan.units if unit.kind != "video" and unit.number not in done] + of_videos
        computed = {unit.number for unit in left}
        progress = Progress(left, sum(unit.weight for unit in self.plan.units if unit.number not in computed))
        before = time.perf_counter() - self._begin  # seconds, of what this process does itself
        if videos:
            storage.make_folder(self._frames)
        self._say_start(left)
        actors = 1
        if left or videos:
            engine = OnRay(on_ray) if on_ray else InProcess(progress.tell)
            actors = engine.actors
            try:
                for report in engine.run(self.worker, left):
                    progress.add(_checked(report))
                    done[report.unit] = report  # of videos that of their frames, until they are tracked
                self._forget_tracks(videos)
                for report in engine.map(VideoTracker(self.task, self.skeleton), videos):
                    done[report.unit] = _checked(report)
            except KeyboardInterrupt:
                logger.warning("interrupted: the same command goes on with what is left")
                raise
            finally:
                engine.close()
        if self._videos:
            self._forget_frames(done)
        return self._summed_up(done, progress, actors, before)

    def _reports(self, folder: str, units: Sequence[Unit]) -> dict[int, Report]:
        """Reports of the files that are in a folder, by the number of their unit; not of those done in vain."""
        there = set(storage.names_in(folder))
        found = {
            unit.number: report_of(storage.joined(folder, part_name(unit.number)), self.plan.digest)
            for unit in units
            if part_name(unit.number) in there
        }
        return {number: report for number, report in found.items() if report is not None and not _in_vain(report)}

    def _say_start(self, left: list[Unit]) -> None:
        there = len(self.plan.units) - len(left)
        logger.info(
            "%s in %s%s",
            counted(len(self.plan.files), "file"), counted(len(self.plan.units), "unit"),
            f", {counted(there, 'unit')} done before" if there else "",
        )  # fmt: skip

    def _rows_of_units(self, images: int) -> int:
        """Images of a unit: as they were asked for; where all are shards, as these have on average."""
        shards = all(unit.kind == "tar" for unit in self.plan.units)
        return max(1, round(images / len(self.plan.units))) if shards else self.options.rows

    def _forget_tracks(self, videos: Sequence[Sequence[Unit]]) -> None:
        """Remove the files of videos that are tracked anew: with some of the old ones a call that is killed would leave
        identities of two passes."""
        there = set(storage.names_in(self.task.output))
        for name in (part_name(unit.number) for units in videos for unit in units):
            if name in there:
                storage.remove(storage.joined(self.task.output, name))

    def _forget_frames(self, done: dict[int, Report]) -> None:
        """Remove what was kept of videos that are done, also what an earlier call had no time to.

        Of a video that is tried again the pieces that could be read stay.
        """
        again = [units for units in self._videos if any(done[unit.number].away for unit in units)]
        kept = {part_name(unit.number) for units in again for unit in units if not done[unit.number].away}
        for name in storage.names_in(self._frames):
            if name not in kept:
                with contextlib.suppress(MediaError):  # the next call does it
                    storage.remove(storage.joined(self._frames, name))
        if not kept:
            storage.remove_folder(self._frames)

    def _summed_up(self, done: dict[int, Report], progress: Progress, actors: int, before: float) -> Summary:
        reports = [done[unit.number] for unit in self.plan.units]
        images = sum(report.rows for report in reports)
        summary = Summary(
            output=self.task.output,
            images=images,
            people=sum(report.people for report in reports),
            errors=sum(report.errors for report in reports),
            samples=tuple(itertools.chain(*(report.samples for report in reports)))[:10],
            computed=progress.images,
            seconds=time.perf_counter() - self._begin,
            start_seconds=before + (progress.first or 0.0),
            images_per_second=progress.images / progress.seconds,
            actor_rate=progress.images / max(progress.busy, 1e-9),
            actors=actors,
            threads=self.task.threads,
            read_bytes=progress.read / max(progress.images, 1),
            written_bytes=sum(report.written for report in reports) / max(images, 1),
            rows=self._rows_of_units(images),
            max_errors=self.options.max_errors,
            holders=sum(unit.kind != "images" for unit in self.plan.units),
            lost=sum(report.lost for report in reports),
            away=sum(report.away for report in reports),
            min_score=self.options.min_score,
            drawn=_drawn(reports),
        )
        if progress.images or SUMMARY not in storage.names_in(self.task.output):  # else nothing was measured
            write_summary(summary)
        if self.options.coco:
            coco.write(self.task.output, self.task.joints)
        say(summary)
        return summary


def _drawn(reports: Sequence[Report]) -> int | None:
    """People whose score demo draws; None where a report of an earlier version does not say it."""
    numbers = [report.drawn for report in reports if report.drawn is not None]
    return sum(numbers) if len(numbers) == len(reports) else None


def _in_vain(report: Report) -> bool:
    """Whether a unit is to be done again: its storage was away for a while, or it has nothing but errors."""
    return bool(report.away) or report.errors == report.rows > _FEW


def _checked(report: Report) -> Report:
    """A report of a unit that is done.

    Raises:
        PoseError: it could not be.
    """
    if report.fatal:
        raise PoseError(report.fatal)
    return report
