"""Training on several sets that disagree: joints by name, what is unknown, how often and how much each counts."""

import itertools
import logging

import numpy as np
import pytest
import torch
from data_toys import make_config, person, toy_content, write_set
from detectron2.data import DatasetCatalog, MetadataCatalog
from set_toys import LIMBS, limbs_content, with_polygons

from rle_onestage.data import build_train_loader, load_dataset, load_training_records
from rle_onestage.data.labels import SetOptions, in_part, is_held_out, make_rules, set_weights
from rle_onestage.data.lookup import model_skeleton
from rle_onestage.data.sampler import BatchOrder
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation.coco import PoseEvaluator
from rle_onestage.evaluation.ground_truth import GroundTruth, ground_truth_as_predictions
from rle_onestage.structures.skeleton import COCO, map_joints, near_joints


def two_sets(root, *, options=None, weights=(), names=("sets_coco", "sets_limbs"), content=None, **keys):
    """A config that trains on a set of COCO's joints and on one of four joints."""
    files = []
    for name, made in zip(names, (toy_content(6), content or limbs_content())):
        path, folder = write_set(str(root / name), made)
        files.append([name, path, folder])
    files[1].append(options or {})
    return make_config(
        DATASETS__KEYPOINT_FILES=files,
        DATASETS__TRAIN=names,
        DATASETS__TEST=(),
        DATASETS__TRAIN_WEIGHTS=list(weights),
        INPUT__POSE__SIZE=96,
        INPUT__POSE__AFFINE_PROB=0.0,
        **keys,
    )


def samples_of(cfg, count=12):
    batches = itertools.islice(build_train_loader(cfg), count)
    return [sample for batch in batches for sample in batch]


def test_joints_are_mapped_by_name_and_synonym():
    assert map_joints(LIMBS, ["left_wrist", "nose", "left_ankle", "right_wrist"]) == [1, -1, 3, 2]
    assert map_joints(["RSho", "l_elb", "headTop"], ["right_shoulder", "left_elbow", "head_top"]) == [0, 1, 2]
    assert map_joints(COCO.names, COCO.names) == list(range(17))


def test_joints_that_are_called_otherwise_are_guessed():
    own = ["head", "left_hand", "RFoot", "left_ankle", "left_heel", "left_knee_cap", "tail"]
    # The left ankle has come over already, so that the heel is not it.
    guesses = {"left_hand": "left_wrist", "RFoot": "right_ankle", "left_knee_cap": "left_knee"}
    assert near_joints(COCO.names, own) == guesses
    assert near_joints(["head_top", "left_wrist"], ["head", "left_hand", "left_palm"]) == {
        "head": "head_top",
        "left_hand": "left_wrist",
    }


def test_another_set_teaches_its_own_joints_and_nothing_of_the_others(tmp_path):
    cfg = two_sets(tmp_path, weights=[0, 1], INPUT__RANDOM_FLIP="none")
    sample = samples_of(cfg, 1)[0]
    people = sample["instances"]
    labelled = people.gt_keypoints.tensor[0, :, 2] > 0
    assert labelled.nonzero()[:, 0].tolist() == [9, 10]  # the wrists; the ankle has no label, the neck is not COCO's
    # 80 x 60 pixels on a canvas of 96; keypoints are moved by half a pixel when they are read.
    scale = 96 / 80
    np.testing.assert_allclose(people.gt_keypoints.tensor[0, 9, :2], [22.5 * scale, 23.5 * scale], rtol=1e-5)
    assert people.gt_known[0].nonzero()[:, 0].tolist() == [9, 10, 15]
    region = sample["regions"][0]
    assert region[:6].tolist() == [0, 0, 96, 96, 1, 0]
    assert region[6:].nonzero()[:, 0].tolist() == [9, 10, 15]


def test_known_joints_swap_sides_in_a_mirror(tmp_path):
    cfg = two_sets(tmp_path, weights=[0, 1], INPUT__POSE__FLIP_PROB=1.0)
    people = samples_of(cfg, 1)[0]["instances"]
    assert people.gt_known[0].nonzero()[:, 0].tolist() == [9, 10, 16]


