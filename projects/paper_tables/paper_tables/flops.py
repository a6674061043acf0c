"""Multiply-adds and parameters of a top-down model's parts, by fvcore."""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from rle_onestage.engine.models import build_architecture
from rle_onestage.engine.setup import load_config
from rle_onestage.modeling.two_stage.region_head import RegionHead
from rle_onestage.utils.tables import table_text

from .paper import COST

_MULTIPLIED = ("conv", "linear")  # fvcore's names of what has weights to multiply with; it counts norms too


class Cost(NamedTuple):
    """Of a part of the network.

    ``macs``: multiply-adds of convolutions and linear layers. ``by_outputs``: the same, with every position of a
    transposed convolution's output charged with the whole kernel. ``norms``: fvcore's count of the normalisations.
    """

    parameters: int
    macs: int
    by_outputs: int
    norms: int

    def __add__(self, other: Any) -> "Cost":
        return Cost(*(mine + theirs for mine, theirs in zip(self, other)))


class Layers(nn.Module):
    """The layers of a keypoint head without what is made of their output."""

    def __init__(self, head: RegionHead):
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Any:
        """What they give of features (P, C, H, W)."""
        return self.head.layers(features)


def cost_of(module: nn.Module, inputs: Tensor, parameters: int) -> Cost:
    """The cost of one pass.

    Args:
        module: in evaluation mode.
        inputs: such as a crop (1, 3, H, W).
        parameters: to be stated with it.
    """
    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts, places = analysis.by_operator(), analysis.by_module()
    macs = sum([counts[name] for name in _MULTIPLIED])
    spread = {name: m for name, m in module.named_modules() if isinstance(m, nn.ConvTranspose2d)}
    # A kernel of stride s reaches each position of the output with one of s * s of its taps.
    more = sum([places[name] * (m.stride[0] * m.stride[1] - 1) for name, m in spread.items()])
    return Cost(parameters, int(macs), int(macs + more), int(counts.total() - macs))


def model_costs(config: str, options: list[str] | tuple = ()) -> tuple[Cost, Cost]:
    """Of the backbone and of the keypoint head of a top-down config, for one crop.

    Args:
        config: of ``TopDownPose`` with a head of this project's.
        options: ``[KEY, VALUE, ...]``.
    """
    cfg = load_config(config, ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", *options])
    model: Any = build_architecture(cfg).eval()
    with torch.no_grad():
        crop = torch.zeros(1, 3, model.crop.height, model.crop.width)
        features = model.features(crop)
        head, trained = model.keypoint_head, ("criterion.", "decoder.")  # the flow is of the training
        own = sum([p.numel() for name, p in head.named_parameters() if not name.startswith(trained)])
        trunk = cost_of(model.backbone, crop, sum([p.numel() for p in model.backbone.parameters()]))
        return trunk, cost_of(Layers(head), features, own)


def cost_table(regression: str, heatmap: str, options: list[str] | tuple = ()) -> "OrderedDict[str, Cost]":
    """The paper's parts by name.

    Args:
        regression: config with ``RLEKeypointHead``.
        heatmap: config with ``SimplePoseKeypointHead`` on the same backbone.
        options: of both.
    """
    trunk, regressing = model_costs(regression, options)
    painting = model_costs(heatmap, options)[1]
    return OrderedDict(zip(COST, (trunk, painting, regressing, trunk + painting, trunk + regressing)))


def format_costs(costs: "OrderedDict[str, Cost]") -> str:
    """The table as Markdown, and the reasons of the differences."""
    trunk = costs["backbone"]
    head = ["", "parameters, M", "G multiply-adds", "over the backbone", "transposed convolutions by outputs",
            "over the backbone", "the paper"]  # fmt: skip
    body = []
    for name, cost in costs.items():
        ratios = (_ratio(cost.macs / trunk.macs), _ratio(cost.by_outputs / trunk.macs))
        body.append([name, f"{cost.parameters / 1e6:.3f}", f"{cost.macs / 1e9:.5g}", ratios[0],
                     f"{cost.by_outputs / 1e9:.5g}", ratios[1], COST[name].words or "-"])  # fmt: skip
    table = table_text(body, head)
    norms = 100 * (trunk.norms / trunk.macs)
    return (
        f"{table}\n\nfvcore's counts of convolutions and linear layers for one crop. It counts {norms:.1f} % more in "
        "the backbone for norms, which are fused at test.\n"
    )


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"1/{1 / value:,.0f}"
