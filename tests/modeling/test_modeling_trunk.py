"""timm networks as trunks: which module belongs to which stage, what is frozen, and how fast each stage learns."""

import copy

import pytest
import timm
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from timm.layers import Conv2dSame
from torch import nn

from rle_onestage.engine.models import build_architecture
from rle_onestage.engine.optimizer import build_optimizer, parameter_groups
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.backbone.timm_fpn import SameConv2d, SameDepthwiseConv2d, with_fast_depthwise
from rle_onestage.modeling.backbone.trunk import batch_norms, timm_stages

# Of each kind that timm has: features by stage number, by flat names, by nested names, and without a map of stride 2.
NETWORKS = ("mobilenetv4_conv_small_050", "resnet10t", "tf_mobilenetv3_small_minimal_100", "convnext_atto")


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_have_every_parameter_once_and_give_the_features(name):
    network = timm.create_model(name, features_only=True).eval()
    stages = timm_stages(network)
    assert [2**level for level, _ in stages] == network.feature_info.reduction()
    inside = [id(p) for _, modules in stages for module in modules for p in module.parameters()]
    assert sorted(inside) == sorted(id(p) for p in network.parameters())
    # What is frozen up to a stage must be all that its features depend on.
    for number, features in enumerate(network(torch.rand(1, 3, 64, 64))):
        network.zero_grad()
        features.sum().backward(retain_graph=True)
        reached = {id(p) for p in network.parameters() if p.grad is not None and bool(p.grad.any())}
        below = {id(p) for _, modules in stages[: number + 1] for module in modules for p in module.parameters()}
        assert reached and reached <= below
        above = {id(p) for _, modules in stages[:number] for module in modules for p in module.parameters()}
        assert not reached <= above


