"""People of many images as Parquet: a row an image or frame, its people as a nested list, and back again.

Numbers are those of :class:`~.predictor.Predictor`, bit for bit: float32, pixels with the origin at the corner of the
first one. COCO results that are made of the rows are therefore those that ``evaluate`` writes, digit for digit.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from ..errors import DataError, MediaError
from ..structures.covariance import packed, unpacked
from ..utils.arrow import arrow
from ..utils.output_files import OutputFile
from .results import Result, instances_to_coco, without_nan

ENDING = ".parquet"
# Of the file, beside Parquet's own: what made it, as JSON.
METADATA = b"rle_onestage"
_ROWS = 1024  # that are held at once
# A person's column -> the field of Instances and the numbers behind the person: joints are "K".
_FIELDS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "box": ("pred_boxes", (4,)),
    "score": ("scores", ()),
    "category": ("pred_classes", ()),
    "keypoints": ("pred_keypoints", ("K", 3)),
    "sigmas": ("pred_keypoint_sigmas", ("K", 2)),
    "covariances": ("pred_keypoint_covariances", ("K", 3)),
    "presence": ("pred_keypoint_presence", ("K",)),
    "visibility": ("pred_keypoint_visibility", ("K",)),
    "score_factors": ("pred_score_factors", (3,)),
    "area": ("pred_areas", ()),
}
_WHOLE = {"category": torch.int64}


class Row(NamedTuple):
    """An image or a frame.

    Attributes:
        path: of the image: a file, ``shard.tar/member``, ``table.parquet/row``, or the video of a frame.
        place: of a frame in its video, else of an image in its shard; None where there is none.
        time: of a frame, seconds since the first one; None of images.
        size: (height, width) in pixels; None where it could not be read.
        error: why there are no people; None where all is well.
        people: N of them; None with an error.
        tracks: (N,) identities, 0 for none; None of images.
        away: whether the error is of the storage and may pass; it has no column.
    """

    path: str
    place: int | None = None
    time: float | None = None
    size: tuple[int, int] | None = None
    error: str | None = None
    people: Instances | None = None
    tracks: np.ndarray | None = None
    away: bool = False


def schema(metadata: Mapping[str, Any] | None = None) -> Any:
    """The columns, as ``pyarrow.Schema``.

    Args:
        metadata: what made the rows.
    """
    pa = arrow()
    numbers = {0: pa.float32(), 1: pa.list_(pa.float32()), 2: pa.list_(pa.list_(pa.float32()))}
    person = [(name, numbers[len(shape)]) for name, (_, shape) in _FIELDS.items()]
    person[2] = ("category", pa.int32())
    columns = {
        "path": pa.string(), "index": pa.int64(), "time": pa.float64(), "width": pa.int32(), "height": pa.int32(),
        "model": pa.string(), "version": pa.string(), "error": pa.string(),
        "people": pa.list_(pa.struct([*person, ("track", pa.int64())])),
    }  # fmt: skip
    text = None if metadata is None else {METADATA: json.dumps(dict(metadata)).encode()}
    return pa.schema(list(columns.items()), metadata=text)


def table_of(rows: Sequence[Row], model: str, version: str) -> Any:
    """Rows as a ``pyarrow.Table`` of :func:`schema`.

    Args:
        rows: of one model, whose people all have the same fields.
        model: its name.
        version: its version.
    """
    pa, columns = arrow(), schema()
    plain = {
        "path": [row.path for row in rows],
        "index": [row.place for row in rows],
        "time": [row.time for row in rows],
        "width": [None if row.size is None else row.size[1] for row in rows],
        "height": [None if row.size is None else row.size[0] for row in rows],
        "model": [model] * len(rows),
        "version": [version] * len(rows),
        "error": [row.error for row in rows],
    }
    arrays = [pa.array(values, columns.field(name).type) for name, values in plain.items()]
    return pa.Table.from_arrays([*arrays, _people_array(rows, columns.field("people").type)], schema=columns)


def _people_array(rows: Sequence[Row], kind: Any) -> Any:
    """The column of people; ``kind``: its Arrow type."""
    pa = arrow()
    found = [row.people for row in rows if row.people is not None]
    counts = [0 if row.people is None else len(row.people) for row in rows]
    person = kind.value_type
    total, children = sum(counts), []
    for name, (field, _) in _FIELDS.items():
        there = bool(found) and all(people.has(field) for people in found)
        of_type = person.field(name).type
        children.append(_nested([_values(people, field) for people in found], of_type) if there else None)
        if children[-1] is None:
            children[-1] = pa.nulls(total, of_type)
    tracks = [row.tracks if row.tracks is not None else np.zeros(count, int) for row, count in zip(rows, counts)]
    joined = np.concatenate([*tracks, np.zeros(0, int)]).astype(np.int64)
    children.append(pa.array(joined, pa.int64(), mask=joined == 0))
    values = pa.StructArray.from_arrays(children, fields=list(person))
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=pa.array([row.people is None for row in rows]))


def _values(people: Instances, field: str) -> np.ndarray:
    """A field (N, ...) as an array; covariances as their three numbers."""
    values = people.get(field)
    array = (values.tensor if isinstance(values, Boxes) else values).detach().cpu().numpy()
    return packed(array) if field == "pred_keypoint_covariances" else array


def _nested(parts: list[np.ndarray], kind: Any) -> Any:
    """Arrays (N, ...) behind one another as an Arrow array of lists."""
    pa, values = arrow(), np.concatenate(parts)
    depth = values.ndim - 1
    for _ in range(depth):
        kind = kind.value_type
    array = pa.array(values.reshape(-1), kind)
    for size in values.shape[:0:-1]:
        offsets = np.arange(0, len(array) + 1, size) if size else np.zeros(len(values) + 1)
        array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), array)
    return array


def instances_of(column: Any, sizes: Sequence[tuple[int, int]], num_joints: int) -> list[Instances]:
    """The inverse of the column ``people``.

    Args:
        column: of a table of :func:`schema`, R rows.
        sizes: (height, width) of each row.
        num_joints: K, for rows of nobody.

    Returns:
        R ``Instances``, empty where there was an error; ``track`` (N,) is 0 where there is none.
    """
    pa = arrow()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    counts = np.nan_to_num(column.value_lengths().to_numpy(zero_copy_only=False)).astype(int)
    people = column.flatten()  # without what null rows may hide
    fields = {name: people.field(number) for number, name in enumerate(t.name for t in column.type.value_type)}
    tensors = {}
    for name, (field, shape) in _FIELDS.items():
        array = fields[name]
        if len(array) and array.null_count == len(array):
            continue
        for _ in shape:
            array = array.flatten()
        whole = [len(people), *(num_joints if isinstance(side, str) else side for side in shape)]
        tensors[field] = torch.from_numpy(array.to_numpy(zero_copy_only=False).copy()).reshape(whole)
        tensors[field] = tensors[field].to(_WHOLE.get(name, torch.float32))
    if "pred_keypoint_covariances" in tensors:
        tensors["pred_keypoint_covariances"] = torch.from_numpy(unpacked(tensors["pred_keypoint_covariances"].numpy()))
    tensors["track"] = torch.from_numpy(fields["track"].fill_null(0).to_numpy().copy())
    return _split(tensors, np.cumsum([0, *counts]), sizes)


def _split(tensors: dict[str, torch.Tensor], ends: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Instances]:
    """People of all rows to the people of each."""
    found = []
    for start, end, size in zip(ends[:-1].tolist(), ends[1:].tolist(), sizes):
        out = Instances(size)
        for field, values in tensors.items():
            part = values[start:end]
            out.set(field, Boxes(part) if field == "pred_boxes" else part)
        found.append(out)
    return found


def is_people_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a Parquet file, or a folder with some."""
    return os.fspath(path).endswith(ENDING) or bool(os.path.isdir(path) and part_files(path))


