"""Detectron2's augmentations on our samples: joints, boxes, areas and regions follow."""

import random

import cv2
import numpy as np
import pytest
import torch
from data_toys import make_config, person
from detectron2.data import transforms as T
from detectron2.structures import BoxMode

from rle_onestage.data import PoseMapper
from rle_onestage.data.randomness import drawn_from
from rle_onestage.data.transforms.stock import AUGMENTATION_REGISTRY, augmentation_entries, build_augmentations
from rle_onestage.engine import load_config
from rle_onestage.engine.config.validation import validate_training
from rle_onestage.errors import ConfigError
from rle_onestage.structures.skeleton import COCO

LEFT, RIGHT = 9, 10


def make_record(path, annotations, image):
    cv2.imwrite(str(path), image)
    annotations = [{**a, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0} for a in annotations]
    height, width = image.shape[:2]
    return {"file_name": str(path), "image_id": 4, "height": height, "width": width, "annotations": annotations}


def dotted(path):
    """A bright dot at the left wrist of one person, beside a crowd."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[58:63, 78:83] = 255  # centre (80.5, 60.5) from the corner of the first pixel
    joints = np.zeros((17, 3))
    joints[LEFT] = 80.5, 60.5, 2
    people = [
        person(1, 4, box=(60, 40, 40, 40), keypoints=joints.ravel().tolist(), area=1000.0),
        person(2, 4, box=(10, 20, 30, 60), iscrowd=1),
    ]
    return make_record(path, people, image)


def mapper_of(entries, **keys):
    cfg = make_config(INPUT__AUGMENTATIONS=entries, INPUT__MIN_SIZE_TRAIN=(0,), INPUT__RANDOM_FLIP="none", **keys)
    return PoseMapper(cfg, True, skeleton=COCO)


@pytest.mark.parametrize(
    "entries, mirrors",
    [
        (["RandomFlip"], {False, True}),
        ([["RandomFlip", {"horizontal": False, "vertical": True}]], {False, True}),
        ([["RandomRotation", {"angle": [-30, 30]}]], {False}),
        ([["RandomRotation", {"angle": [-30, 30]}], "RandomFlip"], {False, True}),
        ([["RandomCrop", {"crop_type": "relative", "crop_size": [0.9, 0.9]}]], {False}),
        ([["Resize", {"shape": [90, 200]}]], {False}),
        ([["RandomExtent", {"scale_range": [0.8, 1.2], "shift_range": [0.1, 0.1]}]], {False}),
        ([["RandomBrightness", {"intensity_min": 0.5, "intensity_max": 0.9}]], {False}),
    ],
    ids=["flip", "vertical", "rotate", "rotate_flip", "crop", "resize", "extent", "brightness"],
)
def test_joints_and_boxes_are_where_their_pixels_are(tmp_path, entries, mirrors):
    record, mapper = dotted(tmp_path / "a.png"), mapper_of(entries)
    seen = set()
    for seed in range(10):
        sample = mapper(record, np.random.default_rng(seed))
        instances, weight = sample["instances"], sample["image"][0].double().numpy()
        assert weight.shape == instances.image_size and len(instances) == 1
        keypoints = instances.gt_keypoints.tensor[0].numpy()
        (joint,) = np.flatnonzero(keypoints[:, 2])
        seen.add(bool(joint == RIGHT))
        yy, xx = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
        found = np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()
        assert np.abs(found - keypoints[joint, :2]).max() < 0.8
        x0, y0, x1, y1 = instances.gt_boxes.tensor[0].tolist()
        # The dot is the centre of the box.
        assert np.abs(found - [(x0 + x1) / 2, (y0 + y1) / 2]).max() < 0.8
        known = instances.gt_known[0].numpy()
        assert known.all()
    assert seen == mirrors


def test_a_flip_is_exact_and_regions_follow(tmp_path):
    mapper = mapper_of([["RandomFlip", {"prob": 1.0}]])
    sample = mapper(dotted(tmp_path / "a.png"), np.random.default_rng(0))
    assert sample["instances"].gt_boxes.tensor[0].tolist() == pytest.approx([60, 40, 100, 80], abs=1e-4)
    assert sample["instances"].gt_area.item() == pytest.approx(1000.0)
    assert sample["ignore_boxes"].tensor[0].tolist() == pytest.approx([120, 20, 150, 80], abs=1e-4)


def test_areas_follow_scale_and_what_leaves_the_image(tmp_path):
    record = dotted(tmp_path / "a.png")
    grown = mapper_of([["Resize", {"shape": [240, 320]}]])(record, np.random.default_rng(0))
    assert grown["instances"].gt_area.item() == pytest.approx(4000.0)
    assert grown["instances"].gt_boxes.tensor[0].tolist() == pytest.approx([120, 80, 200, 160], abs=1e-3)
    assert (grown["height"], grown["width"]) == (120, 160)  # of the original, as in Detectron2

    class Left(T.Augmentation):
        """Keeps the left of the image."""

        def __init__(self, width):
            super().__init__()
            self.width = width

        def get_transform(self, image):
            return T.CropTransform(0, 0, self.width, image.shape[0])

    cfg = make_config(INPUT__MIN_SIZE_TRAIN=(0,), INPUT__RANDOM_FLIP="none")
    mapper = PoseMapper(cfg, True, skeleton=COCO, augmentations=[Left(70)])
    cut = mapper(record, np.random.default_rng(0))
    assert cut["instances"].gt_area.item() == pytest.approx(250.0)
    assert cut["instances"].gt_boxes.tensor[0].tolist() == pytest.approx([60, 40, 70, 80], abs=1e-4)
    assert (cut["instances"].gt_keypoints.tensor == 0).all()
    sliver = PoseMapper(cfg, True, skeleton=COCO, augmentations=[Left(64)])(record, np.random.default_rng(0))
    assert len(sliver["instances"]) == 0 and [60, 40, 64, 80] in sliver["ignore_boxes"].tensor.round().tolist()


def test_a_turned_box_is_that_of_the_ellipse(tmp_path):
    mapper = mapper_of([["RandomRotation", {"angle": [45, 45]}]])
    sample = mapper(dotted(tmp_path / "a.png"), np.random.default_rng(0))
    sides = sample["instances"].gt_boxes.tensor[0].reshape(2, 2).diff(dim=0)[0]
    # The circle in a square of 40 stays one of 40; its corners would reach to 57.
    assert sides.tolist() == pytest.approx([40.0, 40.0], abs=0.1)
    assert sample["instances"].gt_area.item() == pytest.approx(1000.0, rel=0.01)


def test_images_without_people_and_mosaics(tmp_path):
    empty = make_record(tmp_path / "b.png", [], np.zeros((50, 60, 3), np.uint8))
    mapper = mapper_of([["RandomRotation", {"angle": [-30, 30]}], "RandomFlip"], INPUT__POSE__SIZE=64)
    assert len(mapper(empty, np.random.default_rng(0))["instances"]) == 0
    record = dotted(tmp_path / "a.png")
    sample = mapper(record, np.random.default_rng(0), [record, empty, record])
    assert len(sample["instances"]) > 0 and min(sample["image"].shape[1:]) > 64  # a turned canvas is larger
    assert (sample["height"], sample["width"]) == (64, 64)


def test_choices_come_from_the_generator_alone(tmp_path):
    record, mapper = dotted(tmp_path / "a.png"), mapper_of([["RandomRotation", {"angle": [-30, 30]}]])
    np.random.seed(1)
    once = mapper(record, np.random.default_rng(5))
    np.random.seed(2)
    before = np.random.get_state()[1].copy()
    twice = mapper(record, np.random.default_rng(5))
    assert torch.equal(once["image"], twice["image"])
    assert (np.random.get_state()[1] == before).all()
    assert not torch.equal(once["image"], mapper(record, np.random.default_rng(6))["image"])


def test_generators_go_on_as_if_nothing_had_been_drawn():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    drawn = []
    for _ in range(2):
        with drawn_from(np.random.default_rng(7)):
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1] != expected
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


@pytest.mark.parametrize(
    "entries, words",
    [
        (["RandomFlp"], "names 'RandomFlp'; did you mean RandomFlip[?] it is none of .*RandomCrop.*; register"),
        ([["RandomRotation", {"angel": 3}]], "RandomRotation has no option 'angel'; did you mean angle[?] its options"),
        (["RandomRotation"], "RandomRotation needs the option angle; give .RandomRotation, {angle: ...}"),
        ([["RandomContrast", {"intensity_min": 1}]], "RandomContrast needs the option intensity_max; "),
        ([["RandomCrop", {"crop_type": "round", "crop_size": [1, 1]}]], "RandomCrop cannot be made"),
        ([["RandomFlip", {"prob": 1.0}, 3]], "INPUT.AUGMENTATIONS has"),
        ("RandomFlip", "give a list, such as"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(entries, words):
    with pytest.raises(ConfigError, match=words):
        build_augmentations(entries)


def test_names_and_options_are_checked_with_the_rest_of_the_config():
    """Before a model or a loader is built."""
    for entry, words in (("RandomFlp", "mean RandomFlip"), (["RandomFlip", {"probe": 1}], "no option 'probe'")):
        with pytest.raises(ConfigError, match=f"options given: INPUT.AUGMENTATIONS.*{words}"):
            load_config("", ["INPUT.AUGMENTATIONS", [entry]])


def test_values_are_checked_before_a_training_builds_anything():
    cfg = load_config("", ["INPUT.AUGMENTATIONS", [["RandomFlip", {"horizontal": True, "vertical": True}]]])
    with pytest.raises(ConfigError, match="RandomFlip cannot be made with"):
        validate_training(cfg)


def test_an_augmentation_may_take_any_options():
    class Anything(T.Augmentation):
        def __init__(self, strength, **more):
            self.strength, self.more = strength, more

    AUGMENTATION_REGISTRY.register(Anything)
    try:
        assert build_augmentations([["Anything", {"strength": 1, "colour": 2}]])[0].more == {"colour": 2}
        with pytest.raises(ConfigError, match="Anything needs the option strength; "):
            augmentation_entries([["Anything", {"colour": 2}]])
    finally:
        del AUGMENTATION_REGISTRY._obj_map["Anything"]


def test_entries_stay_as_they_are():
    entries = ["RandomFlip", ["RandomRotation", {"angle": [-10, 10]}]]
    assert augmentation_entries(entries) == entries
    assert [type(a) for a in build_augmentations(entries)] == [T.RandomFlip, T.RandomRotation]


@pytest.mark.parametrize(
    "entry",
    [
        ["RandomRotation", {"angle": "x"}],
        ["RandomBrightness", {"intensity_min": "dark", "intensity_max": 1}],
        ["RandomCrop", {"crop_type": "relative", "crop_size": "x"}],
    ],
    ids=lambda entry: entry[0],
)
def test_what_fails_in_use_alone_is_said_before_the_training(entry):
    state = np.random.get_state()[1].copy()
    with pytest.raises(ConfigError, match=f"{entry[0]} does not work with .*; correct its options, or leave it out"):
        build_augmentations([entry])
    assert (np.random.get_state()[1] == state).all()
