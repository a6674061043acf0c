import numpy as np
import pytest

from rle_onestage.data.transforms import augmentation as aug
from rle_onestage.structures.skeleton import COCO


def dot_image(height, width, x, y, radius=2.0):
    """A bright disc about the point (x, y), counted from the corner of the first pixel."""
    yy, xx = np.mgrid[:height, :width] + 0.5
    image = 255 * np.clip(radius + 0.5 - np.hypot(xx - x, yy - y), 0, 1)
    return np.repeat(image[..., None], 3, 2).astype(np.uint8)


def dot_position(image):
    weight = image[..., 0].astype(float)
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()


def map_points(transform, points):
    return np.asarray(points, float) @ transform.matrix[:2, :2].T + transform.matrix[:2, 2]


def test_flip_by_hand():
    flip = aug.flipping(40, 100)
    assert flip.mirrored and not flip.turned
    np.testing.assert_array_equal(map_points(flip, [[0, 3], [30.5, 7]]), [[100, 3], [69.5, 7]])
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 1] = 30.5, 7, 2  # left eye
    mirrored = aug.transform_keypoints(keypoints, flip, COCO.flip_index)
    np.testing.assert_array_equal(mirrored[0, 2], [69.5, 7, 2])  # now the right eye
    assert mirrored[0, 1, 2] == 0
    boxes = aug.transform_boxes(np.array([[10.0, 5, 30, 25]]), flip)
    np.testing.assert_allclose(boxes, [[70, 5, 90, 25]])


def test_double_flip_is_the_identity():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 40, (3, 17, 3))
    keypoints[..., 2] = 1
    twice = aug.flipping(40, 100).then(aug.flipping(40, 100))
    assert not twice.mirrored
    np.testing.assert_allclose(aug.transform_keypoints(keypoints, twice, COCO.flip_index), keypoints)
    once = aug.transform_keypoints(keypoints, aug.flipping(40, 100), COCO.flip_index)
    np.testing.assert_allclose(aug.transform_keypoints(once, aug.flipping(40, 100), COCO.flip_index), keypoints)


def test_letterbox_by_hand():
    box = aug.letterbox(50, 100, 200)
    np.testing.assert_allclose(map_points(box, [[0, 0], [100, 50]]), [[0, 50], [200, 150]])
    turned = aug.letterbox(100, 100, 100, degrees=90)
    # Clockwise on the screen: what is right of the centre comes below it.
    np.testing.assert_allclose(map_points(turned, [[80, 50]]), [[50, 80]], atol=1e-9)
    shifted = aug.letterbox(100, 100, 100, scale=0.5, shift=(0.1, -0.2))
    np.testing.assert_allclose(map_points(shifted, [[50, 50], [100, 100]]), [[60, 30], [85, 55]])
    assert shifted.area_scale == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(12))
def test_pixels_and_points_move_alike(seed):
    rng = np.random.default_rng(seed)
    height, width = 90 + 10 * seed, 240 - 9 * seed
    point = rng.uniform(0.35, 0.65, 2) * (width, height)
    transform = aug.random_affine(
        rng, height, width, 160, scale=(0.5, 1.6), rotate=60, translate=0.1, prob=1.0, flip_prob=0.5
    )
    image = aug.warp_image(dot_image(height, width, *point), transform, (0, 0, 0))
    assert image.shape == (160, 160, 3)
    assert np.abs(dot_position(image) - map_points(transform, [point])[0]).max() < 0.3


@pytest.mark.parametrize("scale", [0.11, 0.3, 0.55, 1.0, 2.5])
def test_pixels_and_points_resize_alike(scale):
    image = dot_image(300, 420, 133.25, 201.5, radius=12)
    transform = aug.scaling(300, 420, round(300 * scale), round(420 * scale))
    expected = map_points(transform, [[133.25, 201.5]])[0]
    resized = aug.resize_image(image, transform.height, transform.width)
    assert np.abs(dot_position(resized) - expected).max() < 0.1
    assert np.abs(dot_position(aug.warp_image(image, transform, (0, 0, 0))) - expected).max() < 0.2


def test_crop_moves_points_and_drops_labels_outside():
    crop = aug.cropping(10, 20, 30, 40)
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 0] = 10, 20, 2  # on the corner
    keypoints[0, 1] = 50, 50, 1  # on the other one
    keypoints[0, 2] = 9.9, 30, 2
    keypoints[0, 3] = 30, 50.1, 2
    result = aug.transform_keypoints(keypoints, crop, COCO.flip_index)
    np.testing.assert_array_equal(result[0, :2], [[0, 0, 2], [40, 30, 1]])
    np.testing.assert_array_equal(result[0, 2:], 0)


