"""Storage that breaks off or is away for a while: what could be read is kept, the rest is tried again by the next call;
what is damaged is not."""

import contextlib
import os
import subprocess
import sys
import time

import cv2
import flaky_storage
import numpy as np
import pytest
from flaky_storage import ERRORS, failing, use_flaky
from media_toys import encode
from scale_toys import Toy, brightness, folder_of, killed_while_tracking, rows_in, shard_of, use

from rle_onestage.errors import MediaError, PoseError, counted
from rle_onestage.scale import JobOptions, file_systems, job, predict, storage

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
OPTIONS = JobOptions(rows=8, max_errors=1)


@pytest.fixture
def toy(monkeypatch):
    return use(monkeypatch, Toy())


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder behind flaky://, with its inputs in "in"."""
    monkeypatch.setattr(file_systems, "_BUFFER", 2**12)
    use_flaky(monkeypatch, tmp_path / "root")
    (tmp_path / "root" / "in").mkdir()
    return tmp_path / "root"


@contextlib.contextmanager
def hanging(**fault):
    """Within the block reads of flaky:// do not end, and soon count as such."""
    with pytest.MonkeyPatch.context() as patch, failing("read", error="", seconds=30.0, **fault):
        for module in (file_systems, storage):
            patch.setattr(module, "READ_SECONDS", 0.2)
        yield


def shard(folder):
    shard_of(folder / "a.tar", [(f"{number}.png", noise(number)) for number in range(40)])


def zipped(folder):
    shard(folder)
    import gzip

    (folder / "a.tar.gz").write_bytes(gzip.compress((folder / "a.tar").read_bytes(), 1))
    os.remove(folder / "a.tar")


def table(folder):
    parquet.write_table(pa.table({"image": [noise(number) for number in range(40)]}), folder / "a.parquet")


def clip(folder):
    encode(folder / "a.mp4", frames=40, size=(160, 120), image=grain)  # a key frame every 4


def noise(number, size=(96, 64)):
    """The bytes of an image that are many."""
    return cv2.imencode(".png", grain(number, size))[1].tobytes()


def grain(number, size):
    return np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)


def call(output="flaky://out", given="flaky://in"):
    return predict(given, output=output, options=OPTIONS)


def middle(folder, start=0.4, end=0.6):
    """Bytes of the one file of a folder, by shares of its size."""
    (given,) = folder.glob("*")
    return (int(start * given.stat().st_size), int(end * given.stat().st_size))


