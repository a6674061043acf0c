"""One pass of the refinement: look again at each predicted joint, in a finer map, and correct it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone.timm_fpn import conv_block
from ..codec import ScaleCodec
from ..space.branch import DepthRefinement
from ..structures import CandidatePredictions, Poses
from ..visibility import prior_logit
from .joint_attention import JointAttention
from .joint_search import JointSearch
from .sampling import CellGrid, FlatMap, JointMaps, sample_bilinear, sample_own_channel

# Where a joint's heat is looked at, in x and in y, in units of its scale.
_WINDOW = [0.75 * step for step in range(-2, 3)]


class SampledMaps(NamedTuple):
    """What a refinement looks at, made once per image, however many passes follow."""

    feature: FlatMap
    heat: Tensor  # (B, K, H, W) float32 logits of the joints' heatmaps
    flat_heat: JointMaps  # the same
    pooled: JointMaps | None  # the largest logits of neighbourhoods, for the search
    context: list[FlatMap]  # coarser maps


class JointRefinement(nn.Module):
    """From candidates to candidates: the residual and a new scale from the finer features at each joint.

    The features at a joint, there also those of coarser maps if any are given, a window of its heatmap (5 x 5 points,
    0.75 scales apart), the person's embedding and the previous scale meet in one hidden layer; every joint has its own
    output weights. The correction is in units of the previous scale, held between half a stride and three. Positions
    come in without gradient, so that each pass is trained for itself.

    Args:
        in_channels: of the feature map that is sampled.
        stride: of that map, in pixels.
        num_joints: K.
        channels: C, of the hidden layer.
        map_channels: of the map that is sampled, after the convolution; 0: C.
        embedding: width of the person's embedding.
        norm: of the convolution before sampling.
        context: (channels, stride) of each coarser map that is sampled too: what a large person's joint is about.
        attention: heads of the attention among the joints of a person; 0 for none.
        search: whether a wide look at the heatmap comes first, see :class:`~.joint_search.JointSearch`.
        visibility: whether hidden joints are told from visible ones, by what is seen at the joint: like the scale, the
            logit of a pass takes the place of the one before.
        scale_codec: the parametrisation of the scale, in units of ``stride``.
        depth: the parametrisation of the scale of depth; None: joints have none.
    """

    # Tensors whose first axis is that of the joints: rows of each.
    JOINT_ROWS = {
        "joint": 1, "output": 1, "output_bias": 1, "heat.weight": 1, "heat.bias": 1, "visible": 1, "visible_bias": 1,
    }  # fmt: skip

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
        visibility: bool,
        scale_codec: ScaleCodec,
        depth: ScaleCodec | None = None,
        map_channels: int = 0,
    ):
        super().__init__()
        self.stride, self.scale_codec = stride, scale_codec
        width = map_channels or channels
        self.conv = conv_block(in_channels, width, kind="separable", norm=norm)
        self.local = nn.Linear(width, channels)
        self.context_strides = [stride for _, stride in context]
        self.context = nn.ModuleList(nn.Linear(inputs, channels) for inputs, _ in context)
        self.person = nn.Linear(embedding, channels)
        self.spread = nn.Linear(2, channels)
        self.window = nn.Linear(len(_WINDOW) ** 2, channels)
        # This and `output_bias` have weight decay. With it the quick start in one process ends at 36.8 and 37.1 AP (two
        # versions), without it at 35.8.
        self.joint = nn.Parameter(torch.zeros(num_joints, channels))
        self.attention = JointAttention(channels=channels, heads=attention) if attention else None
        self.search = JointSearch(channels=channels, stride=stride) if search else None
        self.found = nn.Linear(1, channels) if search else None
        self.output = nn.Parameter(torch.empty(num_joints, channels, 4).normal_(std=0.01))
        self.output_bias = nn.Parameter(torch.zeros(num_joints, 4))
        self.heat = nn.Conv2d(width, num_joints, 1)
        if self.heat.bias is not None:
            nn.init.constant_(self.heat.bias, -4.0)
        self.visible = nn.Parameter(torch.empty(num_joints, channels).normal_(std=0.01)) if visibility else None
        self.visible_bias = nn.Parameter(torch.full((num_joints,), prior_logit())) if visibility else None
        self.depth = DepthRefinement(channels=channels, num_joints=num_joints, scale_codec=depth) if depth else None

    def features(self, feature: Tensor, context: Sequence[Tensor] = ()) -> SampledMaps:
        """The maps that are sampled.

        Args:
            feature: (B, in_channels, H, W).
            context: the coarser maps.
        """
        shared = self.conv(feature)
        heat = self.heat(shared).float()
        grid = CellGrid.of(heat)
        pooled = None if self.search is None else JointMaps.of(self.search.pooled(heat), grid)
        coarser = [FlatMap.of(x) for x in context]
        return SampledMaps(FlatMap.of(shared, grid), heat, JointMaps.of(heat, grid), pooled, coarser)

    def forward(self, maps: SampledMaps, candidates: CandidatePredictions) -> CandidatePredictions:
        """One pass.

        Args:
            maps: from :meth:`features`.
            candidates: P of them, with the poses to start from.

        Returns:
            The candidates with their new poses.
        """
        image, poses, boxes = candidates.indices.image, candidates.poses, candidates.boxes.detach()
        start, moved = poses.mu.detach(), 0.0
        reach = poses.scale.detach().mean(-1, keepdim=True).clamp(0.5 * self.stride, 3 * self.stride)  # (P, K, 1)
        with torch.autocast(start.device.type, enabled=False):
            previous = torch.log(poses.scale.detach() / self.stride)
            known = self.spread(previous) + self.person(candidates.embedding)[:, None] + self.joint  # (P, K, C)
            if self.search is not None and self.found is not None and maps.pooled is not None:
                found, apart = self.search(maps.pooled, image, start, reach, F.silu(known))
                # What follows looks at the new place; the gradient of the way there goes through the result.
                start, moved = found.detach(), found - found.detach()
                reach = apart.detach().clamp(0.5 * self.stride, 3 * self.stride)
                known = known + self.found(torch.log(reach / self.stride))
        local = sample_bilinear(maps.feature, image, start, self.stride).float()  # (P, K, C)
        coarser = [
            sample_bilinear(x, image, start, stride).float() for x, stride in zip(maps.context, self.context_strides)
        ]
        steps = reach * start.new_tensor(_WINDOW)  # (P, K, W)
        window = sample_own_channel(maps.flat_heat, image, start, steps, self.stride).flatten(-2)  # (P, K, W W)
        with torch.autocast(local.device.type, enabled=False):
            seen = self.local(local) + sum(layer(x) for layer, x in zip(self.context, coarser))
            hidden = F.silu(seen + self.window(torch.sigmoid(window)) + known)
            if self.attention is not None:
                hidden = self.attention(hidden, start, boxes)
            out = torch.einsum("pkc,kcd->pkd", hidden, self.output) + self.output_bias
            stride = start.new_full(start.shape[:1], float(self.stride))
            refined = Poses(
                mu=start + moved + out[..., :2] * reach,
                scale=self.scale_codec.decode(out[..., 2:], self.scale_codec.unit(stride, boxes)),
                presence=poses.presence,
                visibility=self._visibility(hidden, poses.visibility),
                more=poses.more,
                depth=None if poses.depth is None or self.depth is None else self.depth(hidden, poses.depth, boxes),
            )
            refined = self.widened(refined, hidden, boxes)
        return candidates._replace(poses=refined)

    def widened(self, refined: Poses, hidden: Tensor, boxes: Tensor) -> Poses:
        """For a class derived from this one: the poses with what it says in ``more``.

        Args:
            refined: with ``more`` of the pass before.
            hidden: (P, K, C) what was seen at the joints.
            boxes: (P, 4) without gradient.
        """
        return refined

    def _visibility(self, hidden: Tensor, before: Tensor | None) -> Tensor | None:
        """Logits (P, K) from what was seen (P, K, C); None where nobody had an opinion ``before``."""
        if before is None or self.visible is None or self.visible_bias is None:
            return before
        return torch.einsum("pkc,kc->pk", hidden, self.visible) + self.visible_bias
