"""The pyramid over timm's features: a finest map for the refinement alone costs less and changes no other map."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from modeling_toys import tiny_config

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.backbone.timm_fpn import build_timm_fpn_backbone

FINE = "MODEL.RLE_ONESTAGE.TIMM.FINE_CHANNELS"
DECONV = "MODEL.RLE_ONESTAGE.TIMM.FINE_DECONV"
LEVELS = ["MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p2', 'p3', 'p4')", "MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p2"]


def pyramid(*options):
    torch.manual_seed(0)
    return build_timm_fpn_backbone(tiny_config(*LEVELS, *options), ShapeSpec(channels=3)).eval()


@pytest.mark.parametrize("options", [(FINE, "8"), (FINE, "8", DECONV, "True")])
def test_a_fine_map_of_its_own_width_changes_no_other_map(options):
    plain, fine = pyramid(), pyramid(*options)
    state = fine.state_dict()
    shared = {name: value for name, value in plain.state_dict().items() if name in state}
    fine.load_state_dict(
        {name: value for name, value in shared.items() if value.shape == state[name].shape}, strict=False
    )
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wide, narrow = plain(image), fine(image)
    assert {name: shape.channels for name, shape in fine.output_shape().items()} == {"p2": 8, "p3": 16, "p4": 16}
    assert narrow["p2"].shape == (2, 8, 16, 24) and wide["p2"].shape == (2, 16, 16, 24)
    for name in ("p3", "p4"):
        torch.testing.assert_close(narrow[name], wide[name])


def test_a_deconv_alone_is_as_wide_as_the_other_maps():
    assert pyramid(DECONV, "True")(torch.randn(2, 3, 64, 96))["p2"].shape == (2, 16, 16, 24)


def test_a_deconv_tells_the_four_cells_apart_where_nothing_is_seen():
    block = pyramid(DECONV, "True").output[0]
    with torch.no_grad():
        made = block(torch.zeros(1, 16, 4, 4))
    assert made.shape == (1, 16, 8, 8)
    cells = made.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)  # (1, 16, 4, 4, 4)
    assert cells.std(-1).min() > 0


@pytest.mark.parametrize("options", [(FINE, "8"), (DECONV, "True"), (DECONV, "True", FINE, "8")])
def test_a_fine_map_sees_its_own_features_and_those_above(options):
    fine = pyramid(*options)
    image = torch.randn(1, 3, 64, 64)
    other = image.clone()
    other[..., 32:] = 1
    with torch.no_grad():
        before = fine(image)["p2"]
        assert not torch.equal(before, fine(other)["p2"])
        for part in (fine.lateral[0], fine.narrow or fine.lateral[1]):  # each takes part
            kept = part[0].weight.clone()
            part[0].weight.zero_()
            assert not torch.equal(before, fine(image)["p2"])
            part[0].weight.copy_(kept)


@pytest.mark.parametrize("deconv", [False, True])
def test_a_model_with_a_fine_map_learns(deconv):
    model = build_model(tiny_config(*LEVELS, FINE, "8", DECONV, deconv, "MODEL.RLE_ONESTAGE.REFINE.STEPS", "1"))
    assert model.refiner.refinement.conv[0].in_channels == 8
    image = {"image": torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)}
    features = model.backbone(model.preprocess_image([image]).tensor)
    model.refiner.maps(features).heat.sum().backward()
    enlarging = model.backbone.output[0][1] if deconv else model.backbone.narrow[0]
    for part in (model.backbone.lateral[0][0], enlarging):
        assert part.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options, sentence",
    [
        (("MODEL.RLE_ONESTAGE.IN_FEATURES", "('p2', 'p3')"), "the head reads the finest map p2 too"),
        (("MODEL.META_ARCHITECTURE", "GeneralizedRCNN"), "only RLEOneStage has a refinement"),
        (
            ("MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p5', 'p6')"),
            "FINE_CHANNELS, but p5 is the coarsest map of this network too",
        ),
    ],
)
def test_where_a_fine_map_cannot_be_is_one_sentence(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        pyramid(FINE, "8", *options)


def test_the_coarsest_map_has_no_deconv():
    with pytest.raises(ConfigError, match="TIMM has FINE_DECONV, but p5 .* or set FINE_DECONV to"):
        pyramid(DECONV, "True", "MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p5', 'p6')")
