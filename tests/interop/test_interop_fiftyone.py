"""People as FiftyOne's labels: by the real package where it is installed, by a stand-in for its labels in any case.

FiftyOne is no part of the set-up: its OpenCV must not stand beside ours, and its database is a program that it
downloads. Labels and samples need no database.
"""

import importlib.util
import math
import sys

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given
from interop_people import drawn_people, fiftyone_stand_in, random_people

from rle_onestage.errors import ConfigError, DataError
from rle_onestage.interop import fiftyone_skeleton, to_fiftyone
from rle_onestage.structures.covariance import packed
from rle_onestage.structures.skeleton import COCO


@pytest.fixture(params=["stand-in", "real"], scope="module")
def fiftyone(request):
    """The module that :func:`to_fiftyone` imports."""
    if request.param == "real":
        yield pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "fiftyone", fiftyone_stand_in())
        yield sys.modules["fiftyone"]


def two_people():
    """Of three joints, in an image 200 wide and 100 high."""
    out = Instances((100, 200))
    out.pred_boxes = Boxes(torch.tensor([[20.0, 10.0, 120.0, 60.0], [0.0, 0.0, 200.0, 100.0]]))
    out.scores, out.pred_classes = torch.tensor([0.75, 0.5]), torch.tensor([0, 0])
    points = torch.tensor([[[20.0, 10.0], [100.0, 50.0], [200.0, 100.0]], [[50.0, 25.0], [0.0, 0.0], [10.0, 10.0]]])
    out.pred_keypoints = torch.cat([points, torch.full((2, 3, 1), 0.25)], -1)
    out.pred_keypoint_presence = torch.tensor([[1.0, 0.5, 0.25], [1.0, 1.0, 1.0]])
    out.pred_keypoint_sigmas = torch.tensor([2.0, 4.0]).expand(2, 3, 2)
    return out


def test_coordinates_are_parts_of_the_image_and_absent_joints_nan(fiftyone):
    labels = to_fiftyone(two_people())
    first, second = labels.keypoints.keypoints
    assert first.points[:2] == [[0.1, 0.1], [0.5, 0.5]] and all(math.isnan(value) for value in first.points[2])
    assert second.points == [[0.25, 0.25], [0.0, 0.0], [0.05, 0.1]]
    assert first.label == "person" and first.confidence == [0.25] * 3 and (first.score, second.score) == (0.75, 0.5)
    assert first.sigma_x == [2.0] * 3 and first.sigma_y == [4.0] * 3 and first.covariance == [[4.0, 0.0, 16.0]] * 3
    assert first.presence == [1.0, 0.5, 0.25] and not hasattr(first, "visibility") and first.index is None
    boxes = labels.detections.detections
    np.testing.assert_allclose([box.bounding_box for box in boxes], [[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]], atol=1e-12)
    assert [(box.label, box.confidence, box.index) for box in boxes] == [("person", 0.75, None), ("person", 0.5, None)]


def test_all_joints_are_kept_where_that_is_asked_for(fiftyone):
    (first, _) = to_fiftyone(two_people(), least_presence=0).keypoints.keypoints
    assert first.points[2] == [1.0, 1.0]


@pytest.mark.parametrize("where", ["real", "stand-in"])
@given(people=drawn_people())
def test_whatever_people_lack_the_rest_arrives(where, people):
    if where == "real" and importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed")
    with pytest.MonkeyPatch.context() as patch:
        if where == "stand-in":
            patch.setitem(sys.modules, "fiftyone", fiftyone_stand_in())
        found, boxes = to_fiftyone(people, least_presence=0)
    assert len(found.keypoints) == len(people)
    assert (boxes is None) == (not people.has("pred_boxes"))
    height, width = people.image_size
    for i, person in enumerate(found.keypoints):
        in_pixels = np.array(person.points) * (width, height)
        np.testing.assert_allclose(in_pixels, people.pred_keypoints[i, :, :2].numpy(), atol=0.01)
        assert person.index == (people.ID[i].item() if people.has("ID") else None)
        for name in ("presence", "visibility"):
            field = f"pred_keypoint_{name}"
            assert hasattr(person, name) == people.has(field)
            assert not people.has(field) or getattr(person, name) == people.get(field)[i].tolist()
        if people.has("pred_keypoint_covariances"):
            assert person.covariance == packed(people.pred_keypoint_covariances[i].numpy()).tolist()
    for i, box in enumerate(boxes.detections if boxes else []):
        x, y, w, h = box.bounding_box
        corners = np.array([x, y, x + w, y + h]) * (width, height, width, height)
        np.testing.assert_allclose(corners, people.pred_boxes.tensor[i].numpy(), atol=0.01)
        assert box.confidence == (people.scores[i].item() if people.has("scores") else None)
        assert not people.has("predicted") or box.predicted == people.predicted[i].item()


def test_the_skeleton_counts_from_zero(fiftyone):
    skeleton = fiftyone_skeleton(COCO)
    assert list(skeleton.labels) == list(COCO.names)
    assert [tuple(edge) for edge in skeleton.edges] == list(COCO.limbs)


def test_a_sample_keeps_the_labels(tmp_path):
    fo = pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    sample = fo.Sample(filepath=str(tmp_path / "a.jpg"))
    sample["people"], sample["boxes"] = to_fiftyone(random_people(2, 17))
    again = fo.Sample.from_dict(sample.to_dict())
    assert again["people"].keypoints[1].sigma_x == sample["people"].keypoints[1].sigma_x
    assert again["boxes"].detections[0].index == 3


def test_what_cannot_be_converted_is_refused(fiftyone):
    with pytest.raises(DataError, match=r"image_size of the people is \(0, 640\)"):
        to_fiftyone(random_people(1, 2, size=(0, 640)))
    with pytest.raises(ConfigError, match="least_presence is 50"):
        to_fiftyone(two_people(), least_presence=50)
    people = two_people()
    people.pred_classes = torch.tensor([0, 2])
    with pytest.raises(DataError, match="the class 2"):
        to_fiftyone(people)
    assert to_fiftyone(people, class_names=["a", "b", "c"]).detections.detections[1].label == "c"
