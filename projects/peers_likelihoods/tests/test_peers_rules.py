"""The rules on a tiny network: gradients, what is reported, and what a wrong config says."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from peers_likelihoods.matrices import precision_parts

from rle_onestage.errors import ConfigError
from rle_onestage.structures.boxes import box_area

HEADS = {
    "gaussian_matrix": "CorrelationHead", "rf_detr": "PrecisionHead", "rf_detr_published": "PrecisionHead",
    "yolo26": "StrideHead",
}  # fmt: skip
PEOPLE = [(6, 4, 50, 60, 17)]


def config(rule, *options):
    """A tiny model's, by a rule."""
    own = ["MODEL.META_ARCHITECTURE", "PeerRule", "MODEL.RLE_ONESTAGE.DENSITY", rule]
    own += ["MODEL.RLE_ONESTAGE.HEAD.NAME", HEADS[rule], "MODEL.RLE_ONESTAGE.REFINE.NOISE", 0.0]
    own += ["MODEL.RLE_ONESTAGE.PRESET", "laplace"]
    return tiny_config(*own, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0, *options)


def model_of(rule, *options):
    """Such a model, always with the same weights; the rule's own and the flow's are not as at the start."""
    torch.manual_seed(0)
    model = build_model(config(rule, *options))
    for name, parameter in model.named_parameters():
        if ".more" in name or ".flow." in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("rule", ["gaussian_matrix", "rf_detr", "yolo26"])
def test_every_parameter_of_the_rule_learns(rule):
    model = model_of(rule).train()
    losses = model([make_input(0, PEOPLE), make_input(1, PEOPLE)])
    sum(losses.values()).backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # RF-DETR's precision says the scale too; nothing else of head, refinement and density stands still.
    expected = ("head.scale.",) if rule == "rf_detr" else ()
    assert not [n for n in idle if n.startswith(("head.", "refiner.", "criterion.")) and not n.startswith(expected)]
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("rule", ["gaussian_matrix", "rf_detr"])
def test_covariances_have_the_correlation_that_the_network_says(rule):
    model = model_of(rule).eval()
    with torch.no_grad():
        people = model([make_input(0, PEOPLE)])[0]["instances"]
    covariance = people.pred_keypoint_covariances
    assert torch.equal(covariance.diagonal(dim1=-2, dim2=-1), people.pred_keypoint_sigmas.square())
    product = people.pred_keypoint_sigmas.prod(-1)
    correlation = covariance[..., 0, 1] / product
    assert correlation.abs().max() < 1 and correlation.std() > 1e-3


def test_published_sigmas_are_those_with_the_area_times_side_over_its_root():
    """The same weights, read out twice; the input is 64 px, and so is the square that holds it."""
    right, published = (model_of(rule).eval() for rule in ("rf_detr", "rf_detr_published"))
    published.load_state_dict(right.state_dict())
    given = make_input(0, PEOPLE)
    with torch.no_grad():
        a, b = (model([given])[0]["instances"] for model in (right, published))
    side = float(max(given["image"].shape[-2:]))
    box = a.pred_areas / right.decoder.area_ratio
    ratio = b.pred_keypoint_sigmas / a.pred_keypoint_sigmas
    assert torch.allclose(ratio, (side / box.sqrt())[:, None, None].expand_as(ratio), rtol=1e-3)
    assert torch.equal(a.scores, b.scores) and torch.equal(a.pred_keypoints, b.pred_keypoints)


def test_precision_scales_are_in_roots_of_the_predicted_box():
    model = model_of("rf_detr", "MODEL.RLE_ONESTAGE.REFINE.STEPS", 0).eval()
    images = model.preprocess_image([make_input(0, PEOPLE)]).tensor
    with torch.no_grad():
        dense, locations = model.dense(model.features(images))
        indices, _ = model.decoder.select(dense, locations)
        found = model.head.project(dense, indices, locations)
    expected = precision_parts(found.poses.more)[0] * box_area(found.boxes).clamp(min=1).sqrt()[:, None, None]
    assert torch.allclose(found.poses.scale, expected)


def test_rf_detr_ranks_by_the_trace_only_where_the_score_is_its_own():
    model = model_of("rf_detr", "MODEL.RLE_ONESTAGE.TEST.QUALITY_POWER", 0.0).eval()
    with torch.no_grad():
        own = model([make_input(0, PEOPLE)])[0]["instances"]
        model.decoder.oks_power = 0.0
        alone = model([make_input(0, PEOPLE)])[0]["instances"]
    assert torch.allclose(alone.scores, alone.pred_score_factors[:, 0])
    assert not torch.allclose(own.scores, own.pred_score_factors[:, 0])


def test_sigma_of_yolo26_stays_below_one_stride():
    """Its cap holds after the refinement too, in strides of the candidate's level."""
    scale = ["MODEL.RLE_ONESTAGE.SCALE.FORM", "sigmoid", "MODEL.RLE_ONESTAGE.SCALE.FLOOR", 0.0001]
    model = model_of("yolo26", *scale).eval()
    model.refiner.refinement.output_bias.data[:, 2:] = 50.0  # as large as it can say
    with torch.no_grad():
        people = model([make_input(0, PEOPLE)])[0]["instances"]
    strides = torch.tensor([float(stride) for stride in model.strides])
    caps = people.pred_keypoint_sigmas / model.decoder.std[0]
    nearest = (caps[..., None] - 1.0001 * strides).abs().amin(-1)
    assert nearest.max() < 1e-2 and caps.max() <= 1.001 * strides.max()


@pytest.mark.parametrize(
    "options, words",
    [
        (["MODEL.RLE_ONESTAGE.DENSITY", "laplace"], "no rule laplace"),
        (["MODEL.RLE_ONESTAGE.HEAD.NAME", "PoseHead"], "CorrelationHead"),
        (["MODEL.RLE_ONESTAGE.REFINE.NOISE", 1.0], "NOISE 0"),
    ],
)
def test_a_config_of_another_rule_is_a_sentence(options, words):
    with pytest.raises(ConfigError, match=words):
        build_model(config("gaussian_matrix", *options))
