"""Storage that is away for a while: what could not be read is tried again by the next call, what is damaged is not."""

import bz2
import errno
import gzip
import os
from types import SimpleNamespace

import pytest
from media_toys import encode
from scale_toys import Toy, png, rows_in, shard_of, use

from rle_onestage.errors import MediaError
from rle_onestage.scale import JobOptions, file_systems, predict, storage
from rle_onestage.scale import reading as reading_module

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

STALE = OSError(errno.ESTALE, "Stale file handle")


@pytest.fixture
def toy(monkeypatch):
    return use(monkeypatch, Toy())


def shard(folder):
    shard_of(folder / "a.tar", [(f"{number}.png", png(number)) for number in (1, 2)])
    return folder / "a.tar"


def table(folder):
    parquet.write_table(pa.table({"image": [png(1), png(2)]}), folder / "a.parquet")
    return folder / "a.parquet"


def clip(folder):
    encode(folder / "a.mp4", frames=2, size=(64, 48))
    return folder / "a.mp4"


def call(given, folder):
    return predict(str(given), output=str(folder / "out"), options=JobOptions(max_errors=1))


def raises(error):
    def raising(*arguments):
        raise error

    return raising


def not_opened(*arguments):
    """As the reader of videos says it."""
    raise MediaError("a.mp4 cannot be opened") from STALE


@pytest.mark.parametrize(
    "made, name, failing",
    [
        (shard, "storage", SimpleNamespace(**vars(storage) | {"opened": raises(STALE)})),
        (shard, "storage", SimpleNamespace(**vars(storage) | {"opened": raises(file_systems.AwayError("no answer"))})),
        (table, "storage", SimpleNamespace(**vars(storage) | {"opened": raises(STALE)})),
        (clip, "ChunkSource", not_opened),
    ],
)
def test_what_was_away_is_done_again(tmp_path, toy, caplog, made, name, failing):
    given = made(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_module, name, failing)
        first = call(given, tmp_path)
    assert (first.images, first.errors, first.lost, first.away) == (1, 1, 1, 1)
    assert "the storage of 1 unit was away: the same command tries again" in caplog.text
    again = call(given, tmp_path)
    assert (again.images, again.computed, again.errors, again.lost, again.away) == (2, 2, 0, 0, 0)
    assert [row["error"] for row in rows_in(tmp_path / "out")] == [None, None]
    assert call(given, tmp_path).computed == 0


@pytest.mark.parametrize("made", [shard, table, clip])
def test_what_is_damaged_is_not_tried_again(tmp_path, toy, made):
    given = made(tmp_path)
    os.truncate(given, 100)
    first, again = call(given, tmp_path), call(given, tmp_path)
    assert (first.lost, first.away) == (again.lost, again.away) == (1, 0) and again.computed == 0


def test_damage_that_is_an_error_of_the_system_by_its_type_may_not_pass(tmp_path):
    for name, module in (("a.gz", gzip), ("a.bz2", bz2)):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(OSError) as caught, module.open(tmp_path / name) as file:
            file.read()
        assert not storage.may_pass(caught.value), name
    with pytest.raises(OSError) as caught:
        storage.opened(str(tmp_path / "gone"))
    assert storage.may_pass(caught.value) and storage.may_pass(TimeoutError()) and not storage.may_pass(None)
