"""Multiply-adds by hand."""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from density_cost import SETTINGS, gflops, predictor
from paper_tables.flops import Cost, cost_of, format_costs, model_costs
from paper_tables.paper import COST
from torch import nn

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "lspet.yaml")


def test_transposed_convolutions_are_counted_by_their_inputs_and_as_the_paper_does_by_their_outputs():
    network = nn.Sequential(nn.ConvTranspose2d(3, 5, 4, 2, 1), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)).eval()
    found = cost_of(network, torch.zeros(1, 3, 8, 6), 7)
    taps, last = 3 * 5 * 4 * 4, 16 * 12 * 5 * 2
    assert found.macs == 8 * 6 * taps + last and found.by_outputs == 16 * 12 * taps + last
    assert found.parameters == 7 and found.norms > 0


def test_the_flow_of_the_training_does_not_count():
    trunk, head = model_costs(CONFIG)
    assert head.macs == head.by_outputs == 256 * 5 * 14  # x, y, two scales and presence of each joint
    assert head.parameters == 256 * 5 * 14 + 5 * 14 and trunk.macs > 1e8


def test_the_table_says_both_ratios_and_the_claim():
    costs = OrderedDict(zip(COST, [Cost(10, 4000, 4000, 20), Cost(1, 1440, 5640, 0), Cost(1, 2, 2, 0)] * 2))
    rows = format_costs(costs).splitlines()
    heatmap = next(row for row in rows if row.startswith("| heatmap head"))
    assert "0.36" in heatmap and "1.41" in heatmap and "1.4 times" in heatmap
    assert "1/2,000" in next(row for row in rows if row.startswith("| regression head"))
    assert "0.5 % more" in rows[-1]


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_a_density_costs_nothing_at_test_time(setting):
    config, key = SETTINGS[setting]
    image = np.zeros((64, 64, 3), np.uint8)
    costs = [gflops(partial(predictor(config, [key, density]), image)) for density in ("rle", "l1")]
    assert costs[0] == costs[1] > 0
