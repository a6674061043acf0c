"""One density for each group of joints: each label is judged by its own, in any order, and reported by its own."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import grid_integral, make_input, tiny_config

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.meta_arch.build import flow_groups

GROUPS = [0, 2, 1, 1, 0]


def grouped(name="rle", groups=GROUPS):
    """A density whose groups differ."""
    density = build_density(name, hidden=8, groups=groups)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for number, member in enumerate(density.members):
            member.fitted.fill_(1 + number)
    density.refresh()
    return density


def test_each_label_is_judged_by_its_group():
    density = grouped()
    e, sigma = torch.randn(7, 5, 2), torch.rand(7, 5, 2) + 0.1
    joint = torch.arange(5).expand(7, 5)
    nll, log_q = density.nll(e, sigma, joint=joint), density.log_q(e, joint)
    for number in range(5):
        member = density.members[GROUPS[number]]
        assert torch.allclose(nll[:, number], member.nll(e[:, number], sigma[:, number]), atol=1e-5)
        assert torch.allclose(log_q[:, number], member.log_q(e[:, number]), atol=1e-5)
    assert (log_q[:, 1] - density.members[0].log_q(e[:, 1])).abs().max() > 0.1
    # Labels that come in any order, as a mask of labelled joints gives them.
    order = torch.randperm(35)
    flat = density.nll(e.view(-1, 2)[order], sigma.view(-1, 2)[order], joint=joint.flatten()[order])
    assert torch.allclose(flat, nll.flatten()[order], atol=1e-5)
    preset = density.nll(e, sigma, preset_only=True)
    assert torch.allclose(preset, torch.log(sigma).sum(-1) - density.members[0].preset(e))


@pytest.mark.parametrize("joints", [[0, 0, 4], []])
def test_every_flow_has_a_gradient_whatever_the_labels(joints):
    density = grouped()
    e = torch.randn(len(joints), 2)
    density.nll(e, torch.ones_like(e), joint=torch.tensor(joints, dtype=torch.int64)).sum().backward()
    assert all(p.grad is not None for p in density.parameters())
    moved = [any(p.grad.abs().sum() > 0 for p in member.parameters()) for member in density.members]
    assert moved == [bool(joints), False, False]


def test_table_has_a_row_for_each_group():
    density = grouped()
    nodes, weights, mean, std = density.table()
    assert nodes.shape == (3, weights.shape[1], 2) and mean.shape == std.shape == (3, 2)
    assert torch.allclose(weights.sum(1), torch.ones(3), atol=1e-5)
    assert torch.allclose(torch.einsum("gq,gqd->gd", weights, nodes), mean, atol=1e-3)
    for number, member in enumerate(density.members):
        alone = member.table()
        assert torch.equal(alone[0][0], nodes[number, : alone[0].shape[1]]) and torch.equal(alone[2][0], mean[number])
    assert torch.equal(density.nodes()[0], nodes) and density.node_count() > density.members[0].node_count()
    assert density.joint_groups(5) == GROUPS and build_density("l1").joint_groups(3) == [0, 0, 0]


@pytest.mark.parametrize("name", ["rle", "flow"])
def test_std_is_the_tables(name):
    density = build_density(name, hidden=8, groups=GROUPS)
    with torch.no_grad():
        for number, parameter in enumerate(density.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    density.refresh()
    assert torch.allclose(density.std(), density.table()[3], rtol=1e-4) and density.std().std(0).min() > 0.01
    assert torch.equal(build_density("laplace", groups=GROUPS).std(), torch.ones(3, 2))


@pytest.mark.parametrize("name", ["rle", "flow", "rle_released", "l1", "l2"])
def test_what_is_reported_is_a_density_with_the_reported_mean_and_spread(name):
    """Also where the spread that is reported was fitted."""
    density = grouped(name, groups=[0, 1])
    _, _, mean, std = density.table()
    for number in range(2):

        def reported(e, number=number):
            return density.reported_log_q(e.expand(2, -1, 2))[number]

        nodes, mass = grid_integral(reported)
        assert mass.sum().item() == pytest.approx(1, abs=2e-3)
        assert torch.allclose((mass @ nodes).float(), mean[number], atol=5e-3)
        assert torch.allclose((mass @ (nodes - mean[number]).square()).sqrt().float(), std[number], rtol=5e-3)


def test_fixed_sigmas_follow_the_residuals_of_their_joints():
    density = build_density("l1", groups=[0, 1])
    for _ in range(800):
        density.fit(torch.tensor([[2.0, 2.0], [5.0, 5.0]]), torch.tensor([0, 1]))
    assert density.table()[3].flatten().tolist() == pytest.approx([2, 2, 5, 5], rel=0.02)


def test_one_group_has_the_weights_of_none():
    names = [set(build_density("rle", groups=groups).state_dict()) for groups in (None, [0, 0, 0])]
    assert names[0] == names[1] and "flow.couplings.0.layers.0.weight" in names[0]


JOINTS = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "5", "MODEL.RLE_ONESTAGE.FLOW.GROUPS"]


def test_groups_of_a_config():
    assert flow_groups(tiny_config(*JOINTS, "[]")) is None
    assert flow_groups(tiny_config(*JOINTS, "[[0, 4], [3, 2], [1]]")) == GROUPS
    torch.manual_seed(0)
    model = build_model(tiny_config(*JOINTS, "[[0, 4], [3, 2], [1]]")).train()
    assert model.criterion.density.joint_groups(5) == GROUPS
    person = (6, 4, 50, 60)
    batch = [make_input(0, [(*person, 3)], num_joints=5), make_input(1, [], num_joints=5)]
    sum(model(batch).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    model.eval().prepare_for_inference()
    assert torch.equal(model.decoder.std, model.criterion.density.table()[3]) and len(model(batch)) == 2


@pytest.mark.parametrize("groups", [
    "[[0, 1], [2, 3]]", "[[0, 1, 2], [2, 3, 4]]", "[0, 0, 0, 1, 1]", "[[0, 1, 2, 3, 5]]", "[[0, 1, 2, 3, 4], []]",
    "[['nose']]", "[[0, 1, 2, 3, -1]]",
])  # fmt: skip
def test_groups_that_do_not_fit_are_named(groups):
    with pytest.raises(ConfigError) as caught:
        tiny_config(*JOINTS, groups)
    message = str(caught.value)
    assert "MODEL.RLE_ONESTAGE.FLOW.GROUPS" in message
    assert "0 to 4" in message or "value 1" in message or "value 2 is []" in message  # how they fit, or their types
