"""Degradation changes pixels and never places; what is off draws nothing."""

import numpy as np
import pytest

from rle_onestage.data.transforms.canvas import CanvasPeople
from rle_onestage.data.transforms.degradation import random_degradation, random_erase
from rle_onestage.data.transforms.occlusion import hide

KINDS = ("grey", "low_resolution", "blur", "noise", "jpeg")


def noise_image(seed=0, size=(90, 120)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def dot_image(x, y, size=(64, 80)):
    """A dark disc on light grey."""
    yy, xx = np.mgrid[: size[0], : size[1]] + 0.5
    image = 230 - 200 * np.clip(8.5 - np.hypot(xx - x, yy - y), 0, 1)
    return np.repeat(image[..., None], 3, 2).astype(np.uint8)


def dot_position(image):
    weight = np.clip(200.0 - image.mean(-1), 0, None)
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()


def test_everything_off_is_the_image_itself():
    image, rng = noise_image(), np.random.default_rng(3)
    assert random_degradation(rng, image) is image
    erased, mask = random_erase(rng, image, np.array([[10.0, 10, 50, 50]]))
    assert erased is image and mask is None
    assert rng.random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_at_a_time(kind):
    image = noise_image()
    before = image.copy()
    for seed in range(6):
        first, second = (random_degradation(np.random.default_rng(seed), image, **{kind: 1.0}) for _ in range(2))
        assert first.shape == image.shape and first.dtype == np.uint8 and (first != image).any()
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_as_often_as_asked(kind):
    image, rng = noise_image(size=(16, 16)), np.random.default_rng(0)
    hits = sum(random_degradation(rng, image, **{kind: 0.3}) is not image for _ in range(400))
    assert 85 < hits < 155


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_nothing_moves(kind, seed):
    image = dot_image(35.25, 30.5)
    worse = random_degradation(np.random.default_rng(seed), image, **{kind: 1.0})
    assert np.abs(dot_position(worse) - dot_position(image)).max() < 0.45


def test_grey_has_one_channel():
    grey = random_degradation(np.random.default_rng(0), noise_image(), grey=1.0)
    assert (grey == grey[..., :1]).all() and grey.std() > 10


def test_noise_is_unbiased_and_as_strong_as_said():
    flat = np.full((100, 100, 3), 128, np.uint8)
    spreads = []
    for seed in range(20):
        difference = random_degradation(np.random.default_rng(seed), flat, noise=1.0).astype(float) - 128
        assert abs(difference.mean()) < 0.4
        assert abs(np.corrcoef(difference[..., 0].ravel(), difference[..., 1].ravel())[0, 1]) < 0.05
        spreads.append(difference.std())
    assert 2.8 < min(spreads) < 7 and 14 < max(spreads) < 18.5
    # No wrap-around at the ends of the range.
    assert random_degradation(np.random.default_rng(0), np.zeros_like(flat), noise=1.0).max() < 100


@pytest.mark.parametrize("kind", ["low_resolution", "blur"])
def test_detail_is_lost_but_not_light(kind):
    image = noise_image()
    for seed in range(8):
        worse = random_degradation(np.random.default_rng(seed), image, **{kind: 1.0}).astype(float)
        assert worse.std() < 0.95 * image.std()
        assert worse.mean() == pytest.approx(image.mean(), abs=3)


def test_erasing_marks_what_it_changes():
    image, boxes = noise_image(), np.array([[10.0, 10, 60, 80], [70, 5, 110, 85]])
    before = image.copy()
    for seed in range(30):
        worse, erased = random_erase(np.random.default_rng(seed), image, boxes, prob=1.0)
        np.testing.assert_array_equal(image, before)
        assert erased.shape == image.shape[:2] and erased.dtype == bool
        np.testing.assert_array_equal(worse[~erased], image[~erased])
        assert (worse[erased] != image[erased]).any(-1).mean() > 0.9
        # In front of a person, and smaller than two rectangles of 60 % of its sides.
        assert any(erased[int(y0) : int(y1), int(x0) : int(x1)].any() for x0, y0, x1, y1 in boxes)
        assert erased.sum() < 2 * 0.4 * 50 * 80
        again, _ = random_erase(np.random.default_rng(seed), image, boxes, prob=1.0)
        np.testing.assert_array_equal(worse, again)


def test_erasing_beyond_the_border_and_of_tiny_people():
    image = noise_image()
    boxes = np.array([[0.0, 0, 1, 1], [119.2, 89.5, 120, 90]])
    for seed in range(20):
        _, erased = random_erase(np.random.default_rng(seed), image, boxes, prob=1.0)
        assert erased.any()


def test_without_people_nothing_is_erased():
    rng, image = np.random.default_rng(1), noise_image()
    worse, erased = random_erase(rng, image, np.zeros((0, 4)), prob=1.0)
    assert worse is image and erased is None and rng.random() == np.random.default_rng(1).random()


def test_joints_below_are_hidden():
    """Every joint on an erased pixel is hidden, every other one stays visible, or its person becomes one to ignore."""
    y, x = np.mgrid[10:80:10, 15:60:10] + 0.5
    joints = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], 1)[None]
    box = np.array([[10.0, 5, 60, 85]])
    people = CanvasPeople(box, joints, np.array([2000.0]), np.zeros(1, np.int64), np.zeros((0, 4)), {})
    hidden = 0
    for seed in range(10):
        _, erased = random_erase(np.random.default_rng(seed), noise_image(), box, prob=1.0)
        after = hide(people, erased)
        assert len(after.boxes) == 1
        under = erased[joints[0, :, 1].astype(int), joints[0, :, 0].astype(int)]
        np.testing.assert_array_equal(after.keypoints[0, :, 2], np.where(under, 1, 2))
        hidden += under.sum()
    assert hidden > 10
