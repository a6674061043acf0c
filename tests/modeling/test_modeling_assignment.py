"""Who answers for whom: hand-made cases for the three assigners."""

import pytest
import torch
from modeling_toys import candidate_predictions

from rle_onestage.modeling.assignment import CenterAssigner, DynamicAssigner, PeakAssigner
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.structures import Poses, Targets

K = 2
LEVELS = make_locations([(8, 8), (4, 4)], [8, 16], torch.device("cpu"))
ONE_LEVEL = make_locations([(16, 16)], [4], torch.device("cpu"))
DYNAMIC = {"radius": 2.5, "oks_widen": 3.0, "oks_sigmas": [0.1] * K}


def make_case(people, crowds=()):
    """Targets of images with people (x0, y0, x1, y1), whose joints are the corners of their boxes."""
    most = max(1, *(len(p) for p in people))
    boxes, valid = torch.zeros(len(people), most, 4), torch.zeros(len(people), most, dtype=torch.bool)
    for row, flags, boxes_of_image in zip(boxes, valid, people):
        row[: len(boxes_of_image)] = torch.tensor(boxes_of_image, dtype=torch.float32).reshape(-1, 4)
        flags[: len(boxes_of_image)] = True
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    joints = boxes.unflatten(2, (K, 2))
    ignore = torch.tensor(crowds, dtype=torch.float32).reshape(len(people) if crowds else 1, -1, 4)
    ignore = ignore if crowds else torch.zeros(len(people), 0, 4)
    labelled = valid[..., None].expand(-1, -1, K)
    return Targets(
        valid,
        boxes,
        joints,
        labelled,
        area,
        ignore,
        known=labelled,
        area_known=valid,
        weight=valid.float(),
        regions=torch.zeros(len(people), 0, 6 + K),
        visible=labelled,
        told=valid,
    )


def assign(assigner, locations, targets, *, person=None, boxes=None, mu=None):
    """Assign with predictions that are the truth of person 0 of each image, unless given."""
    pairs = assigner.candidates(locations, targets)
    image = pairs.candidates.image
    count = len(image)
    boxes = targets.boxes[image, 0] if boxes is None else boxes
    mu = targets.joints[image, 0] if mu is None else mu
    poses = Poses(mu, torch.ones(count, K, 2), torch.zeros(count, K))
    said = candidate_predictions(poses, indices=pairs.candidates, boxes=boxes, score=person)
    return pairs, assigner(pairs, locations, targets, said)


def of_person(pairs, assignment, number):
    """Locations that answer for a person of image 0, best first."""
    chosen = (assignment.person == number).nonzero()[:, 0]
    chosen = chosen[assignment.rank[chosen].argsort()]
    return pairs.candidates.location[chosen].tolist()


ASSIGNERS = {
    "center": (CenterAssigner(radius=1.5, level_sizes=[24, 512]), LEVELS),
    "peak": (PeakAssigner(), ONE_LEVEL),
    "dynamic": (DynamicAssigner(topk=3, **DYNAMIC), LEVELS),
}


@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_person_smaller_than_a_stride_has_a_candidate(name):
    assigner, locations = ASSIGNERS[name]
    pairs, assignment = assign(assigner, locations, make_case([[(17.2, 30.1, 18.0, 31.0)]]))
    answering = of_person(pairs, assignment, 0)
    assert answering
    nearest = (locations.xy - torch.tensor([17.6, 30.55])).abs().amax(1) / locations.stride
    assert nearest[answering[0]] <= 0.5


@pytest.mark.parametrize("name", ASSIGNERS)
def test_nobody(name):
    assigner, locations = ASSIGNERS[name]
    pairs, assignment = assign(assigner, locations, make_case([[], []]))
    assert len(pairs.candidates.image) == len(assignment.person) == len(assignment.target) == len(assignment.rank) == 0
    assert pairs.background.shape == (2, len(locations.xy)) and (pairs.background == 1).all()


@pytest.mark.parametrize("name", ASSIGNERS)
def test_crowds_are_no_background(name):
    assigner, locations = ASSIGNERS[name]
    pairs, _ = assign(assigner, locations, make_case([[], []], crowds=[[[0, 0, 32, 64]], [[0, 0, 0, 0]]]))
    inside = locations.xy[:, 0] < 32
    assert (pairs.background[0, inside] == 0).all() and (pairs.background[0, ~inside] == 1).all()
    assert (pairs.background[1] == 1).all()


@pytest.mark.parametrize("name", ASSIGNERS)
def test_people_of_one_image_do_not_reach_the_other(name):
    assigner, locations = ASSIGNERS[name]
    pairs, assignment = assign(assigner, locations, make_case([[], [(10, 10, 40, 40)]]))
    assert (pairs.candidates.image == 1).all() and (assignment.person >= 0).any()


def test_center_takes_the_level_of_the_size_and_ranks_by_distance():
    assigner, locations = ASSIGNERS["center"]
    targets = make_case([[(11, 11, 29, 29), (20, 20, 62, 62)]])  # sizes 18 and 42: levels 0 and 1
    pairs, assignment = assign(assigner, locations, targets)
    small, large = of_person(pairs, assignment, 0), of_person(pairs, assignment, 1)
    assert len(small) == 9 and len(large) == 9
    assert (LEVELS.level[small] == 0).all() and (LEVELS.level[large] == 1).all()
    assert LEVELS.xy[small[0]].tolist() == [20, 20] and LEVELS.xy[large[0]].tolist() == [40, 40]
    assert (assignment.target[assignment.person >= 0] == 1).all()


