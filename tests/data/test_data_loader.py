import itertools
import os

import numpy as np
import pytest
import torch
from data_toys import make_config, person, toy_config, toy_content

from rle_onestage.data import build_test_loader, build_train_loader
from rle_onestage.data.loader import _SharedCount
from rle_onestage.data.sampler import BatchOrder, TrainSampler
from rle_onestage.errors import ConfigError, DataError

AUGMENT = dict(
    INPUT__POSE__SIZE=48,
    INPUT__POSE__SCALE=[0.7, 1.3],
    INPUT__POSE__ROTATE=20.0,
    INPUT__POSE__BRIGHTNESS=0.2,
)


def as_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda: rank)
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: world_size)


def assert_same(first, second):
    assert [s["image_id"] for s in first] == [s["image_id"] for s in second]
    for a, b in zip(first, second):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["instances"].gt_keypoints.tensor, b["instances"].gt_keypoints.tensor)
        assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)


@pytest.mark.parametrize("keys", [AUGMENT, dict(INPUT__MIN_SIZE_TRAIN=(40, 50))], ids=["affine", "edge"])
def test_resumed_stream_is_the_uninterrupted_one(tmp_path, keys):
    cfg = toy_config(tmp_path, "stream_set", toy_content(10), **keys)
    whole = list(itertools.islice(build_train_loader(cfg), 9))
    for workers in (0, 1, 2):
        cfg.DATALOADER.NUM_WORKERS = workers
        loader = build_train_loader(cfg, start_iter=7)
        assert_same(whole[7], next(loader))
        assert_same(whole[8], next(loader))
    cfg.SEED = 2
    other = next(build_train_loader(cfg))
    assert any(not torch.equal(a["image"], b["image"]) for a, b in zip(whole[0], other))


def test_two_processes_share_the_stream_of_one(tmp_path, monkeypatch):
    cfg = toy_config(tmp_path, "ranks_set", toy_content(10), **AUGMENT)
    whole = list(itertools.islice(build_train_loader(cfg, start_iter=3), 3))
    halves = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        halves.append(list(itertools.islice(build_train_loader(cfg, start_iter=3), 3)))
    for one, left, right in zip(whole, *halves):
        assert len(left) == len(right) == 2
        assert_same(one, left + right)
    thirds = []  # 1, 1 and 2 of the 4 images
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        thirds.append(next(build_train_loader(cfg, start_iter=3)))
    assert [len(part) for part in thirds] == [1, 1, 2]
    assert_same(whole[0], sum(thirds, []))
    as_rank(monkeypatch, 0, 5)
    with pytest.raises(ConfigError, match="fewer images than the 5 processes"):
        build_train_loader(cfg)


