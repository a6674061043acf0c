"""Images in shards: each is found at its place, and what is wrong with a shard is one sentence."""

import gzip
import io
import os
import tarfile

import cv2
import numpy as np
import pytest

from rle_onestage.data import read_image
from rle_onestage.utils.images import UnreadableImage, image_size
from rle_onestage.utils.shards import ShardError, index, members, parquet, shard_kind, split_member
from rle_onestage.utils.shards.tar import scan


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    """Each test looks through its shards itself."""
    monkeypatch.setattr(index, "_indexes", {})
    parquet._opened.clear()
    parquet._groups.clear()


def encoded(seed, ending=".png"):
    pixels = np.random.default_rng(seed).integers(0, 255, (20 + seed, 30, 3), dtype=np.uint8)
    return pixels, cv2.imencode(ending, pixels)[1].tobytes()


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


LONG = "sub/" + "folder/" * 40 + "ü.png"
NAMES = ["000.png", "a/b.png", LONG, "with space!.png"]


def write_parquet(path, rows, column=None):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    images = pa.array([content for _, content in rows], pa.binary())
    names = pa.array([name for name, _ in rows], pa.string())
    if column == "path":  # as Hugging Face's data sets have it
        table = pa.table({"image": pa.StructArray.from_arrays([images, names], ["bytes", "path"])})
    else:
        table = pa.table({"image": images, "file_name": names} if column else {"image": images})
    pq.write_table(table, path, row_group_size=2)
    return str(path)


@pytest.fixture(params=["tar", "file_name", "path"])
def shard(request, tmp_path):
    """A shard with an image of each of ``NAMES``."""
    rows = [(name, encoded(seed)[1]) for seed, name in enumerate(NAMES)]
    if request.param == "tar":
        return write_tar(tmp_path / "x.tar", rows)
    return write_parquet(tmp_path / "x.parquet", rows, request.param)


def test_each_image_is_found(shard):
    for _ in range(2):  # the second time by the index beside the shard
        index._indexes.clear()
        for seed in (3, 1, 0, 2, 3):
            np.testing.assert_array_equal(read_image(f"{shard}!{NAMES[seed]}"), encoded(seed)[0])
            assert image_size(f"{shard}!{NAMES[seed]}") == (20 + seed, 30)
    assert os.path.exists(shard + index.ENDING)
    with pytest.raises(UnreadableImage, match="has no member 001.png"):
        read_image(f"{shard}!001.png")


def test_rows_without_names_go_by_their_number(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [("", encoded(seed)[1]) for seed in range(5)])
    np.testing.assert_array_equal(read_image(f"{path}!4"), encoded(4)[0])


def test_an_image_in_a_shard_is_checked_as_any(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.png", encoded(0)[1][:100]), ("b.png", b"")])
    with pytest.raises(UnreadableImage, match=r"image .*x\.tar!a\.png cannot be used"):
        read_image(f"{path}!a.png")
    with pytest.raises(UnreadableImage, match="empty"):
        read_image(f"{path}!b.png")


@pytest.mark.parametrize("damage", ["cut", "cut in a header", "end", "noise"])
def test_a_damaged_archive_is_found_when_it_is_looked_through(tmp_path, damage):
    path = write_tar(tmp_path / "x.tar", [(f"{i}.png", encoded(i)[1]) for i in range(3)])
    content = (tmp_path / "x.tar").read_bytes()
    places = list(scan(path))
    end = places[1].offset - 512  # of the second member's header
    cut = {"cut": places[2].offset + 100, "cut in a header": end + 100, "end": end}.get(damage, len(content))
    content = content[:cut]
    if damage == "noise":
        content = content[:end] + b"x" * 512 + content[end + 512 :]
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ShardError, match=r"x\.tar is (damaged or )?cut short.*write it again"):
        index.index_of(path)
    with pytest.raises(UnreadableImage, match="cut short"):
        read_image(f"{path}!0.png")