def train_step(cfg, model):
    """The names of what a step changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(cfg, model)
    sum(model.train()([make_input(1, [(5, 5, 50, 60, 17)]), make_input(2, [])]).values()).backward()
    optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_frozen_stages_stay_with_their_statistics():
    cfg = tiny_config("MODEL.BACKBONE.FREEZE_AT", "3", "SOLVER.BASE_LR", "100")
    model = build_model(cfg)
    changed = train_step(cfg, model)
    network = {name.removeprefix("backbone.network.") for name in changed if name.startswith("backbone.network.")}
    assert not [name for name in network if name.startswith(("conv_stem", "bn1", "blocks.0.", "blocks.1."))]
    assert {"blocks.2.0.pw_exp.conv.weight", "blocks.2.0.pw_exp.bn.running_mean"} <= network
    assert "backbone.lateral.0.0.weight" in changed


def test_what_is_frozen_is_said_in_full(caplog):
    cfg = tiny_config("MODEL.RLE_ONESTAGE.TRUNK.NORM", "frozen")
    with caplog.at_level("INFO", "rle_onestage"):
        model = build_architecture(cfg)
        assert "frozen" not in caplog.text  # of no meaning where nothing is trained
        build_optimizer(cfg, model)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert 1000 < frozen < 100_000 and f"{frozen:,} of its parameters are frozen (not trained)" in caplog.text


def test_frozen_norms_stay_and_convolutions_learn():
    cfg = tiny_config("MODEL.RLE_ONESTAGE.TRUNK.NORM", "frozen", "SOLVER.BASE_LR", "100")
    model = build_model(cfg)
    norms = {f"backbone.network.{name}" for name, m in model.backbone.network.named_modules() if m in batch_norms(m)}
    changed = train_step(cfg, model)
    assert norms and not {name for name in changed if name.rpartition(".")[0] in norms}
    assert {"backbone.network.conv_stem.weight", "backbone.lateral.0.1.running_mean"} <= changed


def test_momentum_is_that_of_the_trunk_alone():
    backbone = build_model(tiny_config("MODEL.RLE_ONESTAGE.TRUNK.NORM_MOMENTUM", "0.02")).backbone
    assert {norm.momentum for norm in batch_norms(backbone.network)} == {0.02}
    assert {norm.momentum for norm in batch_norms(backbone.lateral)} == {0.1}


def test_a_network_without_known_stages_is_refused_only_where_it_matters():
    network = timm.create_model("vit_tiny_patch16_224", features_only=True, depth=2, out_indices=(0, 1))
    with pytest.raises(ConfigError, match="FeatureGetterNet does not say which of its parts.*FREEZE_AT"):
        timm_stages(network)


# ------------------------------------------------------------------------------------------------ rates by depth


def test_rates_fall_with_the_depth():
    model = build_model(tiny_config())
    groups = parameter_groups(
        model, lr=1.0, weight_decay=0.1, trunk_multiplier=0.5, layer_decay=0.8, backbone_multiplier=2.0
    )
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    rates = {name: rate[id(p)] for name, p in model.named_parameters()}
    # Five stages: bn1 (stride 2), blocks.0 (4), 1 (8), 2 (16), 3 and 4 (32); the topmost has one factor.
    expected = {"conv_stem.weight": 5, "bn1.bias": 5, "blocks.0.": 4, "blocks.1.": 3, "blocks.2.": 2, "blocks.3.": 1}
    for start, power in expected.items():
        found = {value for name, value in rates.items() if name.startswith(f"backbone.network.{start}")}
        assert found and all(value == pytest.approx(2 * 0.5 * 0.8**power) for value in found), start
    assert {value for name, value in rates.items() if name.startswith("backbone.lateral.")} == {2.0}
    assert {value for name, value in rates.items() if name.startswith("head.")} == {1.0}


def test_the_config_sets_the_rates():
    cfg = tiny_config("SOLVER.LAYER_DECAY", "0.5", "SOLVER.BASE_LR", "1.0")
    rates = {group["lr"] for group in build_optimizer(cfg, build_model(cfg)).param_groups}
    assert rates == {1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125}


def test_rates_by_depth_need_a_trunk():
    with pytest.raises(ConfigError, match="LAYER_DECAY 0.5, but this backbone has no stages"):
        parameter_groups(nn.Linear(2, 2), lr=1.0, weight_decay=0.0, layer_decay=0.5)


@pytest.mark.parametrize("value", ["0.0", "1.5"])
def test_rates_by_depth_that_make_no_sense(value):
    with pytest.raises(ConfigError, match=f"SOLVER.LAYER_DECAY is {value}"):
        tiny_config("SOLVER.LAYER_DECAY", value)


@pytest.mark.parametrize("attention, search", [("0", "False"), ("4", "True")])
def test_biases_of_the_model_have_no_decay_but_those_of_single_joints_have(attention, search):
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.REFINE.ATTENTION", attention,
                                    "MODEL.RLE_ONESTAGE.REFINE.SEARCH", search))  # fmt: skip
    groups = parameter_groups(model, lr=1.0, weight_decay=0.1, weight_decay_norm=0.0, weight_decay_bias=0.0)
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    none = {name for name, p in model.named_parameters() if not decay[id(p)]}
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    of_joints = {"refiner.refinement.joint", "refiner.refinement.output_bias"}  # matrices, a row for each joint
    assert len(biases) > 20 and biases - of_joints <= none
    assert {"head.offset_scale", "backbone.lateral.0.1.weight"} <= none
    matrices = {name for name, p in model.named_parameters() if name.endswith("weight") and p.ndim > 1}
    assert not ({"refiner.refinement.output", "head.offset.weight", *of_joints, *matrices} & none)


# ------------------------------------------------------------------------------------------------ fast convolutions


def test_timms_padded_convolutions_become_ours_with_the_same_result():
    torch.manual_seed(0)
    network = timm.create_model("tf_mobilenetv3_small_minimal_100", features_only=True).eval()
    fast = with_fast_depthwise(copy.deepcopy(network))
    assert not [m for m in fast.modules() if type(m) is Conv2dSame]
    kinds = [type(m) for m in fast.modules()]
    assert SameDepthwiseConv2d in kinds and SameConv2d in kinds
    x = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        for ours, theirs in zip(fast(x), network(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_gradient_of_a_padded_depthwise_convolution_is_that_of_float32():
    """Under autocast it leaves bfloat16, whose gradient would differ from float32's by rounding."""
    torch.manual_seed(0)
    conv = with_fast_depthwise(nn.Sequential(Conv2dSame(8, 8, 3, 2, groups=8, bias=False)))[0]
    assert type(conv) is SameDepthwiseConv2d
    x = torch.randn(2, 8, 16, 16).bfloat16()
    gradients = []
    for enabled, given in ((True, x), (False, x.float())):
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = conv(given)
        assert out.dtype == given.dtype
        out.backward(torch.ones_like(out))
        gradients.append(conv.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)
