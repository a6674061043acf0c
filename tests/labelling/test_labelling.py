"""Labels made by a model: views, who is who, fusing, what is kept, and that the truth comes back."""

import numpy as np
import pytest
import torch
from label_toys import HEIGHT, POSE, WIDTH, Knows, at, image_of, person, write_images

from rle_onestage.data import load_coco_keypoints
from rle_onestage.errors import ConfigError
from rle_onestage.labelling import (
    Detections,
    Labeller,
    LabelOptions,
    Limit,
    decide,
    fuse,
    label_images,
    match_views,
    mirrored_back,
    similarity,
)
from rle_onestage.labelling.fusing import stacked
from rle_onestage.structures.covariance import covariance_of
from rle_onestage.structures.skeleton import COCO, Skeleton

ONE_SIZE = LabelOptions(sizes=(64,))
CAT = Skeleton("cat", ("nose", "left_paw", "right_paw"), ((1, 2),), ((0, 1), (0, 2)), (0.05, 0.1, 0.1))


def detections(*people):
    keys = ("box", "joints", "sigmas", "presence", "score", "area", "correlations")
    return Detections(*(np.array([p[key] for p in people]) for key in keys))


def labels_of(people, options=ONE_SIZE, skeleton=COCO):
    return Labeller(Knows(people, skeleton), options)(image_of(1))


def test_two_views_are_fused_by_the_inverse_of_their_variances():
    """x: 10 and 13 with variances 1 and 4, weights 0.8 and 0.2; y: the same place with a variance of 9."""
    first = person([[10.0, 20.0]], sigma=[1.0, 3.0], presence=0.9, score=0.8, box=[0, 0, 10, 10], area=40.0)
    second = person([[13.0, 20.0]], sigma=[2.0, 3.0], presence=0.5, score=0.6, box=[2, 0, 12, 14], area=60.0)
    fused = fuse(detections(first, second))
    assert fused.joints == pytest.approx(np.array([[10.6, 20.0]]))
    # 0.8 x 1 + 0.2 x 4 within the views, 0.8 x 0.6^2 + 0.2 x 2.4^2 between them
    assert fused.sigmas == pytest.approx(np.sqrt([[1.6 + 1.44, 9.0]]))
    assert fused.spread == pytest.approx([1.2])
    # (0.36 / 1 + 5.76 / 4 + 0 + 0) / 4
    assert fused.disagreement == pytest.approx([np.sqrt(0.45)])
    assert fused.presence == pytest.approx([0.7]) and fused.score == pytest.approx(0.7) and fused.views == 2
    assert fused.box.tolist() == [1, 0, 11, 12] and fused.area == 50.0


@pytest.mark.parametrize("second", [[2.0, 4.0], [5.0, 2.0]])
def test_a_mirrored_view_is_merged_as_the_mixture_of_both(second):
    """By Monte Carlo: draws of a view for x and one for y, the same one as often as their weights allow.

    With sigmas in the same proportion, as in the first case, it is always the same one: the plain mixture.
    """
    one = person([[40.0, 30.0]], sigma=[1.0, 2.0], correlation=0.6, box=[0, 0, 99, 60])
    other = person([[99.0 - 43.0, 28.0]], sigma=second, correlation=0.4, box=[0, 0, 99, 60])  # in the mirror
    views = detections(one), mirrored_back(detections(other), 99, [0])
    fused = fuse(stacked(list(views)))
    rng, count = np.random.default_rng(0), 400_000
    weights = np.array([v.sigmas[0, 0] ** -2 for v in views])
    weights /= weights.sum(0)  # (2, 2) of the views, of x and y
    even = rng.random(count)  # one number chooses for both, so that they choose the same view as often as can be
    pick = np.stack([(even >= weights[0, axis]).astype(int) for axis in (0, 1)], 1)
    draws = np.zeros((2, count, 2))
    for number, (view, sign) in enumerate(zip(views, (1, -1))):
        sigma = view.sigmas[0, 0]
        correlation = {1: 0.6, -1: -0.4}[sign]
        both = correlation * sigma.prod()
        covariance = [[sigma[0] ** 2, both], [both, sigma[1] ** 2]]
        draws[number] = rng.multivariate_normal(view.joints[0, 0], covariance, count)
    drawn = np.stack([draws[pick[:, axis], np.arange(count), axis] for axis in (0, 1)], 1)
    found = covariance_of(torch.from_numpy(fused.sigmas), torch.from_numpy(fused.correlations))[0].numpy()
    np.testing.assert_allclose(drawn.mean(0), fused.joints[0], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), found, rtol=0.02, atol=0.05)
    assert abs(found[0, 1]) > 0.1


