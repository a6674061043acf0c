"""Mosaics: every joint lies on its pixel, people of all parts are there, and nothing depends on what failed before."""

import cv2
import numpy as np
import pytest
from data_toys import make_config, person
from detectron2.structures import BoxMode

from rle_onestage.data import PoseMapper
from rle_onestage.data.loader import TrainDataset
from rle_onestage.data.sampler import BatchOrder, Draw
from rle_onestage.data.transforms import mosaic
from rle_onestage.errors import ConfigError
from rle_onestage.structures.skeleton import COCO

SIDE = 96
KEYS = dict(
    INPUT__POSE__SIZE=SIDE, INPUT__POSE__SCALE=[0.7, 1.4], INPUT__POSE__ROTATE=30.0, MODEL__PIXEL_MEAN=[0.0, 0.0, 0.0]
)


def make_mapper(**keys):
    return PoseMapper(make_config(**KEYS, **keys), True, skeleton=COCO)


@pytest.fixture
def records(tmp_path):
    """Four images of one person each, with a bright dot at the left wrist in one channel or all."""
    made = []
    for number, channels in enumerate(([0], [1], [2], [0, 1, 2])):
        image = np.zeros((120, 160, 3), np.uint8)
        image[58:63, 78:83, channels] = 255
        joints = np.zeros((17, 3))
        joints[9] = 80.5, 60.5, 2
        annotation = person(1, number, box=(60, 40, 40, 40), keypoints=joints.ravel().tolist())
        path = str(tmp_path / f"{number}.png")
        cv2.imwrite(path, image)
        annotation = {**annotation, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
        made.append({"file_name": path, "image_id": number, "height": 120, "width": 160, "annotations": [annotation]})
    return made


def test_parts_tile_the_canvas():
    for seed in range(20):
        count = np.zeros((SIDE, SIDE), int)
        for x, y, height, width in mosaic.parts(np.random.default_rng(seed), SIDE):
            count[y : y + height, x : x + width] += 1
        assert (count == 1).all()


def test_joints_are_where_their_pixels_are(records):
    mapper = make_mapper()
    found = 0
    for seed in range(12):
        sample = mapper(records[0], np.random.default_rng(seed), records[1:])
        people, image = sample["instances"], sample["image"].double().numpy()
        assert image.shape == (3, SIDE, SIDE) and people.image_size == (SIDE, SIDE)
        brightness = image.max(0)
        for keypoints, (x0, y0, x1, y1) in zip(people.gt_keypoints.tensor.numpy(), people.gt_boxes.tensor.numpy()):
            assert 0 <= x0 < x1 <= SIDE and 0 <= y0 < y1 <= SIDE
            for x, y, _ in keypoints[keypoints[:, 2] > 0]:
                # The dot's centre of mass near the joint is the joint.
                yy, xx = np.mgrid[:SIDE, :SIDE] + 0.5
                near = brightness * (np.hypot(xx - x, yy - y) < 5)
                if min(x, y) > 5 and max(x, y) < SIDE - 5 and near.sum() > 2000:
                    found += 1
                    assert np.hypot((near * xx).sum() / near.sum() - x, (near * yy).sum() / near.sum() - y) < 1.0
    assert found > 20


def test_people_of_every_part_keep_their_area(records):
    mapper = make_mapper(INPUT__POSE__AFFINE_PROB=0.0, INPUT__RANDOM_FLIP="none")
    counts = []
    for seed in range(10):
        sample = mapper(records[0], np.random.default_rng(seed), records[1:])
        people = sample["instances"]
        boxes = people.gt_boxes.tensor
        # A crop takes area and box away in the same share.
        whole = 0.6**2 * records[0]["annotations"][0]["area"]
        share = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (0.6**2 * 40 * 40)
        np.testing.assert_allclose(people.gt_area.numpy(), whole * share.numpy(), rtol=1e-4)
        counts.append(len(people))
    assert max(counts) == 4 and min(counts) >= 3


def test_empty_images_make_a_mosaic_too(records):
    empty = [{**record, "annotations": []} for record in records]
    sample = make_mapper()(empty[0], np.random.default_rng(0), empty[1:])
    assert len(sample["instances"]) == 0 and len(sample["ignore_boxes"]) == 0


def test_mosaics_end_when_they_should_and_depend_on_the_draw_alone(records, tmp_path):
    dataset = TrainDataset(records, make_mapper(), BatchOrder(4, 4, 7), 7, mosaic_prob=1.0, mosaic_end=5)
    first, again = dataset[Draw(4, 0, 2)], dataset[Draw(4, 0, 2)]
    assert (first["image"] == again["image"]).all() and len(first["instances"]) > 1
    assert len(dataset[Draw(5, 0, 2)]["instances"]) == 1
    (tmp_path / "3.png").unlink()
    mended = TrainDataset(records, make_mapper(), BatchOrder(4, 4, 7), 7, mosaic_prob=1.0, mosaic_end=5)
    samples = [mended[Draw(0, slot, 0)] for slot in range(12)]
    # Where one of the others is gone, the image stands alone.
    assert all(sample["image_id"] == 0 for sample in samples)
    alone = [sample for sample in samples if sample["unreadable"]]
    assert 0 < len(alone) < 12 and all(len(sample["instances"]) == 1 for sample in alone)


def test_a_mosaic_needs_a_canvas():
    with pytest.raises(ConfigError, match="INPUT.POSE.SIZE"):
        PoseMapper(make_config(INPUT__POSE__MOSAIC_PROB=0.5), True, skeleton=COCO)
