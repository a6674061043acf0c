"""How inputs are cut into units, and what is told of a job on its way."""

import json
import logging

import pytest
from scale_toys import folder_of, png, shard_of

from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.scale import progress as progress_module
from rle_onestage.scale.inputs import find_inputs
from rle_onestage.scale.listing import Entry
from rle_onestage.scale.models import Version
from rle_onestage.scale.plan import PLAN, Plan, Unit, _check_same, read_plan, settled_plan, units_of
from rle_onestage.scale.progress import Progress, duration, percent
from rle_onestage.scale.work import Report

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize("text", ["", "[]", "5", '{"files": []}', "job", "units", "files", "unit"])
def test_a_plan_that_is_damaged_is_a_sentence(tmp_path, text):
    entry, unit = ["images", ["a.jpg", 1, ""]], [0, "images", ["a.jpg"]]
    whole = {"job": {}, "files": [entry], "units": [unit]}
    broken = {"job": None, "files": [], "units": []}
    if text == "unit":
        text = json.dumps({**whole, "units": [[0]]})
    (tmp_path / PLAN).write_text(json.dumps({**whole, text: broken[text]}) if text in broken else text)
    with pytest.raises(MediaError, match="_plan.json is damaged .*remove the folder and start again"):
        read_plan(str(tmp_path))
    (tmp_path / PLAN).write_text(json.dumps(whole))
    assert read_plan(str(tmp_path)).units[0].files == ("a.jpg",)


def test_another_list_of_inputs_names_what_is_new(tmp_path):
    plan = Plan({"input": ["/a.jpg"] * 1000}, [("images", Entry("/a.jpg", 1, ""))], [])
    with pytest.raises(ConfigError, match="of other inputs: 1 file new, such as /b.jpg; give"):
        _check_same(plan, Plan({"input": ["/b.jpg"]}, [*plan.files, ("images", Entry("/b.jpg", 1, ""))], []), "out")
    with pytest.raises(ConfigError, match="of another input") as caught:
        _check_same(plan, Plan({"input": ["/b.jpg"] * 1000}, plan.files, []), "out")
    assert len(str(caught.value)) < 600


OWN = Version("1+a", "1", "/a.pth", "x", {"INPUT.A": "1", "INPUT.B": "2", "--precision": "float32"})
REMEDY = "; give another folder with --output, or remove this one"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"weights": "/b.pth", "digest": "y"}, "other weights (/a.pth, now /b.pth)"),
        ({"digest": "y"}, "other weights (/a.pth, changed since)"),
        ({"weights": "zoo://a.pth"}, "other weights (/a.pth, now zoo://a.pth)"),
        ({"config": {**OWN.config, "INPUT.B": "3"}}, "another config (INPUT.B 2, now 3)"),
        ({"config": {**OWN.config, "INPUT.A": "0", "INPUT.B": "3"}}, "another config (INPUT.A 1, now 0, and 1 more)"),
        ({"config": {**OWN.config, "--precision": "bfloat16"}}, "another config (--precision float32, now bfloat16)"),
        ({"package": "2"}, "another version of rle-onestage (1, now 2)"),
        ({"digest": "y", "config": {}}, "other weights (/a.pth, changed since) and another config (--precision"),
        (None, "another version, config or weights (1+a, now 1+b)"),
    ],
)
def test_another_version_names_what_is_another(tmp_path, change, words):
    files, output = [("images", Entry("/a.jpg", 1, ""))], str(tmp_path / "out")
    settled_plan({"version": OWN.name}, files, output, 1, OWN)
    if change is None:  # the plan is of an earlier package
        path = tmp_path / "out" / PLAN
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": None}))
    now = OWN._replace(name="1+b", **(change or {}))
    with pytest.raises(ConfigError) as caught:
        settled_plan({"version": now.name}, files, output, 1, now)
    assert str(caught.value).startswith(f"{output} has results of {words}") and str(caught.value).endswith(REMEDY)
    assert settled_plan({"version": OWN.name}, files, output, 1, OWN).units


def test_units_of_each_kind(tmp_path):
    folder_of(tmp_path / "a", range(1, 6))
    shard_of(tmp_path / "b.tar", [(f"{n}.{end}", png(n)) for n in range(200) for end in ("png", "json")])
    parquet.write_table(pa.table({"image": [b""] * 10}), tmp_path / "c.parquet", row_group_size=2)
    (tmp_path / "d.parquet").write_bytes(b"damaged")
    (tmp_path / "e.mp4").write_bytes(b"damaged")
    units = units_of(find_inputs([str(tmp_path)], str(tmp_path / "out")), 3)
    assert [unit.number for unit in units] == list(range(len(units)))
    kinds = [(unit.kind, len(unit.files), unit.start, unit.end) for unit in units]
    tables = [("parquet", 1, 0, 2), ("parquet", 1, 2, 4), ("parquet", 1, 4, 5), ("parquet", 1, None, None)]
    assert kinds == [("images", 3, None, None), ("images", 2, None, None), ("tar", 1, None, None), *tables,
                     ("video", 1, None, None)]  # fmt: skip
    assert [unit.weight for unit in units if unit.kind != "tar"] == [3, 2, 4, 4, 2, 1, 1]
    (shard,) = [unit for unit in units if unit.kind == "tar"]
    assert 180 <= shard.weight <= 240  # a guess, by its first members


def test_progress_says_rate_share_and_time_left(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO, "rle_onestage")
    progress = Progress([Unit(1, "images", (), weight=100), Unit(2, "images", (), weight=100)], done=200)
    now[0] = 12.0
    progress.add(Report(1, rows=100, seconds=10.0))
    now[0] = 17.0  # too early for another line
    progress.tell(10)
    now[0] = 24.0
    progress.tell(40)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "100 images, 8.3 images/s, 75 % done, about 12 s left", "150 images, 6.2 images/s, 88 % done, about 8 s left",
    ]  # fmt: skip
    assert progress.first == 2.0 and progress.seconds == 22.0


@pytest.mark.parametrize("seconds, words", [(45, "45 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_shares_in_words():
    assert [percent(share) for share in (1.0, 0.125, 0.01, 0.0001)] == ["100 %", "12.5 %", "1 %", "0.01 %"]
