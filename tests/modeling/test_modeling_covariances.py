"""Covariances on the way from the density to ``Instances``: resizing, the half-size look, and the correction."""

import pytest
import torch
from detectron2.modeling import build_model
from ground_truth_outputs import make_decoder
from modeling_toys import candidate_predictions, make_input, tiny_config, trained_flow

from rle_onestage.modeling.correction import INDEPENDENT
from rle_onestage.modeling.people import EVERYBODY, Look
from rle_onestage.modeling.structures import Poses
from rle_onestage.structures import LEVELS

JOINTS = 2
IDENTITY = (torch.zeros(JOINTS), torch.ones(JOINTS), torch.zeros(JOINTS, len(LEVELS)))
SIZE = 100.0  # of the person: the root of its area


def found(decoder, scale=(3.0, 5.0), *, visibility=None, look=EVERYBODY):
    """One person of 100 px, with a scale at each joint."""
    mu = torch.full((1, JOINTS, 2), 50.0)
    poses = Poses(mu, torch.tensor(scale).expand(1, JOINTS, 2), torch.full((1, JOINTS), 4.0), visibility)
    side = SIZE / decoder.area_ratio.sqrt().item()
    said = candidate_predictions(poses, boxes=torch.tensor([[0.0, 0.0, side, side]]), score=torch.tensor([3.0]))
    return decoder(said, torch.tensor([[0.9]]), look)


def errors_of(density, count=400_000):
    """Draws (n, 2) of the learned density: its quadrature nodes by their weights."""
    e, (weight,), _, _ = density._moments()
    picks = torch.multinomial(weight.double(), count, replacement=True, generator=torch.Generator().manual_seed(0))
    return e[picks].double()


def test_the_covariance_is_that_of_the_labels_after_a_resize_by_different_factors():
    """By Monte Carlo: labels drawn about the location, scaled, and resized by 2 in x and by 0.5 in y."""
    density = trained_flow()
    decoder = make_decoder("fcos", [0.05] * JOINTS)
    decoder.set_density(density)
    people = found(decoder)
    (instances,) = decoder.to_instances(people, [(200, 200)], [(100, 400)])
    labels = (50 + torch.tensor([3.0, 5.0]) * errors_of(density)) * torch.tensor([2.0, 0.5])
    point, covariance = instances.pred_keypoints[0, 1, :2], instances.pred_keypoint_covariances[0, 1]
    torch.testing.assert_close(point.double(), labels.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(covariance.double(), torch.cov(labels.T), atol=0.02, rtol=0.02)
    assert abs(covariance[0, 1]) > 0.1 * (covariance[0, 0] * covariance[1, 1]).sqrt()
    variances = instances.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1)
    assert torch.equal(variances, instances.pred_keypoint_sigmas.square())


def test_every_person_has_covariances_and_the_sigmas_they_had_to_the_last_bit():
    torch.manual_seed(0)
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0)).eval()
    people = model([make_input(0, [(6, 4, 50, 60, 17)])])[0]["instances"]
    assert len(people) and people.pred_keypoint_covariances.shape == (len(people), 17, 2, 2)
    variances = people.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1)
    assert torch.equal(variances, people.pred_keypoint_sigmas.square())
    # What earlier versions reported: the learned sigma, corrected by joint alone.
    decoder = make_decoder("fcos", [0.05] * JOINTS)
    log_scale, power = torch.tensor([0.3, -0.2]), torch.tensor([1.1, 0.9])
    decoder.set_correction(log_scale, power, torch.ones(JOINTS, len(LEVELS)))
    person = found(decoder, scale=(3.3, 5.7))
    size = person.areas.sqrt()[..., None, None]
    sigma = torch.tensor([3.3, 5.7]) * decoder.std[decoder.group]
    earlier = size * torch.exp(log_scale)[:, None] * (sigma / size) ** power[:, None]
    assert torch.equal(person.sigmas, earlier)


