"""Hidden told from visible: what is learnt from whom, and who has an opinion."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from test_modeling_half_size import people_at
from torch import nn
from torch.nn import functional as F

ON = ("MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", True)
K = 4
FOUR = ("MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", K, "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", K)


def make_model(*options):
    torch.manual_seed(0)
    return build_model(tiny_config(*options))


def seen_input(number, hidden, *, told=True):
    """One person of four joints: a joint is a bright square where it is visible, a dark one where it is hidden."""
    sample = make_input(number, [(8, 8, 56, 56, K)], num_joints=K)
    people = sample["instances"]
    for k, (x, y, _) in enumerate(people.gt_keypoints.tensor[0].long().tolist()):
        people.gt_keypoints.tensor[0, k, 2] = 1 if hidden[k] else 2
        sample["image"][:, y - 6 : y + 6, x - 6 : x + 6] = 0 if hidden[k] else 255
    people.gt_told = torch.tensor([told])
    return sample


def seen_batch(seed, count=8, *, told=True):
    flags = torch.rand(count, K, generator=torch.Generator().manual_seed(seed)) < 0.5
    return [seen_input(1000 * seed + i, row, told=told) for i, row in enumerate(flags)], flags


def area_under_curve(score, positive):
    """Share of pairs (positive, negative) in which the positive scores higher."""
    return (score[positive][:, None] > score[~positive][None]).float().mean().item()


class Brightness(nn.Module):
    """A backbone that needs no training: random mixtures of the means of small squares."""

    size_divisibility = 16

    def forward(self, images):
        weight = torch.randn(16, 3, 1, 1, generator=torch.Generator().manual_seed(0))
        means = F.conv2d(F.avg_pool2d(images, 8), weight)
        return {"p3": means, "p4": F.avg_pool2d(means, 2)}


def test_visibility_is_learnt_from_what_is_seen():
    model = make_model(*ON, *FOUR, "MODEL.RLE_ONESTAGE.LOSS.VISIBILITY", 1.0).train()
    model.backbone = Brightness()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(50):
        losses = model(seen_batch(step + 1)[0])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    batch, hidden = seen_batch(0, 40)
    with torch.no_grad():
        said = torch.stack([out["instances"][0].pred_keypoint_visibility[0] for out in model(batch)])
    assert area_under_curve(said.flatten(), ~hidden.flatten()) > 0.97
    assert ((said > 0.5) == ~hidden).float().mean() > 0.9


@pytest.mark.parametrize("told", [True, False])
def test_only_sets_that_tell_teach(told):
    model = make_model(*ON, *FOUR).train()
    batch = seen_batch(1, told=told)[0]
    losses = model(batch)
    parts = [
        *model.head.visibility.parameters(),
        model.refiner.refinement.visible,
        model.refiner.refinement.visible_bias,
    ]
    gradients = torch.autograd.grad(losses["loss_visibility"], parts)
    assert all(bool(g.abs().max() > 0) == told for g in gradients)
    assert bool(model.head.visibility.taught.any()) == told


@torch.no_grad()
def test_a_model_whose_joints_were_not_all_taught_has_no_opinion():
    model = make_model(*ON).eval()
    image = [make_input(0, [])]
    assert not model.tells_hidden and not model(image)[0]["instances"].has("pred_keypoint_visibility")
    model.head.visibility.taught[:16] = 1
    assert not model.eval()(image)[0]["instances"].has("pred_keypoint_visibility")
    model.head.visibility.taught[16] = 1
    people = model.eval()(image)[0]["instances"]
    said = people.pred_keypoint_visibility
    assert model.tells_hidden and said.shape == (len(people), 17) and ((said > 0) & (said < 1)).all()
    fresh = make_model(*ON).eval()
    fresh.load_state_dict(model.state_dict())  # by whatever tool
    assert torch.equal(fresh(image)[0]["instances"].pred_keypoint_visibility, said)


@torch.no_grad()
def test_both_looks_keep_what_each_says_of_its_people():
    one, other = people_at([(50, 50)], [40], [0.9]), people_at([(150, 150)], [100], [0.6])
    decoder = make_model().decoder
    both = decoder.unite(one._replace(visibility=one.presence * 0.2), other._replace(visibility=other.presence * 0.7))
    assert both.visibility[0, :, 0].tolist() == pytest.approx([0.2, 0.7])
    (found,) = decoder.to_instances(both, [(500, 500)], [(500, 500)])
    assert found.pred_keypoint_visibility[:, 3].tolist() == pytest.approx([0.2, 0.7])
    assert decoder.unite(one, other).visibility is None
