"""Refinement: look again at each predicted joint, in a finer map, and correct it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone.timm_fpn import conv_block
from ..codec import SigmaCodec
from ..structures import Poses
from .joint_attention import JointAttention
from .joint_search import JointSearch

# Where a joint's heat is looked at, in units of its spread.
_WINDOW = [(0.75 * x, 0.75 * y) for y in range(-2, 3) for x in range(-2, 3)]


def widest_float(device: torch.device) -> torch.dtype:
    """The most exact floating-point type that every device of the kind has: Apple's GPUs have no float64, nor have
    many of Intel's.
    """
    return torch.float32 if device.type in ("mps", "xpu") else torch.float64


def bilinear(points: Tensor, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four cells of a flattened map whose centres are about each point, and their weights.

    Args:
        points: (..., 2) in pixels of the input; those outside take the border's. stride, height, width: of the map.

    Returns:
        Indices (..., 4) int64 and weights (..., 4), whose sum is 1.
    """
    limit = points.new_tensor([width - 1, height - 1])
    cell = torch.minimum((points / stride - 0.5).clamp(min=0), limit)
    low = cell.floor()
    x, y = (cell - low).unbind(-1)
    low = low.long()
    (x0, y0), (x1, y1) = low.unbind(-1), torch.minimum(low + 1, limit.long()).unbind(-1)
    index = torch.stack([y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], -1)
    return index, torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], -1)