def test_one_view_is_fused_to_itself():
    only = person(POSE, sigma=[2.0, 3.0], correlation=0.4)
    fused = fuse(detections(only))
    assert np.allclose(fused.joints, POSE) and np.allclose(fused.sigmas, [2.0, 3.0])
    assert np.allclose(fused.correlations, 0.4)
    assert not fused.spread.any() and not fused.disagreement.any() and fused.views == 1


def test_views_that_agree_are_no_surer_than_each():
    """Their errors go together: six equal views have the sigma of one."""
    fused = fuse(detections(*[person(POSE, sigma=2.0)] * 6))
    assert np.allclose(fused.sigmas, 2.0) and np.allclose(fused.spread, 0)


def test_a_mirrored_view_comes_back():
    """In an image of 100 pixels; left and right change places, and with them sigma and presence."""
    seen = person(
        [[30.0, 5.0], [20.0, 8.0], [45.0, 9.0]], sigma=[[1.0, 1.0], [2.0, 3.0], [4.0, 5.0]], presence=[0.9, 0.8, 0.7],
        box=[10.0, 1.0, 60.0, 12.0], correlation=[0.1, 0.2, 0.3],
    )  # fmt: skip
    back = mirrored_back(detections(seen), 100, CAT.flip_index)
    assert back.joints[0].tolist() == [[70.0, 5.0], [55.0, 9.0], [80.0, 8.0]]
    assert back.sigmas[0].tolist() == [[1.0, 1.0], [4.0, 5.0], [2.0, 3.0]]
    assert back.presence[0].tolist() == [0.9, 0.7, 0.8] and back.boxes[0].tolist() == [40.0, 1.0, 90.0, 12.0]
    assert back.correlations[0].tolist() == [-0.1, -0.3, -0.2]
    twice = mirrored_back(back, 100, CAT.flip_index)
    assert all(np.array_equal(a, b) for a, b in zip(twice, detections(seen)))


def test_likeness_is_the_mean_of_box_and_pose():
    """Boxes of IoU 1/3; joints at a distance where the similarity is exp(-1/2) on the smaller area."""
    first = person([[0.0, 0.0]], box=[0, 0, 10, 10], area=100.0)
    second = person([[2.0, 0.0]], box=[5, 0, 15, 10], area=400.0)
    alike = similarity(detections(first, second), (0.1,))  # k = 0.2: k sqrt(100) = 2 pixels
    assert alike == pytest.approx(np.array([[1.0, (1 / 3 + np.exp(-0.5)) / 2], [(1 / 3 + np.exp(-0.5)) / 2, 1.0]]))


def test_people_are_matched_across_views():
    """Two people in three views, in another order, one of them missed once; nobody is in a view twice."""
    a, b = at(10, 10), at(70, 20)
    views = [
        detections(person(a, score=0.9), person(b, score=0.5)),
        detections(person(b + 1, score=0.95), person(a - 1, score=0.4)),
        detections(person(a + 2, score=0.3), person(a + 3, score=0.2)),
    ]
    groups = match_views(views, COCO.oks_sigmas, 0.45)
    assert [g.scores.tolist() for g in groups] == [[0.95, 0.5], [0.9, 0.4, 0.3], [0.2]]
    assert np.allclose(groups[1].joints[:, 0, 0], a[0, 0] + np.array([0, -1, 2]))


def test_nobody_in_any_view():
    nobody = Detections(*(np.zeros((0, *shape)) for shape in ((4,), (17, 2), (17, 2), (17,), (), (), (17,))))
    assert match_views([nobody, nobody], COCO.oks_sigmas, 0.45) == []


@pytest.mark.parametrize(
    "change, kept",
    [
        ({}, True),
        ({"sigma": (9, 12.0)}, False),  # unsure by the absolute limit: 12 pixels where the root of the area is 107
        ({"sigma": (1, 6.0)}, False),  # fine for a hip, not for an eye: its expected OKS is low
        ({"sigma": (11, 6.0)}, True),
        ({"presence": (9, 0.4)}, False),
        ({"joints": (9, [-3.0, 50.0])}, False),  # outside
    ],
)
def test_a_joint_is_kept_if_it_is_sure(change, kept):
    given, joint = person(at(20, 10)), 9
    for key, (joint, value) in change.items():
        name = {"sigma": "sigmas"}.get(key, key)
        given[name] = given[name].copy()
        given[name][joint] = value
    (label,) = labels_of({1: [given]}).people
    assert label.kept[joint] == kept and label.kept.sum() == (17 if kept else 16)


