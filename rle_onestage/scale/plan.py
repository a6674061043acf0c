"""What a job does: its inputs, cut into units of work that are the same whoever asks, and the file that holds them.

A unit becomes one Parquet file, written whole or not at all: a unit whose file is there is done, and one that is done
twice gives the same file twice.
"""

import contextlib
import hashlib
import itertools
import json
import tarfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..errors import ConfigError, MediaError, counted, cut
from ..utils.arrow import arrow
from ..video.io import READ_TYPES
from ..video.io.chunks import WHOLE, Chunk, find_chunks
from . import storage
from .file_systems import reason_of
from .listing import PLAN, Entry
from .models import Version

SUMMARY = "_summary.json"
# Found people of videos whose tracks are not made yet.
FRAMES = "_frames"
_SHOWN = 200  # characters of an option that a message says
_MEMBERS = 64  # of a shard, by which its number of images is guessed: to count them takes as many reads


class Unit(NamedTuple):
    """Work that is done at once.

    Attributes:
        number: from 0 on.
        kind: one of :data:`~.inputs.KINDS`.
        files: addresses; of all kinds but images one.
        start: of a table the first row group, of a video see :class:`~.chunks.Chunk`.
        end: that of the next unit.
        weight: how many images it has; of shards a guess.
        size: bytes of its files, as far as they are its own.
    """

    number: int
    kind: str
    files: tuple[str, ...]
    start: int | None = None
    end: int | None = None
    weight: int = 1
    size: int = 0