def test_a_damaged_parquet_file(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [("a.png", encoded(0)[1])], "file_name")
    content = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(content[:-10])
    with pytest.raises(ShardError, match="is no whole Parquet file"):
        index.index_of(path)
    (tmp_path / "y.parquet").write_bytes(b"")
    with pytest.raises(ShardError, match="is no whole Parquet file"):
        index.index_of(str(tmp_path / "y.parquet"))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar"])
def test_a_compressed_archive_says_how_to_unpack_it(tmp_path, name):
    write_tar(tmp_path / "plain.tar", [("a.png", encoded(0)[1])])
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.tar").read_bytes()))
    with pytest.raises(UnreadableImage, match="compressed by gzip.*unpack it once with gunzip"):
        read_image(f"{tmp_path / name}!a.png")


@pytest.mark.parametrize(
    "names, words",
    [
        (["a.png", "a.png"], "has the member a.png twice"),
        (["../a.png"], "leads out of it"),
        (["/etc/a.png"], "leads out of it"),
        (["x/../../a.png"], "leads out of it"),
    ],
)
def test_members_that_may_not_be(tmp_path, names, words):
    path = write_tar(tmp_path / "x.tar", [(name, encoded(0)[1]) for name in names])
    with pytest.raises(ShardError, match=words):
        index.index_of(path)


def test_a_link_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ShardError, match="a.png, which is a link"):
        index.index_of(str(tmp_path / "x.tar"))


def test_a_shard_that_changes_during_a_run_is_not_read_wrongly(shard):
    first = f"{shard}!{NAMES[1]}"
    read_image(first)
    rows = [(name, encoded(seed + 10)[1]) for seed, name in enumerate(NAMES)]
    write = write_tar if shard.endswith(".tar") else write_parquet
    write(shard, rows, *(["file_name"] if write is write_parquet else []))
    with pytest.raises(UnreadableImage, match="was changed after it was looked through"):
        read_image(first)
    index.forget_changed()  # as a data set that is loaded does
    np.testing.assert_array_equal(read_image(first), encoded(11)[0])


def test_members_of_the_same_sizes_elsewhere_are_noticed(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a", b"1" * 600), ("b", b"2" * 100)])
    index.index_of(path)
    write_tar(path, [("b", b"2" * 100), ("a", b"1" * 600)])
    with pytest.raises(ShardError, match="was changed"):
        members.read_member(split_member(f"{path}!b"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_index_is_made_anew(tmp_path, content):
    path = write_tar(tmp_path / "x.tar", [("a.png", encoded(0)[1])])
    index.index_of(path)
    if content is None:
        np.savez(path + index.ENDING, head=np.zeros(3, np.int64), keys=np.zeros(2), places=np.zeros(1))
    else:
        (tmp_path / f"x.tar{index.ENDING}").write_bytes(content)
    index._indexes.clear()
    np.testing.assert_array_equal(read_image(f"{path}!a.png"), encoded(0)[0])


def test_where_no_index_can_be_left_the_images_are_read_all_the_same(tmp_path, monkeypatch, caplog):
    path = write_tar(tmp_path / "x.tar", [("a.png", encoded(0)[1])])
    (tmp_path / f"x.tar{index.ENDING}").mkdir()
    np.testing.assert_array_equal(read_image(f"{path}!a.png"), encoded(0)[0])
    assert "looks through the shard anew" in caplog.text


def test_addresses():
    assert split_member("a/x.tar!b/c.png") == ("a/x.tar", "b/c.png")
    assert split_member("a/x.tar!b.tar!c.png") == ("a/x.tar", "b.tar!c.png")
    assert split_member("a/x!b.png") is None and split_member("a/x.tar") is None
    kinds = [shard_kind(path) for path in ("a/*.tar", "a/x.PARQUET", "x.tar.gz", "x.json", "x.tar!a.png", "tar")]
    assert kinds == ["tar", "parquet", "tar", "", "", ""]


def test_without_pyarrow_the_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r"pip install rle-onestage\[parquet\]"):
        read_image(f"{tmp_path}/x.parquet!a.png")
