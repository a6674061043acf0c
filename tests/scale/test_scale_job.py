"""Jobs in this process: every kind of input, resuming, refusing, and what cannot be read."""

import json
import os

import cv2
import fsspec
import pytest
from exported_people import exported, office
from scale_toys import Toy, brightness, folder_of, huge_png, png, rows_in, shard_of, use

from rle_onestage.errors import ConfigError, MediaError, PoseError
from rle_onestage.evaluation.people_parquet import read_parts
from rle_onestage.export import load
from rle_onestage.scale import JobOptions, ModelChoice, predict
from rle_onestage.scale import job as job_module
from rle_onestage.scale import storage as job_storage
from rle_onestage.scale import work as work_module
from rle_onestage.scale.plan import read_plan
from rle_onestage.utils import output_files

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def toy(monkeypatch):
    return use(monkeypatch, Toy())


def contents(output):
    """Name -> bytes of the Parquet files of an output."""
    return {name: (output / name).read_bytes() for name in os.listdir(output) if name.endswith(".parquet")}


def test_folders_globs_and_lists(tmp_path, toy):
    folder_of(tmp_path / "in", [1, 2])
    folder_of(tmp_path / "in" / "below", [3])
    folder_of(tmp_path / "other", [4, 5])
    (tmp_path / "in" / "notes.md").write_text("x")
    (tmp_path / "list.txt").write_text("other/000005.png\n\nmissing.png\nother/000004.png\n")
    inputs = [str(tmp_path / "in"), str(tmp_path / "other" / "*4.png"), str(tmp_path / "list.txt")]
    options = JobOptions(rows=2, max_errors=0.5)
    summary = predict(inputs, output=str(tmp_path / "out"), options=options)
    rows = rows_in(tmp_path / "out")
    assert [brightness(row) for row in rows] == [1, 2, 3, 4, 5, None]
    assert "No such file" in rows[5]["error"] and rows[5]["path"].endswith("missing.png")
    assert rows[0]["path"] == str(tmp_path / "in" / "000001.png") and (rows[0]["width"], rows[0]["height"]) == (64, 48)
    assert (summary.images, summary.people, summary.errors) == (6, 5, 1) and not summary.failed
    assert 0 < summary.start_seconds + summary.images / summary.images_per_second <= 1.01 * summary.seconds
    assert sorted(contents(tmp_path / "out")) == [f"part-{n:06d}.parquet" for n in range(3)]


def test_shards(tmp_path, toy):
    members = [(f"{n:03d}.{end}", png(n) if end == "png" else b"{}") for n in (1, 2, 3) for end in ("json", "png")]
    shard_of(tmp_path / "a.tar", members)
    predict(str(tmp_path / "*.tar"), output=str(tmp_path / "out"))
    rows = rows_in(tmp_path / "out")
    assert [(brightness(row), row["index"]) for row in rows] == [(1, 0), (2, 1), (3, 2)]
    assert rows[1]["path"] == str(tmp_path / "a.tar" / "002.png")
    predict(shard_of(tmp_path / "none.tar", [("a.json", b"{}")]), output=str(tmp_path / "none"))
    assert "has no images" in rows_in(tmp_path / "none")[0]["error"]


