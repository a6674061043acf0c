"""Packing a data set into shards: images as they are, byte for byte, and their labels beside them.

What is written is a folder, whole or not at all: for each split ``train-00000.tar``, ... or ``.parquet``, and
``train.json``, the labels in COCO's format, which is read faster than those in the shards.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ...errors import DataError, MediaError, counted, cut, shown
from ...utils.bounded_reading import read_file
from ...utils.images import UnreadableImage
from ...utils.label_address import split_address
from ...utils.output_files import UNFINISHED, temporary_beside
from ...utils.shards import ShardError, name_in_set
from ...utils.shards.address import PARQUET, TAR
from ...utils.shards.index import index_of
from ...utils.shards.parquet import IMAGE, NAME, arrow
from ..coco.annotations import read_keypoints
from ..coco.json_files import read_json
from ..yolo.reading import image_root
from ..yolo.writing import check_free
from .reading import ANNOTATIONS, CATEGORIES, COLUMN_ENTRY, ENTRY, LABELS, entries_of

KINDS = (TAR, PARQUET)
GROUP_ROWS = 16  # of a Parquet file: so many images are read for one


class ShardSplit(NamedTuple):
    """A split that is packed."""

    name: str  # such as "train": what its files begin with
    labels: str  # a file of COCO's format, or an address of other labels
    images: str  # folder of the images; "" where the labels say it


class _Packed(NamedTuple):
    """An image with its labels, as it is packed."""

    data: bytes
    member: str
    entry: dict[str, Any]
    annotations: list[dict[str, Any]]


def write_shards(splits: Sequence[ShardSplit], output: str, *, kind: str = TAR, size: int = 2**28) -> list[str]:
    """Pack splits into shards.

    Args:
        splits: of any joints.
        output: the folder to make.
        kind: of :data:`KINDS`.
        size: bytes after which a shard ends.

    Returns:
        What was written, as lines for the user.

    Raises:
        DataError: the labels cannot be used, or an image is missing.
        ConfigError: the folder is in use.
        MediaError: it cannot be written.
        MissingPackageError: of Parquet, pyarrow is not installed.
    """
    if kind == PARQUET:
        arrow()
    check_free(output)
    target, lines = os.path.realpath(output), []
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        temporary = temporary_beside(target, UNFINISHED)
        try:
            os.mkdir(temporary)
            for split in splits:
                lines.append(_write_split(split, temporary, output, kind, size))
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise MediaError(
            f"{output} cannot be written ({error.strerror or error}); check that folder and the space left, or give "
            "another with --output"
        ) from error
    return lines


def _write_split(split: ShardSplit, folder: str, output: str, kind: str, size: int) -> str:
    data = read_json(split.labels)
    root = split.images or (image_root(split.labels) if split_address(split.labels) else os.path.dirname(split.labels))
    file = read_keypoints(data, split.labels, image_root=root)
    file.problems.say(split.labels)
    paths = {image_id: os.path.join(root, image["file_name"]) for image_id, image in file.images.items()}
    members = _member_names({image_id: image["file_name"] for image_id, image in file.images.items()})
    write = _write_parquet if kind == PARQUET else _write_tar
    names: dict[Any, str] = {}  # image id -> where it is now
    number = 0
    for number, part in enumerate(_parts(_packed(data, split, paths, members), size), start=1):
        shard = f"{split.name}-{number - 1:05d}.{kind}"
        path = os.path.join(folder, shard)
        kept = write(path, part, data[CATEGORIES])
        names |= {image_id: f"{shard}!{members[image_id]}" for image_id in kept}
        try:
            index_of(path)
        except ShardError as error:
            raise MediaError(f"{output} cannot be written: {error}") from error
    content = {**data, "images": [{**image, "file_name": names[image["id"]]} for image in data["images"]]}
    with open(os.path.join(folder, f"{split.name}{LABELS}"), "w", encoding="utf-8") as opened:
        json.dump(content, opened)
    people = counted(len(file.annotations), "person", "people")
    renamed = sum(members[image_id] != name_in_set(image["file_name"]) for image_id, image in file.images.items())
    line = f"{split.name}: {counted(len(names), 'image')}, {people} in {counted(number, 'shard')}; labels "
    line += os.path.join(output, f"{split.name}{LABELS}")
    if renamed:
        line += f"; {counted(renamed, 'image has', 'images have')} another name, as dots end a key in WebDataset"
    return line


def _member_names(names: dict[Any, str]) -> dict[Any, str]:
    """The name of each image in its shard: as it was, without folders above the set, and with one dot.

    Args:
        names: image id -> file name.
    """
    members: dict[Any, str] = {}
    taken: set[str] = set()
    for image_id, name in names.items():
        parts = [part for part in name_in_set(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
        stem, ending = os.path.splitext(parts[-1])
        start = "/".join([*parts[:-1], stem.replace(".", "_")])
        key, count = start, 1
        while key.casefold() in taken:
            count += 1
            key = f"{start}-{count}"
        taken.add(key.casefold())
        members[image_id] = key + ending.lower()
    return members


def _packed(data: dict, split: ShardSplit, paths: dict[Any, str], members: dict[Any, str]) -> Iterator[_Packed]:
    for image, annotations in entries_of(data):
        path = paths[image["id"]]
        try:
            content = read_file(path)
        except UnreadableImage as error:
            raise DataError(f"{split.labels}: image {path}: {cut(error.reason, 200)}; see --images") from error
        member = members[image["id"]]
        if not os.path.splitext(member)[1]:
            raise DataError(f"{split.labels}: the image {shown(path, 200)} has no ending such as .jpg; rename it")
        yield _Packed(content, member, {**image, "file_name": member}, annotations)


def _parts(samples: Iterable[_Packed], size: int) -> Iterator[Iterator[_Packed]]:
    """The samples of each shard; one after the other has to be used up."""
    waiting = iter(samples)
    first = next(waiting, None)

    def part() -> Iterator[_Packed]:
        nonlocal first
        total = 0
        while first is not None and total < size:
            total += len(first.data)
            sample, first = first, next(waiting, None)
            yield sample

    while first is not None:
        yield part()


def _write_tar(path: str, samples: Iterator[_Packed], categories: list) -> list[Any]:
    """Write an archive; gives the ids of its images."""
    kept: list[Any] = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for sample in samples:
            labels: dict[str, Any] = {ENTRY: sample.entry, ANNOTATIONS: sample.annotations}
            if not kept:
                labels[CATEGORIES] = categories
            kept.append(sample.entry["id"])
            stem = os.path.splitext(sample.member)[0]
            for name, content in ((sample.member, sample.data), (stem + LABELS, json.dumps(labels).encode())):
                member = tarfile.TarInfo(name)  # its time and owner are the same each time
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return kept


def _write_parquet(path: str, samples: Iterator[_Packed], categories: list) -> list[Any]:
    """Write a Parquet file; gives the ids of its images."""
    pa = arrow()
    text = (NAME, COLUMN_ENTRY, ANNOTATIONS)
    schema = pa.schema(
        [(IMAGE, pa.binary()), *((name, pa.string()) for name in text)],
        metadata={CATEGORIES: json.dumps(categories)},
    )
    # Images are compressed already, and have no order worth a statistic.
    compression = {IMAGE: "NONE"} | dict.fromkeys(text, "ZSTD")
    kept: list[Any] = []
    with pa.parquet.ParquetWriter(
        path, schema, compression=compression, use_dictionary=False, write_statistics=[NAME]
    ) as writer:
        rows: list[dict[str, Any]] = []

        def flush() -> None:
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()

        for sample in samples:
            kept.append(sample.entry["id"])
            texts = (sample.member, json.dumps(sample.entry), json.dumps(sample.annotations))
            rows.append({IMAGE: sample.data} | dict(zip(text, texts)))
            if len(rows) == GROUP_ROWS:
                flush()
        flush()
    return kept
