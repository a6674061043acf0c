"""The images of a unit of work, one after the other; what cannot be read becomes an item with its error."""

import contextlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, MediaError
from ..utils.arrow import arrow
from ..utils.bounded_reading import MOST_BYTES, BlockedImage, UnreadableImage
from ..utils.image_decoding import Undecodable, decode_image
from ..video.io import READ_TYPES
from ..video.io.chunks import Chunk, ChunkSource
from . import storage
from .file_systems import StorageFile, is_certain, may_pass, reason_of
from .plan import Unit

# Names of columns of images or their paths, where nobody names one; the first that is there.
_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "bytes", "content", "path", "file_name", "image_path")
_BATCH = 32  # rows of a table that are read at once
_PATIENCE = 3  # images in a row whose storage does not answer
_FORK = "._"  # begins names of what macOS keeps beside a file; no image, whatever they end with


class Item(NamedTuple):
    """An image or frame, or why there is none; see :class:`~.people_parquet.Row`.

    Attributes:
        path: of the image.
        place: in its shard, table or video.
        time: of a frame, on the file's own clock, seconds.
        image: (H, W, 3) uint8 BGR; None with an error.
        error: a clause.
        read: bytes that were read for it, encoded; of frames 0.
        away: whether it could not be read because its storage was away.
        silent: whether that storage did not answer in time.
    """

    path: str
    place: int | None = None
    time: float | None = None
    image: np.ndarray | None = None
    error: str | None = None
    read: int = 0
    away: bool = False
    silent: bool = False


def read_unit(unit: Unit, column: str | None = None) -> Iterator[Item]:
    """Yield the images of a unit in order.

    Args:
        unit: of the plan.
        column: of a table, that has the images or their paths.
    """
    if unit.kind == "images":
        yield from _files(unit.files)
    else:
        yield from _held(unit, column)


def _files(addresses: Iterable[str]) -> Iterator[Item]:
    """The items of image files; where none of some answers in time, the others are not waited for."""
    silent = 0
    for address in addresses:
        if silent < _PATIENCE:
            item = _file(address)
            silent = silent + 1 if item.silent else 0
        else:
            item = Item(address, error="it is not tried, as those before it do not answer", away=True)
        yield item


def _file(address: str) -> Item:
    """The item of an image file."""
    try:
        data = storage.read_bytes(address)
    except UnreadableImage as error:
        silent = isinstance(error, BlockedImage) or isinstance(error.__cause__, TimeoutError)
        away = silent or not is_certain(error.__cause__)
        return Item(address, error=error.reason, away=away, silent=silent)
    return decoded(data, Item(address))


def decoded(data: bytes, item: Item) -> Item:
    """An item with the image that some bytes are, or with why they are none.

    Args:
        data: of an image's file.
        item: of this image.
    """
    if not data:
        return item._replace(error="the file is empty")
    try:
        return item._replace(image=decode_image(data, item.path), read=len(data))
    except Undecodable as error:
        return item._replace(error=str(error), read=len(data))
    except Exception as error:  # of a decoder, whatever it is: it costs this image alone
        return item._replace(error=f"it cannot be decoded ({type(error).__name__}: {error})", read=len(data))


def _held(unit: Unit, column: str | None) -> Iterator[Item]:
    """The images of a file that holds several; what could not be read of it is an item behind them."""
    address = unit.files[0]
    try:
        # FFmpeg cannot take an error from whom it reads.
        file = storage.opened(address, ends=unit.kind == "video")
    except (OSError, MediaError) as error:
        yield Item(address, error=f"it cannot be opened ({reason_of(error)})", away=may_pass(error))
        return
    with file:
        items = {"tar": _tar, "parquet": _table, "video": _video}[unit.kind](file, unit, column)
        amiss = ""
        try:
            for item in items:
                if item.error is not None and item.place is None:
                    amiss = item.error
                else:
                    yield item
        except Exception as error:  # of whatever reads such files, for it was not made for all bytes
            amiss = f"it cannot be read ({type(error).__name__}: {reason_of(error)})"
        if file.broke is not None:
            yield Item(address, error=f"reading broke off ({reason_of(file.broke)})", away=True)
        elif amiss:
            yield _changed(Item(address, error=amiss), unit)


def _changed(item: Item, unit: Unit) -> Item:
    """The item of a file that is amiss: it may have been another one when the job began, and may be it again."""
    try:
        size = storage.size_of(item.path)
    except (OSError, MediaError):
        return item._replace(away=True)
    if not unit.size or size == unit.size:
        return item
    return item._replace(error=f"{item.error}; it has {size} bytes, and had {unit.size} when the job began", away=True)


def _tar(file: StorageFile, unit: Unit, column: str | None) -> Iterator[Item]:
    """The images of a tar shard; a cut is an item behind those before it."""
    index, address = 0, unit.files[0]
    try:
        with tarfile.open(fileobj=file, mode="r:*") as shard:
            for member in shard:
                if _is_image(member):
                    item = Item(f"{address}/{member.name}", index)
                    index += 1
                    yield _member(shard, member, item)
            if not _has_end(shard):
                yield Item(address, error="the shard is cut short: its end is missing")
            elif not index:
                yield Item(address, error="the shard has no images by their names, such as a.jpg")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if index:
            yield Item(address, error=f"the shard is cut short or damaged ({reason_of(error)})")
        else:  # the error tells of each kind of compression that it is none
            there = file.seek(0, os.SEEK_END)
            yield Item(address, error="it is damaged or no tar shard" if there else "the file is empty")


