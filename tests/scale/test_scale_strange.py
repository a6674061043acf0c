"""Strange inputs and outputs: each is a row, a row with its error, or one sentence."""

import io
import os
import tarfile

import fsspec
import pytest
from scale_toys import Toy, brightness, folder_of, png, rows_in, shard_of, use

from rle_onestage.errors import MediaError, PoseError
from rle_onestage.scale import JobOptions, predict
from rle_onestage.scale.inputs import find_inputs

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
ANY = JobOptions(max_errors=1)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use(monkeypatch, Toy())


def rows_of(given, tmp_path, options=ANY):
    """Path behind the input and error, or brightness, of each row; they are there once, however often it is called."""
    output = tmp_path / "out"
    predict(str(given), output=str(output), options=options)
    assert predict(str(given), output=str(output), options=options).computed == 0
    return [(os.path.relpath(row["path"], given), row["error"] or brightness(row)) for row in rows_in(output)]


def shard_with(path, members):
    """A shard of (name, kind, target of a link, bytes)."""
    with tarfile.open(path, "w") as shard:
        for name, kind, target, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(data)
            shard.addfile(info, io.BytesIO(data))
    return path


def test_folders_and_links_in_shards(tmp_path):
    file, hard, soft = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
    shard = shard_with(
        tmp_path / "a.tar",
        [
            ("d", tarfile.DIRTYPE, "", b""), ("d.png", tarfile.DIRTYPE, "", b""), ("d/a.png", file, "", png(4)),
            ("hard.png", hard, "d/a.png", b""), ("later.png", soft, "z.png", b""),
            ("out.png", soft, "/etc/passwd", b""), ("loop.png", soft, "pool.png", b""),
            ("pool.png", soft, "loop.png", b""), ("pipe.png", tarfile.FIFOTYPE, "", b""),
            ("._a.png", file, "", b"of macOS"), ("inner.tar", file, "", b"x"), ("z.png", file, "", png(8)),
        ],
    )  # fmt: skip
    no_file = "it is a link to {}, which is no file of the shard"
    assert rows_of(shard, tmp_path) == [
        ("d/a.png", 4), ("hard.png", 4), ("later.png", 8), ("out.png", no_file.format("/etc/passwd")),
        ("loop.png", no_file.format("pool.png")), ("pool.png", no_file.format("loop.png")), ("z.png", 8),
    ]  # fmt: skip


def test_shards_without_anything(tmp_path):
    for name, data in (("a", b""), ("b", b"no archive"), ("c", b"\0" * 10240)):
        (tmp_path / f"{name}.tar").write_bytes(data)
    shard_of(tmp_path / "d.tar", [("a.txt", b"text"), ("b.tar", b"tar")])
    none = "the shard has no images by their names, such as a.jpg"
    told = ["the file is empty", "it is damaged or no tar shard", none, none]
    assert [error for _, error in rows_of(tmp_path, tmp_path)] == told


@pytest.mark.parametrize("packed", [False, True])
def test_names_of_all_kinds(tmp_path, packed):
    names = ["a b.png", "new\nline.png", "q'\"q.png", "tab\t.png", "ü漢字.png", os.fsdecode(b"caf\xe9.png"), "[1]*.png"]
    (tmp_path / "in").mkdir()
    if packed:
        shard_of(tmp_path / "in" / "s.tar", [(name, png(4)) for name in names] + [(names[0], png(8))])
    for name in () if packed else names:
        (tmp_path / "in" / name).write_bytes(png(4))
    found = rows_of(tmp_path / "in", tmp_path)
    shown = [f"{'s.tar/' if packed else ''}{name}".replace("\udce9", "\\udce9") for name in names]
    assert sorted(found) == sorted([(name, 4) for name in shown] + [("s.tar/a b.png", 8)] * packed)
    if not packed:
        (row,) = rows_of(tmp_path / "in" / "[1]*.png", tmp_path / "in")
        assert row[1] == 4


