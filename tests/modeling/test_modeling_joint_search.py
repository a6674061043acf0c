"""The wide look at a joint's heatmap."""

import itertools

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from torch.nn import functional as F

from rle_onestage.modeling.refinement.joint_search import JointSearch
from rle_onestage.modeling.refinement.sampling import JointMaps, sample_own_channel

STRIDE = 8


def made(peak, height=20, width=24):
    """Heat of two joints in one image: the first has a peak at ``peak`` (x, y) cells, the second at the corner."""
    heat = torch.full((1, 2, height, width), -6.0)
    heat[0, 0, peak[1], peak[0]] = 6.0
    heat[0, 1, 0, 0] = 6.0
    return heat


def look(search, heat, point, reach=24.0):
    points = torch.tensor([[point, point]], dtype=torch.float32)
    spread = torch.full((1, 2, 1), reach)
    pooled = JointMaps.of(search.pooled(heat))
    return search(pooled, torch.zeros(1, dtype=torch.int64), points, spread, torch.zeros(1, 2, 4))


def test_at_first_it_stays_where_it_is():
    found, apart = look(JointSearch(channels=4, stride=STRIDE), torch.full((1, 2, 20, 24), -4.0), (90.0, 70.0))
    torch.testing.assert_close(found, torch.full_like(found, 90.0).index_fill(2, torch.tensor([1]), 70.0))
    assert 0 < apart.max() < 24.0


@pytest.mark.parametrize("peak", [(4, 3), (19, 15), (11, 3), (15, 9)])
def test_it_finds_a_peak_anywhere_in_reach(peak):
    """Up to three steps off, also between two points of the grid, within a step; the other joint's peak is not seen."""
    search = JointSearch(channels=4, stride=STRIDE)
    search.prior.bias.data.zero_()
    truth = (torch.tensor(peak) + 0.5) * STRIDE
    found, apart = look(search, made(peak), (96.0, 76.0))
    assert (found[0, 0] - truth).abs().max() < 24.0
    before = (torch.tensor([96.0, 76.0]) - truth).norm()
    assert (found[0, 0] - truth).norm() < 0.5 * before or before < 24
    assert apart[0, 0] < 24.0
    # Without evidence in reach the weights stay flat, and the spread says so: two steps, as a uniform grid of 7.
    assert apart[0, 1].item() == pytest.approx(2 * 24.0, rel=0.02)


def test_points_beyond_the_border_and_gradients():
    torch.manual_seed(0)
    search = JointSearch(channels=4, stride=STRIDE)
    heat = torch.randn(1, 2, 20, 24, requires_grad=True)
    found, _ = look(search, heat, (-500.0, 1e5))
    assert found.isfinite().all()
    found, _ = look(search, heat, (90.0, 70.0))
    found.square().sum().backward()
    assert heat.grad.abs().sum() > 0 and search.prior.bias.grad.abs().sum() > 0 and search.gain.grad.abs() > 0


def test_a_point_that_is_moved_a_little_is_found_a_little_elsewhere():
    """Over the border of two cells too: exported files differ from PyTorch by rounding, which must not move a joint."""
    torch.manual_seed(0)
    search = JointSearch(channels=4, stride=STRIDE)
    heat = 4 * torch.randn(1, 2, 20, 24)
    places = torch.linspace(60.0, 100.0, 4001)
    found = torch.stack([look(search, heat, (place, 76.0))[0][0] for place in places.tolist()])  # (4001, 2, 2)
    steps = (found[1:] - found[:-1]).abs().amax((1, 2))
    assert steps.max() < 0.2  # of 0.01 px; with the heat of whole cells the largest is 19 px


def test_own_channel_equals_grid_sample():
    torch.manual_seed(0)
    heat = torch.randn(2, 3, 5, 7)
    image = torch.tensor([1, 0, 1, 1])
    points = torch.rand(4, 3, 2) * torch.tensor([80.0, 60.0]) - 10  # also outside
    steps = torch.rand(4, 3, 6) * 30 - 15
    sampled = sample_own_channel(JointMaps.of(heat), image, points, steps, STRIDE)
    by_columns = sample_own_channel(JointMaps.of(heat), image, points, steps, STRIDE, by_columns=True)
    torch.testing.assert_close(by_columns, sampled.transpose(-1, -2))
    x, y = (points[..., i, None] + steps for i in range(2))
    points = torch.stack([x[:, :, None].expand(-1, -1, 6, -1), y[..., None].expand(-1, -1, -1, 6)], -1)
    place = points / torch.tensor([7.0 * STRIDE, 5.0 * STRIDE]) * 2 - 1
    for p, k in itertools.product(range(4), range(3)):
        own = heat[image[p], k][None, None]
        expected = F.grid_sample(own, place[p, k][None], align_corners=False, padding_mode="border")
        torch.testing.assert_close(sampled[p, k], expected[0, 0], atol=1e-5, rtol=0)


def test_in_the_model_every_part_of_it_learns():
    torch.manual_seed(0)
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.REFINE.SEARCH", True)).train()
    sum(model([make_input(0, [(6, 4, 50, 60, 17)])]).values()).backward()
    parts = [*model.refiner.refinement.search.parameters(), *model.refiner.refinement.found.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in parts)
