"""Images in shards: tar archives as WebDataset writes them, and Parquet files, read at any place without unpacking.

An image is named ``shard.tar!member``. Where each member lies is looked up in an index, which is made once.
"""

from .address import MemberName, name_in_set, shard_kind, shards_of, split_member
from .errors import ShardError
from .index import index_of
from .members import missing_members, read_member

__all__ = [
    "MemberName",
    "ShardError",
    "index_of",
    "missing_members",
    "name_in_set",
    "read_member",
    "shard_kind",
    "shards_of",
    "split_member",
]
