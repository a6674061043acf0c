"""Data sets in shards: what is packed returns, each image comes once an epoch, and faults are one sentence each."""

import io
import itertools
import json
import logging
import os
import tarfile

import numpy as np
import pytest
import torch
from data_toys import make_config, toy_content, write_set

from rle_onestage.cli import main as rle_onestage
from rle_onestage.data import build_train_loader, load_dataset
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.labels import is_held_out
from rle_onestage.data.shards.writing import ShardSplit, write_shards
from rle_onestage.data.yolo.writing import CocoSplit, write_yolo
from rle_onestage.errors import ConfigError, DataError, MediaError

KINDS = ["tar", "parquet"]


@pytest.fixture(params=KINDS)
def kind(request):
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return request.param


def pack(root, content, kind="tar", size=2**14, folder="shards"):
    """Pack a set as the split train; returns (its lines, folder of the shards, JSON file and folder of the images)."""
    path, images = write_set(str(root), content)
    lines = write_shards([ShardSplit("train", path, images)], str(root / folder), kind=kind, size=size)
    return lines, str(root / folder), path, images


def config(name, labels, images="", options=None, **keys):
    entry = [name, labels, images, *([options] if options else [])]
    keys = {"INPUT__POSE__SIZE": 64, "INPUT__POSE__MOSAIC_PROB": 0.5, "SOLVER__MAX_ITER": 100, **keys}
    return make_config(DATASETS__KEYPOINT_FILES=[entry], DATASETS__TRAIN=(name,), DATASETS__TEST=(name,), **keys)


def batches(cfg, count=4, start=0):
    return list(itertools.islice(build_train_loader(cfg, start_iter=start), count))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        for left, right in zip(a, b, strict=True):
            assert left["image_id"] == right["image_id"]
            assert torch.equal(left["image"], right["image"])


def test_the_samples_are_those_of_the_folder(tmp_path, kind):
    lines, folder, path, images = pack(tmp_path, toy_content(10), kind)
    assert "10 images, 10 people in" in lines[0] and len(os.listdir(folder)) > 5  # several shards
    folder_samples = batches(config(f"{kind}_folder", path, images))
    for number, (labels, root) in enumerate([(f"{folder}/train.json", folder), (f"{folder}/train-*.{kind}", "")]):
        cfg = config(f"{kind}_shards_{number}", labels, root)
        for workers, start in ((0, 0), (2, 2)):
            cfg.DATALOADER.NUM_WORKERS = workers
            assert_same(batches(cfg, 4 - start, start), folder_samples[start:])


def test_what_is_packed_returns(tmp_path, kind):
    content = toy_content(5)
    content["annotations"] = content["annotations"][:3] * 1
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6.25]]
    content["images"][4]["licence"] = "CC0"
    _, folder, _, _ = pack(tmp_path, content, kind)
    for labels in (f"{folder}/train.json", f"{folder}/train-*.{kind}"):
        found = read_json(labels)
        names = [image.pop("file_name").partition("!")[2] for image in found["images"]]
        assert names == [image["file_name"] for image in content["images"]]
        bare = [{k: v for k, v in image.items() if k != "file_name"} for image in content["images"]]
        assert found["images"] == bare
        assert found["annotations"] == content["annotations"] and found["categories"] == content["categories"]