def plan():
    """Let a call end as soon as it has its plan."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job._Job, "run", lambda *args: interrupt())
        call()


def each_once(first, *steps):
    """The first step with every error, the others with one."""
    return [(first, error) for error in ERRORS] + [(step, "ClientError") for step in steps]


def interrupt():
    raise KeyboardInterrupt


def plain(rows):
    return [{key: value for key, value in row.items() if key != "version"} for row in rows]


@pytest.mark.parametrize("made", [shard, zipped, table, clip])
@pytest.mark.parametrize("error", ["ClientError", "EIO"])
def test_what_breaks_off_is_kept_so_far_and_tried_again(root, toy, caplog, made, error):
    made(root / "in")
    call("flaky://undisturbed")
    plan()
    with failing("read", error=error, name="a.", part=middle(root / "in")):
        first = call()
    assert first.errors == first.lost == first.away and first.images < 40 + first.errors
    assert made is table or first.images > first.errors  # Parquet has one row group here
    assert f"the storage of {counted(first.away, 'unit')} was away: the same command tries again" in caplog.text
    told = [row["error"] for row in rows_in(root / "out") if row["error"] is not None][0]
    assert told.startswith("reading broke off (") and ("SlowDown" in told) == (error == "ClientError")
    again = call()
    assert (again.images, again.errors, again.lost, again.away) == (40, 0, 0, 0) and again.computed > 0
    assert plain(rows_in(root / "out")) == plain(rows_in(root / "undisturbed"))
    assert call().computed == 0
    assert not [name for name in os.listdir(root / "out") if name.startswith((".", "_frames"))]


@pytest.mark.parametrize("made", [shard, table, clip])
def test_what_hangs_is_told_after_a_while_and_tried_again(root, toy, made):
    made(root / "in")
    plan()
    with hanging(name="a.", part=middle(root / "in")):
        first = call()
    assert first.errors == first.away > 0 and first.seconds < 30
    assert "reading broke off (no answer for 0.2 s)" in first.samples[0]
    assert call().images == 40


def test_only_the_pieces_of_a_video_that_broke_off_are_looked_at_again(root, toy):
    """And a call that is killed while it tracks them leaves no identities of two passes."""
    clip(root / "in")
    call("flaky://undisturbed")
    plan()
    with failing("read", name="a.mp4", part=middle(root / "in")):
        first = call()
    assert 0 < first.away < 5 and len(os.listdir(root / "out" / "_frames")) == 5 - first.away
    with killed_while_tracking():
        call()
    assert sorted(name for name in os.listdir(root / "out") if name.startswith("part")) == [
        "part-000000.parquet", "part-000001.parquet",
    ]  # fmt: skip
    looked = len(toy.batches)
    assert call().computed == 0 and len(toy.batches) == looked
    assert plain(rows_in(root / "out")) == plain(rows_in(root / "undisturbed"))


def test_pieces_that_could_be_read_are_not_looked_at_again(root, toy):
    clip(root / "in")
    plan()
    with failing("read", name="a.mp4", part=middle(root / "in")):
        first = call()
    again = call()
    assert again.computed == 8 * first.away and again.images == 40


@pytest.mark.parametrize("made", [shard, table, clip])
def test_what_is_damaged_is_not_tried_again(tmp_path, toy, made):
    made(tmp_path)
    (given,) = tmp_path.glob("a.*")
    os.truncate(given, given.stat().st_size // 2)
    first = call(str(tmp_path / "out"), str(given))
    again = call(str(tmp_path / "out"), str(given))
    assert (first.lost, first.away) == (again.lost, again.away) == (1, 0) and again.computed == 0


@pytest.mark.parametrize("made", [shard, clip])
def test_a_file_that_is_cut_while_it_is_read_is_tried_again_when_it_is_whole(tmp_path, toy, monkeypatch, made):
    made(tmp_path)
    (given,) = tmp_path.glob("a.*")
    data, times = given.read_bytes(), (given.stat().st_atime_ns, given.stat().st_mtime_ns)
    batch = toy.batch

    def cutting(images):
        os.truncate(given, len(data) // 2)
        return batch(images)

    monkeypatch.setattr(toy, "batch", cutting)
    monkeypatch.setattr(file_systems, "_BUFFER", 4096)
    first = call(str(tmp_path / "out"), str(given))
    assert first.away == first.lost > 0 and f"and had {len(data)} when the job began" in " ".join(first.samples)
    monkeypatch.setattr(toy, "batch", batch)
    with pytest.raises(PoseError, match="has changed since"):
        call(str(tmp_path / "out"), str(given))
    given.write_bytes(data)
    os.utime(given, ns=times)
    assert (call(str(tmp_path / "out"), str(given)).errors, len(rows_in(tmp_path / "out"))) == (0, 40)


def test_images_whose_storage_was_away_are_tried_again_and_missing_ones_are_not(root, toy, caplog):
    folder_of(root / "in", range(4))
    (root / "list.txt").write_text("\n".join([f"in/{number:06d}.png" for number in range(4)] + ["in/none.png"]))
    with failing("read", name="000002"):
        first = call(given="flaky://list.txt")
    assert (first.errors, first.lost, first.away) == (2, 0, 1) and "storage of 1 unit was away" in caplog.text
    again = call(given="flaky://list.txt")
    assert (again.errors, again.away, again.computed) == (1, 0, 5)
    assert [brightness(row) for row in rows_in(root / "out")] == [0, 1, 2, 3, None]
    assert call(given="flaky://list.txt").computed == 0


def test_a_unit_does_not_wait_for_each_image_of_a_storage_that_is_silent(root, toy):
    folder_of(root / "in", range(8))
    with hanging():
        first = call(str(root / "out"))
    assert (first.errors, first.away) == (8, 1) and first.seconds < 30
    assert "not tried" in rows_in(root / "out")[3]["error"] and "no answer" in rows_in(root / "out")[2]["error"]
    assert call(str(root / "out")).errors == 0


def test_what_is_no_file_is_never_waited_for(tmp_path, toy):
    for name in ("a.tar", "b.parquet", "c.mp4", "d.png"):
        os.mkfifo(tmp_path / name)
    for _ in range(2):
        summary = call(str(tmp_path / "out"), str(tmp_path))
        assert (summary.images, summary.errors, summary.away) == (4, 4, 0)
        assert all("it is a pipe, not a file" in row["error"] for row in rows_in(tmp_path / "out"))


@pytest.mark.parametrize("step, error", each_once("open", "info", "list", "read"))
def test_inputs_of_any_file_system_fail_with_a_row_or_a_sentence(root, toy, step, error):
    for made in (shard, table):
        made(root / "in")
    folder_of(root / "in" / "more", [1, 2])
    with failing(step, error=error):
        if step in ("info", "list"):
            with pytest.raises(MediaError, match="flaky://in cannot be listed"):
                call(str(root / "out"))
        else:
            first = call(str(root / "out"))
            assert (first.images, first.errors, first.away) == (4, 4, 3)  # rows of a shard, a table and two images
    assert (call(str(root / "out")).errors, len(rows_in(root / "out"))) == (0, 82)


def test_a_folder_below_that_cannot_be_listed_is_not_left_out(root, toy):
    folder_of(root / "in" / "more", [1, 2])
    folder_of(root / "in", [3])
    with failing("list", error="EIO", name="more"), pytest.raises(MediaError, match="cannot be listed"):
        call()
    assert call().images == 3


@pytest.mark.parametrize(
    "step, error", each_once("write", "create", "close", "rename", "make", "list", "remove", "open", "read")
)
def test_outputs_of_any_file_system_fail_with_a_sentence(tmp_path, root, toy, step, error):
    encode(tmp_path / "a.mp4", frames=8)
    folder_of(tmp_path, [1, 2])
    given = str(tmp_path / "*.*")
    call(str(tmp_path / "plain"), given)
    told = []
    for name in ("out", "_frames") if step in ("make", "list") else ("_plan", "part", "_summary"):
        with failing(step, error=error, name=name):
            try:
                call(given=given)
            except PoseError as sentence:
                told.append(str(sentence))
    assert all("flaky://out" in each and "cannot be " in each for each in told)
    assert told or step == "remove"
    call(given=given)
    assert plain(rows_in(root / "out")) == plain(rows_in(tmp_path / "plain"))
    assert {*os.listdir(root / "out")} - {"_frames"} == {*os.listdir(tmp_path / "plain")}


def test_what_a_call_that_was_killed_left_is_removed_and_what_others_write_is_not(root, toy):
    folder_of(root / "in", [1])
    call()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    here, there = storage._machine(), "0" * 8
    left = {"dead": (here, gone.stdout.strip(), 0), "alive": (here, os.getpid(), 0), "other": (there, 1, 0)}
    left["old"] = (there, 1, 2 * 86400)
    for kind, (machine, process, age) in left.items():
        path = root / "out" / f".{kind}.{machine}-{process}-01234567.unfinished"
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    assert call().computed == 0
    assert {name.split(".")[1] for name in os.listdir(root / "out") if name[0] == "."} == {"alive", "other"}


def test_one_file_system_reads_all_images(root, toy, monkeypatch):
    """A new one means new connections; fsspec keeps one for each thread, and each wait has a thread of its own."""
    folder_of(root / "in", range(9))
    shard(root / "in")
    made, begin = [], flaky_storage.Flaky.__init__
    monkeypatch.setattr(flaky_storage.Flaky, "cachable", True)
    monkeypatch.setattr(flaky_storage.Flaky, "__init__", lambda self, *args: (made.append(self), begin(self, *args))[1])
    call()
    assert len(made) <= 1


def test_errors_of_a_storage_are_told_from_damage():
    assert file_systems.may_pass(flaky_storage.ERRORS["EIO"]()) and file_systems.may_pass(TimeoutError())
    assert not file_systems.may_pass(None) and not file_systems.may_pass(file_systems.NoFileError("it is a pipe"))
    assert file_systems.is_certain(FileNotFoundError()) and not file_systems.is_certain(TimeoutError())
    with pytest.raises(file_systems.AwayError, match="KeyError: 'ETag'"):
        file_systems.asked(lambda: {}["ETag"])
