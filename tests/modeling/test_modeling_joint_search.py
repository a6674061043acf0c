"""The wide look at a joint's heatmap."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.modeling.refinement.joint_search import JointSearch
from rle_onestage.modeling.refinement.sampling import FlatMap, sample_nearest

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
    pooled = FlatMap.of(search.pooled(heat))
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


def test_nearest_by_a_loop():
    torch.manual_seed(0)
    heat = torch.randn(2, 3, 5, 7)
    image = torch.tensor([1, 0, 1, 1])
    points = torch.rand(4, 3, 6, 2) * 80 - 10
    sampled = sample_nearest(FlatMap.of(heat), image, points, STRIDE)
    for p in range(4):
        for k in range(3):
            for w in range(6):
                x, y = (points[p, k, w] / STRIDE).floor().long().tolist()
                expected = heat[image[p], k, min(max(y, 0), 4), min(max(x, 0), 6)]
                assert sampled[p, k, w] == expected


def test_in_the_model_every_part_of_it_learns():
    torch.manual_seed(0)
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.REFINE.SEARCH", True)).train()
    sum(model([make_input(0, [(6, 4, 50, 60, 17)])]).values()).backward()
    parts = [*model.refiner.refinement.search.parameters(), *model.refiner.refinement.found.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in parts)
