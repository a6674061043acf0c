"""Pages of people in space: the views show depth, which the image does not, and nothing crashes."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.structures.root import Camera
from rle_onestage.structures.skeleton import Skeleton
from rle_onestage.visualization import SIDE_COLOURS, draw_people_3d
from rle_onestage.visualization.space import _grid, _in_space, _views

LIMBS = Skeleton("limbs", ("left_hip", "right_hip", "nose"), ((0, 1),), ((0, 1), (0, 2)), (0.1, 0.1, 0.1))
CAMERA = Camera((200.0, 200.0), (50.0, 50.0))


def person(nose_depth=0.0, size=20.0, score=0.9):
    """Hips 400 mm apart and a nose 600 mm above the left one, at a depth."""
    out = Instances((100, 100))
    out.pred_boxes = Boxes(torch.tensor([[30.0, 10.0, 70.0, 90.0]]))
    out.scores = torch.tensor([score])
    out.pred_keypoints = torch.tensor([[[60.0, 70, 1], [40, 70, 1], [60, 40, 1]]])
    out.pred_keypoints_3d = torch.tensor([[[200.0, 0, 0], [-200, 0, 0], [200, -600, nose_depth]]])
    out.pred_keypoint_3d_sigmas = torch.full((1, 3, 3), 200.0)
    out.pred_pixel_sizes = torch.tensor([size])
    return out


def page(people, **options):
    return draw_people_3d(np.full((100, 100, 3), 90, np.uint8), people, LIMBS, height=420, **options)


def panels(drawn):
    """The image and the two views."""
    width = (drawn.shape[1] - 420 - 12) // 2
    return drawn[:, :420], drawn[:, 426 : 426 + width], drawn[:, -width:]


def blue(panel):
    """Where the left limb is drawn."""
    return np.argwhere(np.abs(panel.astype(int) - SIDE_COLOURS["left"]).sum(-1) < 40)


def test_depth_shows_from_the_side_and_from_above_alone():
    flat, deep = (panels(page(person(depth), camera=CAMERA)) for depth in (0.0, -600.0))
    assert flat[0].shape == (420, 420, 3) and np.array_equal(flat[0], deep[0])
    for before, after in zip(flat[1:], deep[1:]):
        assert np.abs(before.astype(int) - after).max() > 60 and len(blue(after)) > 30
    assert len(blue(flat[1])) > 50  # from above, what is upright is a point
    # Seen from the side, what is upright in the image leans by its depth.
    upright, leaning = (np.ptp(blue(panel[1]), axis=0) for panel in (flat, deep))
    assert leaning[1] / leaning[0] > 3 * upright[1] / upright[0]


def test_from_above_is_a_plan_at_the_scale_of_the_other_view():
    """Right of the camera is right, away from it is up, height is not to be seen; a metre is a metre in both."""
    people = _in_space(person(-600.0, size=15.0), LIMBS, 0.3, CAMERA)
    side, above = _views(people, (400, 420))
    origin, right, away, up = above.place(np.array([[0.0, 0, 3000], [1000, 0, 3000], [0, 0, 4000], [0, -1000, 3000]]))
    metre = 1000 * side.factor
    assert right[:2] - origin[:2] == pytest.approx([metre, 0]) and away[:2] - origin[:2] == pytest.approx([0, -metre])
    assert up[:2] == pytest.approx(origin[:2]) and above.factor == side.factor and up[2] < origin[2]
    for view in (side, above):
        places = view.place(np.concatenate([people[0].joints, view.lines.reshape(-1, 3)]))[:, :2]
        assert (places >= 0).all() and (places <= [400, 420]).all()


@pytest.mark.parametrize("size, step", [(20.0, 1.0), (1000.0, 2.0)])
def test_the_grid_is_of_the_metres_that_it_says(size, step):
    """Numbers at its lines are those from the camera; a large scene has fewer lines."""
    low, high = np.array([-500.0, -900, 3200]), np.array([700.0, 800, 3200 + 60 * size])
    lines, found = _grid(low, high)
    assert found == step and {float(x) % (1000 * step) for x in lines[..., ::2].ravel()} == {0.0}
    assert (lines[..., 1] == 800).all()  # below the lowest joint
    assert lines[..., 0].min() <= -500 and lines[..., 2].min() <= 3200 and lines[..., 2].max() >= 3200 + 60 * size


def test_what_is_drawn_does_not_depend_on_the_distance_but_the_note_does():
    near, far = (panels(page(person(-300.0, size), camera=CAMERA))[1] for size in (20.0, 40.0))
    assert near.shape == far.shape
    assert not np.array_equal(page(person()), page(person(), camera=CAMERA))


@pytest.mark.parametrize("draw_sigma", [False, True])
def test_nobody_and_odd_numbers_do_no_harm(draw_sigma):
    nobody = person()[[False]]
    faint, odd = person(score=0.1), person()
    odd.pred_keypoints_3d[0, 2] = float("nan")
    flat = person()
    flat.remove("pred_keypoints_3d")  # of a model without depth
    for people in (nobody, faint, odd, flat):
        drawn = page(people, draw_sigma=draw_sigma)
        assert drawn.dtype == np.uint8 and drawn.shape[0] == 420
    assert np.array_equal(page(nobody), page(faint))
    assert np.array_equal(page(person())[:, 500:], page(person())[:, 500:])
    if draw_sigma:
        assert not np.array_equal(page(person()), page(person(), draw_sigma=True))