@pytest.mark.parametrize("cut", ["data", "between", "end", "first"])
def test_a_shard_that_is_cut_gives_what_comes_before_and_one_error(tmp_path, toy, cut):
    whole = shard_of(tmp_path / "a.tar", [(f"{n:03d}.png", png(n)) for n in (1, 2, 3)])
    size = len(png(1))
    assert size < 512
    length = {"data": 2 * 1024 + 512 + size // 2, "between": 2 * 1024, "end": 3 * 1024, "first": 100}[cut]
    os.truncate(whole, length)
    summary = predict(whole, output=str(tmp_path / "out"))
    rows = rows_in(tmp_path / "out")
    expected = {"data": [1, 2, None], "between": [1, 2, None], "end": [1, 2, 3, None], "first": [None]}[cut]
    assert [brightness(row) for row in rows] == expected
    assert "shard" in rows[-1]["error"] and summary.errors == 1 and summary.failed


def test_a_shard_that_is_lost_counts_as_more_than_an_image(tmp_path, toy):
    for name in "ab":
        shard_of(tmp_path / f"{name}.tar", [(f"{n:03d}.png", png(n)) for n in range(20)])
    os.truncate(tmp_path / "b.tar", 100)
    summary = predict(str(tmp_path / "*.tar"), output=str(tmp_path / "out"), options=JobOptions(max_errors=0.1))
    assert (summary.images, summary.errors, summary.lost, summary.holders) == (21, 1, 1, 2) and summary.failed
    assert summary.rows == 10  # images of a shard, by which --plan counts units
    again = predict(str(tmp_path / "*.tar"), output=str(tmp_path / "out"), options=JobOptions(max_errors=0.5))
    assert again.lost == 1 and not again.failed


def test_tables_of_bytes_and_of_paths(tmp_path, toy):
    pairs = [{"bytes": png(1), "path": None}, {"bytes": png(2), "path": "x/b.png"}, {"bytes": None, "path": "3.png"}]
    table = pa.table({"label": [0] * 4, "image": [*pairs, None]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    (tmp_path / "3.png").write_bytes(png(3))
    parquet.write_table(pa.table({"where": [str(tmp_path / "3.png")]}), tmp_path / "b.parquet")
    options = JobOptions(rows=2, max_errors=1)
    predict(str(tmp_path / "a.parquet"), output=str(tmp_path / "a"), options=options)
    rows = rows_in(tmp_path / "a")
    assert [(brightness(row), row["index"]) for row in rows] == [(1, 0), (2, 1), (3, 2), (None, 3)]
    assert "nothing in place of an image" in rows[3]["error"] and len(contents(tmp_path / "a")) == 2
    predict(str(tmp_path / "b.parquet"), output=str(tmp_path / "b"), options=JobOptions(column="where"))
    assert [brightness(row) for row in rows_in(tmp_path / "b")] == [3]
    predict(str(tmp_path / "b.parquet"), output=str(tmp_path / "c"), options=options)
    assert "has no column image" in rows_in(tmp_path / "c")[0]["error"]


def test_another_file_system(tmp_path, toy):
    """fsspec's memory stands for the storage of a cloud; pyarrow's addresses are known too."""
    memory = fsspec.filesystem("memory")
    for number in (1, 2):
        memory.pipe_file(f"/bucket/in/{number}.png", png(number))
    memory.pipe_file("/bucket/a.tar", open(shard_of(tmp_path / "a.tar", [("3.png", png(3))]), "rb").read())
    inputs = ["memory://bucket/in/*.png", "memory://bucket/a.tar"]
    first = predict(inputs, output="memory://bucket/out")
    assert (first.images, first.errors, first.computed) == (3, 0, 3)
    assert predict(inputs, output="memory://bucket/out").computed == 0
    memory.get("/bucket/out/", str(tmp_path / "out"), recursive=True)
    assert [brightness(row) for row in rows_in(tmp_path / "out")] == [1, 2, 3]
    assert not [name for name in memory.ls("/bucket/out", detail=False) if "unfinished" in name]
    predict(f"file://{folder_of(tmp_path / 'in', [9])}", output=str(tmp_path / "local"))
    assert [brightness(row) for row in rows_in(tmp_path / "local")] == [9]
    with pytest.raises(MediaError, match="nowhere://x cannot be reached"):
        predict("nowhere://x", output=str(tmp_path / "none"))


def test_images_of_like_size_are_looked_at_together_and_come_in_order(tmp_path, toy):
    folder_of(tmp_path / "in", [1, 3, 5, 7, 9])
    folder_of(tmp_path / "in", [2, 4, 6], size=(48, 64))
    predict(str(tmp_path / "in"), output=str(tmp_path / "out"), options=JobOptions(batch=3))
    assert [brightness(row) for row in rows_in(tmp_path / "out")] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert sorted(map(len, toy.batches)) == [2, 3, 3] and all(len(set(batch)) == 1 for batch in toy.batches)


def test_an_image_of_900_million_pixels_and_a_broken_one_are_rows_with_errors(tmp_path, toy):
    folder = folder_of(tmp_path / "in", [1, 4])
    (tmp_path / "in" / "000002.png").write_bytes(huge_png())
    (tmp_path / "in" / "000003.png").write_bytes(png(3)[:-20])
    summary = predict(folder, output=str(tmp_path / "out"))
    rows = rows_in(tmp_path / "out")
    assert [brightness(row) for row in rows] == [1, None, None, 4] and summary.failed
    assert "declares 900 million pixels (30000 x 30000)" in rows[1]["error"] and "damaged" in rows[2]["error"]
    assert summary.samples[0].startswith(rows[1]["path"])
    again = predict(folder, output=str(tmp_path / "out"), options=JobOptions(max_errors=0.5))
    assert not again.failed and again.errors == 2  # how many may be wrong is no part of the result


def test_an_image_that_the_model_fails_on_costs_itself_alone(tmp_path, monkeypatch):
    class Failing(Toy):
        def person(self, image):
            if image.mean() == 2:
                raise RuntimeError("CUDA out of memory")
            return super().person(image)

    use(monkeypatch, Failing())
    folder = folder_of(tmp_path / "in", [1, 2, 3])
    predict(folder, output=str(tmp_path / "out"))
    rows = rows_in(tmp_path / "out")
    assert [brightness(row) for row in rows] == [1, None, 3]
    assert rows[1]["error"] == "it is too large for the memory" and rows[1]["width"] == 64


def test_a_job_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "in", range(1, 8))
    use(monkeypatch, Toy())
    options = JobOptions(rows=2)
    predict(folder, output=str(tmp_path / "whole"), options=options)

    class Dying(Toy):
        def person(self, image):
            if image.mean() == 5:
                raise KeyboardInterrupt
            return super().person(image)

    use(monkeypatch, Dying())
    with pytest.raises(KeyboardInterrupt):
        predict(folder, output=str(tmp_path / "out"), options=options)
    assert len(contents(tmp_path / "out")) == 2  # nothing half-written
    toy = use(monkeypatch, Toy())
    summary = predict(folder, output=str(tmp_path / "out"), options=options)
    assert (summary.images, summary.computed) == (7, 3) and sum(map(len, toy.batches)) == 3
    damaged = tmp_path / "out" / "part-000001.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert predict(folder, output=str(tmp_path / "out"), options=options).computed == 2
    assert rows_in(tmp_path / "out") == rows_in(tmp_path / "whole")
    assert json.loads((tmp_path / "out" / "_plan.json").read_text())["units"][1][0] == 1


@pytest.mark.parametrize("change", ["model", "option", "new", "gone", "changed", "input", "foreign"])
def test_an_output_of_something_else_is_refused(tmp_path, toy, change):
    folder, output, model, options = folder_of(tmp_path / "in", [1, 2]), str(tmp_path / "out"), "people", JobOptions()
    if change == "foreign":
        (tmp_path / "out").mkdir()
        parquet.write_table(pa.table({"a": [1]}), tmp_path / "out" / "a.parquet")
    else:
        predict(folder, model, output=output, options=options)
    before, inputs = contents(tmp_path / "out"), folder
    if change == "model":
        model = "people_synthetic"
    elif change == "option":
        options = JobOptions(min_score=0.5)
    elif change == "new":
        folder_of(tmp_path / "in", [3])
    elif change == "gone":
        (tmp_path / "in" / "000002.png").unlink()
    elif change == "changed":
        (tmp_path / "in" / "000002.png").write_bytes(png(9))
    elif change == "input":
        inputs = [folder, folder_of(tmp_path / "more", [5])]
    with pytest.raises(ConfigError, match="another folder|a new folder") as raised:
        predict(inputs, model, output=output, options=options)
    words = {"new": "1 file new, such as .*000003", "gone": "1 file gone", "changed": "000002.png has changed"}
    words |= {"model": "another model .people, now people_synthetic.", "option": "another min_score"}
    assert raised.match(words.get(change, "input|something else"))
    assert contents(tmp_path / "out") == before


def test_what_can_be_mended_is_one_sentence(tmp_path, toy):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.md").write_text("x")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "file").write_text("")
    cases = [
        (str(tmp_path / "in"), "out", "has no images"),
        (str(tmp_path / "*.jpg"), "out", "no file matches"),
        (str(tmp_path / "none"), "out", "does not exist"),
        (str(tmp_path / "empty.txt"), "out", "is empty"),
        ("", "out", "is empty"),
        (folder_of(tmp_path / "images", [1]), "file", "is a file; give a folder"),
    ]
    for given, output, words in cases:
        with pytest.raises(PoseError, match=words) as raised:
            predict(given, output=str(tmp_path / output))
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="rows is 0"):
        JobOptions(rows=0)


def test_units_with_nothing_but_errors_are_done_again(tmp_path, toy):
    """Here the storage is away: the sizes and times of the files stay."""
    folder = folder_of(tmp_path / "in", range(1, 7))
    options = JobOptions(rows=4)
    predict(folder, output=str(tmp_path / "whole"), options=options)
    read = job_storage.read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_storage, "read_bytes", lambda name: read(f"{name} is away"))
        first = predict(folder, output=str(tmp_path / "out"), options=options)
    assert (first.images, first.errors) == (6, 6)
    again = predict(folder, output=str(tmp_path / "out"), options=options)
    assert (again.computed, again.errors) == (4, 2)  # two rows may well be broken
    assert rows_in(tmp_path / "out")[:4] == rows_in(tmp_path / "whole")[:4]


