"""Small densities, batches and models for the tests of the modeling room."""

import math

import torch
from detectron2.structures import Boxes, Instances, Keypoints

from rle_onestage.engine.setup import load_config
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.renamed import RENAMED_WEIGHTS
from rle_onestage.modeling.structures import CandidatePredictions, Candidates

# A model of some ten thousand parameters.
TINY = [
    "MODEL.META_ARCHITECTURE", "RLEOneStage", "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "",
    "MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.BACKBONE.FREEZE_AT", "0",
    "MODEL.RLE_ONESTAGE.TIMM.NAME", "mobilenetv4_conv_small_050",
    "MODEL.RLE_ONESTAGE.TIMM.FPN_CHANNELS", "16", "MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p3', 'p4')",
    "MODEL.RLE_ONESTAGE.IN_FEATURES", "('p3', 'p4')", "MODEL.RLE_ONESTAGE.HEAD.CHANNELS", "16",
    "MODEL.RLE_ONESTAGE.HEAD.NUM_CONVS", "1", "MODEL.RLE_ONESTAGE.HEAD.EMBEDDING", "16",
    "MODEL.RLE_ONESTAGE.REFINE.CHANNELS", "16", "MODEL.RLE_ONESTAGE.FLOW.HIDDEN", "8",
    "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0",
]  # fmt: skip
CENTERNET = [
    "MODEL.RLE_ONESTAGE.STYLE", "centernet",
    "MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p2',)", "MODEL.RLE_ONESTAGE.IN_FEATURES", "('p2',)",
    "MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p2",
]  # fmt: skip
STYLES = {"fcos": [], "centernet": CENTERNET}


def tiny_config(*options, style="fcos"):
    """The config of a tiny model of either style, with further ``KEY, VALUE`` options."""
    return load_config("", [*TINY, *STYLES[style], *options])


def candidate_predictions(poses, *, indices=None, boxes=None, score=None, quality=None):
    """What a head would say at candidates that have these poses."""
    count = len(poses.mu)
    none = torch.zeros(count, dtype=torch.int64)
    return CandidatePredictions(
        indices=Candidates(none, torch.arange(count)) if indices is None else indices,
        boxes=torch.zeros(count, 4) if boxes is None else boxes,
        score=torch.zeros(count) if score is None else score,
        quality=quality,
        embedding=torch.zeros(count, 1),
        poses=poses,
    )


def with_earlier_names(state):
    """A state as versions before 0.2 wrote it."""
    old = {}
    for name, value in state.items():
        for before, now in RENAMED_WEIGHTS.items():
            if name.startswith(now):
                name = before + name.removeprefix(now)
        old[name] = value
    sums = old.pop("criterion.area_sums")
    old["decoder.area_sums"] = sums
    del old["decoder.area_ratio"]
    return old


def trained_density(sampler, *, steps=150, hidden=16, preset="laplace", name="rle"):
    """A density fitted to what ``sampler(count)`` draws (count, 2), with its nodes refreshed."""
    torch.manual_seed(0)
    density = build_density(name, preset=preset, hidden=hidden)
    optimizer = torch.optim.Adam(density.parameters(), 5e-3)
    for step in range(steps):
        e = sampler(500)
        loss = density.nll(e, torch.ones_like(e)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            density.refresh(2e-3)
    density.refresh()
    return density


def skewed(count):
    """Residuals of a law with a heavy side and a hard one, off the origin: variance 0.5 in x, 0.125 in y."""
    e = torch.distributions.Gamma(2.0, 2.0).sample((count, 2))
    return e * torch.tensor([1.0, -0.5]) + torch.tensor([-0.6, 0.3])


def grid_integral(log_f, *, half=40.0, count=700):
    """Midpoint rule on a graded grid, in float64: the integrator that shares nothing with the model's.

    The grid is ``x = half sinh(6 u) / sinh(6)`` for equal steps of u in [-1, 1]; its middle lies between two nodes.

    Args:
        log_f: (n, 2) float32 -> (n,).

    Returns:
        Nodes (count^2, 2), and ``exp(log_f)`` times their areas (count^2,), both float64.
    """
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1
    x = half * torch.sinh(6 * u) / math.sinh(6)
    width = half * 6 * torch.cosh(6 * u) / math.sinh(6) * 2 / count
    nodes = torch.cartesian_prod(x, x)
    with torch.no_grad():
        log_values = torch.cat([log_f(part.float()).double() for part in nodes.split(50_000)])
    return nodes, log_values.exp() * torch.outer(width, width).flatten()


def instances(size, people, num_joints=17):
    """Ground truth as the mapper gives it.

    Args:
        size: (height, width). people: (x0, y0, x1, y1, labelled joints) each; the joints lie on the box's diagonal.
    """
    boxes = torch.tensor([p[:4] for p in people], dtype=torch.float32).reshape(-1, 4)
    share = (torch.arange(num_joints) + 0.5)[None, :, None] / num_joints
    joints = boxes[:, None, :2] * (1 - share) + boxes[:, None, 2:] * share
    labelled = torch.zeros(len(people), num_joints, 1)
    for row, p in zip(labelled, people):
        row[: p[4]] = 2
    result = Instances(size)
    result.gt_boxes = Boxes(boxes)
    result.gt_classes = torch.zeros(len(people), dtype=torch.int64)
    result.gt_area = 0.5 * Boxes(boxes).area()
    result.gt_keypoints = Keypoints(torch.cat([joints, labelled], 2))
    return result


def make_input(number, people, *, size=64, num_joints=17, crowds=()):
    """One dataset dict of noise with people, as the training loader gives it."""
    image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
    return {
        "image": image, "height": size, "width": size, "image_id": number, "file_name": f"{number}.png",
        "instances": instances((size, size), people, num_joints),
        "ignore_boxes": Boxes(torch.tensor(crowds, dtype=torch.float32).reshape(-1, 4)),
    }  # fmt: skip


def trained_flow():
    """An RLE density far from its preset: skewed, turned, with other spreads in x and y."""
    torch.manual_seed(0)
    density = build_density("rle")
    for parameter in density.flow.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    density.refresh(1e-5)
    return density.requires_grad_(False)


@torch.no_grad()
def at_limits(density, signs, shifts):
    """Put the log-scales of a flow at a limit of their tanh, where it is a Gaussian; its means and spreads (D)."""
    mean, std = [0.0] * density.cubature.dims, [1.0] * density.cubature.dims
    couplings = list(zip(density.flow.couplings, signs, shifts))
    for coupling, sign, shift in couplings:
        coupling.layers[-1].bias.copy_(torch.tensor([20.0 * sign, shift]))
    for coupling, sign, shift in reversed(couplings):
        mean[coupling.active] = mean[coupling.active] * math.exp(sign) + shift
        std[coupling.active] *= math.exp(sign)
    density.refresh()
    return mean, std
