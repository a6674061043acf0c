"""The look at half size: who is taken from which look, and that each look is what it would be alone."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.decode import People

LIMIT = ("MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM",)


def tiny_model(limit=0.0, style="fcos"):
    torch.manual_seed(0)
    model = build_model(tiny_config(*LIMIT, limit, style=style)).eval()
    # Scores that differ from place to place, so that the best candidates are the same in every run.
    torch.nn.init.normal_(model.head.person.weight, std=1.0)
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
        areas=size**2, kept=torch.ones(len(xy), dtype=torch.bool),
    )  # fmt: skip
    return People(*(field[None] for field in people))


def test_large_people_come_from_the_half_image_in_pixels_of_the_whole():
    decoder = tiny_model().decoder
    whole = people_at([(50, 50), (300, 300)], [40, 200], [0.9, 0.8])
    half = people_at([(25, 25), (150, 150)], [20, 100], [0.7, 0.6])  # the same two
    both = decoder.unite(whole, half, 100.0)
    assert both.kept.tolist() == [[True, False, False, True]]
    torch.testing.assert_close(both.boxes[0, 3], torch.tensor([200.0, 200.0, 400.0, 400.0]))
    torch.testing.assert_close(both.joints[0, 3, 0], torch.tensor([220.0, 220.0, 0.5]))
    assert both.sigmas[0, 3].eq(2).all() and both.areas[0, 3] == 200**2 and both.scores[0, 3] == 0.6


def test_between_the_limits_the_better_look_counts_and_nobody_counts_twice():
    decoder = tiny_model().decoder
    at = [(100, 100)], [110]
    for score, kept in ((0.9, [[True, False]]), (0.5, [[False, True]])):
        half = people_at([(50, 50)], [55], [0.7])
        assert decoder.unite(people_at(*at, [score]), half, 100.0).kept.tolist() == kept


def test_who_is_not_asked_for_suppresses_nobody():
    decoder = tiny_model().decoder
    whole = people_at([(100, 100)], [99], [0.6])
    half = people_at([(50, 50)], [49], [0.9])  # 98 px, seen better, but below the limit
    assert decoder.unite(whole, half, 100.0).kept.tolist() == [[True, False]]


@pytest.mark.parametrize("style", ["fcos", "centernet"])
def test_each_look_is_what_it_would_be_alone(style):
    image = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    alone = tiny_model(style=style)
    whole, half = (alone.find(x) for x in (image, alone.at_half_size(image)))
    with torch.no_grad():
        both = tiny_model(80.0, style).find(image)
    count = whole.scores.shape[1]
    for name in ("boxes", "scores", "factors", "sigmas", "presence", "areas"):
        factor = {"boxes": 2, "sigmas": 2, "areas": 4}.get(name, 1)
        parts = getattr(whole, name), factor * getattr(half, name)
        torch.testing.assert_close(getattr(both, name), torch.cat(parts, 1), msg=name)
    assert not both.kept[:, :count][whole.areas >= (alone.decoder.OVERLAP * 80) ** 2].any()
    assert not both.kept[:, count:][4 * half.areas < 80**2].any()


def test_a_limit_that_nobody_reaches_changes_nothing():
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone, both = (tiny_model(limit).find(image) for limit in (0.0, 1e6))
    count = alone.scores.shape[1]
    assert torch.equal(both.kept[:, :count], alone.kept) and not both.kept[:, count:].any()


def test_half_of_an_odd_number_of_blocks_is_padded():
    model = tiny_model()
    side = model.backbone.size_divisibility
    half = model.at_half_size(torch.ones(1, 3, 3 * side, side))
    assert half.shape == (1, 3, 2 * side, side)
    assert half[..., : 3 * side // 2, : side // 2].eq(1).all() and half.sum() == 3 * (3 * side // 2) * (side // 2)


def test_a_negative_limit_is_one_sentence():
    with pytest.raises(ConfigError, match="HALF_SIZE_FROM"):
        load_config("", [*LIMIT, -1.0])