def test_files_that_are_named_in_two_ways_are_there_once(tmp_path, toy, monkeypatch):
    folder_of(tmp_path / "in", [1, 2])
    monkeypatch.chdir(tmp_path)
    assert predict(["in", "./in", str(tmp_path / "in")], output="out").images == 2
    assert [row["path"] for row in rows_in(tmp_path / "out")] == [
        str(tmp_path / "in" / f"00000{n}.png") for n in (1, 2)
    ]


def test_two_that_write_one_remote_file_do_not_share_a_temporary_one():
    memory = fsspec.filesystem("memory")
    with job_storage.written("memory://twice/a") as one, job_storage.written("memory://twice/a") as two:
        one.write(b"1")
        two.write(b"2")
        assert len(memory.ls("/twice", detail=False)) == 2
    assert [name.rpartition("/")[2] for name in memory.ls("/twice", detail=False)] == ["a"]
    assert memory.cat_file("/twice/a") == b"1"


def test_joints_in_space_are_said_to_be_left_out(tmp_path, toy, caplog):
    folder = folder_of(tmp_path / "in", [1])
    predict(folder, output=str(tmp_path / "flat"))
    assert "joints in space" not in caplog.text
    toy.tells_depth = True
    predict(folder, output=str(tmp_path / "deep"))
    assert caplog.text.count("joints in space (3-D) that people may give have no column and are not kept") == 1


