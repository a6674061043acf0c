"""What two sets of different skeletons in one mosaic teach: every loss's mask, by hand.

The canvas is 64 x 64. Its left half comes from a set that labels everybody and both joints, its right half from one
that is labelled in part, counts half and does not have joint 1. One person stands in each half.
"""

import pytest
import torch
from detectron2.structures import Boxes, Instances, Keypoints
from modeling_toys import candidate_predictions

from rle_onestage.modeling.assignment import Assignment, Pairs
from rle_onestage.modeling.codec import decode_boxes
from rle_onestage.modeling.criterion import Criterion
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.heatmap import heatmap_loss, heatmap_weight, paint_heatmaps
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.losses import varifocal_loss
from rle_onestage.modeling.regions import PartialLabels, background_weight
from rle_onestage.modeling.structures import Candidates, DenseOutputs, Poses, Predictions, Refined
from rle_onestage.modeling.targets import make_targets

K, STRIDE = 2, 8
PARTIAL = PartialLabels(background=0.25, confident=0.3)
LOCATIONS = make_locations([(8, 8)], [STRIDE], torch.device("cpu"))
LEFT, RIGHT = 3 * 8 + 2, 3 * 8 + 5  # locations at (20, 28) and (44, 28), one in each person
AWAY = 0 * 8 + 7  # (60, 4): right half, away from the person


@pytest.fixture
def targets():
    """The person on the left has joint 0 and is known not to have joint 1; the right one has no label of joint 1."""
    people = Instances((64, 64))
    people.gt_boxes = Boxes(torch.tensor([[8.0, 16, 24, 48], [40.0, 16, 56, 48]]))
    people.gt_classes = torch.zeros(2, dtype=torch.int64)
    people.gt_keypoints = Keypoints(torch.tensor([[[20.0, 28, 2], [0, 0, 0]], [[44.0, 28, 2], [0, 0, 0]]]))
    people.gt_area = torch.tensor([256.0, 256.0])
    people.gt_known = torch.tensor([[True, True], [True, False]])
    people.gt_area_known = torch.tensor([True, False])
    people.gt_weight = torch.tensor([1.0, 0.5])
    regions = torch.tensor([[32.0, 0, 64, 64, 0.5, 1, 1, 0]])
    sample = {"instances": people, "ignore_boxes": Boxes(torch.zeros(0, 4)), "regions": regions}
    return make_targets([sample], K, torch.device("cpu"))


def losses_of(targets, *, person=None, heat=None, presence=None, offset=0.0):
    """The criterion's losses of two candidates, one a person, with target 1, and the leaves that they depend on."""
    person = torch.full((1, 64), -2.0) if person is None else person
    presence = torch.zeros(2, K) if presence is None else presence
    heat = torch.full((1, K, 8, 8), -2.0) if heat is None else heat
    mu = targets.joints[0] + offset
    leaves = {"person": person, "presence": presence, "heat": heat, "mu": mu}
    for leaf in leaves.values():
        leaf.requires_grad_()
    dense = DenseOutputs(
        score=person, quality=torch.zeros(1, 64), box=torch.full((1, 64, 4), 1.0), pose=torch.zeros(1, 64, 1)
    )
    candidates = Candidates(torch.tensor([0, 0]), torch.tensor([LEFT, RIGHT]))
    pairs = Pairs(candidates, torch.eye(2, dtype=torch.bool), torch.ones(1, 64))
    assignment = Assignment(torch.tensor([0, 1]), torch.ones(2), torch.zeros(2, dtype=torch.int64))
    poses = Poses(mu, torch.full((2, K, 2), 2.0), presence)
    criterion = Criterion(
        density=build_density("laplace"),
        oks_sigmas=[0.1] * K,
        flow_warmup=0,
        heat_stride=STRIDE,
        partial=PARTIAL,
        weights={name: 1.0 for name in ("score", "box", "quality", "pose", "refine", "presence", "heatmap")},
    )
    boxes = decode_boxes(
        dense.box[0, candidates.location], LOCATIONS.xy[[LEFT, RIGHT]], LOCATIONS.stride[[LEFT, RIGHT]]
    )
    said = candidate_predictions(poses, indices=candidates, boxes=boxes, quality=dense.quality[0, [LEFT, RIGHT]])
    predictions = Predictions(dense, said, Refined([], None, heat))
    return criterion(predictions, pairs, assignment, LOCATIONS, targets, 0), leaves


