"""MoveNet's trunk: the padding of TensorFlow, the names of the file, and what stays as it is while the head trains."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from timm.layers import Conv2dSame
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from torch import nn

from rle_onestage.engine import Trainer
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.optimizer import build_optimizer
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.modeling.backbone.fusion import fuse_batch_norms
from rle_onestage.modeling.backbone.movenet import MoveNet, MoveNetPyramid, enlarge, pool_people, to_unit
from rle_onestage.modeling.backbone.timm_fpn import SameConv2d, SameDepthwiseConv2d

PRETRAINED = "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED"
OPTIONS = [
    "MODEL.BACKBONE.NAME", "build_movenet_backbone", "MODEL.RLE_ONESTAGE.MOVENET.CHANNELS", "16",
    "MODEL.RLE_ONESTAGE.IN_FEATURES", "('p4', 'p5')", "MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p2",
    "INPUT.FORMAT", "RGB", "SOLVER.BASE_LR", "100",  # so that every step can be seen
]  # fmt: skip


def settle(module, seed=0):
    """Weights and statistics as after a training: none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low, high in ((norm.running_mean, -0.3, 0.3), (norm.running_var, 0.5, 2.0),
                                  (norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2)):  # fmt: skip
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return module.eval()


@pytest.fixture(scope="module")
def movenet():
    torch.manual_seed(0)
    return settle(MoveNet(heads=True))


@pytest.fixture(scope="module")
def weights(movenet, tmp_path_factory):
    """A file in the layout of MoveNet's: convolutions in float16, and two more heads."""
    state = {name: value.half() if value.ndim == 4 else value for name, value in movenet.state_dict().items()}
    state |= {f"heads.{head}.output.weight": torch.zeros(2, 96, 1, 1) for head in ("box_size", "box_offset")}
    path = tmp_path_factory.mktemp("weights") / "movenet.pth"
    torch.save(state, path)
    return str(path)