def test_a_silent_teacher_says_nothing_of_unlabelled_joints(tmp_path):
    cfg = two_sets(
        tmp_path, options={"unlabelled": "unknown", "area": "box", "weight_by": "score", "partial": True},
        weights=[0, [1, 0.5]], content=limbs_content(score=0.25), INPUT__RANDOM_FLIP="none",
    )  # fmt: skip
    sample = samples_of(cfg, 1)[0]
    people = sample["instances"]
    assert people.gt_known[0].nonzero()[:, 0].tolist() == [9, 10]
    assert not people.gt_area_known.any() and people.gt_weight.tolist() == [0.125]
    assert sample["regions"][0, 4:6].tolist() == [0.5, 1]


def test_a_joint_that_leaves_the_canvas_is_known_to_be_gone(tmp_path):
    cfg = two_sets(tmp_path, options={"unlabelled": "unknown"}, weights=[0, 1], INPUT__POSE__TRANSLATE=0.5)
    cfg.INPUT.POSE.AFFINE_PROB = 1.0
    lost = 0
    for sample in samples_of(cfg, 8):
        for keypoints, known in zip(sample["instances"].gt_keypoints.tensor, sample["instances"].gt_known):
            assert known.sum() == 2
            lost += int((known & (keypoints[:, 2] == 0)).sum())
    assert lost > 0


def test_areas_from_boxes_are_marked(tmp_path):
    content = toy_content(4)
    content["annotations"][0].pop("area")
    content["annotations"][1]["area_source"] = "box*0.53"
    path, folder = write_set(str(tmp_path), content)
    cfg = make_config(DATASETS__KEYPOINT_FILES=[["sets_areas", path, folder]], DATASETS__TRAIN=("sets_areas",))
    known = {s["image_id"]: bool(s["instances"].gt_area_known[0]) for s in samples_of(cfg, 2)}
    assert known == {0: False, 1: False, 2: True, 3: True}


def test_images_come_as_often_as_asked():
    order = BatchOrder(30, 10, seed=3, often=np.repeat([2.0, 0.5, 1.0], 10))
    assert order.size == 35
    stream = np.concatenate([order(i) for i in range(14)])
    for epoch in stream.reshape(4, 35):
        counts = np.bincount(epoch, minlength=30)
        assert (counts[:10] == 2).all() and sorted(counts[10:20]) == [0] * 5 + [1] * 5 and (counts[20:] == 1).all()
    np.testing.assert_array_equal(BatchOrder(30, 10, seed=3, often=np.repeat([2.0, 0.5, 1.0], 10))(9), order(9))
    picked = np.bincount(order.pick(np.random.default_rng(0), 35000), minlength=30)
    np.testing.assert_allclose(picked.reshape(3, 10).sum(1), [20000, 5000, 10000], rtol=0.05)
    rare = BatchOrder(24, 4, seed=3, often=np.repeat([1.0, 0.01], [4, 20]))
    assert rare.size == 5 and (np.concatenate([rare(i) for i in range(5)]) >= 4).sum() == 4
    # Weights of 1 are no weights: the stream of a run from before there were any.
    np.testing.assert_array_equal(BatchOrder(9, 4, seed=1, often=np.ones(9))(5), BatchOrder(9, 4, seed=1)(5))


def test_a_set_of_weight_zero_is_not_trained_on(tmp_path):
    training = load_training_records(two_sets(tmp_path, weights=[1, 0]))
    assert len(training.records) == 6 and {record["dataset_name"] for record in training.records} == {"sets_coco"}


@pytest.mark.parametrize("workers", [0, 2])
def test_mosaics_across_sets_resume_exactly(tmp_path, workers):
    cfg = two_sets(tmp_path, options={"partial": True}, weights=[2, 1.5], INPUT__POSE__MOSAIC_PROB=1.0)
    whole = list(itertools.islice(build_train_loader(cfg), 6))
    cfg.DATALOADER.NUM_WORKERS = workers
    for one, other in zip(whole[4], next(build_train_loader(cfg, start_iter=4))):
        assert torch.equal(one["image"], other["image"]) and torch.equal(
            one.get("regions", torch.zeros(0)), other.get("regions", torch.zeros(0))
        )
        for name, value in one["instances"].get_fields().items():
            again = other["instances"].get(name)
            assert torch.equal(getattr(value, "tensor", value), getattr(again, "tensor", again)), name