def _is_image(member: tarfile.TarInfo) -> bool:
    """Whether a member of a shard is an image by its name; a link to another member counts as that one."""
    name = member.name.rpartition("/")[2]
    kind = member.isfile() or member.islnk() or member.issym()
    return kind and name.lower().endswith(READ_TYPES) and not name.startswith(_FORK)


def _member(shard: tarfile.TarFile, member: tarfile.TarInfo, item: Item) -> Item:
    if member.size > MOST_BYTES:
        return item._replace(error=f"the file has {member.size / 2**30:.1f} GB, more than can be decoded")
    try:
        content = shard.extractfile(member)
    except (KeyError, RecursionError):
        return item._replace(error=f"it is a link to {member.linkname}, which is no file of the shard")
    data = b"" if content is None else content.read()
    if len(data) < member.size:
        raise tarfile.ReadError(f"{len(data)} of {member.size} bytes of {member.name} are there")
    return decoded(data, item)


def _has_end(shard: tarfile.TarFile) -> bool:
    """Whether the block of zeros stands behind the last member; tarfile takes any end for one."""
    file: Any = shard.fileobj
    file.seek(shard.offset)
    return file.read(tarfile.BLOCKSIZE) == b"\0" * tarfile.BLOCKSIZE


def _table(file: StorageFile, unit: Unit, column: str | None) -> Iterator[Item]:
    """The images of row groups of a Parquet file."""
    pa, address = arrow(), unit.files[0]
    try:
        table = pa.parquet.ParquetFile(file)
        if not table.metadata.num_rows:
            raise DataError("the table has no rows")
        name = _column(table.schema_arrow, column, address)
        groups = range(unit.start or 0, unit.end or table.num_row_groups)
        index = sum(table.metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in table.iter_batches(_BATCH, row_groups=list(groups), columns=[name]):
            for value in batch.column(0):
                yield _cell(value.as_py(), Item(f"{address}/{index}", index), address)
                index += 1
    except DataError as error:
        yield Item(address, error=str(error))
    except (OSError, ValueError) as error:  # pyarrow's errors are of these
        yield Item(address, error=f"it cannot be read as Parquet ({reason_of(error)})")


def _column(schema: Any, column: str | None, address: str) -> str:
    """The name of the column of images.

    Raises:
        DataError: there is none.
    """
    wanted = [column] if column else _COLUMNS
    for name in wanted:
        if name in schema.names:
            return name
    names = ", ".join(schema.names[:12])
    raise DataError(f"it has no column {' or '.join(wanted[:2])}; name that of the images with --column, of {names}")


def _cell(value: Any, item: Item, address: str) -> Item:
    """The item of a value: bytes, a path, or a pair of both as Hugging Face's files have it."""
    if isinstance(value, dict):
        name, data = value.get("path"), value.get("bytes")
        if isinstance(name, str) and name:
            if not data:
                return _cell(name, item, address)
            item = item._replace(path=f"{item.path}/{os.path.basename(name)}")
        value = data
    if isinstance(value, (bytes, bytearray)):
        return decoded(bytes(value), item)
    if not isinstance(value, str):
        kind = "nothing" if value is None else type(value).__name__
        return item._replace(error=f"the row has {kind} in place of an image's bytes or path")
    return _file(storage.beside(address, value))._replace(place=item.place)


def _video(file: StorageFile, unit: Unit, column: str | None) -> Iterator[Item]:
    """The frames of a piece of a video; what is missing of it is an item behind them."""
    address, chunk = unit.files[0], Chunk(unit.start, unit.end, unit.weight)
    path = address if storage.is_remote(address) else storage.local(address)
    try:
        source = ChunkSource(path, chunk, file)
    except (MediaError, OSError) as error:
        yield Item(address, error=str(error))
        return
    index = 0
    with contextlib.closing(source):
        while (frame := source.read()) is not None:
            yield Item(address, index, frame[1], frame[0])
            index += 1
        file.enough = source.is_past
        amiss = [f"{source.skipped} damaged frames are left out"] if source.skipped else []
        if short := source.shortfall() if chunk.start is None and chunk.end is None else _stopped(source, index):
            amiss.append(short)
        if not index and not amiss:
            amiss.append("it has no readable frame")
        if amiss:
            yield Item(address, error="; ".join(amiss))


def _stopped(source: ChunkSource, read: int) -> str:
    """A clause about what is missing of a piece of which so many frames were read; "" where nothing is.

    The packets of the first piece may be more than its frames: those that an edit of the file leaves out.
    """
    frames, parts = source.chunk.frames, []
    if source.chunk.start is not None and read + source.skipped < frames:
        parts.append(f"{read} of {frames} frames could be read")
    if source.reason:
        parts.append(f"reading stopped ({source.reason})")
    return "; ".join(parts)