def sample_bilinear(feature: Tensor, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Features at points, bilinear between the centres of cells.

    Args:
        feature: (B, C, H, W). image: (P,) int64. points: (P, K, 2) in pixels of the input. stride: of the map.

    Returns:
        (P, K, C).
    """
    _, channels, height, width = feature.shape
    table = feature.permute(0, 2, 3, 1).reshape(-1, channels)  # (B H W, C)
    index, weight = bilinear(points, stride, height, width)
    # One gather for the four: the gradient of each is a whole map.
    cells = table[index + (image * (height * width))[:, None, None]]  # (P, K, 4, C)
    return (cells * weight[..., None].to(cells.dtype)).sum(-2)


def sample_own_channel(heat: Tensor, image: Tensor, points: Tensor, stride: int) -> Tensor:
    """Each joint's own map at points, bilinear between the centres of cells.

    Args:
        heat: (B, K, H, W). image: (P,) int64. points: (P, K, W, 2) in pixels of the input. stride: of the map.

    Returns:
        (P, K, W).
    """
    _, joints, height, width = heat.shape
    plane = image[:, None] * joints + torch.arange(joints, device=heat.device)  # (P, K)
    index, weight = bilinear(points, stride, height, width)
    return (heat.reshape(-1)[index + (plane * (height * width))[..., None, None]] * weight).sum(-1)


class SampledMaps(NamedTuple):
    """What a refinement looks at, made once per image, however many passes follow."""

    feature: Tensor  # (B, C, H, W)
    heat: Tensor  # (B, K, H, W) float32 logits of the joints' heatmaps
    pooled: Tensor | None  # (B, K, H, W) the largest logits of neighbourhoods, for the search
    context: list[Tensor]  # (B, C', H', W') coarser maps


class JointRefinement(nn.Module):
    """From Poses to Poses: the residual and a new sigma from the finer features at each joint.

    The features at a joint, there also those of coarser maps if any are given, a window of its heatmap (5 x 5 points,
    0.75 spreads apart), the person's embedding and the previous sigma meet in one hidden layer; every joint has its own
    output weights. The correction is in units of the previous spread, held between half a stride and three. Positions
    come in without gradient, so that each pass is trained for itself.

    Args:
        in_channels, stride: of the feature map that is sampled.
        num_joints: K. channels: of the hidden layer. embedding: width of the person's embedding.
        norm: of the convolution before sampling.
        context: (channels, stride) of each coarser map that is sampled too: what a large person's joint is about.
        attention: heads of the attention among the joints of a person; 0 for none.
        search: whether a wide look at the heatmap comes first, see :class:`~.joint_search.JointSearch`.
        sigma_codec: the parametrisation of sigma, in units of ``stride``.
    """

    # Tensors whose first axis is that of the joints: rows of each.
    JOINT_ROWS = {"joint": 1, "output": 1, "output_bias": 1, "heat.weight": 1, "heat.bias": 1}

    def __init__(
        self,
        *,
        in_channels: int,
        stride: int,
        num_joints: int,
        channels: int,
        embedding: int,
        norm: str,
        context: Sequence[tuple[int, int]],
        attention: int,
        search: bool,
        sigma_codec: SigmaCodec,
    ):
        super().__init__()
        self.stride, self.sigma_codec = stride, sigma_codec
        self.conv = conv_block(in_channels, channels, kind="separable", norm=norm)
        self.local = nn.Linear(channels, channels)
        self.context_strides = [stride for _, stride in context]
        self.context = nn.ModuleList(nn.Linear(width, channels) for width, _ in context)
        self.person = nn.Linear(embedding, channels)
        self.spread = nn.Linear(2, channels)
        self.window = nn.Linear(len(_WINDOW), channels)
        # This and `output_bias` have weight decay. With it the quick start in one process ends at 36.8 and 37.1 AP (two
        # versions), without it at 35.8.
        self.joint = nn.Parameter(torch.zeros(num_joints, channels))
        self.attention = JointAttention(channels=channels, heads=attention) if attention else None
        self.search = JointSearch(channels=channels, stride=stride) if search else None
        self.found = nn.Linear(1, channels) if search else None
        self.output = nn.Parameter(torch.empty(num_joints, channels, 4).normal_(std=0.01))
        self.output_bias = nn.Parameter(torch.zeros(num_joints, 4))
        self.heat = nn.Conv2d(channels, num_joints, 1)
        nn.init.constant_(self.heat.bias, -4.0)

    def features(self, feature: Tensor, context: Sequence[Tensor] = ()) -> SampledMaps:
        """The maps that are sampled.

        Args:
            feature: (B, in_channels, H, W).
            context: the coarser maps.
        """
        shared = self.conv(feature)
        heat = self.heat(shared).float()
        return SampledMaps(shared, heat, None if self.search is None else self.search.pooled(heat), list(context))

    def forward(self, maps: SampledMaps, image: Tensor, embedding: Tensor, poses: Poses, boxes: Tensor) -> Poses:
        """One pass.

        Args:
            maps: from :meth:`features`. image: (P,) int64. embedding: (P, C).
            poses: to start from. boxes: (P, 4) in pixels, for a sigma relative to the box.
        """
        start, moved = poses.mu.detach(), 0.0
        reach = poses.sigma.detach().mean(-1, keepdim=True).clamp(0.5 * self.stride, 3 * self.stride)  # (P, K, 1)
        with torch.autocast(start.device.type, enabled=False):
            previous = torch.log(poses.sigma.detach() / self.stride)
            known = self.spread(previous) + self.person(embedding)[:, None] + self.joint  # (P, K, C)
            if self.search is not None:
                found, apart = self.search(maps.pooled, image, start, reach, F.silu(known))
                # What follows looks at the new place; the gradient of the way there goes through the result.
                start, moved = found.detach(), found - found.detach()
                reach = apart.detach().clamp(0.5 * self.stride, 3 * self.stride)
                known = known + self.found(torch.log(reach / self.stride))
        local = sample_bilinear(maps.feature, image, start, self.stride).float()  # (P, K, C)
        coarser = [
            sample_bilinear(x, image, start, stride).float() for x, stride in zip(maps.context, self.context_strides)
        ]
        points = start[:, :, None] + reach[..., None] * start.new_tensor(_WINDOW)  # (P, K, W, 2)
        window = sample_own_channel(maps.heat, image, points, self.stride)  # (P, K, W)
        with torch.autocast(local.device.type, enabled=False):
            seen = self.local(local) + sum(layer(x) for layer, x in zip(self.context, coarser))
            hidden = F.silu(seen + self.window(torch.sigmoid(window)) + known)
            if self.attention is not None:
                hidden = self.attention(hidden, start, boxes)
            out = torch.einsum("pkc,kcd->pkd", hidden, self.output) + self.output_bias
            stride = start.new_full((len(start),), float(self.stride))
            return Poses(
                mu=start + moved + out[..., :2] * reach,
                sigma=self.sigma_codec.decode(out[..., 2:], self.sigma_codec.unit(stride, boxes)),
                presence=poses.presence,
            )


def joint_noise(joints: Tensor, person: Tensor, iteration: int, scale: float, draws: int) -> Tensor:
    """Noise for true joints that depends only on the iteration, on where the joint is, and on whose it is.

    A hash (the sine's lost digits) in place of a generator: the same on one process or many, and after a resume. Whose
    joint it is keeps two people at one place apart; an image's order of people is the same in every run.

    Args:
        joints: (n, K, 2) in pixels.
        person: (n,) number of the person among those of its image.
        iteration: of the training.
        scale: pixels.
        draws: for each joint.

    Returns:
        (draws, n, K, 2): a direction times a length that is Gaussian of a standard deviation between 0 and 2 ``scale``.
    """
    exact = widest_float(joints.device)
    k = torch.arange(joints.shape[-2], device=joints.device, dtype=exact)
    key = joints.to(exact) @ joints.new_tensor([12.9898, 78.233]).to(exact) + 3.1 * k + 0.7310585 * iteration
    key = key + 29.6713 * person.to(exact)[:, None]
    key = key + 17.17 * torch.arange(draws, device=joints.device, dtype=exact)[:, None, None]
    u = [torch.frac(torch.sin(key * f).abs() * 43758.5453) for f in (1.0, 1.618, 2.236)]
    radius = torch.sqrt(-2 * torch.log(u[0].clamp(min=1e-6))) * 2 * u[2] * scale
    angle = 2 * torch.pi * u[1]
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1).to(joints.dtype)
