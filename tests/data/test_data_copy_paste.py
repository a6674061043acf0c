"""Copy-paste: joints stay on their pixels, labels of whoever is behind say what can still be seen."""

import numpy as np
import pytest
from paste_toys import COLOURS, LEFT, NOSE, POINTS, RIGHT, SEGMENT, keypoints_of, photograph

from rle_onestage.data.transforms import augmentation as aug
from rle_onestage.data.transforms.canvas import CanvasPeople
from rle_onestage.data.transforms.copy_paste import paste, random_paste, random_place
from rle_onestage.data.transforms.cutouts import cut_person
from rle_onestage.data.transforms.occlusion import hide
from rle_onestage.structures.skeleton import COCO


def make_cutout(**fields):
    return cut_person(photograph(), [SEGMENT], keypoints_of(POINTS), (40, 30, 80, 130), **fields)


def nobody(**extra):
    return people_of(np.zeros((0, 4)), np.zeros((0, 17, 3)), **extra)


def people_of(boxes, keypoints, **extra):
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    area = 0.5 * (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return CanvasPeople(boxes, np.asarray(keypoints), area, np.zeros(len(boxes), np.int64), np.zeros((0, 4)), extra)


def place(scale, x, y, *, degrees=0.0, mirror=False, size=(120, 160)):
    """The transform that brings the centre of the cutout's box to (x, y)."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    linear = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    box = make_cutout().box
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, np.array([x, y]) - linear @ ((box[:2] + box[2:]) / 2)
    return aug.Transform(matrix, *size)


def centre_of(canvas, colour):
    """Where most of a colour is."""
    weight = np.clip(canvas.astype(float) @ (np.array(colour) / 255 * 1.5 - 0.5) / 255 - 0.5, 0, None)
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def test_cutout_by_hand():
    cutout = make_cutout()
    x, y = cutout.keypoints[LEFT, :2].astype(int)
    assert tuple(cutout.image[y, x]) == COLOURS[LEFT]
    np.testing.assert_array_equal(cutout.box[2:] - cutout.box[:2], [40, 100])
    assert cutout.area == 40 * 100 == np.count_nonzero(cutout.mask)
    assert not cutout.cut.any() and set(np.unique(cutout.mask)) == {0, 255}
    x0, y0, x1, y1 = cutout.box.astype(int)
    assert (cutout.mask[y0:y1, x0:x1] == 255).all()


def test_cutout_at_the_border_of_the_photograph():
    image = photograph()
    segment = [0.0, 100.0, 30.0, 100.0, 30.0, 160.0, 0.0, 160.0]
    joints = keypoints_of({NOSE: (10.5, 110.5), LEFT: (20.5, 150.5)})
    image[110, 10] = 1, 2, 3
    cutout = cut_person(image, [segment], joints, (0, 100, 30, 160))
    np.testing.assert_array_equal(cutout.cut, [True, False, False, True])
    x, y = cutout.keypoints[NOSE, :2].astype(int)
    assert tuple(cutout.image[y, x]) == (1, 2, 3)
    assert cutout.image.shape[:2] == cutout.mask.shape and cutout.area == 30 * 60


def test_joints_beside_the_segment_are_hidden():
    joints = keypoints_of({NOSE: (60.5, 42.5), LEFT: (82.5, 70.5), RIGHT: (110.5, 70.5)})
    cutout = cut_person(photograph(), [SEGMENT, [1.0, 2.0, 3.0, 4.0]], joints, (40, 30, 80, 130))
    # The second lies 2.5 pixels outside a segment of 4,000 pixels, as an imprecise outline would have it.
    assert cutout.keypoints[[NOSE, LEFT, RIGHT, 1], 2].tolist() == [2, 2, 1, 0]


@pytest.mark.parametrize("seed", range(16))
def test_pasted_joints_are_on_their_pixels(seed):
    rng = np.random.default_rng(seed)
    canvas = np.full((300, 340, 3), 128, np.uint8)
    cutout = make_cutout()
    transform = random_place(rng, (300, 340), cutout, np.zeros((0, 4)), lengths=(0.4, 0.7), rotate=25)
    canvas, people = paste(canvas, nobody(), cutout, transform, COCO.flip_index)
    joints = people.keypoints[0]
    swapped = {NOSE: NOSE, LEFT: RIGHT, RIGHT: LEFT} if transform.mirrored else {j: j for j in POINTS}
    labelled = [j for j in POINTS if joints[swapped[j], 2] > 0]
    assert len(labelled) >= 2 and (joints[:, 2] > 0).sum() == len(labelled)
    for joint in labelled:
        x, y = joints[swapped[joint], :2]
        if 6 < x < 334 and 6 < y < 294:  # else part of the dot is cut off
            assert np.abs(centre_of(canvas, COLOURS[joint]) - [x, y]).max() < 0.8


def test_both_ways_round_are_drawn():
    drawn = [
        random_place(np.random.default_rng(s), (300, 340), make_cutout(), np.zeros((0, 4))).mirrored for s in range(30)
    ]
    assert 5 < sum(drawn) < 25


@pytest.mark.parametrize("degrees, mirror", [(0, False), (20, False), (-15, True)])
def test_only_the_segment_changes(degrees, mirror):
    before = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    copy = before.copy()
    transform = place(0.8, 80, 60, degrees=degrees, mirror=mirror)
    cutout = make_cutout()
    after, people = paste(before, nobody(), cutout, transform, COCO.flip_index)
    np.testing.assert_array_equal(before, copy)
    # Each pixel's place in the crop, and how far inside the segment, in pixels of the canvas.
    y, x = np.mgrid[:120, :160] + 0.5
    back = np.linalg.inv(transform.matrix)
    at = np.stack([x, y], -1) @ back[:2, :2].T + back[:2, 2]
    depth = 0.8 * np.minimum(at - cutout.box[:2], cutout.box[2:] - at).min(-1)
    np.testing.assert_array_equal(after[depth < -1], before[depth < -1])
    assert (after[depth > 3] != before[depth > 3]).mean() > 0.98
    assert (np.abs(after[depth > 3].astype(int) - 90).max(-1) <= 1).mean() > 0.9  # all but the dots
    # The box is the segment's extent.
    low, high = np.array([x[depth > 0].min(), y[depth > 0].min()]), np.array([x[depth > 0].max(), y[depth > 0].max()])
    np.testing.assert_allclose(people.boxes[0], [*(low - 0.5), *(high + 0.5)], atol=1.01)
    assert people.area[0] == pytest.approx(0.64 * 4000, rel=0.01)


def test_a_person_half_outside():
    canvas = np.zeros((120, 160, 3), np.uint8)
    # 40 x 100 at its own size about (160, 60): the right half is outside, and with it the right wrist.
    canvas, people = paste(canvas, nobody(), make_cutout(), place(1.0, 160, 60), COCO.flip_index)
    np.testing.assert_allclose(people.boxes[0], [140, 10, 160, 110])
    assert people.area[0] == pytest.approx(2000)
    assert people.keypoints[0, LEFT, 2] == 2
    np.testing.assert_array_equal(people.keypoints[0, RIGHT], 0)


def test_a_sliver_becomes_a_region_to_ignore():
    canvas, people = paste(
        np.zeros((120, 160, 3), np.uint8), nobody(), make_cutout(), place(1.0, 176, 60), COCO.flip_index
    )
    assert len(people.boxes) == 0
    np.testing.assert_allclose(people.ignore, [[156, 10, 160, 110]])
    assert canvas[60, 158].any()


def test_nothing_happens_outside_the_canvas():
    canvas, before = np.zeros((120, 160, 3), np.uint8), nobody()
    after, people = paste(canvas, before, make_cutout(), place(1.0, 400, 60), COCO.flip_index)
    assert after is canvas and people is before


def test_whoever_is_behind():
    """The pasted segment covers x from 60 to 100 and y from 10 to 110."""
    joints = np.stack([
        keypoints_of({NOSE: (80, 60), LEFT: (50, 60), RIGHT: (42, 90)}),
        keypoints_of({NOSE: (20, 60)}),
    ])  # fmt: skip
    people = people_of([[40, 10, 90, 110], [5, 5, 35, 115]], joints)
    canvas, after = paste(np.zeros((120, 160, 3), np.uint8), people, make_cutout(), place(1.0, 80, 60), COCO.flip_index)
    assert len(after.boxes) == 3
    np.testing.assert_array_equal(after.keypoints[0, NOSE], [80, 60, 1])
    np.testing.assert_array_equal(after.keypoints[0, [LEFT, RIGHT], 2], [2, 2])
    np.testing.assert_allclose(after.boxes[0], [40, 10, 61, 110], atol=4)  # what is left of the ellipse at its left
    np.testing.assert_array_equal(after.boxes[1], people.boxes[1])
    np.testing.assert_array_equal(after.keypoints[1], people.keypoints[1])
    assert after.area[1] == people.area[1]
    assert people.keypoints[0, NOSE, 2] == 2  # what was given is as it was


def cover(x0, y0, x1, y1, size=(120, 160)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


BOX = [40, 10, 80, 110]


@pytest.mark.parametrize(
    "mask, box, share",
    [
        ((0, 60, 160, 120), [40, 10, 80, 60], 0.5),  # the lower half
        ((60, 0, 160, 120), [40, 10, 60, 110], 0.5),
        ((0, 0, 160, 20), [40, 20, 80, 110], 0.948),  # ellipse above 4/5 of its half axis: 5.2 %
        # A post in the middle hides much, but of the sides only where the ellipse is no wider: 50 (1 - sqrt(15 / 16)).
        ((55, 0, 65, 120), [40, 11.6, 80, 108.4], 0.685),
        ((76, 10, 84, 14), BOX, 1.0),  # a corner, where nobody is
        ((90, 0, 160, 120), BOX, 1.0),
    ],
)
def test_box_and_area_by_hand(mask, box, share):
    people = people_of([BOX], [keypoints_of({LEFT: (45, 25)})])
    after = hide(people, cover(*mask))
    np.testing.assert_allclose(after.boxes[0], box, atol=0.51)
    assert after.area[0] / people.area[0] == pytest.approx(share, abs=0.015)


def test_a_sliver_along_an_edge_does_not_hold_a_side():
    mask = cover(0, 60, 160, 120)
    mask[109:, :] = False
    after = hide(people_of([BOX], [keypoints_of({LEFT: (45, 25)})]), mask)
    np.testing.assert_allclose(after.boxes[0], [40, 10, 80, 110], atol=0.51)  # all of the lowest row is left
    mask = cover(58, 0, 160, 120)
    mask[:12] = False  # of the columns on the right, 2 pixels at the top
    after = hide(people_of([BOX], [keypoints_of({LEFT: (45, 25)})]), mask)
    np.testing.assert_allclose(after.boxes[0], [40, 10, 58, 110], atol=0.51)


def test_a_cover_with_a_corner_is_the_same():
    people = people_of([BOX], [keypoints_of({LEFT: (45, 25), NOSE: (60, 90)})])
    small = hide(people, np.ones((40, 30), bool), (50, 70))
    large = hide(people, cover(50, 70, 80, 110))
    for a, b in zip(small[:5], large[:5]):
        np.testing.assert_array_equal(a, b)
    assert small.keypoints[0, NOSE, 2] == 1


def test_a_visible_joint_stays_in_the_box():
    people = people_of([BOX], [keypoints_of({NOSE: (60, 30), LEFT: (42, 105)})])
    mask = cover(40, 60, 80, 110)
    mask[100:110, 40:45] = False
    after = hide(people, mask)
    np.testing.assert_array_equal(after.keypoints[0, [NOSE, LEFT], 2], [2, 2])
    np.testing.assert_allclose(after.boxes[0], [40, 10, 80, 105], atol=0.51)


def test_who_is_mostly_covered_is_ignored():
    joints = keypoints_of({NOSE: (60, 12)})
    after = hide(people_of([BOX], [joints]), cover(40, 20, 80, 110))
    assert len(after.boxes) == 0 and len(after.keypoints) == 0 and len(after.area) == 0
    np.testing.assert_allclose(after.ignore, [[40, 10, 80, 20]])
    # Nothing is left: gone, with no region.
    after = hide(people_of([BOX], [joints]), cover(30, 0, 90, 120))
    assert len(after.boxes) == 0 and len(after.ignore) == 0


def test_all_joints_hidden_is_ignored():
    head = cover(40, 10, 80, 30)
    after = hide(people_of([BOX], [keypoints_of({NOSE: (60, 20), LEFT: (60, 25)})]), head)
    assert len(after.boxes) == 0
    np.testing.assert_allclose(after.ignore, [[40, 30, 80, 110]])
    # Whose joints were hidden before, or who has none, is not hidden now.
    for joints in (keypoints_of({NOSE: (60, 20)}, flag=1), np.zeros((17, 3))):
        assert len(hide(people_of([BOX], [joints]), head).boxes) == 1


def test_extra_values_follow_their_people():
    boxes = [[40, 10, 80, 110], [5, 5, 35, 115], [110, 5, 150, 115]]
    joints = np.stack([keypoints_of({NOSE: (60, 60)}), keypoints_of({NOSE: (20, 60)}), keypoints_of({NOSE: (130, 9)})])
    extra = {"weight": np.array([0.1, 0.2, 0.3], np.float32), "known": np.arange(3 * 17).reshape(3, 17)}
    known = np.arange(100, 117)
    cutout = make_cutout(extra={"weight": 0.9, "known": known}, category=4)
    people = people_of(boxes, joints, **extra)._replace(classes=np.array([1, 2, 3]))
    for mirror in (False, True):
        transform = place(1.0, 60, 60, mirror=mirror)  # exactly over the first
        _, after = paste(np.zeros((120, 160, 3), np.uint8), people, cutout, transform, COCO.flip_index)
        assert after.classes.tolist() == [2, 3, 4]
        np.testing.assert_allclose(after.extra["weight"], [0.2, 0.3, 0.9])
        assert after.extra["weight"].dtype == np.float32
        np.testing.assert_array_equal(after.extra["known"][:2], extra["known"][1:])
        np.testing.assert_array_equal(after.extra["known"][2], known[COCO.flip_index] if mirror else known)


def test_a_missing_extra_value_is_named():
    with pytest.raises(KeyError, match="weight"):
        paste(
            np.zeros((120, 160, 3), np.uint8), nobody(weight=np.zeros(0)), make_cutout(), place(1.0, 80, 60),
            COCO.flip_index,
        )  # fmt: skip


def test_colours_move_towards_the_canvas():
    canvas = np.random.default_rng(0).integers(40, 61, (120, 160, 3), dtype=np.uint8)
    means = []
    for match in (0.0, 0.5, 1.0):
        after, _ = paste(canvas, nobody(), make_cutout(), place(1.0, 80, 60), COCO.flip_index, match=match)
        means.append(after[13:107, 63:97].mean())
        np.testing.assert_array_equal(after[:, :50], canvas[:, :50])
    assert means[0] > means[1] + 10 > means[2] + 20
    assert means[2] == pytest.approx(50, abs=8)


@pytest.mark.parametrize("seed", range(10))
def test_places_are_on_the_canvas(seed):
    rng = np.random.default_rng(seed)
    cutout = make_cutout()
    transform = random_place(rng, (200, 320), cutout, np.zeros((0, 4)), lengths=(0.1, 0.5), rotate=0)
    box = aug.transform_boxes(cutout.box[None], transform)
    length = (box[0, 2:] - box[0, :2]).max()
    assert 0.1 * 320 - 1e-6 <= length <= 0.5 * 320 + 1e-6 and length <= 1.6 * 100 + 1e-6
    _, share = aug.clip_boxes(box, 200, 320)
    assert share[0] >= 0.75**2 - 1e-6


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("seed", range(4))
def test_where_a_person_was_cut_off_the_canvas_ends(side, seed):
    cutout = make_cutout()._replace(cut=np.arange(4) == side)
    transform = random_place(np.random.default_rng(seed), (200, 320), cutout, np.zeros((0, 4)), rotate=20)
    x0, y0, x1, y1 = cutout.box
    ends = np.array([[(x0, y0), (x0, y1)], [(x0, y0), (x1, y0)], [(x1, y0), (x1, y1)], [(x0, y1), (x1, y1)]][side])
    ends = ends @ transform.matrix[:2, :2].T + transform.matrix[:2, 2]
    if transform.mirrored:
        side = {0: 2, 2: 0}.get(side, side)
    beyond = [-ends[:, 0], -ends[:, 1], ends[:, 0] - 320, ends[:, 1] - 200][side]
    assert beyond.min() == pytest.approx(0, abs=1e-6)


def test_places_beside_somebody_overlap_but_do_not_cover():
    cutout, box = make_cutout(), np.array([[140.0, 60.0, 190.0, 180.0]])
    covered = []
    for seed in range(40):
        transform = random_place(np.random.default_rng(seed), (240, 320), cutout, box, beside=1.0, most_covered=0.5)
        own = aug.transform_boxes(cutout.box[None], transform)[0]
        common = np.minimum(own[2:], box[0, 2:]) - np.maximum(own[:2], box[0, :2])
        covered.append(common.clip(0).prod() / 6000)
        assert 0.65 < (own[2:] - own[:2]).max() / 120 < 1.5  # as large, to within the turn
    assert max(covered) <= 0.5 and np.mean(np.array(covered) > 0.02) > 0.4


def test_the_generator_alone_decides():
    canvas = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    people = people_of([BOX], [keypoints_of({NOSE: (60, 60)})])
    cutouts = [make_cutout(), make_cutout()]
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        image, after = random_paste(rng, canvas, people, cutouts, COCO.flip_index, prob=1.0)
        runs.append((image, *after[:5], rng.random()))
    for a, b in zip(*runs):
        np.testing.assert_array_equal(a, b)
    assert (runs[0][0] != canvas).any()


def test_without_pastes_nothing_is_drawn():
    canvas, people = np.zeros((20, 20, 3), np.uint8), nobody()
    for options in (dict(cutouts=[make_cutout()], prob=0.0), dict(cutouts=[], prob=1.0)):
        rng = np.random.default_rng(5)
        image, after = random_paste(rng, canvas, people, flip_index=COCO.flip_index, **options)
        assert image is canvas and after is people and rng.random() == np.random.default_rng(5).random()
