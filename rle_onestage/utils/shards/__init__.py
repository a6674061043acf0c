"""Images in shards: tar archives as WebDataset writes them, and Parquet files, read at any place without unpacking.

An image is named ``shard.tar!member``. Where each member lies is looked up in an index, which is made once. Names need
the standard library alone; :mod:`.index` and :mod:`.members`, which read, are imported by themselves.
"""

from .address import MemberName, name_in_set, shard_kind, shards_of, split_member
from .errors import ShardError

__all__ = [
    "MemberName",
    "ShardError",
    "name_in_set",
    "shard_kind",
    "shards_of",
    "split_member",
]
