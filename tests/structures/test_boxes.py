"""Areas and overlaps of boxes."""

import numpy as np
import pytest
import torch
import torchvision

from rle_onestage.structures.boxes import box_area, box_intersection, box_iou, iou_matrix, share_inside


def test_overlaps_by_hand():
    a, b = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 0, 6, 4], [4.0, 0, 8, 4], [0, 0, 4, 4]])
    assert iou_matrix(a, b) == pytest.approx(np.array([[1 / 3, 0, 1]]))
    assert box_intersection(torch.tensor(a), torch.tensor(b)).tolist() == [8, 0, 16]


def test_boxes_without_area_overlap_with_nothing():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 5], [9, 9, 1, 1]])
    assert box_area(torch.tensor(boxes)).tolist() == [100, 0, 0]
    assert not iou_matrix(boxes, boxes)[1:].any() and np.isfinite(iou_matrix(boxes, boxes)).all()


def test_shares_are_of_the_first_boxes():
    boxes, regions = np.array([[0, 0, 4, 4], [2, 2, 2, 2]]), np.array([[2, 0, 8, 2], [-9, -9, 9, 9], [4, 4, 8, 8]])
    assert share_inside(boxes, regions).tolist() == [[0.25, 1, 0], [0, 0, 0]]
    assert share_inside(boxes[:0], regions).shape == (0, 3)


@pytest.mark.parametrize("rows, columns", [(0, 3), (3, 0), (0, 0)])
def test_nobody(rows, columns):
    assert iou_matrix(np.zeros((rows, 4)), np.zeros((columns, 4))).shape == (rows, columns)


def test_as_torchvision_has_it():
    low = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(0)) * 50
    a, b = torch.cat([low, low + 1 + 40 * torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(1))], -1)
    expected = torchvision.ops.box_iou(a, b)
    torch.testing.assert_close(box_iou(a[:, None], b), expected)
    assert iou_matrix(a.numpy(), b.numpy()[::-1]) == pytest.approx(expected.flip(1).numpy(), rel=1e-5)
