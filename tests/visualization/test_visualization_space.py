"""Pages of people in space: the views show depth, which the image does not, and nothing crashes."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.structures.root import Camera
from rle_onestage.structures.skeleton import Skeleton
from rle_onestage.visualization import SIDE_COLOURS, draw_people_3d

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
        assert len(blue(before)) > 50 and np.abs(before.astype(int) - after).max() > 60
    # Seen from the side, what is upright in the image leans by its depth.
    upright, leaning = (np.ptp(blue(panel[1]), axis=0) for panel in (flat, deep))
    assert leaning[1] / leaning[0] > 3 * upright[1] / upright[0]


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
