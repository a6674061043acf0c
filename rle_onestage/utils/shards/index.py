"""Where each member of a shard lies: made once for a shard, kept beside it, a few numbers a member in memory."""

import hashlib
import logging
import os
import zipfile
from typing import NamedTuple

import numpy as np

from ..output_files import replaced_when_done
from .address import PARQUET, shard_kind
from .errors import ShardError
from .parquet import names_of
from .tar import scan

logger = logging.getLogger(__name__)

ENDING = ".index.npz"  # behind the name of the shard
_VERSION = 1


class ShardIndex(NamedTuple):
    """The members of a shard, sorted by the hash of their names: N members of 24 bytes."""

    keys: np.ndarray  # (N,) uint64
    places: np.ndarray  # (N, 2) int64: of a tar offset and size, of a Parquet file row group and row
    size: int  # of the shard in bytes

    def find(self, member: str) -> tuple[int, int] | None:
        """The place of a member; None: there is none of this name."""
        key = _key(member)
        at = int(np.searchsorted(self.keys, np.uint64(key)))
        if at == len(self.keys) or int(self.keys[at]) != key:
            return None
        first, second = self.places[at].tolist()
        return first, second


_indexes: dict[str, tuple[tuple[int, int], ShardIndex]] = {}  # path -> (size and time of change, index)


def index_of(shard: str) -> ShardIndex:
    """The index of a shard, from this process, from the file beside the shard, or made now.

    Raises:
        ShardError: the shard cannot be used.
        MissingPackageError: of a Parquet file, pyarrow is not installed.
    """
    path = os.path.abspath(shard)
    if path in _indexes:  # a shard that changes during a run is noticed when it is read
        return _indexes[path][1]
    try:
        status = os.stat(path)
    except OSError as error:
        raise ShardError(shard, f"cannot be read ({error.strerror})") from error
    version = (status.st_size, status.st_mtime_ns)
    index = _kept(path + ENDING, version)
    if index is None:
        index = _made(shard, status.st_size)
        _keep(path + ENDING, version, index)
    _indexes[path] = (version, index)
    return index


def forget_changed() -> None:
    """Forget the indexes of shards that were changed, before a data set is read anew."""
    for path, (version, _) in list(_indexes.items()):
        try:
            status = os.stat(path)
            now = (status.st_size, status.st_mtime_ns)
        except OSError:
            now = (-1, -1)
        if now != version:
            del _indexes[path]


def _key(member: str) -> int:
    return int.from_bytes(hashlib.blake2b(member.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _made(shard: str, size: int) -> ShardIndex:
    keys: dict[int, tuple[int, int]] = {}
    for name, first, second in names_of(shard) if shard_kind(shard) == PARQUET else scan(shard):
        key = _key(name)
        if key in keys:
            raise ShardError(shard, f"has the member {name} twice, so that its name does not say which; leave one out")
        keys[key] = (first, second)
    order = sorted(keys)
    places = np.array([keys[key] for key in order], np.int64).reshape(-1, 2)
    return ShardIndex(np.array(order, np.uint64), places, size)


def _keep(path: str, version: tuple[int, int], index: ShardIndex) -> None:
    """Leave an index beside its shard; where that cannot be written, each process makes its own."""
    head = np.array([_VERSION, *version], np.int64)
    try:
        with replaced_when_done(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, head=head, keys=index.keys, places=index.places)
    except OSError as error:
        logger.warning(
            "%s cannot be written (%s), so that each process looks through the shard anew", path, error.strerror
        )


def _kept(path: str, version: tuple[int, int]) -> ShardIndex | None:
    """The index that a file has; None where there is none, or it is of another version of the shard, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as found:
            head, keys, places = found["head"], found["keys"], found["places"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    sound = keys.dtype == np.uint64 and keys.ndim == 1 and places.dtype == np.int64 and places.shape == (len(keys), 2)
    if not sound or head.tolist() != [_VERSION, *version] or (places < 0).any():
        return None
    return ShardIndex(keys, places, version[0])