def gradient(loss, leaf):
    return torch.autograd.grad(loss, leaf, retain_graph=True)[0]


def test_targets_carry_what_is_known(targets):
    assert targets.known[0].tolist() == [[True, True], [True, False]]
    assert targets.area_known[0].tolist() == [True, False] and targets.weight[0].tolist() == [1.0, 0.5]


def test_background_counts_by_region(targets):
    probability = torch.full((1, 64), 0.1)
    probability[0, AWAY] = 0.4
    weight = background_weight(targets, LOCATIONS.xy, probability, PARTIAL)[0].view(8, 8)
    assert (weight[:, :4] == 1).all()  # the left half
    assert weight[0, 7] == 0  # the model is confident there
    assert weight[0, 6] == 0.5 * 0.25  # away from known people
    assert (weight[2:6, 5:7] == 0.5).all()  # in the box of the known person


def test_person_loss(targets):
    person = torch.full((1, 64), -2.0)
    person[0, AWAY] = 0.0  # a probability of one half
    losses, leaves = losses_of(targets, person=person)
    target = torch.zeros(1, 64)
    target[0, [LEFT, RIGHT]] = 1.0
    each = varifocal_loss(leaves["person"], target)[0]
    in_box, away, left = torch.zeros(3, 8, 8, dtype=torch.bool)
    in_box[2:6, 5:7] = True
    left[:, :4] = True
    away[:, 4:] = True
    away &= ~in_box
    away[0, 7] = False
    weight = 1.0 * left + 0.5 * in_box + 0.125 * away
    expected = (each * weight.flatten()).sum() / 1.5  # the two people count 1 and 0.5
    torch.testing.assert_close(losses["loss_score"], expected)
    assert gradient(losses["loss_score"], leaves["person"])[0, AWAY] == 0


def test_pose_box_and_presence_losses(targets):
    losses, leaves = losses_of(targets, offset=torch.tensor([[[3.0, 0], [9, 9]], [[0.0, 1], [9, 9]]]))
    density = build_density("laplace")
    sigma, people = torch.full((1, 2), 2.0), torch.tensor([0])
    first = density.nll(torch.tensor([[-1.5, 0.0]]), sigma, joint=people)
    second = density.nll(torch.tensor([[0.0, -0.5]]), sigma, joint=people)
    torch.testing.assert_close(losses["loss_pose"], ((1.0 * first + 0.5 * second) / 1.5).squeeze())
    moved = gradient(losses["loss_pose"], leaves["mu"])
    assert (moved[:, 1] == 0).all() and (moved[:, 0] != 0).any(1).all()
    # Known: joint 0 of both and joint 1 of the left person, whose absence is known; each costs log 2 at a logit of 0.
    known = torch.tensor([[1.0, 1.0], [0.5, 0.0]])
    torch.testing.assert_close(losses["loss_presence"], torch.log(torch.tensor(2.0)) * known.sum() / known.sum())
    slope = gradient(losses["loss_presence"], leaves["presence"])
    torch.testing.assert_close(slope, torch.tensor([[-0.5, 0.5], [-0.25, 0.0]]) / known.sum())


def test_heatmap_loss(targets):
    targets = targets._replace(weight=torch.tensor([[1.0, 0.8]]))  # another weight than the region's
    heat, counts = paint_heatmaps(targets, 8, 8, STRIDE)
    probability = torch.full((1, K, 8, 8), 0.1)
    probability[0, 0, 7, 7] = 0.5
    weight = heatmap_weight(targets, counts, probability, STRIDE, PARTIAL)[0]
    assert (weight[1, :, 4:] == 0).all()  # the right half's set does not have joint 1
    assert (weight[1, :, :4] == 1).all()  # the left one's labels are complete: joint 1 is nowhere
    # The right person's heat, five cells square about (5, 3), counts as the person; what is nobody's, as the region:
    # in the person's box in full, away from it a quarter, and not at all where the model is confident.
    assert (weight[0, 1:6, 5:8] == 0.8).all() and (weight[0, 1:6, :5] == 1).all()  # the left one's reaches column 4
    assert weight[0, 0, 7] == 0.125 and weight[0, 7, 7] == 0
    losses, leaves = losses_of(targets)
    slope = gradient(losses["loss_heatmap"], leaves["heat"])[0]
    assert (slope[1, :, 4:] == 0).all() and (slope[1, :, :4] > 0).all()
    weight = heatmap_weight(targets, counts, torch.sigmoid(leaves["heat"]), STRIDE, PARTIAL)
    torch.testing.assert_close(losses["loss_heatmap"], heatmap_loss(leaves["heat"], heat, weight) / 1.8)