def test_every_epoch_shows_every_image_once():
    order = BatchOrder(10, 4, seed=3)
    stream = np.concatenate([order(i) for i in range(10)])
    for epoch in range(4):
        assert sorted(stream[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert (stream[:10] != stream[10:20]).any()
    np.testing.assert_array_equal(BatchOrder(10, 4, seed=3)(7), stream[28:32])
    # A batch larger than the set
    assert sorted(np.concatenate([BatchOrder(3, 8, seed=0)(i) for i in range(3)])) == sorted(list(range(3)) * 8)


def test_groups_stay_together_as_far_as_possible():
    groups = np.arange(22) % 3 == 0  # 8 and 14 of them
    order = BatchOrder(22, 4, seed=1, groups=groups)
    for epoch in range(3):
        batches = [order(5 * epoch + i) for i in range(5)]
        seen = np.concatenate(batches)
        assert len(seen) == len(set(seen)) == 20
        assert sum(len(set(groups[b])) > 1 for b in batches) <= 1
    np.testing.assert_array_equal(BatchOrder(22, 4, seed=1, groups=groups)(13), order(13))


def test_sampler_names_iteration_slot_and_index():
    order = BatchOrder(10, 4, seed=3)
    draws = next(iter(TrainSampler(order, start_iter=5, rank=1, world_size=2)))
    assert [d[:2] for d in draws] == [(5, 2), (5, 3)]
    assert [d.image for d in draws] == order(5)[2:].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_skipped_counted_and_reported(tmp_path, workers):
    cfg = toy_config(tmp_path, f"holes_set_{workers}", toy_content(10), **AUGMENT, INPUT__POSE__MAX_UNREADABLE=0.25)
    cfg.DATALOADER.NUM_WORKERS = workers
    folder = tmp_path / "images"
    os.remove(folder / "003.png")
    whole = (folder / "004.png").read_bytes()
    (folder / "004.png").write_bytes(whole[:-500])
    loader = build_train_loader(cfg)
    batches = list(itertools.islice(loader, 8))
    assert all(len(batch) == 4 for batch in batches)
    assert {s["image_id"] for batch in batches for s in batch} == {0, 1, 2, 5, 6, 7, 8, 9}
    assert all("unreadable" not in s for batch in batches for s in batch)
    (names,) = loader.report().values()
    assert (
        len(names) == 2 and any("003.png" in n for n in names) and any("004.png" in n and "trunc" in n for n in names)
    )
    assert loader.report_lines()[0].startswith("2 unreadable images skipped: ")
    os.remove(folder / "005.png")
    with pytest.raises(DataError, match=r"3 of 10 training images .* INPUT.POSE.MAX_UNREADABLE \(0.25\)"):
        list(itertools.islice(build_train_loader(cfg), 20))


def test_unreadable_images_are_counted_over_all_processes(tmp_path, monkeypatch):
    """Two processes: each of the two meets fewer than are allowed, and some both; the store is theirs together."""
    cfg = toy_config(tmp_path, "shared_holes", toy_content(10), **AUGMENT, INPUT__POSE__MAX_UNREADABLE=0.35)
    store = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    as_rank(monkeypatch, 0, 2)
    monkeypatch.setattr(_SharedCount, "_made", 5)
    first = build_train_loader(cfg)
    monkeypatch.setattr(_SharedCount, "_made", 5)  # as in the other process
    second = build_train_loader(cfg)
    for name in ("a", "b", "b"):
        first._count_unreadable(name, "gone")
    for name in ("b", "c"):
        second._count_unreadable(name, "gone")
    with pytest.raises(DataError, match="4 of 10 training images .* the last is d: gone"):
        second._count_unreadable("d", "gone")
    build_train_loader(cfg)._count_unreadable("a", "gone")  # another training of these processes counts anew


@pytest.mark.parametrize("workers", [0, 1])
def test_no_readable_image_at_all_is_one_sentence(tmp_path, workers):
    cfg = toy_config(tmp_path, "void_set", toy_content(5), **AUGMENT, INPUT__POSE__MAX_UNREADABLE=1.0)
    cfg.DATALOADER.NUM_WORKERS = workers
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="5 images in a row cannot be used, the first is .*png: it cannot be opened"):
        next(build_train_loader(cfg))
    with pytest.raises(DataError, match="image .*000.png cannot be used"):
        list(build_test_loader(cfg, "void_set"))


def test_left_out_annotations_are_in_the_report(tmp_path):
    content = toy_content(6)
    content["annotations"].append(person(55, 0, bbox=[500, 500, 5, 5]))
    report = build_train_loader(toy_config(tmp_path, "report_set", content, **AUGMENT)).report()
    assert report == {"annotations whose box is outside the image left out": [55]}


def test_empty_images_are_filtered_or_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    content = toy_content(6)
    content["annotations"] = [person(1, 0), person(2, 1, iscrowd=1), person(3, 2, keypoints=[0] * 51), person(4, 5)]
    cfg = toy_config(tmp_path, "filter_set", content, **AUGMENT)

    def ids():
        return {s["image_id"] for batch in itertools.islice(build_train_loader(cfg), 6) for s in batch}

    assert ids() == {0, 2, 5}
    left_out = "3 images without labelled people are left out, by DATALOADER.FILTER_EMPTY_ANNOTATIONS"
    assert "Training on 3 of 6 images" in caplog.text and left_out in caplog.text
    cfg.MODEL.KEYPOINT_ON = True
    assert ids() == {0, 5}
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    caplog.clear()
    assert ids() == {0, 1, 2, 3, 4, 5}
    assert "left out" not in caplog.text
    crowd = next(s for b in build_train_loader(cfg) for s in b if s["image_id"] == 1)
    assert len(crowd["instances"]) == 0 and len(crowd["ignore_boxes"]) == 1
    content["annotations"] = content["annotations"][1:2]
    with pytest.raises(DataError, match="nobody to learn from"):
        build_train_loader(toy_config(tmp_path, "filter_set", content))


def test_evaluation_sees_each_image_once(tmp_path, monkeypatch):
    cfg = toy_config(tmp_path, "once_set", toy_content(7), INPUT__POSE__SIZE=32)
    seen = []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        loader = build_test_loader(cfg, "once_set", batch_size=2)
        ids = [[s["image_id"] for s in batch] for batch in loader]
        assert [[s["image_id"] for s in batch] for batch in loader] == ids and len(loader) == len(ids)
        seen += sum(ids, [])
    assert seen == list(range(7))
    # More processes than images
    as_rank(monkeypatch, 0, 20)
    assert list(build_test_loader(cfg, "once_set")) == []


def test_negative_seed_is_drawn_and_named(tmp_path, caplog):
    cfg = toy_config(tmp_path, "seed_set", **AUGMENT)
    cfg.SEED = -1
    with caplog.at_level("WARNING", logger="rle_onestage"):
        build_train_loader(cfg)
    assert "a resumed run needs SEED" in caplog.text


def test_defaults_need_no_data():
    with pytest.raises(ConfigError):
        build_train_loader(make_config())