class Plan(NamedTuple):
    """All that a job does.

    Attributes:
        job: what makes its result: inputs, model, version, options.
        files: of the inputs, with their kinds.
        units: in order.
        version: what the job's version is made of; None in plans of an earlier package.
    """

    job: dict[str, Any]
    files: list[tuple[str, Entry]]
    units: list[Unit]
    version: Version | None = None

    @property
    def digest(self) -> str:
        """What its Parquet files are known by."""
        text = json.dumps([self.job, self.files, self.units], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def part_name(number: int) -> str:
    """The name of a unit's file."""
    return f"part-{number:06d}.parquet"


def units_of(files: Iterable[tuple[str, Entry]], rows: int) -> list[Unit]:
    """Cut inputs into units.

    Args:
        files: kind and file of each, in order.
        rows: images of a unit, about: exact for images, at least for row groups of tables and frames of videos.
    """
    units: list[Unit] = []
    waiting: list[Entry] = []

    def add(kind: str, entries: Sequence[Entry], weight: int, start: int | None = None, end: int | None = None) -> None:
        size = sum(entry.size for entry in entries)
        units.append(Unit(len(units), kind, tuple(e.address for e in entries), start, end, max(1, weight), size))

    def flush() -> None:
        if waiting:
            add("images", waiting, len(waiting))
            waiting.clear()

    for kind, entry in files:
        if kind == "images":
            waiting.append(entry)
            if len(waiting) == rows:
                flush()
            continue
        flush()
        if kind == "tar":
            add(kind, [entry], _images_of_shard(entry))
        elif kind == "parquet":
            for start, end, number in _row_groups(entry.address, rows):
                add(kind, [entry], number, start, end)
        else:
            for chunk in _chunks(entry.address, rows):
                add(kind, [entry], chunk.frames, chunk.start, chunk.end)
    flush()
    return units


def _images_of_shard(entry: Entry) -> int:
    """About how many images a tar shard has, by its first members."""
    images, place = 0, 0
    with contextlib.suppress(Exception):  # of whatever bytes there are: who reads it says why
        with storage.opened(entry.address) as file, tarfile.open(fileobj=file, mode="r:*") as shard:
            for member in itertools.islice(shard, _MEMBERS):
                images += member.name.lower().endswith(READ_TYPES)
                place = shard.offset
    return round(images * max(entry.size / max(place, 1), 1.0))


def _row_groups(address: str, rows: int) -> list[tuple[int | None, int | None, int]]:
    """First row group, that of the next unit, and number of rows, of each unit of a table."""
    pa = arrow()
    try:
        with storage.opened(address) as file:
            metadata = pa.parquet.ParquetFile(file).metadata
            counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    except Exception:  # of whatever bytes there are: who reads it says why
        return [(None, None, 1)]
    found, start, number = [], 0, 0
    for group, count in enumerate(counts):
        number += count
        if number >= rows or group == len(counts) - 1:
            found.append((start, group + 1, number))
            start, number = group + 1, 0
    return [*found] or [(None, None, 1)]


def _chunks(address: str, frames: int) -> list[Chunk]:
    try:
        with storage.opened(address, ends=True) as file:
            found = find_chunks(file, frames)
            # What lies behind a break may have no plain clock.
            return found if file.broke is None else [WHOLE]
    except Exception:  # of whatever bytes there are: who reads it says why
        return [WHOLE]


def settled_plan(job: dict[str, Any], files: list[tuple[str, Entry]], output: str, rows: int, version: Version) -> Plan:
    """The plan of an output: that of its first call, which later ones go on with; or a new one, which is written.

    Args:
        job: see :class:`Plan`.
        files: of the inputs, as they are now.
        output: folder of the results.
        rows: see :func:`units_of`.
        version: see :class:`Plan`.

    Raises:
        ConfigError: the output has results of something else.
        MediaError: the plan cannot be read or written.
    """
    there = storage.names_in(output)
    if PLAN in there:
        plan = read_plan(output)
        _check_same(plan, Plan(job, files, [], version), output)
        return plan
    if any(name.endswith(".parquet") for name in there):
        raise ConfigError(f"{output} has Parquet files and no {PLAN}, so they are of something else; give a new folder")
    plan = Plan(job, files, units_of(files, rows), version)
    storage.make_folder(output)
    with storage.written(storage.joined(output, PLAN)) as file:
        file.write(json.dumps({**plan._asdict(), "version": version._asdict()}).encode())
    return plan


def read_plan(output: str) -> Plan:
    """The plan that a job left in its output.

    Raises:
        MediaError: it cannot be read.
    """
    address = storage.joined(output, PLAN)
    try:
        with storage.opened(address) as file:
            text = file.read()
    except OSError as error:
        raise MediaError(
            f"{address} cannot be read ({reason_of(error)}); mend it, and give the same command again"
        ) from error
    try:
        data = json.loads(text)
        files = [(kind, Entry(*entry)) for kind, entry in data["files"]]
        units = [Unit(number, kind, tuple(names), *rest) for number, kind, names, *rest in data["units"]]
        if not units or not files:
            raise ValueError("it has no inputs")
        version = Version(**data["version"]) if data.get("version") else None
        return Plan(dict(data["job"]), files, units, version)
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{address} is damaged ({error}); remove the folder and start again") from error


def _check_same(plan: Plan, now: Plan, output: str) -> None:
    """Raises ConfigError where an output has the results of another job than that of now, which has no units yet.

    Plans of an earlier version may have relative paths, which are those of the folder where the job was begun.
    """
    remedy = "give another folder with --output, or remove this one"
    same = json.loads(json.dumps(now.job))
    for key in sorted(same, key="input".__eq__):  # what files are new says more than what an input was called
        before = plan.job.get(key)
        moved = key == "input" and before != _whole(key, before) != same[key]
        if key == "input" and not moved:
            _check_same_files(plan, now.files, output, remedy)
        if before != same[key] and _whole(key, before) != same[key]:
            if moved:
                remedy = f"give the command in the folder where it was begun, as these paths are relative; or {remedy}"
            was, is_ = (cut(str(value), _SHOWN) for value in (before, same[key]))
            name = "version, config or weights" if key == "version" else key
            what = f"another {name} ({was}, now {is_})"
            if key == "version" and plan.version and now.version:
                what = plan.version.changes(now.version)
            raise ConfigError(f"{output} has results of {what}; {remedy}")


def _check_same_files(plan: Plan, files: list[tuple[str, Entry]], output: str, remedy: str) -> None:
    """Raises ConfigError where the inputs are other files, or were changed."""
    before = {storage.whole(entry.address): entry._replace(address="") for _, entry in plan.files}
    now = {storage.whole(entry.address): entry._replace(address="") for _, entry in files}
    for what, names in (("new", now.keys() - before.keys()), ("gone", before.keys() - now.keys())):
        if names:
            number = counted(len(names), "file")
            raise ConfigError(f"{output} has results of other inputs: {number} {what}, such as {min(names)}; {remedy}")
    changed = sorted(name for name in now if now[name] != before[name])
    if changed:
        raise ConfigError(f"{output} has results of other inputs: {changed[0]} has changed since; {remedy}")


def _whole(key: str, value: Any) -> Any:
    """An entry of a job with absolute paths in place of relative ones."""
    if key == "input" and isinstance(value, list):
        return [name if storage.is_remote(name) else storage.whole(name) for name in map(str, value)]
    return storage.whole(value) if key == "model" and isinstance(value, str) else value
