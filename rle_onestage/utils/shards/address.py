"""How images in shards are named: ``folder/train-00000.tar!000017.jpg``."""

import glob
import os
import re
from typing import NamedTuple

TAR, PARQUET = "tar", "parquet"
# Endings of compressed archives are known so that a sentence can say why they do not do.
_COMPRESSED = r"tar\.\w+|tgz|tbz2?|txz|tzst"
_ADDRESS = re.compile(rf"(?P<shard>.+?\.(?:tar|parquet|{_COMPRESSED}))!(?P<member>.+)", re.IGNORECASE | re.DOTALL)
_SHARD = re.compile(rf".+\.(?:tar|(?P<parquet>parquet)|{_COMPRESSED})", re.IGNORECASE | re.DOTALL)


class MemberName(NamedTuple):
    """An image in a shard."""

    shard: str  # path
    member: str  # its name in the shard


def split_member(file_name: str) -> MemberName | None:
    """The parts of ``shard.tar!member``; None for the paths of other files."""
    found = _ADDRESS.fullmatch(os.fspath(file_name)) if "!" in os.fspath(file_name) else None
    return MemberName(found["shard"], found["member"]) if found else None


def name_in_set(file_name: str) -> str:
    """The name of an image without the shard that it lies in, as it is where the set is a folder."""
    found = split_member(file_name)
    return found.member if found else file_name


def shard_kind(path: str) -> str:
    """:data:`TAR` or :data:`PARQUET` by the ending of a path or pattern; "" for other files."""
    found = _SHARD.fullmatch(os.fspath(path))
    if found is None or "!" in os.fspath(path):
        return ""
    return PARQUET if found["parquet"] else TAR


def shards_of(pattern: str) -> list[str]:
    """The shards that a path or a pattern such as ``folder/train-*.tar`` names, sorted."""
    if os.path.isfile(pattern):
        return [pattern]
    return sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
