"""The labels that shards carry themselves, in COCO's form, which the one reader of annotations then checks as any file.

In a tar archive a sample is ``key.jpg`` with ``key.json`` (WebDataset's layout), in a Parquet file a row. Both have a
COCO entry of the image and the list of its annotations. The categories stand in the first sample of each archive, or
in the metadata of the Parquet file.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ...errors import DataError, counted, cut, shown
from ...utils.shards import ShardError, shard_kind, shards_of
from ...utils.shards.address import PARQUET
from ...utils.shards.index import forget_changed
from ...utils.shards.members import missing_members
from ...utils.shards.parquet import IMAGE, NAME, arrow, names_of, open_parquet
from ...utils.shards.tar import Place, scan
from ..yolo.images import IMAGE_ENDINGS

LABELS = ".json"  # of a sample in a tar archive
ENTRY, ANNOTATIONS, CATEGORIES = "image", "annotations", "categories"  # of it
COLUMN_ENTRY = "coco_image"  # of a Parquet file, beside "annotations"


class Sample(NamedTuple):
    """The labels of an image."""

    member: str  # name of the image in its shard
    entry: dict[str, Any]  # of COCO's ``images``
    annotations: list[dict[str, Any]]


def check_members(file_names: Iterable[str], dataset_name: str) -> None:
    """Check that images in shards are there; those in folders are left alone.

    Args:
        file_names: paths.
        dataset_name: for messages.

    Raises:
        DataError: a shard cannot be used, or has not all of them.
    """
    forget_changed()
    try:
        missing = missing_members(file_names)
    except ShardError as error:
        raise DataError(f"data set {dataset_name!r}: {error}") from error
    if missing:
        raise DataError(
            f"data set {dataset_name!r}: {counted(len(missing), 'image is', 'images are')} not in the shard that the "
            f"labels name, the first is {missing[0]}; write the shards again, or take them out of the labels"
        )


def read_shards(pattern: str) -> dict[str, Any]:
    """Read the labels in shards as a dictionary of COCO's format.

    The images' ``file_name`` is ``shard.tar!member``, below the folder of the shards. An image without an id gets its
    number, and so does an annotation.

    Args:
        pattern: a path, or a pattern such as ``folder/train-*.tar``, which has at least one shard.

    Raises:
        DataError: a shard cannot be used, or its samples have no labels of this form.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: list | None = None
    for shard in shards_of(pattern):
        name = shard.replace("\\", "/").rpartition("/")[2]
        try:
            samples, own = _parquet_samples(shard) if shard_kind(shard) == PARQUET else _tar_samples(shard)
        except ShardError as error:
            raise DataError(str(error)) from error
        if own is not None and categories is not None and own != categories:
            raise DataError(
                f"shard {shard} has other `{CATEGORIES}` than those before it; write them from one data set"
            )
        categories = categories if own is None else own
        for sample in samples:
            image = {"id": len(images) + 1, **sample.entry, "file_name": f"{name}!{sample.member}"}
            images.append(image)
            for annotation in sample.annotations:
                annotations.append({"id": len(annotations) + 1, **annotation, "image_id": image["id"]})
    if categories is None:
        raise DataError(
            f"no shard of {pattern} has `{CATEGORIES}`, which name the joints; write them with rle-onestage "
            "convert-dataset --shards, or name a JSON file of COCO's format beside them"
        )
    return {"images": images, "annotations": annotations, "categories": categories}


def _tar_samples(shard: str) -> tuple[list[Sample], list | None]:
    """The samples of an archive in their order, and its categories."""
    pairs: dict[str, dict[str, Place]] = {}
    for place in scan(shard):
        folder, slash, base = place.name.rpartition("/")
        key, dot, ending = base.partition(".")  # WebDataset: what is behind the first dot
        ending = dot + ending.lower()
        kind = ENTRY if ending.endswith(IMAGE_ENDINGS) else LABELS if ending == LABELS else ""
        if kind:
            pair = pairs.setdefault(folder + slash + key, {})
            if kind in pair:
                raise ShardError(shard, f"has {pair[kind].name} and {place.name}, two of a kind in one sample")
            pair[kind] = place
    samples, categories = [], None
    with open(shard, "rb") as file:
        for pair in pairs.values():
            if ENTRY not in pair:
                continue
            if LABELS not in pair:
                raise ShardError(shard, f"has no labels {LABELS} for {pair[ENTRY].name}")
            file.seek(pair[LABELS].offset)
            labels = _parsed(file.read(pair[LABELS].size), shard, pair[LABELS].name)
            samples.append(_sample(pair[ENTRY].name, labels, shard))
            categories = labels.get(CATEGORIES, categories)
    if not samples:
        raise ShardError(shard, f"has no images; they are members with endings such as .jpg beside a {LABELS}")
    return samples, categories


def _parquet_samples(shard: str) -> tuple[list[Sample], list | None]:
    """The samples of a Parquet file in their order, and its categories."""
    file = open_parquet(shard)
    schema = file.schema_arrow
    columns = [name for name in (COLUMN_ENTRY, ANNOTATIONS) if name in schema.names]
    if ANNOTATIONS not in columns or not arrow().types.is_string(schema.field(ANNOTATIONS).type):
        raise ShardError(
            shard, f"has no column `{ANNOTATIONS}` of JSON text; name a JSON file of COCO's format beside the shards"
        )
    names = [name for name, _, _ in names_of(shard)]
    try:
        rows = file.read(columns=columns, use_threads=False).to_pylist()
    except (arrow().ArrowException, OSError, ValueError) as error:
        raise ShardError(shard, f"is damaged ({cut(str(error), 200)}); copy or write it again") from error
    samples = []
    for name, row in zip(names, rows):
        found = {key: _parsed(text, shard, name) for key, text in row.items() if text is not None}
        labels = {ENTRY: found.get(COLUMN_ENTRY, {}), ANNOTATIONS: found.get(ANNOTATIONS, [])}
        samples.append(_sample(name, labels, shard))
    metadata = schema.metadata or {}
    known = metadata.get(CATEGORIES.encode())
    return samples, None if known is None else _parsed(known, shard, "its metadata")


def _parsed(text: bytes | str, shard: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShardError(shard, f"has labels of {name} that are not valid JSON ({cut(str(error), 200)})") from error


def _sample(member: str, labels: Any, shard: str) -> Sample:
    entry = labels.get(ENTRY, {}) if isinstance(labels, dict) else None
    annotations = labels.get(ANNOTATIONS) if isinstance(labels, dict) else None
    if not isinstance(entry, dict) or not _are_entries(annotations):
        raise ShardError(
            shard,
            f"has labels of {member} that are no dictionary with `{ANNOTATIONS}`, a list as in COCO's format: "
            f"{shown(labels, 80)}",
        )
    return Sample(member, entry, annotations or [])


def _are_entries(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, dict) for value in values)


def entries_of(data: dict[str, Any]) -> Iterator[tuple[dict, list[dict]]]:
    """(entry of an image, its annotations) of a dictionary of COCO's format, in the order of its images."""
    own: dict[Any, list[dict]] = {image["id"]: [] for image in data["images"]}
    for annotation in data.get("annotations") or ():
        own[annotation["image_id"]].append(annotation)
    for image in data["images"]:
        yield image, own[image["id"]]


__all__ = ["COLUMN_ENTRY", "IMAGE", "NAME", "check_members", "entries_of", "read_shards"]
