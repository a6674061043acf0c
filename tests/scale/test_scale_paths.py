"""Paths of a job: one file, folder or model is the same however it is spelt, and from whatever folder."""

import json
import logging
import os

import pytest
from scale_toys import Toy, folder_of, rows_in, use

from rle_onestage.errors import ConfigError
from rle_onestage.scale import ModelChoice, listing, predict, storage
from rle_onestage.scale import models as models_module
from rle_onestage.scale.inputs import find_inputs
from rle_onestage.scale.models import version_of

pytest.importorskip("pyarrow")


@pytest.fixture
def toy(monkeypatch):
    return use(monkeypatch, Toy())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current one, with images in a/in, and a link to that folder elsewhere."""
    folder_of(tmp_path / "a" / "in", [1, 2])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a" / "in")
    (tmp_path / "list.txt").write_text("a/in/000001.png\n./a/../a/in/000002.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPELLINGS = {
    "a/in": ["./a/in", "a//in/", "a/../a/in", "b/link/../in", "file://{here}/a/in", "{here}/a/in"],
    "a/in/*.png": ["./a/in/*.png", "b/../a/in/*.png", "{here}/a/in/*.png"],
    "list.txt": ["./list.txt", "{here}/list.txt", "a/../list.txt"],
    "a/in/000001.png": ["./a/in/000001.png", "{here}/a/in/000001.png"],
}


@pytest.mark.parametrize("first", SPELLINGS)
def test_a_job_goes_on_whatever_the_spelling(folder, toy, first, monkeypatch):
    assert predict(first, output="out").computed > 0
    before = toy.batches[:]
    paths = [row["path"] for row in rows_in(folder / "out")]
    assert all(os.path.isabs(path) and os.path.isfile(path) and ".." not in path for path in paths)
    for other in SPELLINGS[first]:
        assert predict(other.format(here=folder), output="./out").computed == 0
    monkeypatch.chdir(folder / "b")
    other = os.path.join(os.pardir, first)
    os.remove(folder / "out" / "part-000000.parquet")
    assert predict(other, output="../out").computed == len(paths) and toy.batches == before * 2
    assert [row["path"] for row in rows_in(folder / "out")] == paths


def test_files_below_a_link_keep_its_name(folder):
    """What a link points to may change, and its ending says what a file is."""
    os.symlink(folder / "list.txt", folder / "a.png")
    assert storage.whole("a.png") == str(folder / "a.png")
    assert listing.find("b/link")[0].address == str(folder / "b" / "link" / "000001.png")


@pytest.mark.parametrize("address", ["s3://bucket/a/../b", "memory://a//b"])
def test_addresses_stay_as_they_are(address):
    assert storage.whole(address) == address


def to_relative(folder):
    """Let the plan of an output be that of an earlier version, with paths as they were given."""
    path = folder / "out" / "_plan.json"
    path.write_text(path.read_text().replace(f"{folder}/", ""))
    assert json.loads(path.read_text())["job"]["input"] == ["a/in"]


def test_plans_of_an_earlier_version_go_on_where_they_were_begun(folder, toy, monkeypatch):
    predict("a/in", output="out")
    to_relative(folder)
    assert predict("./a/in", output="out").computed == 2  # its files are of another plan
    assert [row["path"] for row in rows_in(folder / "out")] == ["a/in/000001.png", "a/in/000002.png"]
    assert predict(f"{folder}/a/in", output="out").computed == 0
    monkeypatch.chdir(folder / "b")
    with pytest.raises(ConfigError) as caught:
        predict("../a/in", output="../out")
    said = str(caught.value)
    assert said.startswith(f"../out has results of another input (['a/in'], now ['{folder}/a/in']); give the command")
    assert "in the folder where it was begun, as these paths are relative; or give another folder" in said


def test_a_model_is_one_however_its_file_is_spelt(folder, toy):
    (folder / "own.onnx").write_bytes(b"1")
    predict("a/in", "own.onnx", output="out")
    assert {row["model"] for row in rows_in(folder / "out")} == {str(folder / "own.onnx")}
    assert predict("a/in", f"{folder}/a/../own.onnx", output="out").computed == 0
    (folder / "people").write_bytes(b"1")  # is not the model of this name
    assert models_module.settled(ModelChoice("people")) == ModelChoice("people")


def test_the_version_goes_by_what_the_weights_are_not_where(folder):
    own = (folder / "own.pth", folder / "b" / "other.pth", folder / "same.pth")
    for path, content in zip(own, (b"1", b"2", b"1")):
        path.write_bytes(content)
    named = ["own.pth", "./own.pth", str(own[0]), str(own[2]), str(own[1])]
    found = [version_of(ModelChoice("people", ("MODEL.WEIGHTS", name)), "1.0").name for name in named]
    assert len(set(found[:4])) == 1 and found[4] != found[0]


def test_a_version_knows_its_weights_and_its_config(folder):
    for name in ("a.pth", "b.pth"):
        (folder / name).write_bytes(name.encode())

    def version(*options):
        return version_of(ModelChoice("people", options), "1.0")

    small = ("INPUT.MAX_SIZE_TEST", "64", "INPUT.MIN_SIZE_TEST", "64")
    own, other = version("MODEL.WEIGHTS", "a.pth"), version("MODEL.WEIGHTS", "b.pth")
    assert own.changes(other) == f"other weights ({folder}/a.pth, now {folder}/b.pth)"
    assert own.changes(version("MODEL.WEIGHTS", "a.pth", *small)).startswith("another config (INPUT.MAX_SIZE_TEST ")
    assert version().changes(own) == f"other weights (rle-onestage://people.pth, now {folder}/a.pth)"


def test_what_is_said_of_a_model_is_said_once(folder, monkeypatch, caplog):
    """Its config, of which there is a warning here, is read once."""
    said = []
    listener = logging.Handler(logging.INFO)
    listener.emit = lambda record: said.append(record.getMessage())
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "handlers", [listener])
    caplog.set_level(logging.INFO, "rle_onestage")
    options = ("MODEL.DEVICE", "cuda", "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "64")
    predict("a/in", ModelChoice("people_synthetic", options), output="out")
    assert any(line.startswith("Size of images at test") for line in said)
    assert len(said) == len(set(said)) > 3


def test_a_folder_that_is_named_twice_is_looked_at_once(folder, caplog):
    (folder / "a" / "in" / "notes.md").write_text("x")
    caplog.set_level("INFO", "rle_onestage")
    assert len(find_inputs(["a/in", "./a/in", f"{folder}/a/in/"], "out")) == 2
    assert caplog.text.count("left out") == 1