def test_results_are_no_input(tmp_path, toy, monkeypatch):
    folder_of(tmp_path, [1, 2])
    monkeypatch.chdir(tmp_path)
    assert predict(".", output="out").images == 2
    assert predict(".", output="out").computed == 0


@pytest.mark.parametrize("output", ["memory://lake/out", "memory:///lake/out/"])
def test_results_below_an_address_are_no_input(toy, output):
    memory = fsspec.filesystem("memory")
    for number in (1, 2):
        memory.pipe_file(f"/lake/{number}.png", png(number))
    try:
        assert predict("memory://lake", output=output).images == 2
        assert predict("memory://lake", output=output).computed == 0
    finally:
        memory.rm("/lake", recursive=True)


def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path, toy, monkeypatch):
    folder = folder_of(tmp_path / "in", [1, 2, 3, 4])
    settle, calls = output_files._settle, []

    def full(path):
        calls.append(path)
        if len(calls) > 4:  # the plan and its folder, the first part and its folder
            raise OSError(28, "No space left on device")
        settle(path)

    monkeypatch.setattr(output_files, "_settle", full)
    with pytest.raises(
        PoseError, match=r"part-000001.parquet cannot be written \(No space left on device\); make room"
    ):
        predict(folder, output=str(tmp_path / "out"), options=JobOptions(rows=2))
    assert sorted(os.listdir(tmp_path / "out")) == ["_plan.json", "part-000000.parquet"]
    monkeypatch.setattr(output_files, "_settle", settle)
    assert predict(folder, output=str(tmp_path / "out"), options=JobOptions(rows=2)).computed == 2


