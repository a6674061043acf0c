"""People as supervision's key points and detections: numbers, absent fields, and what its annotators draw of them."""

import types

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given
from interop_people import OPTIONAL, drawn_people, random_people

from rle_onestage import Predictor, load_config, model_zoo
from rle_onestage.data import read_image
from rle_onestage.errors import ConfigError, DataError, MissingPackageError
from rle_onestage.interop import packages, supervision_edges, to_supervision, to_supervision_detections
from rle_onestage.structures.skeleton import COCO, CROWDPOSE, Skeleton
from rle_onestage.utils.packaged_files import CHECKPOINTS
from rle_onestage.video.tracking import PoseTracker

sv = pytest.importorskip("supervision", reason="the extra supervision is not installed")

BLACK = (300, 400, 3)
WHITE = sv.Color(255, 255, 255)
ARM = Skeleton("arm", ("left_elbow", "left_wrist"), (), ((0, 1),), (0.07, 0.06))
# The key of data for each field that is copied.
KEYS = {
    "pred_keypoint_sigmas": "sigma",
    "pred_keypoint_covariances": "covariance",
    "pred_keypoint_presence": "presence",
    "pred_keypoint_visibility": "visibility",
    "ID": "tracker_id",
    "predicted": "predicted",
}


def arm(covariance=((100.0, 0.0), (0.0, 25.0)), presence=(1.0, 1.0), points=((100.0, 150.0), (300.0, 150.0))):
    """One person of two joints, whose errors have the same covariance."""
    out = Instances(BLACK[:2])
    out.pred_boxes = Boxes(torch.tensor([[90.0, 140.0, 310.0, 160.0]]))
    out.scores, out.pred_classes = torch.tensor([0.9]), torch.tensor([0])
    out.pred_keypoints = torch.cat([torch.tensor(points), torch.tensor([[0.8], [0.4]])], -1)[None]
    out.pred_keypoint_covariances = torch.tensor(covariance).expand(1, 2, 2, 2)
    out.pred_keypoint_sigmas = out.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1).sqrt()
    out.pred_keypoint_presence = torch.tensor([presence])
    return out


@given(drawn_people())
def test_every_field_arrives_and_no_other(people):
    found = to_supervision(people)
    number, joints = people.pred_keypoints.shape[:2]
    assert found.xy.shape == (number, joints, 2) and len(found) == number and found.is_empty() == (number == 0)
    np.testing.assert_allclose(found.xy, people.pred_keypoints[..., :2].numpy(), atol=0.01)
    np.testing.assert_array_equal(found.keypoint_confidence, people.pred_keypoints[..., 2].numpy())
    for name, value in (("scores", found.detection_confidence), ("pred_classes", found.class_id)):
        assert (value is None) == (not people.has(name))
        assert value is None or value.tolist() == people.get(name).tolist()
    expected = {KEYS[name]: people.get(name).numpy() for name in KEYS if people.has(name)}
    if people.has("pred_boxes"):
        expected["xyxy"] = people.pred_boxes.tensor.numpy()
    if people.has("pred_keypoint_sigmas") and "covariance" not in expected:
        expected["covariance"] = np.square(expected["sigma"])[..., None] * np.eye(2, dtype=np.float32)
    expected["class_name"] = np.array(["person"] * number, dtype=np.str_)
    assert found.data.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found.data[key], value, err_msg=key)
    if people.has("pred_keypoint_presence"):
        np.testing.assert_array_equal(found.visible, people.pred_keypoint_presence.numpy() >= 0.5)
    else:
        assert found.visible is None


@given(drawn_people([name for name in OPTIONAL if name not in ("pred_boxes", "pred_keypoint_sigmas")]))
def test_annotators_and_methods_take_what_comes_out(people):
    """Whatever is absent, in supervision's own hands: nobody, one joint, people filtered by a mask, as boxes."""
    found, image = to_supervision(people), np.zeros((480, 640, 3), np.uint8)
    for annotator in (sv.VertexAnnotator(), sv.VertexEllipseAreaAnnotator(), sv.VertexLabelAnnotator()):
        assert annotator.annotate(image.copy(), found).shape == image.shape
    if people.has("scores"):
        sure = found[found.detection_confidence > 0.5]
        assert sure.data["covariance"].shape[:2] == sure.xy.shape[:2] and len(sure) == (people.scores > 0.5).sum()
    detections = to_supervision_detections(people)
    np.testing.assert_array_equal(detections.xyxy, people.pred_boxes.tensor.numpy())
    assert (detections.tracker_id is None) == (not people.has("ID"))
    assert sv.BoxAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(image.copy(), detections).shape == image.shape
    assert len(found.as_detections()) <= len(found)