def test_tables_of_all_types(tmp_path):
    png4 = png(4)
    columns = {
        "a": pa.array([png4, None, b""]), "b": pa.array([1]), "c": pa.array([png4], pa.large_binary()),
        "d": pa.array([{"bytes": png4, "path": "x/y.png"}, {"bytes": None, "path": "i.png"}, None]),
        "e": pa.array([{"bytes": 5, "path": 7}]), "f": pa.array([[1, 2]]), "g": pa.nulls(1),
        "h": pa.array([], "binary"), "i": pa.array(["i.png", "", "..", "no.png", "a\0b.png", "nowhere://x.png"]),
    }  # fmt: skip
    (tmp_path / "i.png").write_bytes(png(8))
    for name, values in columns.items():
        parquet.write_table(pa.table({"image": values}), tmp_path / f"{name}.parquet")
    empty = parquet.ParquetWriter(tmp_path / "j.parquet", pa.schema([("image", pa.binary())]))
    empty.close()
    nothing = "the row has {} in place of an image's bytes or path"
    found = rows_of(str(tmp_path / "*.parquet"), tmp_path)
    values = [value if isinstance(value, int) else value.split(" (")[0] for _, value in found]
    cannot = "it cannot be opened"
    assert values == [
        4, nothing.format("nothing"), "the file is empty", nothing.format("int"), 4, 4, 8, nothing.format("nothing"),
        nothing.format("int"), nothing.format("list"), nothing.format("nothing"), "the table has no rows", 8,
        "it is a folder, not a file", "it is a folder, not a file", cannot, cannot, "nowhere://x.png cannot be reached",
        "the table has no rows",
    ]  # fmt: skip


def test_links_on_the_disk(tmp_path, caplog):
    folder = tmp_path / "in"
    folder_of(folder / "sub", [4])
    os.symlink(folder, folder / "sub" / "loop")
    os.symlink(folder_of(tmp_path / "other", [8]), folder / "other")
    os.symlink(folder / "none", folder / "gone.png")
    os.symlink("self.png", folder / "self.png")
    found = rows_of(folder, tmp_path)
    assert [name for name, _ in found] == ["gone.png", "self.png", "sub/000004.png"] and found[2][1] == 4
    assert "2 links to folders left out, such as" in caplog.text
    (tmp_path / "glob").mkdir()
    names = [name for name, _ in rows_of(str(folder / "**" / "0*.png"), tmp_path / "glob")]
    assert [os.path.basename(os.path.dirname(name)) for name in names] == ["other", "sub"]


def test_a_pattern_means_the_same_on_every_file_system(tmp_path):
    memory = fsspec.filesystem("memory")
    names = ["1.png", "a/2.png", "a/b/3.png", ".h/4.png", "_p/5.png"]
    for name in names:
        memory.pipe_file(f"/lake/{name}", png(4))
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(png(4))
    try:
        for given, expected in {"*.png": 1, "**/*.png": 4, "a/*": 1, "_p/*": 1, "": 3, "a/2.pn[g]": 1}.items():
            for top in ("memory://lake", str(tmp_path / "in")):
                found = find_inputs([f"{top}/{given}"], "memory://none")
                assert len(found) == expected, (top, given)
    finally:
        memory.rm("/lake", recursive=True)


@pytest.mark.parametrize("lake", ["memory://lake", "here"])
def test_results_of_another_job_are_no_table_of_paths(tmp_path, lake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/lake/1.png", png(4))
    folder_of(tmp_path / "here", [4])
    try:
        assert predict(lake, output=f"{lake}/one").images == 1
        assert predict(lake, output=f"{lake}/two").images == 1
        with pytest.raises(MediaError, match="has predictions alone; give the images"):
            predict(f"{lake}/one", output=f"{lake}/three")
    finally:
        memory.rm("/lake", recursive=True)


def test_an_output_behind_a_link_is_no_input(tmp_path):
    folder_of(tmp_path / "in", [4])
    (tmp_path / "in" / "sub").mkdir()
    os.symlink(tmp_path / "in" / "sub", tmp_path / "out")
    (tmp_path / "in" / "sub" / "drawn.png").write_bytes(png(8))  # what a user makes of the results
    assert predict(str(tmp_path / "in"), output=str(tmp_path / "out")).images == 1


@pytest.mark.parametrize("name", ["a\0b", "y" * 300, "image.png", "image.png/below"])
def test_outputs_that_are_none(tmp_path, name):
    (tmp_path / "image.png").write_bytes(png(4))
    with pytest.raises(PoseError, match="cannot be|is a file; give a folder"):
        predict(str(tmp_path / "image.png"), output=str(tmp_path / name))