def part_files(path: str | os.PathLike[str]) -> list[str]:
    """The Parquet files of a path, in order: itself, or those in the folder that are not hidden."""
    path = os.fspath(path)
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name.endswith(ENDING) and name[0] not in "._")
    return [os.path.join(path, name) for name in names]


def read_parts(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Iterator[tuple[Any, dict]]:
    """Yield tables of at most some thousand rows with the metadata of their file, see :data:`METADATA`.

    Args:
        path: a Parquet file, or a folder of them.
        columns: that are wanted; None: all.

    Raises:
        DataError: a file cannot be read, or has other columns.
    """
    pa = arrow()
    for file in part_files(path):
        try:
            with pa.parquet.ParquetFile(file) as parquet:
                found = parquet.schema_arrow
                if missing := [name for name in schema().names if name not in found.names]:
                    raise DataError(
                        f"{file} has no column `{missing[0]}`; give the folder that rle-onestage predict wrote"
                    )
                metadata = json.loads((found.metadata or {}).get(METADATA, b"{}"))
                for batch in parquet.iter_batches(_ROWS, columns=columns):
                    yield pa.Table.from_batches([batch]), metadata
        except (OSError, ValueError) as error:  # pyarrow's errors are of these
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{file} cannot be read as Parquet ({reason}); run the prediction again") from error


def results_from_parquet(path: str | os.PathLike[str]) -> Iterator[list[Result]]:
    """Yield the COCO results of each row, see :func:`~.results.instances_to_coco`; each names its image's file.

    The id of an image is the stem of its file's name, as a number if all are numbers; it is the row's number, from 1
    on, where stems are not unique. :func:`~.result_files.read_results` finds the image of the labels by its path.

    Args:
        path: a Parquet file, or a folder of them.

    Raises:
        DataError: see :func:`read_parts`.
    """
    ids, place = _image_ids(path), 0
    for table, metadata in read_parts(path):
        sizes = [
            (height or 1, width or 1) for height, width in zip(table["height"].to_pylist(), table["width"].to_pylist())
        ]
        paths = table["path"].to_pylist()
        for name, people in zip(paths, instances_of(table["people"], sizes, len(metadata.get("joints", ())))):
            results = instances_to_coco(people, ids[place], metadata.get("category_id", 1))
            for result, track in zip(results, people.track.tolist()):
                result["file_name"] = name
                if track:
                    result["track_id"] = track
            place += 1
            yield results


def _image_ids(path: str | os.PathLike[str]) -> list[int | str]:
    names = [name for table, _ in read_parts(path, ["path"]) for name in table["path"].to_pylist()]
    stems = [os.path.splitext(os.path.basename(name))[0] for name in names]
    if len(set(stems)) < len(stems):
        return list(range(1, len(stems) + 1))
    numbers = all(stem.isascii() and stem.isdecimal() and len(stem) < 20 for stem in stems)
    return [int(stem) for stem in stems] if numbers and len({int(stem) for stem in stems}) == len(stems) else [*stems]


def labels_from_parquet(path: str | os.PathLike[str], min_score: float = 0.4, min_presence: float = 0.5) -> dict:
    """People of Parquet files as a COCO-format file of labels has them, to be compared with one.

    Args:
        path: a Parquet file, or a folder of them.
        min_score: of people that count as labelled.
        min_presence: smallest probability that a labelled joint is in the image; it is hidden where visibility is less
            likely than not.

    Returns:
        ``images``, ``annotations``, ``categories``.

    Raises:
        DataError: see :func:`read_parts`.
    """
    ids, category = _image_ids(path), dict[str, Any]()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for table, metadata in read_parts(path):
        joints = metadata.get("joints", [])
        category = {"id": metadata.get("category_id", 1), "name": "person", "keypoints": joints, "skeleton": []}
        rows = zip(*(table[name].to_pylist() for name in ("path", "width", "height", "error")))
        for name, width, height, error in rows:
            image = {"file_name": os.path.basename(name), "width": width, "height": height, "error": error}
            images.append({"id": ids[len(images)], **image})
    for image, results in zip(images, results_from_parquet(path)):
        for result in results:
            if result["score"] >= min_score:
                label = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category["id"]}
                annotations.append({**label, **_label_of(result, min_presence)})
    images = [{key: image[key] for key in image if key != "error"} for image in images if image["error"] is None]
    return {"images": images, "annotations": annotations, "categories": [category] if category else []}


