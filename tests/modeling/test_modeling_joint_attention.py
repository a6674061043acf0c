"""Attention among joints: what it may depend on."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.refinement.joint_attention import JointAttention

BOXES = torch.tensor([[10.0, 20.0, 50.0, 120.0], [0.0, 0.0, 30.0, 30.0]])


@pytest.fixture
def layer():
    """With weights as after training, not the identity that it starts as."""
    torch.manual_seed(0)
    layer = JointAttention(channels=8, heads=2)
    for parameter in (layer.merge.weight, layer.output.weight):
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def made():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 8, generator=generator), 40 * torch.rand(2, 5, 2, generator=generator)


def test_it_starts_as_the_identity():
    joints, points = made()
    assert torch.equal(JointAttention(channels=8, heads=2)(joints, points, BOXES), joints)


def test_people_do_not_see_each_other_but_joints_do(layer):
    joints, points = made()
    before = layer(joints, points, BOXES)
    changed = joints.clone()
    changed[0, 3, 0] += 1.0  # of one feature: the norm takes out what all have in common
    after = layer(changed, points, BOXES)
    assert torch.equal(after[1], before[1])
    assert ((after[0] - before[0]).abs().amax(-1) > 1e-4).all()


def test_place_and_scale_of_a_person_do_not_matter(layer):
    """Positions count relative to the box: a person that is moved and enlarged is the same person."""
    joints, points = made()
    before = layer(joints, points, BOXES)
    shift = torch.tensor([7.0, -3.0])
    moved = layer(joints, 3 * points + shift, 3 * BOXES + shift.repeat(2))
    torch.testing.assert_close(moved, before, rtol=1e-4, atol=1e-5)
    assert (layer(joints, points + shift, BOXES) - before).abs().max() > 1e-3


def test_joints_can_be_in_any_order(layer):
    joints, points = made()
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(layer(joints[:, order], points[:, order], BOXES), layer(joints, points, BOXES)[:, order])


def test_no_people_and_far_joints(layer):
    assert layer(torch.zeros(0, 5, 8), torch.zeros(0, 5, 2), torch.zeros(0, 4)).shape == (0, 5, 8)
    joints, points = made()
    flat = torch.tensor([[10.0, 10.0, 10.0, 10.0], [5.0, 5.0, 5.0, 5.0]])
    assert layer(joints, points * 1e6, flat).isfinite().all()


def test_in_the_model_it_trains_and_its_heads_must_fit():
    torch.manual_seed(0)
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.REFINE.ATTENTION", 4)).train()
    attention = model.refiner.refinement.attention
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    batch = [make_input(0, [(6, 4, 50, 60, 17)])]
    for _ in range(2):  # the first step leaves the zeros of the identity
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in attention.parameters())
    with pytest.raises(ConfigError, match=r"REFINE.ATTENTION is 3.*divide.*16"):
        tiny_config("MODEL.RLE_ONESTAGE.REFINE.ATTENTION", 3)