def test_the_log_says_what_there_is(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "rle_onestage"):
        load_training_records(two_sets(tmp_path, weights=[1, [3, 0.5]], names=("sets_said_a", "sets_said_b")))
    assert "sets_said_b: joints that it does not have" in caplog.text and "model does not have: neck" in caplog.text
    row = next(line for line in caplog.text.splitlines() if line.startswith("| sets_said_b"))
    assert row.split("|")[-2].strip() == "66.7 %" and "4 of 4" in row


def test_a_tenth_is_held_out_by_file_name(tmp_path):
    names = [f"{i:05d}.jpg" for i in range(2000)]
    held = [name for name in names if is_held_out(name)]
    assert 160 < len(held) < 240
    assert all(is_held_out("other/folder/" + name) for name in held)
    train, rest = (SetOptions(part=part, one_in=4) for part in ("train", "held_out"))
    assert all(in_part(name, train) != in_part(name, rest) and in_part(name, SetOptions()) for name in names)
    without = SetOptions.parse("x", {"without": ["00007.jpg"]})
    assert [name for name in names if not in_part("folder/" + name, without)] == ["00007.jpg"]
    only = SetOptions.parse("x", {"only": ["0001?.jpg", "00007.jpg"], "without": ["00013.jpg"]})
    assert [n for n in names if in_part(n, only)] == ["00007.jpg", *(f"0001{i}.jpg" for i in range(10) if i != 3)]
    assert 430 < sum(in_part(name, rest) for name in names) < 570
    of_folder = SetOptions.parse("x", {"only": ["day_?/*"], "without": ["day_2/*.png"]})
    paths = ["day_1/a.jpg", "data/day_2/a.jpg", "data/day_2/a.png", "day_1/camera/a.jpg", "data/a.jpg", "a.jpg"]
    assert [path for path in paths if in_part(path, of_folder)] == paths[:2]
    path, folder = write_set(str(tmp_path), toy_content(30))
    files = [[f"sets_part_{part}", path, folder, {"part": part}] for part in ("train", "held_out")]
    names = (files[0][0],), (files[1][0],)
    cfg = make_config(DATASETS__KEYPOINT_FILES=files, DATASETS__TRAIN=names[0], DATASETS__TEST=names[1])
    records = load_training_records(cfg).records
    assert 0 < len(records) < 30 and not any(is_held_out(record["file_name"]) for record in records)