@given(drawn_people([name for name in OPTIONAL if name not in ("scores", "pred_classes")]))
def test_its_own_way_from_detectron2_agrees(people):
    theirs, ours = sv.KeyPoints.from_detectron2({"instances": people}), to_supervision(people)
    if len(people) == 0:
        assert theirs.is_empty() and ours.is_empty()
        return
    for name in ("xy", "keypoint_confidence", "class_id"):
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
    if theirs.detection_confidence is not None:  # 0.30.0 leaves it out
        np.testing.assert_array_equal(theirs.detection_confidence, ours.detection_confidence)


@pytest.mark.parametrize("covariance", [((900.0, 0.0), (0.0, 100.0)), ((500.0, 400.0), (400.0, 500.0))])
def test_its_ellipse_is_that_of_the_covariance(covariance):
    """The filled one of two standard deviations: its area, and the second moments of its pixels, which are a quarter of
    the squared half-axes of an ellipse."""
    image = np.zeros(BLACK, np.uint8)
    people = arm(covariance)
    people.pred_keypoint_presence = torch.tensor([[1.0, 0.0]])
    drawn = sv.VertexEllipseAreaAnnotator(sigma=2.0, color=WHITE, opacity=1.0).annotate(image, to_supervision(people))
    pixels = np.argwhere(drawn[..., 0] > 127)[:, ::-1]
    assert len(pixels) == pytest.approx(np.pi * 4 * np.sqrt(np.linalg.det(covariance)), rel=0.05)
    np.testing.assert_allclose(pixels.mean(0), (100, 150), atol=0.6)
    np.testing.assert_allclose(np.cov(pixels.T), 4 * np.array(covariance) / 4, rtol=0.06, atol=3)


def test_joints_that_are_not_in_the_image_are_left_out():
    image, edges = np.zeros(BLACK, np.uint8), supervision_edges(ARM)
    for presence, least, dots, line in (
        ((0.5, 0.6), 0.5, 2, True),
        ((0.49, 0.6), 0.5, 1, False),
        ((0.49, 0.6), 0.4, 2, True),
    ):
        found = to_supervision(arm(presence=presence), least_presence=least)
        vertices = sv.VertexAnnotator(color=WHITE, radius=4).annotate(image.copy(), found)
        assert cv2.connectedComponents(vertices[..., 0])[0] - 1 == dots
        limb = sv.EdgeAnnotator(color=WHITE, edges=edges).annotate(image.copy(), found)
        assert bool(limb[150, 200].any()) == line


def test_what_is_changed_there_stays_as_it_was_here():
    people, before = random_people(2, 3), random_people(2, 3)
    found, boxes = to_supervision(people), to_supervision_detections(people)
    for values in (found.xy, found.keypoint_confidence, boxes.xyxy, boxes.tracker_id, *found.data.values()):
        if values.dtype.kind != "U":
            values[:] = 0
    for name, value in people.get_fields().items():
        value, earlier = (getattr(field, "tensor", field) for field in (value, before.get(name)))
        assert torch.equal(value, earlier), name


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
def test_edges_count_from_one(skeleton):
    assert [(a - 1, b - 1) for a, b in supervision_edges(skeleton)] == list(skeleton.limbs)
    assert min(min(edge) for edge in supervision_edges(skeleton)) == 1


def test_a_skeleton_without_limbs_is_not_drawn_with_those_of_another():
    lonely = Skeleton("lonely", COCO.names, (), (), COCO.oks_sigmas)
    with pytest.raises(DataError, match="'lonely' has no limbs"):
        supervision_edges(lonely)


def test_identities_go_from_the_tracker_to_its_traces():
    tracker, trace = PoseTracker(COCO), sv.TraceAnnotator(color=WHITE, color_lookup=sv.ColorLookup.TRACK)
    image, seen = np.zeros((480, 640, 3), np.uint8), []
    person = random_people(2, 17, leave_out=("ID", "predicted"))
    person.pred_keypoints[..., :2] = torch.rand(2, 17, 2) * 60 + torch.tensor([[[100.0, 100.0]], [[400.0, 300.0]]])
    low, high = person.pred_keypoints[..., :2].min(1).values, person.pred_keypoints[..., :2].max(1).values
    person.pred_boxes = Boxes(torch.cat([low, high], 1))
    person.scores = torch.tensor([0.9, 0.8])
    for frame in range(4):
        people = tracker(person, frame / 25)
        key_points, detections = to_supervision(people), to_supervision_detections(people)
        assert key_points.data["tracker_id"].tolist() == detections.tracker_id.tolist() == people.ID.tolist()
        assert key_points.data["predicted"].tolist() == [False, False]
        seen.append(tuple(detections.tracker_id))
        person.pred_keypoints[..., 0] += 3
        person.pred_boxes.tensor[:, [0, 2]] += 3
        image = trace.annotate(image, detections)
    assert len(set(seen)) == 1 and min(seen[0]) > 0 and image.any()