def test_heat_is_worth_the_same_however_much_people_count(targets):
    """With everybody at a half, the loss of a batch is that of everybody at one."""
    alone = targets._replace(regions=torch.zeros(1, 0, 6 + K))
    half, full = (losses_of(alone._replace(weight=torch.full((1, 2), w)))[0]["loss_heatmap"] for w in (0.6, 1.0))
    painted = paint_heatmaps(alone, 8, 8, STRIDE)[0] > 0
    assert painted.sum() == 40 and half > full  # what is nobody's still counts in full
    heat, counts = paint_heatmaps(alone._replace(weight=torch.full((1, 2), 0.6)), 8, 8, STRIDE)
    logits = torch.full((1, K, 8, 8), -2.0)
    own = [heatmap_loss(logits, heat, w) for w in (counts / 1.2, (counts > 0) / 2)]
    torch.testing.assert_close(*own)


def test_a_pasted_person_counts_as_its_own_set_says(targets):
    """Joint 1 of a person on the half whose set does not have that joint is taught all the same."""
    joints = targets.joints.clone()
    joints[0, 1, 1] = torch.tensor([44.0, 40.0])
    labelled = targets.labelled.clone()
    labelled[0, 1, 1] = True
    pasted = targets._replace(joints=joints, labelled=labelled, weight=torch.tensor([[1.0, 0.9]]))
    _, counts = paint_heatmaps(pasted, 8, 8, STRIDE)
    weight = heatmap_weight(pasted, counts, torch.zeros(1, K, 8, 8), STRIDE, PARTIAL)[0]
    assert weight[1, 5, 5] == torch.tensor(0.9) and weight[1, 0, 7] == 0


def test_every_place_is_in_one_part_of_a_mosaic(targets):
    """Also places that lie on the seam."""
    rows = torch.zeros(1, 2, 6 + K)
    rows[0, :, :4] = torch.tensor([[0.0, 0, 28, 64], [28.0, 0, 64, 64]])
    rows[0, :, 4] = 0.2
    weight = background_weight(targets._replace(regions=rows), LOCATIONS.xy, torch.zeros(1, 64), PARTIAL)
    assert (LOCATIONS.xy[:, 0] == 28).any() and (weight == 0.2).all()


def test_heat_of_a_joint_that_is_unknown_in_a_box_is_left_out_there_only(targets):
    silent = targets._replace(known=torch.zeros_like(targets.known), regions=torch.zeros(1, 0, 6 + K))
    _, counts = paint_heatmaps(silent, 8, 8, STRIDE)
    weight = heatmap_weight(silent, counts, torch.zeros(1, K, 8, 8), STRIDE, PARTIAL)[0]
    assert (weight[1, 2:6, 1:3] == 0).all() and (weight[1, 2:6, 5:7] == 0).all() and weight[1].sum() == 64 - 16
    assert (weight[0][counts[0, 0] == 0] == 1).all()  # joint 0 is labelled in both


def test_areas_that_were_made_from_boxes_stay_out_of_the_ratio():
    from modeling_toys import make_input, tiny_config

    from rle_onestage.modeling.meta_arch.rle_onestage import RLEOneStage

    model = RLEOneStage(tiny_config()).train()
    batch = [make_input(0, [(6, 4, 50, 60, 17), (0, 0, 20, 20, 17)])]
    before = model.criterion.area_sums.clone()
    batch[0]["instances"].gt_area_known = torch.tensor([False, True])
    model(batch)
    added = model.criterion.area_sums - before
    assert added.tolist() == [200.0, 400.0]