def test_bad_input_is_one_sentence(tmp_path):
    for options, pattern in (
        ({"partly": True}, "have 'partly'; did you mean part\\? there are unlabelled, partial"),
        ({"prt": "train"}, "have 'prt'; did you mean part\\? there are"),
        ({"size": 3}, "have 'size'; there are"),
        ({"unlabelled": "maybe"}, "unlabelled is 'maybe'; choose one of absent, unknown"),
        ({"partial": 1}, "partial must be True or False"),
        ({"weight_by": 3}, "weight_by must be text"),
        ({"one_in": 1}, "one_in must be a whole number of 2 or more"),
        ({"without": "a.jpg"}, "without must be a list of file names"),
        (["partial"], "must be a dictionary"),
    ):
        with pytest.raises(ConfigError, match=pattern):
            SetOptions.parse("x", options)
    for weights, pattern in (
        ([1], "has 1 entries for the 2 sets"), ([1, -1], "entry of 'b' is -1"), ([0, [1, 0]], "no set is ever trained"),
        ([1, float("nan")], "entry of 'b' is nan"), (["2", 1], "entry of 'a' is '2'"), ([1, [1, 2, 3]], "entry of 'b'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=pattern):
            set_weights(["a", "b"], weights)
    with pytest.raises(ConfigError, match="'x' has none of the model's joints: it has chin, tail"):
        make_rules("x", ["chin", "tail"], COCO.names, SetOptions(), 1.0)
    with pytest.raises(DataError, match="has `score` None; .* number from 0 to 1"):
        build_train_loader(two_sets(tmp_path, options={"weight_by": "score"}, names=("sets_bad_a", "sets_bad_b")))


def test_depth_of_labels_without_any_is_an_error(tmp_path):
    cfg = two_sets(tmp_path, names=("sets_flat_a", "sets_flat_b"), MODEL__RLE_ONESTAGE__DEPTH__ENABLED=True)
    with pytest.raises(DataError, match="nobody has usable `keypoints_3d` in data set 'sets_flat_a' .*'sets_flat_b'"):
        load_training_records(cfg)


def test_an_image_may_not_be_trained_on_and_tested_on(tmp_path):
    cfg = two_sets(tmp_path, names=("sets_apart_a", "sets_apart_b"))
    path, _ = write_set(str(tmp_path / "test"), toy_content(2))
    folder = str(tmp_path / "sets_apart_a" / "images")
    cfg.DATASETS.KEYPOINT_FILES = cfg.DATASETS.KEYPOINT_FILES + [["sets_apart_test", path, folder]]
    cfg.DATASETS.TEST = ("sets_apart_test",)
    with pytest.raises(DataError, match="2 images of the test set 'sets_apart_test' are in DATASETS.TRAIN too"):
        build_train_loader(cfg)


def test_one_set_under_two_names_is_trained_on_and_tested_on_with_a_warning(tmp_path, caplog):
    cfg = two_sets(tmp_path, names=("sets_one_a", "sets_one_b"))
    first = cfg.DATASETS.KEYPOINT_FILES[0]
    cfg.DATASETS.KEYPOINT_FILES = cfg.DATASETS.KEYPOINT_FILES + [
        ["sets_one_again", *first[1:]], ["sets_one_part", *first[1:], {"without": ["000.png"]}],
    ]  # fmt: skip
    cfg.DATASETS.TEST = ("sets_one_again",)
    with caplog.at_level(logging.WARNING):
        build_train_loader(cfg)
    assert "Data set sets_one_again is trained on and tested on" in caplog.text
    cfg.DATASETS.TEST = ("sets_one_part",)  # a part of the file is no set named twice: it was meant to be apart
    with pytest.raises(DataError, match="5 images of the test set 'sets_one_part' are in DATASETS.TRAIN too"):
        build_train_loader(cfg)


def test_people_without_any_label_leave_presence_open(tmp_path):
    content = toy_content(2)
    content["annotations"] = [person(1, 0, keypoints=[0] * 51), person(2, 1)]
    path, folder = write_set(str(tmp_path), content)
    cfg = make_config(DATASETS__KEYPOINT_FILES=[["sets_open", path, folder]], DATASETS__TRAIN=("sets_open",))
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    known = {s["image_id"]: int(s["instances"].gt_known.sum()) for s in samples_of(cfg, 1)}
    assert known == {0: 0, 1: 17}


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_pasted_people_come_with_all_that_is_known_of_them(tmp_path, mosaic):
    paths = [
        write_set(str(tmp_path / name), content)
        for name, content in (("a", with_polygons(toy_content(4))), ("b", limbs_content(score=1.0)))
    ]
    cfg = make_config(
        DATASETS__KEYPOINT_FILES=[["sets_paste_a", *paths[0]], ["sets_paste_b", *paths[1], {"unlabelled": "unknown"}]],
        DATASETS__TRAIN=("sets_paste_a", "sets_paste_b"), DATASETS__TRAIN_WEIGHTS=[[1, 0.5], 3], DATASETS__TEST=(),
        INPUT__POSE__SIZE=128, INPUT__POSE__COPY_PASTE_PROB=1.0, INPUT__POSE__MOSAIC_PROB=mosaic,
        INPUT__POSE__ERASE_PROB=0.3, SOLVER__MAX_ITER=100,
    )  # fmt: skip
    cfg.INPUT.POSE.DEGRADE.NOISE = 0.5
    first, again = samples_of(cfg, 3), samples_of(cfg, 3)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again))
    pasted = [(people.gt_weight == 0.5) & people.gt_known.all(1) for people in (s["instances"] for s in first)]
    assert sum(int(rows.sum()) for rows in pasted) >= 12
    for sample in first:
        people = sample["instances"]
        assert len({len(getattr(value, "tensor", value)) for value in people.get_fields().values()}) == 1
        labelled = people.gt_keypoints.tensor[..., 2] > 0
        assert not (labelled & ~people.gt_known).any()
    cfg.DATASETS.TRAIN_WEIGHTS = [0, 1]
    with pytest.raises(ConfigError, match="COPY_PASTE_PROB is above 0, but no training set"):
        build_train_loader(cfg)