def test_the_correction_keeps_the_correlation():
    decoder = make_decoder("fcos", [0.05] * JOINTS)
    decoder.set_density(trained_flow())
    before = found(decoder)
    decoder.set_correction(torch.tensor([0.3, -0.2]), torch.tensor([1.1, 0.9]), torch.ones(JOINTS, len(LEVELS)))
    after = found(decoder)
    assert torch.equal(before.correlations, after.correlations) and before.correlations.abs().min() > 0.05
    assert not torch.allclose(before.sigmas, after.sigmas)


def test_the_correction_depends_on_the_size_in_the_networks_input_and_on_visibility():
    decoder = make_decoder("fcos", [0.05] * JOINTS)
    plain = found(decoder).sigmas
    # To the power of a half from 50 to 200 px: about 100 px there is nothing to do.
    decoder.set_correction(*IDENTITY, dependence=torch.tensor([0.5, 50.0, 200.0, 0.8]))
    torch.testing.assert_close(found(decoder).sigmas, plain)
    # The half image shows a person of 200 px with half its size; one of 1,000 px counts as 200 px.
    for zoom in (2.0, 10.0):
        look = Look(0.0, float("inf"), 1.0, zoom=zoom)
        torch.testing.assert_close(found(decoder, look=look).sigmas, plain * 2**0.5)
    logits = torch.tensor([[0.0, -100.0]])  # one joint visible with a probability of a half, one surely hidden
    told = found(decoder, visibility=logits).sigmas / plain
    torch.testing.assert_close(told[0, 0], torch.tensor([[0.4] * 2, [0.8] * 2]).exp())
    decoder.reset_correction()
    assert torch.equal(found(decoder, visibility=logits).sigmas, plain)


@pytest.mark.parametrize("half_size_from", [0, 64])
@torch.no_grad()
def test_what_a_model_says_of_hidden_joints_widens_their_covariances(half_size_from):
    torch.manual_seed(0)
    options = ("HEAD.VISIBILITY", True, "TEST.SCORE_THRESH", 0.0, "TEST.HALF_SIZE_FROM", half_size_from)
    model = build_model(tiny_config(*(f"MODEL.RLE_ONESTAGE.{o}" if isinstance(o, str) else o for o in options)))
    model.refiner.refinement.visible_bias.copy_(torch.linspace(-3, 3, 17))
    model.head.visibility.taught.fill_(1)
    model.eval().decoder.set_density(trained_flow())
    image = torch.randn(1, 3, 128, 128)
    plain = model.find(image)
    model.decoder.dependence[-1] = 0.8  # of the logarithm, where a joint is surely hidden
    people = model.find(image)
    ratio = people.sigmas / plain.sigmas
    torch.testing.assert_close(ratio, torch.exp(0.8 * (1 - people.visibility))[..., None].expand_as(ratio))
    assert (ratio[..., 0, :] > 1.5 * ratio[..., 16, :]).all()
    (found,) = model.decoder.to_instances(people, [(128, 128)], [(128, 128)])
    assert len(found) and found.pred_keypoint_visibility.shape == (len(found), 17)
    variances = found.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1)
    assert torch.equal(variances, found.pred_keypoint_sigmas.square())
    assert found.pred_keypoint_covariances[..., 0, 1].abs().min() > 0


def test_a_file_of_an_earlier_version_is_read_with_its_own_correction():
    decoder = make_decoder("fcos", [0.05] * JOINTS)
    decoder.set_density(trained_flow())
    decoder.set_correction(torch.tensor([0.3, -0.2]), torch.ones(JOINTS), torch.ones(JOINTS, len(LEVELS)))
    earlier = {key: value.clone() for key, value in decoder.state_dict().items() if key not in decoder.LATER}
    other = make_decoder("fcos", [0.05] * JOINTS)
    other.set_correction(*IDENTITY, torch.ones(JOINTS, 2, len(LEVELS)), torch.tensor([0.5, 10.0, 90.0, 0.2]))
    other.load_state_dict(earlier)
    assert other.dependence.tolist() == pytest.approx(INDEPENDENT) and not other.regions.any()
    assert torch.equal(found(other).sigmas, found(decoder).sigmas)
    assert torch.equal(found(other).correlations, found(decoder).correlations)
