"""The look at half size: who is taken from which look, and that each look is what it would be alone."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.locations import Locations
from rle_onestage.modeling.people import Look, People
from rle_onestage.modeling.structures import DenseOutputs

LIMIT = ("MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM",)


def tiny_model(limit=0.0, style="fcos"):
    torch.manual_seed(0)
    model = build_model(tiny_config(*LIMIT, limit, style=style)).eval()
    # Scores that differ from place to place, so that the best candidates are the same in every run.
    torch.nn.init.normal_(model.head.score.weight, std=1.0)
    return model


def people_at(places, sizes, scores, joints=17):
    """One image's people of square boxes about ``places``, all joints on a diagonal of the box."""
    xy, size = torch.tensor(places).float(), torch.tensor(sizes).float()
    steps = torch.linspace(-0.4, 0.4, joints)[None, :, None] * size[:, None, None]
    points = torch.cat([xy[:, None] + steps, torch.full((len(xy), joints, 1), 0.5)], -1)
    row = torch.ones(len(xy), joints)
    people = People(
        boxes=torch.cat([xy - size[:, None] / 2, xy + size[:, None] / 2], 1), scores=torch.tensor(scores),
        factors=torch.ones(len(xy), 3), joints=points, sigmas=torch.stack([row, row], -1), presence=row,
        areas=size**2, kept=torch.ones(len(xy), dtype=torch.bool), correlations=0.5 * row,
    )  # fmt: skip
    return People(*(None if field is None else field[None] for field in people))


def test_the_half_image_is_told_in_pixels_of_the_whole():
    decoder = tiny_model().decoder
    both = decoder.unite(people_at([(50, 50)], [40], [0.9]), people_at([(150, 150)], [100], [0.6]))
    assert both.kept.tolist() == [[True, True]]
    torch.testing.assert_close(both.boxes[0, 1], torch.tensor([200.0, 200.0, 400.0, 400.0]))
    torch.testing.assert_close(both.joints[0, 1, 0], torch.tensor([220.0, 220.0, 0.5]))
    assert both.sigmas[0, 1].eq(2).all() and both.areas[0, 1] == 200**2 and both.scores[0, 1] == 0.6
    assert both.correlations.eq(0.5).all()


@pytest.mark.parametrize("score, kept", [(0.9, [[True, False]]), (0.5, [[False, True]])])
def test_who_is_seen_by_both_looks_counts_once_as_the_better_one_sees_him(score, kept):
    both = tiny_model().decoder.unite(people_at([(100, 100)], [110], [score]), people_at([(50, 50)], [55], [0.7]))
    assert both.kept.tolist() == kept


def test_the_looks_meet_with_an_overlap():
    decoder = tiny_model().decoder
    whole, half = decoder.looks(100.0)
    assert (whole.smallest, whole.largest) == (0.0, pytest.approx(120.0))
    assert (half.smallest, half.largest) == (50.0, float("inf"))
    assert (whole.zoom, half.zoom) == (1.0, 2.0)


def test_a_look_takes_people_of_its_sizes_first():
    decoder = tiny_model().decoder
    decoder.topk, decoder.quality_power = 2, 0.0
    sides = torch.tensor([4.0, 8.0, 16.0, 32.0])  # of square boxes, in pixels
    stride = torch.full((4,), 4.0)
    dense = DenseOutputs(
        score=torch.tensor([[3.0, 2.0, 1.0, 0.0]]), quality=torch.zeros(0),
        box=(sides / 2 / stride)[None, :, None].expand(1, 4, 4), pose=torch.zeros(1, 4, 1),
    )  # fmt: skip
    locations = Locations(torch.zeros(4, 2), stride, torch.zeros(4, dtype=torch.int64), [(2, 2)])
    ratio = decoder.area_ratio.sqrt().item()  # of a person's size to the side of the box
    candidates, score = decoder.select(dense, locations, Look(7.9 * ratio, 16.1 * ratio, 1.0))
    assert candidates.location.tolist() == [1, 2]
    torch.testing.assert_close(score[0], torch.sigmoid(torch.tensor([2.0, 1.0])))
    candidates, score = decoder.select(dense, locations, Look(31.0 * ratio, float("inf"), 0.5))
    assert candidates.location.tolist() == [3] and score[0].tolist() == [0.5]
    candidates, score = decoder.select(dense, locations, Look(33.0 * ratio, float("inf"), 1.0))
    assert score.tolist() == [[0.0, 0.0]]  # nobody
    assert decoder.select(dense, locations)[0].location.tolist() == [0, 1]


@pytest.mark.parametrize("style, limit", [("fcos", 40.0), ("centernet", 16.0)])  # about the size of untrained boxes
@torch.no_grad()
def test_each_look_is_what_it_would_be_alone(style, limit):
    image = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    model = tiny_model(limit, style)
    whole_look, half_look = model.decoder.looks(limit)
    whole = model.decode(model.features(image), whole_look)
    half = model.decode(model.features(model.at_half_size(image)), half_look)
    both = model.find(image)
    for name in ("boxes", "scores", "factors", "sigmas", "presence", "areas"):
        factor = {"boxes": 2, "sigmas": 2, "areas": 4}.get(name, 1)
        parts = getattr(whole, name), factor * getattr(half, name)
        torch.testing.assert_close(getattr(both, name), torch.cat(parts, 1), msg=name)
    found = both.scores > 0
    count = whole.scores.shape[1]
    assert found[:, :count].any() and found[:, count:].any()
    assert both.areas[:, :count][found[:, :count]].max() < (1.2 * limit) ** 2
    assert both.areas[:, count:][found[:, count:]].min() >= limit**2


@pytest.mark.parametrize("style", ["fcos", "centernet"])
@torch.no_grad()
def test_a_limit_that_nobody_reaches_changes_nothing(style):
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    alone, both = (tiny_model(limit, style).find(image) for limit in (0.0, 1e6))
    count = alone.scores.shape[1]
    assert torch.equal(both.kept[:, :count], alone.kept) and torch.equal(both.scores[:, :count], alone.scores)
    assert both.scores[:, count:].eq(0).all()


@pytest.mark.parametrize("topk", [1, 2])
@torch.no_grad()
def test_each_look_has_a_candidate(topk):
    model = tiny_model(20.0)
    model.decoder.topk = topk
    assert model.find(torch.zeros(2, 3, 64, 96)).scores.shape == (2, topk + 1)


def test_half_of_an_odd_number_of_blocks_is_padded():
    model = tiny_model()
    side = model.backbone.size_divisibility
    half = model.at_half_size(torch.ones(1, 3, 3 * side, side))
    assert half.shape == (1, 3, 2 * side, side)
    assert half[..., : 3 * side // 2, : side // 2].eq(1).all() and half.sum() == 3 * (3 * side // 2) * (side // 2)


def test_a_negative_limit_is_one_sentence():
    with pytest.raises(ConfigError, match="HALF_SIZE_FROM"):
        load_config("", [*LIMIT, -1.0])
