"""Reading images from shards by their names."""

from collections.abc import Iterable

from .address import PARQUET, MemberName, shard_kind, split_member
from .errors import ShardError
from .index import index_of
from .parquet import read_row
from .tar import read_at


def read_member(name: MemberName) -> bytes:
    """The bytes of an image in a shard.

    Raises:
        ShardError: the shard cannot be used, has no such member, or was changed since it was looked through.
        MissingPackageError: of a Parquet file, pyarrow is not installed.
    """
    index = index_of(name.shard)
    place = index.find(name.member)
    if place is None:
        raise ShardError(name.shard, f"has no member {name.member}")
    read = read_row if shard_kind(name.shard) == PARQUET else read_at
    return read(name.shard, *place, index.size)


def missing_members(file_names: Iterable[str]) -> list[str]:
    """Those of some names of images that are of a shard and not in it.

    Args:
        file_names: paths; those that are in no shard are left alone.

    Raises:
        ShardError: a shard cannot be used.
        MissingPackageError: of Parquet files, pyarrow is not installed.
    """
    names = ((file_name, split_member(file_name)) for file_name in file_names)
    return [file_name for file_name, name in names if name and index_of(name.shard).find(name.member) is None]