def test_turned_box_is_tight_and_holds_the_joints():
    box = np.array([[20.0, 10, 80, 90]])
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 0] = 79, 89, 2  # a joint in the corner
    keypoints[0, 1] = 500, 500, 0
    turn = aug.letterbox(100, 100, 100, degrees=45)
    corners = map_points(turn, [[20, 10], [80, 10], [20, 90], [80, 90]])
    turned = aug.transform_boxes(box, turn, keypoints)[0]
    joint = map_points(turn, keypoints[0, :1, :2])[0]
    assert (turned[:2] <= joint).all() and (turned[2:] >= joint).all()
    # The ellipse's extent: sqrt(30^2 + 40^2) / sqrt(2) to either side of the centre.
    bare = aug.transform_boxes(box, turn)[0]
    np.testing.assert_allclose(bare, [50 - 1250**0.5, 50 - 1250**0.5, 50 + 1250**0.5, 50 + 1250**0.5])
    assert (bare[:2] > corners.min(0)).all() and (bare[2:] < corners.max(0)).all()
    # A quarter turn swaps the sides exactly, and so does no turn keep them.
    quarter = aug.transform_boxes(box, aug.letterbox(100, 100, 100, degrees=90), keypoints)[0]
    np.testing.assert_allclose(quarter, [10, 20, 90, 80], atol=1e-9)


def test_clip_gives_the_share_that_stays():
    boxes, share = aug.clip_boxes(np.array([[-10.0, 0, 10, 20], [5, 5, 10, 10], [50, 50, 60, 60]]), 40, 40)
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 20], [5, 5, 10, 10], [40, 40, 40, 40]])
    np.testing.assert_allclose(share, [0.5, 1, 0])


@pytest.mark.parametrize(
    "kind, size, low, high",
    [
        ("relative", (0.5, 0.25), (50, 50), (50, 50)),
        ("relative_range", (0.5, 0.25), (50, 50), (100, 200)),
        ("absolute", (60, 300), (60, 200), (60, 200)),
        ("absolute_range", (30, 80), (30, 30), (80, 80)),
    ],
)
def test_random_crop_stays_inside_and_keeps_a_centre(kind, size, low, high):
    centre = np.array([[170.0, 20.0]])
    for seed in range(30):
        crop = aug.random_crop(np.random.default_rng(seed), 100, 200, kind, size, centre)
        assert low[0] <= crop.height <= high[0] and low[1] <= crop.width <= high[1]
        x, y = -crop.matrix[:2, 2]
        assert 0 <= x and x + crop.width <= 200 and 0 <= y and y + crop.height <= 100
        assert (map_points(crop, centre) >= 0).all() and (map_points(crop, centre) <= (crop.width, crop.height)).all()


def test_shortest_edge_is_detectron2s():
    transforms = pytest.importorskip("detectron2.data.transforms")
    for height, width, shortest, longest in [(480, 640, 800, 1333), (200, 900, 640, 1000), (333, 333, 64, 64)]:
        reference = transforms.ResizeShortestEdge(shortest, longest).get_transform(np.zeros((height, width, 3)))
        assert aug.shortest_edge_size(height, width, shortest, longest) == (reference.new_h, reference.new_w)


def test_colour_keeps_grey_and_depends_on_the_generator_alone():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 180, (16, 16, 3), dtype=np.uint8)
    before = image.copy()
    options = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 20.0}
    first = aug.random_colour(np.random.default_rng(5), image, **options)
    np.testing.assert_array_equal(first, aug.random_colour(np.random.default_rng(5), image, **options))
    assert (first != aug.random_colour(np.random.default_rng(6), image, **options)).any()
    np.testing.assert_array_equal(image, before)
    assert first.dtype == np.uint8
    # Saturation and hue leave grey as it is; brightness scales it.
    grey = np.full((8, 8, 3), 100, np.uint8)
    assert np.abs(aug.random_colour(rng, grey, saturation=0.9, hue=90.0).astype(int) - 100).max() <= 1
    factor = 1 + np.random.default_rng(7).uniform(-0.5, 0.5)
    bright = aug.random_colour(np.random.default_rng(7), grey, brightness=0.5)
    assert np.abs(bright - 100 * factor).max() <= 0.51
    assert aug.random_colour(rng, image) is image


def test_hue_turns_red_towards_another_colour_and_back():
    red = np.full((4, 4, 3), (40, 40, 160), np.uint8)
    turned = aug._YIQ_INVERSE @ np.diag([1, -1, -1]) @ aug._YIQ @ red[0, 0]
    assert turned[2] < turned[0]  # half a turn makes cyan
    assert turned @ aug._LUMA == pytest.approx(red[0, 0] @ aug._LUMA, abs=1e-6)


def test_without_the_affine_the_image_lies_as_at_test_time():
    options = {"scale": (0.5, 2), "rotate": 30, "translate": 0.2, "prob": 0.0}
    plain = aug.random_affine(np.random.default_rng(0), 50, 100, 200, flip_prob=0.0, **options)
    np.testing.assert_allclose(map_points(plain, [[0, 0], [100, 50]]), [[0, 0], [200, 100]])
    mirrored = aug.random_affine(np.random.default_rng(0), 50, 100, 200, flip_prob=1.0, **options)
    np.testing.assert_allclose(map_points(mirrored, [[0, 0], [100, 50]]), [[200, 0], [0, 100]])
    assert (plain.height, plain.width) == (mirrored.height, mirrored.width) == (200, 200) and mirrored.mirrored