def test_low_scores_are_left_out_and_coco_results_written(tmp_path, toy):
    folder = folder_of(tmp_path / "in", [1, 250])
    options = JobOptions(min_score=0.7, coco=True)
    summary = predict(folder, output=str(tmp_path / "out"), options=options)
    assert summary.people == 1
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert result["image_id"] == 250 and result["keypoints"][0] == pytest.approx(62.5 + 10 - 0.5)


def test_the_last_line_says_of_what_score_people_are(tmp_path, monkeypatch, caplog):
    class Unsure(Toy):
        def person(self, image):
            people = super().person(image)
            people.scores = people.scores - 0.5  # 0.101, 0.35
            return people

    use(monkeypatch, Unsure())
    caplog.set_level("INFO", "rle_onestage")
    folder = folder_of(tmp_path / "in", [1, 250])
    for number, (least, words) in enumerate((
        (0.0, "2 people of any score (1 of 0.28 or more, those that demo draws) in 2 images"),
        (0.05, "2 people of a score of 0.05 or more (1 of 0.28 or more, those that demo draws) in 2 images"),
        (0.3, "1 person of a score of 0.3 or more in 2 images"),
    )):  # fmt: skip
        summary = predict(folder, output=str(tmp_path / f"{number}"), options=JobOptions(min_score=least))
        assert caplog.messages[-1].startswith(f"{words}, ") and str(summary) == caplog.messages[-1]
    unsaid = work_module.report_of(str(tmp_path / "0" / "part-000000.parquet"), read_plan(str(tmp_path / "0")).digest)
    with monkeypatch.context() as patch:  # files of an earlier version, which have no such number
        patch.setattr(job_module, "report_of", lambda *args: unsaid._replace(drawn=None))
        predict(folder, output=str(tmp_path / "0"))
    assert caplog.messages[-1].startswith("2 people of any score in 2 images (2 of them were there)")


def test_files_say_what_made_them(tmp_path, toy):
    predict(folder_of(tmp_path / "in", [1]), output=str(tmp_path / "out"))
    ((table, metadata),) = read_parts(tmp_path / "out")
    assert table["model"].to_pylist() == ["people"] and table["version"][0].as_py().endswith("+people")
    assert len(metadata["joints"]) == 17 and metadata["category_id"] == 1
    assert work_module.report_of(str(tmp_path / "out" / "part-000000.parquet"), "another plan") is None


def test_an_exported_file_is_a_model(tmp_path):
    file = str(exported())
    cv2.imwrite(str(tmp_path / "office.png"), cv2.resize(office(), (256, 192), interpolation=cv2.INTER_AREA))
    predict(str(tmp_path / "office.png"), file, output=str(tmp_path / "out"), options=JobOptions(min_score=0.3))
    predict(str(tmp_path / "office.png"), file, output=str(tmp_path / "out"), options=JobOptions(min_score=0.3))
    (row,) = rows_in(tmp_path / "out")
    expected = load(file)(cv2.imread(str(tmp_path / "office.png")))
    expected = expected[expected.scores >= 0.3]
    assert row["model"] == file and len(row["people"]) == len(expected) > 0
    assert row["people"][0]["score"] == pytest.approx(float(expected.scores[0]), abs=1e-5)
    with pytest.raises(ConfigError, match=r"people.onnx is an exported file, whose config is settled; leave out A.B 3"):
        predict(str(tmp_path / "office.png"), ModelChoice(file, ("A.B", "3")), output=str(tmp_path / "more"))
    with pytest.raises(MediaError, match="no.onnx does not exist"):
        predict(str(tmp_path / "office.png"), "no.onnx", output=str(tmp_path / "more"))