def test_the_shards_are_the_same_each_time(tmp_path, kind):
    for folder in ("one", "two"):
        pack(tmp_path, toy_content(4), kind, folder=folder)
    for name in os.listdir(tmp_path / "one"):
        if not name.endswith(".npz"):  # which has the time of its shard
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_webdataset_reads_the_archives(tmp_path):
    wds = pytest.importorskip("webdataset")
    _, folder, _, images = pack(tmp_path, toy_content(3), size=2**30)
    samples = list(wds.WebDataset(f"{folder}/train-00000.tar", shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["000", "001", "002"]
    with open(f"{images}/001.png", "rb") as file:
        assert samples[1]["png"] == file.read()
    assert json.loads(samples[1]["json"])["annotations"][0]["image_id"] == 1


def test_names_that_are_no_keys(tmp_path):
    """Folders stay; dots in a name, two images of one key, and folders above the set do not."""
    content = toy_content(4)
    write_set(str(tmp_path), content)
    names = ["a/b.c.png", "a/b_c.PNG", f"{tmp_path}/out/d.png", "a/e.png"]
    for image, name in zip(content["images"], names):
        target = os.path.join(tmp_path, "images", name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(tmp_path / "images" / image["file_name"], target)
        image["file_name"] = name
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    split = ShardSplit("train", str(tmp_path / "annotations.json"), str(tmp_path / "images"))
    lines = write_shards([split], str(tmp_path / "shards"))
    with tarfile.open(tmp_path / "shards" / "train-00000.tar") as archive:
        members = [name for name in archive.getnames() if not name.endswith(".json")]
    assert members[:2] == ["a/b_c.png", "a/b_c-2.png"] and members[3] == "a/e.png" and members[2].endswith("out/d.png")
    assert "3 images have another name" in lines[0]


def test_the_held_out_part_is_that_of_the_folder(tmp_path):
    _, folder, path, images = pack(tmp_path, toy_content(30))
    parts = []
    for number, entry in enumerate([(path, images), (f"{folder}/train.json", folder)]):
        cfg = config(f"held_{number}", *entry, {"part": "held_out", "one_in": 3, "without": ["*7.png"]})
        parts.append([record["image_id"] for record in load_dataset(cfg, f"held_{number}")])
    assert parts[0] == parts[1] and 3 < len(parts[0]) < 25
    assert is_held_out("x.tar!sub/a.png") == is_held_out("a.png")


def test_back_to_yolo_and_to_other_shards(tmp_path, kind):
    _, folder, _, images = pack(tmp_path, toy_content(3), kind)
    write_yolo([CocoSplit("val", f"{folder}/train.json", folder)], str(tmp_path / "yolo"))
    again = write_shards([ShardSplit("train", f"{folder}/train-*.{kind}", "")], str(tmp_path / "again"))
    assert "3 images, 3 people in 1 shard" in again[0]
    with open(f"{images}/002.png", "rb") as file:
        content = file.read()
    assert (tmp_path / "yolo/images/val/002.png").read_bytes() == content
    with tarfile.open(tmp_path / "again/train-00000.tar") as archive:
        assert archive.extractfile("002.png").read() == content
    # And from YOLO-pose, whose data.yaml says where its images are.
    rle_onestage(["convert-dataset", "--input", f"{tmp_path}/yolo/data.yaml:val", "--shards", kind, "--output",
                  str(tmp_path / "from_yolo")])  # fmt: skip
    assert len(read_json(f"{tmp_path}/from_yolo/val.json")["annotations"]) == 3


# -------------------------------------------------------------------- faults


def load(labels, images="", name="faulty"):
    return load_dataset(config(name, labels, images), name)


def test_a_shard_that_is_gone_cut_or_of_other_images(tmp_path):
    _, folder, _, _ = pack(tmp_path, toy_content(6), size=2**30)
    shard = f"{folder}/train-00000.tar"
    load(f"{folder}/train.json", folder, "sound")
    with open(shard, "r+b") as file:
        file.truncate(os.path.getsize(shard) // 2)
    with pytest.raises(DataError, match=r"train-00000\.tar is (damaged or )?cut short"):
        load(f"{folder}/train.json", folder)
    with pytest.raises(DataError, match=r"train-00000\.tar is (damaged or )?cut short"):
        load(f"{folder}/train-*.tar", "", "faulty_shards")
    with tarfile.open(shard, "w") as archive:
        archive.addfile(tarfile.TarInfo("000.png"))
    with pytest.raises(DataError, match=r"5 images are not in the shard .* the first is .*train-00000\.tar!001\.png"):
        load(f"{folder}/train.json", folder)
    os.remove(shard)
    with pytest.raises(DataError, match="cannot be read"):
        load(f"{folder}/train.json", folder)
    with pytest.raises(DataError, match=r"there is no annotation file .*train-\*\.tar"):
        load(f"{folder}/train-*.tar", "", "faulty_shards")


@pytest.mark.parametrize(
    "members, words",
    [
        ({"a.jpg": b"1"}, "no labels .json for a.jpg"),
        ({"a.jpg": b"1", "a.json": b"{"}, "labels of a.json that are not valid JSON"),
        ({"a.jpg": b"1", "a.json": b'{"caption": "a dog"}'}, "no dictionary with `annotations`"),
        ({"a.jpg": b"1", "a.json": b'{"annotations": [3]}'}, "no dictionary with `annotations`"),
        ({"a.jpg": b"1", "a.json": b'{"annotations": []}'}, "no shard of .* has `categories`"),
        ({"a.jpg": b"1", "a.png": b"1", "a.json": b'{"annotations": []}'}, "a.jpg and a.png, two of a kind"),
        ({"a.json": b'{"annotations": []}'}, "has no images"),
    ],
)
def test_labels_in_archives_that_cannot_be_used(tmp_path, members, words):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match=words):
        read_json(str(tmp_path / "*.tar"))


def test_parquet_files_of_others(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [b"1"], "caption": ["a dog"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column `annotations` of JSON text"):
        read_json(str(tmp_path / "x.parquet"))
    pq.write_table(pa.table({"pixels": [b"1"], "annotations": ["[]"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column `image`"):
        read_json(str(tmp_path / "x.parquet"))


def test_entries_with_shards_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="leave the third entry empty"):
        load(str(tmp_path / "x-*.tar"), str(tmp_path))


def test_packing_is_whole_or_not_at_all(tmp_path, kind, capsys):
    path, images = write_set(str(tmp_path), toy_content(4))
    os.remove(f"{images}/002.png")
    split = ShardSplit("train", path, images)
    with pytest.raises(DataError, match="002.png: it cannot be opened"):
        write_shards([split], str(tmp_path / "shards"), kind=kind)
    assert sorted(os.listdir(tmp_path)) == ["annotations.json", "images"]
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("")
    with pytest.raises(ConfigError, match="in use"):
        write_shards([split], str(tmp_path / "used"), kind=kind)
    (tmp_path / "file").write_text("")
    with pytest.raises((MediaError, ConfigError), match="cannot be written|below"):
        write_shards([split], str(tmp_path / "file" / "shards"), kind=kind)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--input", "train=x.json"], "--images is missing"),
        (["--input", "x.json", "--images", "."], "which split"),
        (["--input", "data.yaml:train", "--images", "."], "say themselves"),
        (["--input", "data.yaml:train", "--link"], "--link and --shards"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        rle_onestage(["convert-dataset", *arguments, "--shards", "tar", "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_unreadable_image_in_a_shard_is_skipped_and_named(tmp_path, caplog):
    content = toy_content(6)
    path, images = write_set(str(tmp_path), content)
    with open(f"{images}/003.png", "r+b") as file:
        file.truncate(50)
    write_shards([ShardSplit("train", path, images)], str(tmp_path / "shards"))
    folder = str(tmp_path / "shards")
    cfg = config("one_bad", f"{folder}/train.json", folder, INPUT__POSE__MAX_UNREADABLE=0.5)
    with caplog.at_level(logging.WARNING):
        batches(cfg, 3)
    assert "train-00000.tar!003.png" in caplog.text
    assert np.isfinite(batches(cfg, 1)[0][0]["image"].float().mean())