@pytest.mark.parametrize(
    "box, expected",
    [
        # Centre (28, 32), within 20 px of it: columns at 12, 20, 28, 36, 44 and rows at 20, 28, 36, 44.
        ((8, 12, 48, 52), {(x, y) for x in (12, 20, 28, 36, 44) for y in (20, 28, 36, 44)}),
        ((22, 4, 34, 60), {(28, y) for y in (20, 28, 36, 44)}),  # narrow: only the column in the box
        ((22, 22, 34, 42), {(28, 28), (28, 36)}),
        ((20, 20, 36, 44), {(28, 28), (28, 36)}),  # a border is no inside: the distance to it would be 0
        # Centre (30, 32), no column in the box: the nearest stand in, half a stride away at most.
        ((29, 4, 31, 60), {(28, 28), (28, 36)}),
    ],
)
def test_center_stays_inside_the_box(box, expected):
    """FCOS's rule: where a side lies on the wrong side of the location, its distance cannot be regressed."""
    assigner = CenterAssigner(radius=2.5, level_sizes=[64, 512])
    pairs, assignment = assign(assigner, LEVELS, make_case([[box]]))
    found = of_person(pairs, assignment, 0)
    assert len(found) == len(expected)
    assert {tuple(LEVELS.xy[location].int().tolist()) for location in found} == expected


def test_center_gives_overlaps_to_the_smaller():
    assigner, locations = ASSIGNERS["center"]
    pairs, assignment = assign(assigner, locations, make_case([[(9, 9, 31, 31), (11, 11, 29, 29)]]))
    assert len(of_person(pairs, assignment, 1)) == 9 and of_person(pairs, assignment, 0) == []


def test_peak_takes_the_cell_of_the_centre_and_fades_the_background():
    pairs, assignment = assign(PeakAssigner(), ONE_LEVEL, make_case([[(10, 10, 42, 34)]]))
    (location,) = of_person(pairs, assignment, 0)
    assert ONE_LEVEL.xy[location].tolist() == [26, 22]
    weight = pairs.background[0].view(16, 16)
    # A Gaussian of the deviation 32 / 6 at a distance of 4 px along x.
    gauss = torch.exp(torch.tensor(-0.5 * (4 / (32 / 6)) ** 2))
    assert weight[5, 7].item() == pytest.approx((1 - gauss.item()) ** 4, rel=1e-4)
    assert weight[5, 6] == 0 and weight[0, 15] > 0.99


def test_peak_on_the_border_of_cells_is_one():
    pairs, assignment = assign(PeakAssigner(), ONE_LEVEL, make_case([[(8, 8, 40, 40), (0, 0, 16, 30)]]))
    assert [len(of_person(pairs, assignment, number)) for number in (0, 1)] == [1, 1]


def test_dynamic_takes_the_topk_that_answer_best():
    assigner, locations = ASSIGNERS["dynamic"]
    targets = make_case([[(8, 8, 56, 56)]])
    pairs = assigner.candidates(locations, targets)
    count = len(pairs.candidates.location)
    assert count >= 20
    # 0 to 96 pixels of error: more than what the person score and the distance from the centre make up for.
    mu = targets.joints[0, :1] + 16.0 * (torch.arange(count).view(-1, 1, 1) % 7)
    person = torch.linspace(-1, 1, count)
    pairs, assignment = assign(assigner, locations, targets, mu=mu, person=person)
    chosen = assignment.person == 0
    assert chosen.sum() == 3 and sorted(assignment.rank[chosen].tolist()) == [0, 1, 2]
    assert (assignment.rank[~chosen] == 3).all() and (assignment.target[~chosen] == 0).all()
    best = assignment.rank.argmin()
    # The best gets its own fit as target: its joints are exact, and so is its box.
    assert assignment.target[best] == assignment.target.max() == pytest.approx(1, abs=1e-3)
    assert (mu[chosen] - targets.joints[0, 0]).abs().max() == 0


def test_dynamic_gives_a_shared_candidate_to_the_better_match():
    """Two people on the same spot: predictions of the second person answer for the second."""
    assigner, locations = ASSIGNERS["dynamic"]
    targets = make_case([[(8, 8, 56, 56), (10, 10, 54, 60)]])
    pairs = assigner.candidates(locations, targets)
    truth = torch.arange(len(pairs.candidates.image)) % 2
    boxes, mu = targets.boxes[0, truth], targets.joints[0, truth]
    _, assignment = assign(assigner, locations, targets, boxes=boxes, mu=mu)
    chosen = assignment.person >= 0
    assert (assignment.person[chosen] == truth[chosen]).all()
    assert {0, 1} == set(assignment.person[chosen].tolist())


def test_dynamic_without_labelled_joints_goes_by_the_box():
    assigner, locations = ASSIGNERS["dynamic"]
    targets = make_case([[(8, 8, 56, 56)]])
    targets = targets._replace(labelled=torch.zeros_like(targets.labelled))
    far = targets.joints[0, :1] + 1000
    pairs = assigner.candidates(locations, targets)
    _, assignment = assign(assigner, locations, targets, mu=far.expand(len(pairs.candidates.image), -1, -1))
    assert (assignment.person == 0).sum() == 3 and assignment.target.max() == pytest.approx(1, abs=1e-3)


def test_assignment_is_without_gradient():
    assigner, locations = ASSIGNERS["dynamic"]
    targets = make_case([[(8, 8, 56, 56)]])
    pairs = assigner.candidates(locations, targets)
    person = torch.zeros(len(pairs.candidates.image), requires_grad=True)
    _, assignment = assign(assigner, locations, targets, person=person)
    assert not assignment.target.requires_grad