def _label_of(result: Result, min_presence: float) -> dict[str, Any]:
    """A label of a COCO result: box, area, and joints of visibility 0, 1 or 2."""
    points = np.array(result["keypoints"]).reshape(-1, 3)
    ones = np.ones(len(points))
    there = np.array(result.get("keypoint_presence", ones)) >= min_presence
    seen = np.array(result.get("keypoint_visibility", ones)) >= 0.5
    points[:, 2] = np.where(there, np.where(seen, 2, 1), 0)
    points[~there] = 0
    area = result.get("person_area", result["bbox"][2] * result["bbox"][3])
    return {
        "keypoints": points.reshape(-1).tolist(), "num_keypoints": int(there.sum()), "bbox": result["bbox"],
        "area": area, "iscrowd": 0, "score": result["score"],
    }  # fmt: skip


def write_coco_results(
    path: str | os.PathLike[str], output: str, tell: Callable[[str], None] = lambda digest: None
) -> int:
    """Write the COCO results of Parquet files, an image at a time, whole or not at all.

    Args:
        path: a Parquet file, or a folder of them.
        output: the JSON file.
        tell: is told the SHA-256 of the file before it has its name.

    Returns:
        The number of results.

    Raises:
        DataError: see :func:`read_parts`.
        MediaError: it cannot be written.
    """
    number, digest = 0, hashlib.sha256()

    def add(text: str) -> None:
        file.write(text.encode())
        digest.update(text.encode())

    try:
        file = OutputFile(output)
        try:
            add("[")
            for results in results_from_parquet(path):
                texts = [json.dumps(without_nan(result), allow_nan=False) for result in results]
                add(", " * bool(number and texts) + ", ".join(texts))
                number += len(texts)
            add("]")
            tell(digest.hexdigest())
            file.commit()
        except BaseException:
            file.discard()
            raise
    except OSError as error:
        raise MediaError(f"{output} cannot be written ({error.strerror}); check the space left") from error
    return number