def test_a_part_is_scored_against_the_labels_of_its_own_images(tmp_path):
    path, folder = write_set(str(tmp_path), toy_content(30))
    names = [f"sets_scored_{part}" for part in ("train", "held_out")]
    files = [[name, path, folder, {"part": part}] for name, part in zip(names, ("train", "held_out"))]
    cfg = make_config(DATASETS__KEYPOINT_FILES=files, DATASETS__TRAIN=(names[0],), DATASETS__TEST=(names[1],))
    model_skeleton(cfg)
    whole = [GroundTruth.of_dataset(name, 17) for name in names]
    assert [len(truth.annotations) for truth in whole] == [len(truth.images) for truth in whole]
    assert sum(len(truth.images) for truth in whole) == 30 and 0 < len(whole[1].images) < 15
    both, ids = GroundTruth.merged([*whole, whole[1]])
    assert len(both.images) == 30 + len(whole[1].images) == len({a["id"] for a in both.annotations})
    evaluator = PoseEvaluator(names[1], oks_sigmas=COCO.oks_sigmas)
    for result in ground_truth_as_predictions(whole[1]):
        evaluator._image_ids.append(result["image_id"])
        evaluator._results.append(result)
    assert evaluator.evaluate()["keypoints"]["AP"] == pytest.approx(100)


def test_a_pattern_without_an_image_is_an_error(tmp_path):
    path, folder = write_set(str(tmp_path), toy_content(4))
    files = [["sets_idle", path, folder, {"without": ["000.png", "0O1.png"]}]]
    cfg = make_config(DATASETS__KEYPOINT_FILES=files, DATASETS__TRAIN=("sets_idle",), DATASETS__TEST=())
    with pytest.raises(ConfigError, match=r"names 0O1.png, but .* has no such image; .*such as 000.png\)"):
        load_training_records(cfg)


def test_a_test_set_of_other_joints_is_an_error(tmp_path):
    """Also where their number is the same: two wrists exchanged would be scored without a word."""
    content = toy_content(3)
    names = content["categories"][0]["keypoints"]
    names[9], names[10] = names[10], names[9]
    files = [["sets_order_train", *write_set(str(tmp_path / "a"), toy_content(3))]]
    files.append(["sets_order_test", *write_set(str(tmp_path / "b"), content)])
    cfg = make_config(DATASETS__KEYPOINT_FILES=files, DATASETS__TRAIN=("sets_order_train",))
    cfg.DATASETS.TEST = ("sets_order_test",)
    with pytest.raises(DataError, match="the test set 'sets_order_test' has the joints .* same order"):
        load_training_records(cfg)


def test_records_of_the_catalog_are_left_as_they_are(tmp_path):
    """Two names over one list of dictionaries keep rules of their own."""
    cfg = two_sets(tmp_path, names=("sets_list_a", "sets_list_b"))
    shared = load_dataset(cfg, "sets_list_a")
    for name in ("sets_shared_1", "sets_shared_2"):
        if name not in DatasetCatalog.list():
            DatasetCatalog.register(name, lambda: shared)
            MetadataCatalog.get(name).set(keypoint_names=list(COCO.names), keypoint_flip_map=COCO.flip_map)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TRAIN_WEIGHTS = ("sets_shared_1", "sets_shared_2"), [1, [1, 0.5]]
    training = load_training_records(cfg)
    assert [record["dataset_name"] for record in training.records] == ["sets_shared_1"] * 6 + ["sets_shared_2"] * 6
    assert {record["dataset_name"] for record in shared} == {"sets_list_a"}