def test_a_joint_about_which_views_disagree_is_dropped():
    """The mirrored view has the left wrist 20 pixels off: a spread of 10, a tenth of the root of the area."""

    def people(number, size, mirrored):
        joints = at(20, 10)
        joints[9] += [20.0 * mirrored, 0]
        joints[10] += [6.0 * mirrored, 0]
        sigma = np.full((17, 2), 2.0)
        sigma[9:11] = 5.5
        return [person(joints, sigma=sigma, area=10000.0, box=[20, 10, 140, 220])]

    strict = LabelOptions(sizes=(64,), min_oks=Limit(0.3))
    assert np.flatnonzero(~labels_of(people, strict).people[0].kept).tolist() == [9]
    lenient = LabelOptions(sizes=(64,), min_oks=Limit(0.3), max_spread=Limit(0.07, (("wrist", 0.11),)))
    (label,) = labels_of(people, lenient).people
    assert label.kept.all() and np.allclose(label.joints[9], at(20, 10)[9] + [10, 0])
    assert np.allclose(label.sigmas[9], [np.hypot(5.5, 10), 5.5])


@pytest.mark.parametrize("apart, kept", [(5.0, 17), (6.0, 16)])
def test_views_must_agree_within_their_own_sigmas_too(apart, kept):
    """3 pixels to each side are little for the person, but each view is sure to one: sqrt(3^2 / 2) = 2.12 sigmas."""

    def people(number, size, mirrored):
        joints = at(20, 10)
        joints[13] += [apart * mirrored, 0]
        return [person(joints, sigma=1.0)]

    assert labels_of(people).people[0].kept.sum() == kept


def test_doubtful_people_are_regions_to_be_ignored():
    """Low score; too few joints; found in too few views. Lower than low is left out."""
    few = np.zeros(17)
    few[:3] = 1.0
    three = [
        person(at(0, 10) * 0.4, score=0.3), person(at(110, 10), score=0.8, presence=few),
        person(at(220, 10), score=0.9), person(at(250, 300) * 0.4, score=0.05),
    ]  # fmt: skip

    def people(number, size, mirrored):
        return [p for p in three if size == 64 or p is not three[2]]

    options = LabelOptions(sizes=(64, 32, 48), min_view_share=0.5)
    labels = labels_of(people, options)
    assert not labels.people and [label.score for label in labels.ignored] == pytest.approx([0.9, 0.8, 0.3])
    assert labels.ignored[1].box == pytest.approx(three[1]["box"]) and not labels.ignored[1].kept.any()
    found = labels_of(people, LabelOptions(sizes=(64, 32, 48), min_view_share=0.3))
    assert [label.score for label in found.people] == pytest.approx([0.9])
    assert not labels_of(people, LabelOptions(sizes=(64, 32, 48), ignore_regions=False)).ignored


def test_one_view_of_two_is_not_enough_to_agree():
    assert LabelOptions(sizes=(64,), min_view_share=0.1).views_needed == 2
    assert LabelOptions(sizes=(64,), mirror=False).views_needed == 1
    assert LabelOptions(sizes=(64, 32, 16), min_view_share=2 / 3).views_needed == 4


def test_a_person_is_not_labelled_or_ignored_twice():
    """A doubtful detection of a labelled person is left out; a second sure one is ignored."""
    twice = [person(at(20, 10), score=0.9), person(at(24, 10), score=0.8), person(at(16, 10), score=0.2)]
    labels = labels_of({1: twice})
    assert [label.score for label in labels.people] == pytest.approx([0.9])
    assert [label.score for label in labels.ignored] == pytest.approx([0.8])


def test_the_box_holds_the_joints_and_stays_in_the_image():
    """A box that is too small, of somebody cut by the border; the joints outside are not labelled."""
    joints = at(250, 10)
    found = person(joints, box=[260, 30, 340, 180], area=20000.0)
    (label,) = labels_of({1: [found]}).people
    inside = joints[joints[:, 0] <= WIDTH]
    assert label.kept.sum() == len(inside) < 17
    x0, y0, x1, y1 = label.box
    assert (x0, x1) == pytest.approx((inside[:, 0].min(), WIDTH))
    assert (y0, y1) == pytest.approx((inside[:, 1].min(), inside[:, 1].max()))
    assert label.area == pytest.approx((x1 - x0) * (y1 - y0))  # no larger than the box
    (small,) = labels_of({1: [person(joints, box=[260, 30, 340, 180], area=6000.0)]}).people
    assert small.area == pytest.approx(6000.0)


