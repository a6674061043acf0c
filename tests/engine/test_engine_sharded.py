"""A set in shards trains and evaluates as its twin in a folder, to the digit."""

import importlib.util

from test_engine_yolo import config, losses_and_trainer, write_twins

from rle_onestage.data.shards.writing import ShardSplit, write_shards


def test_losses_and_metrics_are_those_of_the_folder(tmp_path):
    files = [write_twins(tmp_path)[1]]
    _, labels, images = files[0]
    for kind in ("tar", "parquet") if importlib.util.find_spec("pyarrow") else ("tar",):
        folder = str(tmp_path / kind)
        write_shards([ShardSplit("all", labels, images)], folder, kind=kind, size=4000)
        beside = [f"{folder}/all.json", folder] if kind == "tar" else [f"{folder}/all-*.{kind}", ""]
        files.append([kind, *beside])
    found = {}
    for name, *_ in files:
        losses, trainer = losses_and_trainer(config(files, name, tmp_path / "out" / name))
        found[name] = losses, repr(trainer.results)
    assert len(found) == len(files) and "AP" in found["by_hand"][1]
    for name in found:
        assert found[name] == found["by_hand"], name
