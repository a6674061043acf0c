"""Parquet files with a column of images: where each row lies, and reading one.

The smallest part that can be read is the column of a row group. So what is read last stays in memory, and a file for
reading in random order has small row groups.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from ...errors import MissingPackageError
from .errors import ShardError

IMAGE, NAME = "image", "file_name"
INSTALL = "pip install rle-onestage[parquet]"
# Of a process.
_MOST_OPEN = 16  # files, each with its footer
_MOST_GROUPS = 4  # columns of row groups
_opened: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
_groups: OrderedDict[tuple, Any] = OrderedDict()


def arrow() -> Any:
    """The package ``pyarrow`` with its module ``parquet``.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError(f"Parquet files need pyarrow, which is not installed; run {INSTALL}") from error
    return pyarrow


def open_parquet(path: str) -> Any:
    """A ``pyarrow.parquet.ParquetFile``, kept open.

    Raises:
        ShardError: it cannot be read, or has no column of images.
        MissingPackageError: pyarrow is not installed.
    """
    pa = arrow()
    try:
        status = os.stat(path)
        key = (os.path.abspath(path), status.st_size, status.st_mtime_ns)
        if key not in _opened:
            _opened[key] = pa.parquet.ParquetFile(path)
    except (pa.ArrowException, ValueError) as error:
        raise ShardError(path, f"is no whole Parquet file ({_first_line(error)}); copy or write it again") from error
    except OSError as error:
        raise ShardError(path, f"cannot be read ({error.strerror or _first_line(error)})") from error
    _shorten(_opened, key, _MOST_OPEN)
    if IMAGE not in _opened[key].schema_arrow.names:
        raise ShardError(path, f"has no column `{IMAGE}` of images; its columns are {_opened[key].schema_arrow.names}")
    return _opened[key]


def names_of(path: str) -> Iterator[tuple[str, int, int]]:
    """(name, row group, row in it) of each image.

    The name is the column ``file_name``, or ``path`` of the images as Hugging Face's data sets have it; else it is the
    number of the row.

    Raises:
        ShardError: see :func:`open_parquet`.
    """
    pa, file = arrow(), open_parquet(path)
    kind = file.schema_arrow.field(IMAGE).type
    has_path = pa.types.is_struct(kind) and any(kind.field(i).name == "path" for i in range(kind.num_fields))
    column = NAME if NAME in file.schema_arrow.names else f"{IMAGE}.path" if has_path else None
    number = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        names = [None] * count if column is None else _column(path, file, group, column)
        for row, name in enumerate(names):
            if isinstance(name, dict):
                name = name.get("path")
            yield (str(number) if name is None else str(name)), group, row
            number += 1


def read_row(path: str, group: int, row: int, total: int) -> bytes:
    """The bytes of an image.

    Args:
        path: of the file.
        group: number of its row group.
        row: in that.
        total: bytes that the file had when it was looked through.

    Raises:
        ShardError: it cannot be read, or is another file since.
    """
    file = open_parquet(path)
    key = (os.path.abspath(path), total, group)
    try:
        if os.path.getsize(path) != total:
            raise ShardError(path, "was changed after it was looked through; start again")
        if key not in _groups:
            _groups[key] = _column(path, file, group, IMAGE)
    except OSError as error:
        raise ShardError(path, f"cannot be read ({error.strerror or _first_line(error)})") from error
    _shorten(_groups, key, _MOST_GROUPS)
    value = _groups[key][row]
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise ShardError(path, f"has no bytes of an image in row {row} of row group {group}; write it with them")
    return data


def _column(path: str, file: Any, group: int, column: str) -> list[Any]:
    """The values of a column in a row group: as many as it has rows."""
    pa, count = arrow(), file.metadata.row_group(group).num_rows
    try:
        values = file.read_row_group(group, columns=[column], use_threads=False).column(0).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ShardError(
            path, f"is damaged in row group {group} ({_first_line(error)}); copy or write it again"
        ) from error
    if len(values) != count:
        raise ShardError(path, f"is damaged in row group {group}, of {count} rows; copy or write it again")
    return values


def _shorten(kept: OrderedDict, used: Any, most: int) -> None:
    kept.move_to_end(used)
    while len(kept) > most:
        kept.popitem(last=False)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
