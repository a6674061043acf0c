"""Drawing people: what is seen, what is left out, and what must not crash."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from rle_onestage.evaluation.results import instances_from_labels, instances_from_results
from rle_onestage.structures.skeleton import COCO, Skeleton
from rle_onestage.visualization import (
    SIDE_COLOURS,
    contact_sheet,
    draw_legend,
    draw_people,
    draw_tag,
    side_by_side,
)
from rle_onestage.visualization.strokes import disc, tag_plate

ARM = Skeleton("arm", ("left_elbow", "left_wrist"), (), ((0, 1),), (0.07, 0.06))


def arm(confidence=1.0, score=0.9, presence=1.0, shift=0.0):
    """A horizontal limb from (20.5, 50.5) to (80.5, 50.5)."""
    out = Instances((100, 100))
    out.pred_boxes = Boxes(torch.tensor([[10.0, 10.0, 90.0, 90.0]]))
    out.scores = torch.tensor([score])
    out.pred_keypoints = torch.tensor([[[20.5 + shift, 50.5, confidence], [80.5 + shift, 50.5, confidence]]])
    out.pred_keypoint_sigmas = torch.full((1, 2, 2), 8.0)
    out.pred_keypoint_presence = torch.full((1, 2), presence)
    return out


def grey(value=128):
    return np.full((100, 100, 3), value, np.uint8)


def test_ellipses_are_turned_as_the_covariances_are():
    """Down to the right for a positive covariance, y down; and without one as upright as they are by sigmas alone."""
    upright, turned = arm(), arm()
    for people, between in ((upright, 0.0), (turned, 60.0)):
        people.pred_keypoint_covariances = torch.tensor([[64.0, between], [between, 64.0]]).expand(1, 2, 2, 2)
    by_sigma = draw_people(grey(), arm(), ARM, draw_sigma=True, labels=False)
    np.testing.assert_array_equal(draw_people(grey(), upright, ARM, draw_sigma=True, labels=False), by_sigma)
    drawn = draw_people(grey(), turned, ARM, draw_sigma=True, labels=False).astype(int)
    changed = np.abs(drawn - 128).sum(2) > 20
    for x in (20, 80):  # about both joints
        part = changed[50 - 20 : 50 + 21, x - 20 : x + 20]
        below_right, above_right = part[24:, 24:].sum(), part[:17, 24:].sum()
        assert below_right > 40 and above_right < 10


def test_joints_do_not_cover_ellipses():
    """A standard deviation of the usual radius of a joint: both outlines are seen, the inner one is the stronger."""
    people = arm()
    people.pred_keypoint_sigmas = torch.ones(1, 2, 2)
    plain, drawn = (draw_people(grey(), people, ARM, draw_sigma=d, labels=False, scale=4) for d in (False, True))
    x, y = 4 * 20 + 2, 4 * 50 + 2
    assert (plain[y - 4, x] != 128).any()
    above = [int(drawn[y - d, x, 0]) - int(drawn[y - d, x, 2]) for d in range(12)]  # left is blue
    assert above[4] > 100 and 100 > above[8] > 60 and max(above[6], above[10]) < 10, above


def test_a_limb_has_its_sides_colour_and_a_dark_edge():
    image = grey()
    drawn = draw_people(image, arm(), ARM, labels=False)
    assert (image == 128).all() and drawn.shape == image.shape and drawn.dtype == np.uint8
    assert tuple(drawn[50, 50]) == SIDE_COLOURS["left"]
    column = drawn[:, 50].astype(int).sum(1)
    assert column.min() < 300  # the edge
    assert (drawn[70:, 50] == 128).all() and (drawn[:, :14] == 128).all()


def test_uncertain_joints_are_hollow_and_faded():
    sure, unsure = (draw_people(grey(0), arm(confidence=c), ARM, labels=False).astype(int) for c in (0.9, 0.1))
    assert unsure[50, 50].sum() < 0.75 * sure[50, 50].sum()
    assert not np.array_equal(sure[50, 20], unsure[50, 20])


@pytest.mark.parametrize(
    "people", [arm(score=0.2), arm(presence=0.1), arm(shift=1e9), arm(shift=float("nan")), arm()[[]]]
)
def test_nothing_is_drawn_for_people_below_the_threshold_or_absent_joints(people):
    drawn = draw_people(grey(), people, ARM, threshold=0.3, labels=False)
    assert (drawn == 128).all()


@pytest.mark.parametrize("shift", [-500.0, 90.0, 15000.0])
def test_people_at_and_beyond_the_border(shift):
    drawn = draw_people(grey(), arm(shift=shift), ARM, draw_sigma=True, draw_boxes=True)
    assert drawn.shape == grey().shape and drawn.dtype == np.uint8


def test_options_change_the_image_and_scale_its_size():
    plain = draw_people(grey(), arm(), ARM, labels=False)
    for options in ({"draw_sigma": True}, {"draw_boxes": True}, {"labels": True}, {"person_colours": False}):
        assert not np.array_equal(draw_people(grey(), arm(), ARM, **{"labels": False, **options}), plain), options
    large = draw_people(grey(), arm(), ARM, labels=False, scale=2.0)
    assert large.shape == (200, 200, 3) and tuple(large[100, 100]) == SIDE_COLOURS["left"]


def test_only_keypoints_are_needed():
    people = Instances((100, 100), pred_keypoints=arm().pred_keypoints)
    assert (draw_people(grey(), people, ARM) != 128).any()


def test_boxes_alone_are_not_an_error():
    people = Instances((100, 100), pred_boxes=arm().pred_boxes, scores=torch.ones(1))
    assert (draw_people(grey(), people, ARM) == 128).all()


def test_contact_sheet_and_side_by_side():
    sheet = contact_sheet(
        [grey(), np.zeros((30, 300, 3), np.uint8), grey()], 2, captions=list("abc"), tile=(80, 60), gap=4
    )
    assert sheet.shape[1] == 2 * 84 + 4 and sheet.dtype == np.uint8
    assert contact_sheet([grey()], 5, tile=(80, 60)).shape[1] < 100
    pair = side_by_side(grey(), arm(), arm(), ARM, title="x", height=200)
    assert pair.shape == (200, 404, 3)


def test_a_tag_larger_than_the_image_is_cut():
    tiny = np.zeros((6, 8, 3), np.uint8)
    draw_tag(tiny, "a long text", (50, -20), 20)
    assert tiny.any()  # what fits of it is there


def test_results_and_labels_come_back_as_instances():
    keypoints = [[10, 20, 2], [30, 40, 1], [0, 0, 0]] + [[0, 0, 0]] * 14
    label = {"bbox": [5, 6, 30, 40], "keypoints": sum(keypoints, [])}
    people = instances_from_labels([label], (100, 100), 17)
    assert people.pred_keypoints[0, :2].tolist() == [[10.5, 20.5, 1.0], [30.5, 40.5, 0.0]]
    assert people.pred_keypoint_presence[0, :3].tolist() == [1, 1, 0]
    assert people.pred_boxes.tensor.tolist() == [[5, 6, 35, 46]]
    result = {**label, "score": 0.4, "keypoint_sigmas": [1.0] * 34, "keypoint_presence": [1.0] * 17}
    result["keypoint_covariances"] = [1.0, 0.5, 1.0] * 17
    people = instances_from_results([result], (100, 100), 17)
    assert people.pred_keypoint_sigmas.shape == (1, 17, 2) and people.pred_keypoint_presence.shape == (1, 17)
    assert people.pred_keypoint_covariances[0, 16].tolist() == [[1, 0.5], [0.5, 1]]
    assert len(instances_from_results([], (100, 100), 17)) == 0
    draw_people(grey(), people, COCO)


@pytest.mark.parametrize("size", [(8, 8), (3, 400), (400, 3), (300, 400)])
def test_a_legend_is_drawn_where_there_is_room(size):
    image = np.full((*size, 3), 90, np.uint8)
    draw_legend(image, predicted=True, sigma=True)
    assert (image != 90).any() == (size == (300, 400))


def test_who_has_left_the_image_has_no_label():
    image = np.full((100, 100, 3), 90, np.uint8)
    for people, seen in ((arm(), True), (arm(shift=200.0), False), (arm(presence=0.1), False)):
        plain, labelled = (draw_people(image, people, ARM, labels=labels) for labels in (False, True))
        assert (plain != labelled).any() == seen


def test_tags_that_would_overlap_move_aside():
    image, size = np.zeros((200, 200, 3), np.uint8), 12
    taken = []
    for _ in range(4):
        taken.append(tag_plate(image, "0.50", (80, 80), size, dot=True, taken=taken))
    cover = np.zeros((200, 200), int)
    for x, y, width, height in taken:
        cover[y : y + height, x : x + width] += 1
    assert taken[0][:2] == (80, 80) and cover.max() == 1
    # Where there is no room, a tag is where it would have been.
    assert tag_plate(image, "0.50", (80, 80), size, taken=[(0, 0, 200, 200)])[:2] == (80, 80)


def test_both_scores_of_two_people_in_one_place_can_be_read():

    def plates(people):
        """Pixels that tags darken."""
        bare, tagged = (draw_people(grey(), people, ARM, labels=labels).astype(int) for labels in (False, True))
        return (tagged < bare - 40).all(-1).sum()

    assert plates(Instances.cat([arm(score=0.9), arm(score=0.6)])) > 1.8 * plates(arm(score=0.9)) > 0


@pytest.mark.parametrize("radius", [1.5, 2.0, 2.4, 6.0, 40.0])
def test_discs_are_round_at_every_size(radius):
    image = np.zeros((100, 100, 3), np.uint8)
    disc(image, (50, 50), radius, (255, 255, 255))
    cover = image[..., 0] / 255
    # Half its extent along x and along a diagonal; a diamond has 0.7 of the first on the second.
    along, across = cover[50].sum() / 2, np.diag(cover).sum() / np.sqrt(2)
    assert along == pytest.approx(radius + 0.5, rel=0.15) and across / along > 0.8


def test_hidden_joints_are_hollow_or_left_out_where_the_model_tells_them():
    """The elbow is visible, the wrist hidden; how sure the model is of the place does not matter."""
    people = arm()
    people.pred_keypoint_visibility = torch.tensor([[0.9, 0.4]])
    kept = {name: draw_people(grey(), people, ARM, labels=False, hidden=name) for name in ("show", "hollow", "omit")}
    elbow, wrist = (50, 20), (50, 80)
    filled = kept["show"][elbow]
    assert np.array_equal(kept["hollow"][elbow], filled) and np.array_equal(kept["show"][wrist], filled)
    assert not np.array_equal(kept["hollow"][wrist], filled) and (kept["hollow"][wrist] != 128).any()
    assert (kept["omit"][45:56, 40:] == 128).all() and np.array_equal(kept["omit"][elbow], filled)
    del people._fields["pred_keypoint_visibility"]
    for name in kept:
        assert np.array_equal(draw_people(grey(), people, ARM, labels=False, hidden=name), kept["show"])