def test_nobody_to_decide_about():
    labels = decide([], np.zeros((0, 17)), names=COCO.names, oks_sigmas=COCO.oks_sigmas, size=(9, 9), options=ONE_SIZE)
    assert labels.people == [] and labels.ignored == []


def test_every_size_is_looked_at_as_it_is_and_mirrored():
    predictor = Knows({1: []})
    assert Labeller(predictor, LabelOptions(sizes=(64, 480)))(image_of(1)) == ([], [])
    assert predictor.resize is None, "the user's predictor keeps its own resize"
    assert predictor.seen == [(1, 64, False), (1, 64, True), (1, 480, False), (1, 480, True)]
    predictor.seen.clear()
    Labeller(predictor, LabelOptions(sizes=(64,), mirror=False))(image_of(1))
    assert predictor.seen == [(1, 64, False)]


def crowd(rng, number):
    """Labelled people who stand apart, with joints on pixel indices, as in a file, and some of them not labelled."""
    people = []
    for i in range(number):
        scale = rng.uniform(0.5, 1.0)
        joints = np.floor(POSE * scale + [4 + 100 * i, rng.uniform(1, 30)])
        visible = rng.random(17) < 0.8
        visible[:4] = True
        people.append((joints, visible))
    return people


@pytest.mark.parametrize("seed", range(3))
def test_what_a_perfect_predictor_says_comes_back(tmp_path, seed):
    """Through the file and our own reader: each joint, box and area, and nothing that was not said."""
    rng = np.random.default_rng(seed)
    truth = {number: crowd(rng, number % 4) for number in range(1, 6)}
    predictor = Knows({
        number: [person(j + 0.5, presence=v * 1.0, score=0.9 - 0.1 * i) for i, (j, v) in enumerate(people)]
        for number, people in truth.items()
    })  # fmt: skip
    write_images(tmp_path / "images", truth)
    output = tmp_path / "labels.json"
    assert label_images(predictor, [str(tmp_path / "images")], str(output)) == 0
    records, problems = load_coco_keypoints(str(output), str(tmp_path / "images"))
    assert not problems.names and [r["image_id"] for r in records] == list(truth)
    for record in records:
        people = truth[record["image_id"]]
        assert len(record["annotations"]) == len(people)
        for annotation, (joints, visible) in zip(record["annotations"], people):
            keypoints = np.reshape(annotation["keypoints"], (17, 3))
            assert np.allclose(keypoints[:, 2], 2 * visible)
            assert np.allclose(keypoints[visible, :2], joints[visible] + 0.5, atol=0.01)
            low, high = joints.min(0) + 0.5 - 5, joints.max(0) + 0.5 + 5
            box = np.concatenate([low.clip(min=0), high.clip(max=[WIDTH, HEIGHT])])
            assert np.allclose(annotation["bbox"], [*box[:2], *(box[2:] - box[:2])], atol=0.01)
            assert annotation["area"] == pytest.approx(0.5 * (high - low).prod(), rel=1e-3)
            assert not annotation["iscrowd"]


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": ()},
        {"sizes": (64, 64)},
        {"sizes": (320, 100_000)},
        {"sizes": (10**20,)},
        {"min_score": 1.5},
        {"min_joints": 0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError):
        LabelOptions(**options)


def test_thresholds_of_parts():
    limit = Limit.parse(["0.1", "wrist=0.2", "Left Eye=0.3"])
    with pytest.raises(ConfigError, match="left eye"):
        limit.of(COCO.names)
    values = Limit.parse(["wrist=0.2", "0.1"]).of(COCO.names)
    assert np.flatnonzero(values == 0.2).tolist() == [9, 10] and np.sum(values == 0.1) == 15
    for words in (["wrist=0.2"], ["0.1", "0.2"], ["0.1", "wrist=x"], ["nan"], ["-1"]):
        with pytest.raises(ConfigError):
            Limit.parse(words)
    with pytest.raises(ConfigError, match="tail"):
        Labeller(Knows({}), LabelOptions(min_oks=Limit(0.5, (("tail", 0.1),))))


def test_more_kept_joints_than_there_are_would_label_nobody():
    with pytest.raises(ConfigError, match="min_joints is 18, but people have 17 joints"):
        Labeller(Knows({}), LabelOptions(min_joints=18))


def test_a_model_without_sigmas_cannot_label(tmp_path):
    class Bare(Knows):
        def _find(self, image):
            people = super()._find(image)
            people.remove("pred_keypoint_sigmas")
            return people

    with pytest.raises(ConfigError, match="no sigma"):
        Labeller(Bare({1: []}), ONE_SIZE)(image_of(1))