def test_a_model_of_ours_on_a_photograph(request):
    """The whole way: two weights and one image of the repository. Where supervision puts a joint is where it is."""
    options = ["INPUT.MIN_SIZE_TEST", 256, "INPUT.MAX_SIZE_TEST", 256]
    predictor = Predictor(load_config(model_zoo.get_config_file("people"), options), str(CHECKPOINTS / "people.pth"))
    image = read_image(str(request.config.rootpath / "datasets" / "examples" / "office.jpg"))
    people = predictor(image)
    people = people[people.scores > 0.28]
    found, theirs = to_supervision(people), sv.KeyPoints.from_detectron2({"instances": people})
    assert len(found) >= 1 and np.array_equal(found.xy, theirs.xy)
    first = found[0]
    first.visible[:, 1:] = False
    drawn = sv.VertexAnnotator(color=sv.Color(255, 0, 255), radius=3).annotate(image.copy(), first)
    place = np.argwhere((drawn != image).any(-1)).mean(0)[::-1] + 0.5  # of pixels' middles
    np.testing.assert_allclose(place, first.xy[0, 0], atol=1)
    ellipses = sv.VertexEllipseOutlineAnnotator(thickness=1).annotate(image.copy(), found)
    limbs = sv.EdgeAnnotator(edges=supervision_edges(predictor.skeleton)).annotate(image.copy(), found)
    assert (ellipses != image).any() and (limbs != image).any()


def test_names_of_classes():
    people = random_people(2, 3)
    people.pred_classes = torch.tensor([1, 0])
    assert to_supervision(people, class_names=["cat", "dog"]).data["class_name"].tolist() == ["dog", "cat"]
    assert to_supervision_detections(people, class_names=["cat", "dog"])["class_name"].tolist() == ["dog", "cat"]
    with pytest.raises(DataError, match="class_names has 1 name, but one of the people has the class 1; give a name"):
        to_supervision(people)
    with pytest.raises(
        DataError, match=r"class_names is the text 'person'; give a list of names, such as \['person'\]"
    ):
        to_supervision(people, class_names="person")


def test_some_joints_alone():
    """Its index takes them from the fields that it knows, not from data; the page says what to do."""
    found, joints = to_supervision(random_people(2, 5)), [3, 1]
    some = found[:, joints]
    some.data["covariance"] = found.data["covariance"][:, joints]
    image = np.zeros((480, 640, 3), np.uint8)
    ellipses = sv.VertexEllipseAreaAnnotator()
    drawn = ellipses.annotate(image.copy(), some)
    found.visible[:, [0, 2, 4]] = False
    np.testing.assert_array_equal(drawn > 0, ellipses.annotate(image.copy(), found) > 0)
    assert drawn.any()


@pytest.mark.parametrize(
    "people, message",
    [
        ({"instances": arm()}, r"not dict; give outputs\['instances'\]"),
        ([arm()], "not list; give what a Predictor gives for one image"),
        (Instances((4, 4)), "without pred_keypoints"),
    ],
)
def test_what_has_no_joints_is_refused(people, message):
    with pytest.raises(DataError, match=message):
        to_supervision(people)


def test_boxes_that_are_not_there_and_percent_are_refused():
    with pytest.raises(DataError, match="without pred_boxes"):
        to_supervision_detections(random_people(1, 2, leave_out=("pred_boxes",)))
    with pytest.raises(ConfigError, match="least_presence is 50"):
        to_supervision(arm(), least_presence=50)


def test_a_supervision_that_is_too_old_is_named(monkeypatch):
    old = types.SimpleNamespace(__version__="0.26.1")
    monkeypatch.setattr(packages.importlib, "import_module", lambda name: old)
    with pytest.raises(MissingPackageError, match=r"^supervision 0\.26\.1 is too old; run pip install 'rle-onestage\["):
        to_supervision(arm())