def image(side=64, count=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


# ------------------------------------------------------------------------------------------------ padding


@pytest.mark.parametrize("with_gradient", [True, False])
def test_padding_of_an_even_side_is_right_and_below(with_gradient):
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    with torch.set_grad_enabled(with_gradient):
        out = conv(torch.arange(16.0).view(1, 1, 4, 4))
    # Rows 0 to 2 and 2 to 3, columns likewise: 0+1+2+4+5+6+8+9+10, 2+3+6+7+10+11, 8+9+10+12+13+14, 10+11+14+15.
    assert out.flatten().tolist() == [45, 39, 66, 50]


@pytest.mark.parametrize("with_gradient", [True, False])
def test_padding_of_an_odd_side_is_all_round(with_gradient):
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    with torch.set_grad_enabled(with_gradient):
        out = conv(torch.arange(9.0).view(1, 1, 3, 3))
    assert out.flatten().tolist() == [0 + 1 + 3 + 4, 1 + 2 + 4 + 5, 3 + 4 + 6 + 7, 4 + 5 + 7 + 8]


@pytest.mark.parametrize("kernel, stride, dilation, groups", [(3, 2, 1, 4), (5, 2, 1, 4), (3, 1, 1, 1), (3, 2, 2, 1)])
@pytest.mark.parametrize("with_gradient", [True, False])
def test_padding_is_that_of_timm(kernel, stride, dilation, groups, with_gradient):
    theirs = Conv2dSame(4, 4, kernel, stride, dilation=dilation, groups=groups)
    ours = (SameConv2d if groups == 1 else SameDepthwiseConv2d)(
        4, 4, kernel, stride, dilation=dilation, groups=groups
    )  # fmt: skip
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 12, 9, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(with_gradient):
        torch.testing.assert_close(ours(x), theirs(x))


# ------------------------------------------------------------------------------------------------ the network


def timm_mobilenet():
    """timm's MobileNetV2 with 1.5 times the channels and TensorFlow's padding, built by timm's own parser."""
    stages = ["ds_r1_k3_s1_c16", "ir_r2_k3_s2_e6_c24", "ir_r3_k3_s2_e6_c32", "ir_r4_k3_s2_e6_c64",
              "ir_r3_k3_s1_e6_c96", "ir_r3_k3_s2_e6_c160", "ir_r1_k3_s1_e6_c320"]  # fmt: skip
    return EfficientNet(
        block_args=decode_arch_def([[stage] for stage in stages]), stem_size=32, num_classes=0, pad_type="same",
        round_chs_fn=partial(round_channels, multiplier=1.5), act_layer=nn.ReLU6,
    )  # fmt: skip


def test_trunk_is_timms_by_names_shapes_and_features(movenet):
    theirs, ours = timm_mobilenet(), movenet.backbone
    shapes = {name: x.shape for name, x in theirs.state_dict().items() if not name.startswith(("conv_head", "bn2"))}
    assert {name: value.shape for name, value in ours.state_dict().items()} == shapes
    theirs.load_state_dict(ours.state_dict(), strict=False)
    theirs.eval()
    with torch.no_grad():
        x = theirs.bn1(theirs.conv_stem(image()))
        for expected, stage in zip(ours(image()), theirs.blocks, strict=True):
            x = stage(x)
            torch.testing.assert_close(expected, x, rtol=1e-4, atol=1e-4)


def test_names_and_shapes_of_pyramid_and_heads():
    shapes = {name: tuple(value.shape) for name, value in MoveNet(heads=True).state_dict().items()}
    expected = {
        "pyramid.expand.weight": (1280, 480, 1, 1), "pyramid.expand.bias": (1280,),
        "pyramid.lateral5.weight": (64, 1280, 1, 1), "pyramid.lateral5.bias": (64,),
        "pyramid.lateral4.weight": (64, 96, 1, 1), "pyramid.lateral4.bias": (64,),
        "pyramid.lateral3.weight": (32, 48, 1, 1), "pyramid.lateral3.bias": (32,),
        "pyramid.lateral2.weight": (24, 40, 1, 1), "pyramid.lateral2.bias": (24,),
    }  # fmt: skip
    for number, (inputs, outputs) in enumerate([(64, 32), (32, 24), (24, 24)]):
        expected[f"pyramid.depthwise.{number}.weight"] = (inputs, 1, 3, 3)
        expected[f"pyramid.pointwise.{number}.weight"] = (outputs, inputs, 1, 1)
        expected[f"pyramid.pointwise.{number}.bias"] = (outputs,)
    for head, outputs in (("center", 1), ("heatmap", 17), ("regress", 34), ("offset", 34)):
        expected |= {f"heads.{head}.depthwise.weight": (24, 1, 3, 3), f"heads.{head}.pointwise.weight": (96, 24, 1, 1)}
        expected |= {f"heads.{head}.pointwise.bias": (96,), f"heads.{head}.output.weight": (outputs, 96, 1, 1)}
        expected[f"heads.{head}.output.bias"] = (outputs,)
    assert {name: shape for name, shape in shapes.items() if not name.startswith("backbone.")} == expected


def test_pyramid_adds_the_level_above_before_its_convolutions(movenet):
    pyramid = movenet.pyramid
    with torch.no_grad():
        stages = movenet.backbone(image())
        sums, eighth, quarter = pyramid(stages)
        top = F.conv2d(F.conv2d(stages[6], pyramid.expand.weight, pyramid.expand.bias).clamp(0, 6),
                       pyramid.lateral5.weight, pyramid.lateral5.bias)  # fmt: skip
        torch.testing.assert_close(sums[5], top)
        torch.testing.assert_close(sums[4], pyramid.lateral4(stages[3]) + enlarge(top))
        smooth = pyramid.pointwise[0](pyramid.depthwise[0](sums[4])).relu()
        torch.testing.assert_close(sums[3], pyramid.lateral3(stages[2]) + enlarge(smooth))
        torch.testing.assert_close(eighth, pyramid.pointwise[1](pyramid.depthwise[1](sums[3])).relu())
        assert quarter.shape == (1, 24, 16, 16)


def test_enlargement_has_half_pixel_centres():
    assert enlarge(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0].tolist() == [0, 1, 3, 4]


def test_what_a_cell_sees_of_its_person():
    """One cell of 2 x 2 points with logits whose heats are as 1 to 3 and 0: means by hand."""
    heat = torch.tensor([[0.2, 0.6], [0.0, 0.0]])
    logits = torch.logit(heat, eps=1e-9).view(1, 1, 2, 2)
    hidden = torch.tensor([[8.0, 4.0], [100.0, 100.0]]).view(1, 1, 2, 2)
    mean, x, y, peak = pool_people(logits, [hidden], 1)[0].flatten().tolist()
    assert mean == pytest.approx((1 * 8 + 3 * 4) / 4, abs=1e-4)
    assert (x, y) == pytest.approx(((1 * -0.25 + 3 * 0.25) / 4, -0.25), abs=1e-4)
    assert peak == pytest.approx(to_unit(torch.logit(torch.tensor(0.6))).item())


def test_far_from_people_the_gradient_is_finite():
    logits = torch.full((1, 1, 4, 4), -60.0).bfloat16().requires_grad_()
    hidden = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    pool_people(logits, [hidden], 2)[1].float().square().sum().backward()
    assert torch.isfinite(logits.grad).all() and torch.isfinite(hidden.grad).all() and hidden.grad.all()


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_cells_do_not_mix(halvings):
    generator = torch.Generator().manual_seed(0)
    logits, hidden = torch.randn(2, 1, 16, 24, generator=generator), torch.rand(2, 3, 16, 24, generator=generator)
    side, whole = 2**halvings, pool_people(logits, [hidden], halvings)[-1]
    assert whole.shape == (2, 6, 16 // side, 24 // side)
    cell = slice(side, 2 * side)
    torch.testing.assert_close(pool_people(logits[..., cell, cell], [hidden[..., cell, cell]], halvings)[-1][..., 0, 0],
                               whole[..., 1, 1])  # fmt: skip


def test_large_cells_are_a_softmax_over_their_points():
    """Made of smaller ones, they are what one softmax over all 8 x 8 points gives."""
    generator = torch.Generator().manual_seed(0)
    logits, hidden = 6 * torch.randn(1, 1, 8, 8, generator=generator), torch.rand(1, 3, 8, 8, generator=generator)
    share = torch.softmax(torch.nn.functional.logsigmoid(logits.double()).flatten(), 0).view(8, 8)
    place = (torch.arange(8.0) + 0.5) / 8 - 0.5
    expected = [*(hidden[0] * share).sum((1, 2)), (place * share.sum(0)).sum(), (place * share.sum(1)).sum()]
    torch.testing.assert_close(pool_people(logits, [hidden], 3)[2].flatten()[:-1], torch.stack(expected).float())


@pytest.mark.parametrize("heads", [True, False])
def test_outputs_have_the_shapes_that_they_say(heads):
    names = ["p2", "p3", "p4", "p5", "p6", "p7"]
    backbone = MoveNetPyramid(trunk=MoveNet(heads=heads), out_features=names, channels=16, norm="BN")
    features = backbone.eval()(image(96, 2)[:, :, :64])
    shapes = backbone.output_shape()
    assert {name: x.shape for name, x in features.items()} == {
        name: (2, shape.channels, -(-64 // shape.stride), -(-96 // shape.stride)) for name, shape in shapes.items()
    }
    assert shapes["p2"].channels == (99 if heads else 48) and shapes["p5"].channels == 16
    assert any("heads" in name for name, _ in backbone.named_parameters()) == heads


def test_a_coarse_output_needs_none_of_the_finer_ones():
    backbone = MoveNetPyramid(trunk=MoveNet(heads=False), out_features=["p6"], channels=16, norm="BN").eval()
    assert list(backbone(image(64, 2))) == ["p6"]


def test_an_output_that_there_is_not():
    with pytest.raises(ConfigError, match=r"OUT_FEATURES is \['p2', 'p8'\]; name some of p2, p3, p4, p5, p6, p7"):
        MoveNetPyramid(trunk=MoveNet(heads=False), out_features=["p2", "p8"], channels=16, norm="BN")


# ------------------------------------------------------------------------------------------------ weights and freezing


def test_weights_come_from_the_file_and_further_heads_are_left_out(movenet, weights):
    trunk = build_model(tiny_config(*OPTIONS, PRETRAINED, weights)).backbone.trunk
    for name, value in movenet.state_dict().items():
        expected = value.half().float() if value.ndim == 4 else value
        assert torch.equal(trunk.state_dict()[name], expected), name


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("pyramid.lateral4.bias"), "not there: pyramid.lateral4.bias"),
        (lambda state: state.update({"backbone.bn1.weight": torch.ones(32)}),
         r"backbone.bn1.weight \(32,\) in the file, \(48,\) in the model"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(movenet, tmp_path, change, words):
    state = dict(movenet.state_dict())
    change(state)
    path = str(tmp_path / "other.pth")
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=words) as caught:
        build_model(tiny_config(*OPTIONS, PRETRAINED, path))
    assert path in str(caught.value) and PRETRAINED in str(caught.value) and "\n" not in str(caught.value)


def step(model, cfg):
    """One training step; returns the names of what is different after it."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(cfg, model)
    model.train()
    batch = [make_input(1, [(5, 5, 50, 60, 17), (30, 20, 62, 62, 3)]), make_input(2, [])]
    with torch.autocast("cpu", torch.bfloat16):
        sum(model(batch).values()).backward()
    assert [name for name, p in model.named_parameters() if (p.grad is None) == p.requires_grad] == []
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_a_frozen_trunk_stays_and_the_rest_learns(weights):
    cfg = tiny_config(*OPTIONS, PRETRAINED, weights, "MODEL.BACKBONE.FREEZE_AT", "-1")
    model = build_model(cfg)
    changed = step(model, cfg)
    assert not [name for name in changed if name.startswith("backbone.trunk.")]
    learning = {name for name, _ in model.backbone.named_parameters() if not name.startswith("trunk.")}
    assert learning and {f"backbone.{name}" for name in learning} <= changed
    assert "backbone.norm.running_mean" in changed


def test_stages_are_frozen_up_to_a_stride(weights):
    cfg = tiny_config(*OPTIONS, PRETRAINED, weights, "MODEL.BACKBONE.FREEZE_AT", "4")
    model = build_model(cfg)
    changed = step(model, cfg)
    kept = ("conv_stem", "bn1", "blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.", "blocks.4.")
    in_trunk = {name for name in model.state_dict() if name.startswith("backbone.trunk.")}
    frozen = {name for name in in_trunk if name.removeprefix("backbone.trunk.backbone.").startswith(kept)}
    assert len(frozen) > 200 and not frozen & changed
    assert {"backbone.trunk.backbone.blocks.5.0.conv_pw.weight", "backbone.trunk.pyramid.lateral2.bias",
            "backbone.trunk.backbone.blocks.6.0.bn3.running_mean"} <= changed  # fmt: skip


def test_everything_learns_unless_it_is_frozen(weights):
    cfg = tiny_config(*OPTIONS, PRETRAINED, weights)
    model = build_model(cfg)
    parameters = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    unused = {f"backbone.trunk.heads.regress.output.{name}" for name in ("weight", "bias")}
    changed = step(model, cfg)
    assert parameters - unused <= changed and not unused & changed


def test_frozen_norms_within_convolutions_change_nothing(movenet):
    plain, frozen = MoveNet(heads=True), MoveNet(heads=True)
    plain.load_state_dict(movenet.state_dict())
    frozen.load_state_dict(movenet.state_dict())
    plain.eval()
    frozen.eval().requires_grad_(False)
    with torch.no_grad():
        expected, maps = (network(image(), (2, 3, 4, 5)) for network in (plain, frozen))
    for level, given in maps.items():
        for x, y in zip(given, expected[level], strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))


def test_frozen_random_weights_are_an_error(tmp_path):
    cfg = tiny_config(*OPTIONS, "MODEL.BACKBONE.FREEZE_AT", "-1", "OUTPUT_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=f"FREEZE_AT is -1, which would freeze random weights.*{PRETRAINED}"):
        Trainer(cfg).resume_or_load(resume=False)


def test_inference_needs_neither_the_file_nor_what_was_frozen(weights, tmp_path):
    options = [*OPTIONS, "MODEL.BACKBONE.FREEZE_AT", "-1"]
    model = settle(build_model(tiny_config(*options, PRETRAINED, weights)))
    path = str(tmp_path / "model.pth")
    torch.save({"model": model.state_dict()}, path)
    loaded = build_for_inference(tiny_config(*options, PRETRAINED, str(tmp_path / "gone.pth")), path)
    state = loaded.state_dict()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_only_the_norm_of_what_is_sampled_is_left_after_folding(weights):
    model = settle(build_model(tiny_config(*OPTIONS, PRETRAINED, weights)))
    folded = fuse_batch_norms(model).eval()  # as the predictor has it
    assert [name for name, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)] == ["backbone.norm"]
    with torch.no_grad():
        expected, features = (m.backbone(image()) for m in (model, folded))
    for name, x in features.items():
        torch.testing.assert_close(x, expected[name], rtol=1e-3, atol=1e-3)
