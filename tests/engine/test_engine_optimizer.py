"""Optimizer groups, schedule, clipping and averaging, against hand calculation and Detectron2's own."""

import copy
import math

import pytest
import torch
from detectron2.solver import build_lr_scheduler as build_stock_scheduler
from torch import nn

from rle_onestage.engine import load_config
from rle_onestage.engine.ema import ModelEMA, ema_decay
from rle_onestage.engine.optimizer import GradientClipper, build_lr_scheduler, build_optimizer, parameter_groups
from rle_onestage.errors import ConfigError


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.flow = nn.Linear(2, 2)
        self.head = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(()))
        self.alias = self.head  # a shared module counts once
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)


def test_every_parameter_has_its_rate_and_decay():
    model = Parts()
    groups = parameter_groups(
        model, lr=1.0, weight_decay=0.1, weight_decay_norm=0.01, weight_decay_bias=0.02, bias_lr_factor=2.0,
        backbone_multiplier=0.5, flow_multiplier=0.25,
    )  # fmt: skip
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    expected = {
        "backbone.0.weight": (0.5, 0.1), "backbone.0.bias": (1.0, 0.02), "backbone.1.weight": (0.5, 0.01),
        "backbone.1.bias": (1.0, 0.02), "flow.weight": (0.25, 0.1), "flow.bias": (0.5, 0.02), "head.weight": (1.0, 0.1),
        "head.bias": (2.0, 0.02), "scale": (1.0, 0.01),
    }  # fmt: skip
    assert {name: found[id(p)] for name, p in model.named_parameters() if p.requires_grad} == expected
    assert sum(len(g["params"]) for g in groups) == len(expected)
    assert id(model.frozen) not in found
    assert all(g["initial_lr"] == g["lr"] for g in groups)


def test_decay_of_none_follows_the_weights():
    groups = parameter_groups(nn.Linear(2, 2), lr=1.0, weight_decay=0.1, weight_decay_bias=None)
    assert {g["weight_decay"] for g in groups} == {0.1}


def test_nothing_to_train_is_an_error():
    with pytest.raises(ConfigError, match="no parameter to train"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize("name, kind", [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_optimizer_by_name_takes_a_step(name, kind):
    model = nn.Linear(2, 1)
    optimizer = build_optimizer(load_config("", ["SOLVER.OPTIMIZER", name]), model)
    assert isinstance(optimizer, kind)
    before = model.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.weight)


@pytest.mark.parametrize(
    "options",
    [
        ["SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", "(20,30)", "SOLVER.WARMUP_ITERS", "10"],
        ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", "10", "SOLVER.WARMUP_FACTOR", "0.1"],
        ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", "0"],
        ["SOLVER.WARMUP_METHOD", "constant", "SOLVER.WARMUP_ITERS", "5", "SOLVER.STEPS", "(8,)"],
    ],
)
def test_schedule_has_the_values_of_detectron2(options):
    cfg = load_config("", ["SOLVER.MAX_ITER", "40", "SOLVER.BASE_LR", "0.5", *options])
    rates = []
    for build in (build_lr_scheduler, build_stock_scheduler):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
        rates.append(rates_of(build(cfg, optimizer), optimizer, 40))
    assert rates[0] == rates[1]


def rates_of(scheduler, optimizer, iterations):
    """The learning rate of each iteration."""
    rates = []
    for _ in range(iterations):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_steps_that_fvcore_refuses_count_as_they_stand():
    """At 0, twice the same, and beyond the end: configs that trained before go on."""
    cfg = load_config("", ["SOLVER.MAX_ITER", "8", "SOLVER.STEPS", "(0,3,3,8,20)", "SOLVER.WARMUP_ITERS", "0"])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = rates_of(build_lr_scheduler(cfg, optimizer), optimizer, 8)
    assert rates == pytest.approx([0.1] * 3 + [1e-3] * 5)


def test_cosine_ends_where_the_config_says():
    options = [
        "SOLVER.MAX_ITER",
        "10",
        "SOLVER.BASE_LR",
        "1.0",
        "SOLVER.BASE_LR_END",
        "0.1",
        "SOLVER.WARMUP_ITERS",
        "0",
    ]
    cfg = load_config("", [*options, "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = rates_of(build_lr_scheduler(cfg, optimizer), optimizer, 11)
    assert rates[0] == 1.0 and rates[10] == pytest.approx(0.1)


def test_clipping_keeps_the_direction_over_the_whole_model():
    a, b, unused = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    norm = GradientClipper([a, b, unused], enabled=True, clip_value=1.0)()
    assert float(norm) == pytest.approx(5.0)
    assert float(a.grad) == pytest.approx(0.6, rel=1e-4) and float(b.grad) == pytest.approx(0.8, rel=1e-4)
    a.grad = torch.tensor([3.0])
    assert GradientClipper([a, unused], enabled=True, clip_type="value", clip_value=1.0)() is None
    assert float(a.grad) == 1.0
    assert GradientClipper([a], enabled=False)() is None


def test_ema_by_hand():
    model = nn.BatchNorm1d(1)
    ema = ModelEMA(model, decay=0.9, warmup=0)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.running_mean = torch.full((1,), 10.0)  # replaced, not changed in place
        model.num_batches_tracked += 5
    ema.update(1)
    state = ema.state_dict()
    assert float(state["weight"]) == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert float(state["running_mean"]) == pytest.approx(1.0)
    assert int(state["num_batches_tracked"]) == 5
    ema.update(2)
    assert float(state["weight"]) == pytest.approx(0.9 * 1.1 + 0.1 * 2)


def test_ema_ramp():
    assert ema_decay(0.999, 0, 1) == 0.999
    assert ema_decay(0.999, 100, 100) == pytest.approx(0.999 * (1 - math.exp(-1)))
    assert ema_decay(0.999, 100, 1) < 0.01


def test_swap_gives_the_averages_and_then_the_weights_back():
    model = nn.Linear(1, 1)
    ema = ModelEMA(model, decay=0.5, warmup=0)
    average = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model.weight.add_(1.0)
    trained, parameter = model.weight.detach().clone(), model.weight
    with pytest.raises(RuntimeError), ema.swapped_in():
        assert model.weight is parameter
        assert torch.equal(model.weight, average["weight"])
        raise RuntimeError
    assert torch.equal(model.weight, trained)
    assert torch.equal(ema.state_dict()["weight"], average["weight"])
