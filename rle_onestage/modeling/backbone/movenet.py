"""MoveNet MultiPose's trunk, pyramid and joint heads as a Detectron2 backbone that trains, or stays as it is."""

from collections.abc import Sequence
from typing import cast

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import CheckpointError, ConfigError
from ...utils.pretrained import find_weights, misfits, read_tensors
from ..trained_parts import mark_filled
from .timm_fpn import DepthwiseConv2d, SameConv2d, SameDepthwiseConv2d, conv_block, make_norm
from .trunk import TrunkBackbone

# Channels, blocks and stride of each stage: MobileNetV2 (Sandler et al., CVPR 2018, table 2), channels times 1.5.
_STEM = 48
_STAGES = ((24, 1, 1), (40, 2, 2), (48, 3, 2), (96, 4, 2), (144, 3, 1), (240, 3, 2), (480, 1, 1))
_HIDDEN = 96  # channels of the heads' hidden layers
JOINTS = 17


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    if stride > 1:
        same = SameConv2d if groups == 1 else SameDepthwiseConv2d
        return same(inputs, outputs, kernel, stride, groups=groups, bias=bias)
    kind = nn.Conv2d if groups == 1 else DepthwiseConv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


def _conv_norm(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """``norm(conv(x))``; where both are frozen as one convolution, which saves a pass over each map.

    The weights are multiplied anew each time, which costs little and cannot be out of date.
    """
    fused = not isinstance(norm, nn.BatchNorm2d)  # into the convolution already, for inference
    if fused or norm.training or norm.weight.requires_grad or conv.weight.requires_grad:
        return norm(conv(x))
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # those of this network count
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return conv._conv_forward(x, conv.weight * scale[:, None, None, None], norm.bias - mean * scale)


class SeparableBlock(nn.Module):
    """Depthwise 3 x 3 and 1 x 1: the first stage of MobileNetV2. Names as in timm."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv_dw, self.bn1 = _conv(inputs, inputs, 3, groups=inputs), nn.BatchNorm2d(inputs)
        self.conv_pw, self.bn2 = _conv(inputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return _conv_norm(F.relu6(_conv_norm(x, self.conv_dw, self.bn1), inplace=True), self.conv_pw, self.bn2)


class InvertedResidual(nn.Module):
    """1 x 1 to six times the channels, depthwise 3 x 3, 1 x 1 back; a residual where the shapes are the same."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        width = 6 * inputs
        self.conv_pw, self.bn1 = _conv(inputs, width), nn.BatchNorm2d(width)
        self.conv_dw, self.bn2 = _conv(width, width, 3, stride, groups=width), nn.BatchNorm2d(width)
        self.conv_pwl, self.bn3 = _conv(width, outputs), nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        out = F.relu6(_conv_norm(x, self.conv_pw, self.bn1), inplace=True)
        out = F.relu6(_conv_norm(out, self.conv_dw, self.bn2), inplace=True)
        out = _conv_norm(out, self.conv_pwl, self.bn3)
        return x + out if self.residual else out


class MobileNetV2(nn.Module):
    """The trunk; convolutions of stride 2 pad right and below, as TensorFlow does. Names as in timm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _conv(3, _STEM, 3, 2), nn.BatchNorm2d(_STEM)
        stages: list[nn.Module] = []
        inputs = _STEM
        for outputs, count, stride in _STAGES:
            blocks: list[nn.Module] = []
            for _ in range(count):
                first = not stages
                block = SeparableBlock(inputs, outputs) if first else InvertedResidual(inputs, outputs, stride)
                blocks.append(block)
                inputs, stride = outputs, 1
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the outputs of the seven stages, of strides 2, 4, 8, 16, 16, 32, 32."""
        x = F.relu6(_conv_norm(image, self.conv_stem, self.bn1), inplace=True)
        outputs = []
        for stage in self.blocks:
            x = stage(x)
            outputs.append(x)
        return outputs


class Pyramid(nn.Module):
    """Top-down additions from stride 32 to stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = _conv(480, 1280, bias=True)
        self.lateral5 = _conv(1280, 64, bias=True)
        self.lateral4 = _conv(96, 64, bias=True)
        self.lateral3 = _conv(48, 32, bias=True)
        self.lateral2 = _conv(40, 24, bias=True)
        self.depthwise = nn.ModuleList(_conv(n, n, 3, groups=n) for n in (64, 32, 24))
        self.pointwise = nn.ModuleList(_conv(a, b, bias=True) for a, b in ((64, 32), (32, 24), (24, 24)))

    def forward(self, stages: Sequence[Tensor]) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """From the seven stages.

        Returns:
            By the logarithm of the stride, 5 to 2, the lateral of stride 32 (64 channels) and the sums of 64, 32 and 24
            channels; what follows the sum of stride 8 (B, 24, H / 8, W / 8) and that of stride 4 (B, 24, H / 4, W / 4).
        """
        top = self.lateral5(F.relu6(self.expand(stages[6]), inplace=True))
        sums, smooth = {5: top}, []
        laterals = ((4, self.lateral4, stages[3]), (3, self.lateral3, stages[2]), (2, self.lateral2, stages[1]))
        for (level, lateral, stage), depthwise, pointwise in zip(laterals, self.depthwise, self.pointwise):
            sums[level] = lateral(stage) + enlarge(top)
            top = F.relu(pointwise(depthwise(sums[level])), inplace=True)
            smooth.append(top)
        return sums, smooth[1], smooth[2]


class Head(nn.Module):
    """Depthwise 3 x 3, 1 x 1, ReLU, 1 x 1, on the pyramid's map of stride 4."""

    def __init__(self, outputs: int):
        super().__init__()
        self.depthwise, self.pointwise = _conv(24, 24, 3, groups=24), _conv(24, _HIDDEN, bias=True)
        self.output = _conv(_HIDDEN, outputs, bias=True)

    def hidden(self, x: Tensor) -> Tensor:
        """(B, 24, H, W) -> the hidden layer (B, 96, H, W)."""
        return F.relu(self.pointwise(self.depthwise(x)), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 24, H, W) -> the outputs (B, outputs, H, W)."""
        return self.output(self.hidden(x))


def enlarge(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear, as TensorFlow's ``resize_bilinear`` with half-pixel centres."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def to_unit(logits: Tensor) -> Tensor:
    """Logits of a heatmap, -4 where it is far from any peak, in the order of magnitude of other features."""
    return logits.clamp(min=-8.0) / 4 + 1


def pool_people(logits: Tensor, hidden: Sequence[Tensor], halvings: int) -> list[Tensor]:
    """What cells see of the person whose centre is in them.

    A mean over the cell, weighted by the centre's heat: what a linear layer makes of it is the mean of what it makes
    of the points. Each size of cell is made from the one before, four cells of which are one.

    Args:
        logits: (B, 1, H, W) of the centre's heatmap.
        hidden: (B, C, H, W) of the heads, each with its own C.
        halvings: how many sizes of cells, of sides 2, 4, 8 and so on, in points.

    Returns:
        For each size of cell (B, sum of all C + 3, H / side, W / side): the means, the centre's place in the cell (x
        and y, in cells from its middle), and the largest logit.
    """
    # A softmax over the cell: far from people the heat is 1e-9, whose inverse square no gradient bears. Softplus,
    # because exported files would take the logarithm of a sigmoid that is 0.
    log_heat, means, peak = -F.softplus(-logits.float()), list(hidden), logits
    place = log_heat.new_zeros(1)
    pooled = []
    for _ in range(halvings):
        most = F.max_pool2d(log_heat, 2)
        heat = torch.exp(log_heat - F.interpolate(most, scale_factor=2.0))
        total = 4 * F.avg_pool2d(heat, 2)
        share = 4 * (heat / F.interpolate(total, scale_factor=2.0))  # its mean in a cell is 1
        log_heat = most + torch.log(total)
        middle = ((torch.arange(n, device=heat.device) % 2 - 0.5).to(heat.dtype) / 2 for n in share.shape[:1:-1])
        place = torch.stack(torch.meshgrid(*middle, indexing="xy")) + place / 2  # (B or 1, 2, H, W)
        # Map by map: side by side they would be the largest that there is.
        *means, place = (F.avg_pool2d(x * share.to(x.dtype), 2) for x in (*means, place))
        peak = F.max_pool2d(peak, 2)
        pooled.append(torch.cat([*means, *(x.to(means[0].dtype) for x in (place, to_unit(peak)))], 1))
    return pooled


class MoveNet(nn.Module):
    """What Google trained; the names of its tensors are those of the file.

    Args:
        heads: whether the heads for centres, heatmaps, regression and offsets are there too.
    """

    HEADS = {"center": 1, "heatmap": JOINTS, "regress": 2 * JOINTS, "offset": 2 * JOINTS}

    def __init__(self, *, heads: bool):
        super().__init__()
        self.backbone, self.pyramid = MobileNetV2(), Pyramid()
        self.heads = nn.ModuleDict({name: Head(outputs) for name, outputs in self.HEADS.items()} if heads else {})
        if heads:  # carried along: its hidden layer is what is used, so that nothing would teach it
            unused = cast(Head, self.heads["regress"]).output
            unused.requires_grad_(False)
            mark_filled(unused)

    def widths(self) -> dict[int, list[int]]:
        """Channels of the maps that :meth:`forward` returns."""
        widths = {2: [24, 24], 3: [32, 48], 4: [64, 144], 5: [64, 480]}
        if self.heads:
            widths[2] += [JOINTS, 2 * JOINTS]
            for level in (3, 4, 5):
                widths[level].append(2 * _HIDDEN + 3)
        return widths

    def forward(self, image: Tensor, levels: Sequence[int]) -> dict[int, list[Tensor]]:
        """RGB in [-1, 1] (B, 3, H, W), sides multiples of 32.

        Args:
            levels: the logarithms of the strides that are wanted, of 2 to 5.

        Returns:
            By the logarithm of the stride, the maps that an output of that stride is made from.
        """
        stages = self.backbone(image)
        sums, eighth, quarter = self.pyramid(stages)
        maps = {2: [quarter, enlarge(eighth)], 3: [sums[3], stages[2]], 4: [sums[4], stages[4]]}
        maps[5] = [sums[5], stages[6]]
        maps = {level: maps[level] for level in levels}
        if self.heads:
            if 2 in maps:
                maps[2] += [to_unit(self.heads["heatmap"](quarter)), self.heads["offset"](quarter)]
            middle, regress = (cast(Head, self.heads[name]) for name in ("center", "regress"))
            center = middle.hidden(quarter)
            logits, hidden = middle.output(center), [center, regress.hidden(quarter)]
            for level, people in enumerate(pool_people(logits, hidden, max(levels) - 2), start=3):
                if level in maps:
                    maps[level].append(people)
        return maps


class Adaptor(nn.Module):
    """Maps of one stride to one map: each through 1 x 1 and a norm, their sum through SiLU and a separable block."""

    def __init__(self, widths: Sequence[int], channels: int, norm: str):
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), make_norm(norm, channels)) for width in widths
        )
        self.block = conv_block(channels, channels, kind="separable", norm=norm)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, width, H, W) each -> (B, channels, H, W)."""
        total = sum(lateral(x) for lateral, x in zip(self.lateral, maps))
        return self.block(F.silu(total))


class MoveNetPyramid(TrunkBackbone):
    """:class:`MoveNet` and adaptors to the head's channels.

    ``p2`` is MoveNet's own maps side by side, normalised: the refinement, which samples it, has its own convolution.

    Args:
        trunk: what is pretrained.
        out_features: names among ``p2`` to ``p7``; the digit is the logarithm of the stride. Those beyond ``p5`` are
            made from the one below by a convolution of stride 2: their cells see more of the image than MoveNet's.
        channels: of every output but ``p2``.
        norm: of the adaptors, "BN" or "GN".

    Raises:
        ConfigError: an output that there is not.
    """

    def __init__(self, *, trunk: MoveNet, out_features: Sequence[str], channels: int, norm: str):
        super().__init__()
        self.trunk = trunk
        widths = trunk.widths()
        top = max(widths)
        known = {f"p{level}": level for level in (*widths, top + 1, top + 2)}
        if not out_features or not set(out_features) <= set(known):
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.MOVENET.OUT_FEATURES is {list(out_features)}; name some of {', '.join(known)}."
            )
        wanted = {known[name] for name in out_features}
        self.levels = sorted({min(level, top) for level in wanted})
        self.neck = nn.ModuleDict(
            {f"p{level}": Adaptor(widths[level], channels, norm) for level in self.levels if level > 2}
        )
        self.extra = nn.ModuleList(
            conv_block(channels, channels, kind="separable", norm=norm, stride=2) for _ in range(top, max(wanted))
        )
        # The maps differ by a factor of 30 in size, and what samples them has no norm before its first convolution.
        self.norm = make_norm(norm, sum(widths[2])) if 2 in self.levels else None
        self._out_features = [f"p{level}" for level in sorted(wanted)]
        self._out_feature_strides = {f"p{level}": 2**level for level in wanted}
        self._out_feature_channels = {f"p{n}": channels if n > 2 else sum(widths[2]) for n in wanted}

    def stages(self) -> list[tuple[int, list[nn.Module]]]:
        """See :class:`~.trunk.TrunkBackbone`; the pyramid and the heads are the last."""
        network = self.trunk.backbone
        first, second, third, *rest = network.blocks
        stages = [(1, [network.conv_stem, network.bn1, first]), (2, [second]), (3, [third])]
        return [*stages, (4, rest[:2]), (5, rest[2:]), (6, [self.trunk.pyramid, self.trunk.heads])]

    @property
    def size_divisibility(self) -> int:
        """Input sides are padded to a multiple of this, so that the top-down additions fit."""
        return 32

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``image``: (B, 3, H, W), RGB in [-1, 1]. Returns the maps (B, C, H / stride, W / stride) by name."""
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.trunk.parameters())
        with torch.set_grad_enabled(learns):
            maps = self.trunk(image, self.levels)
        outputs = {} if self.norm is None else {"p2": self.norm(torch.cat(maps[2], 1))}
        outputs |= {name: adaptor(maps[int(name[1:])]) for name, adaptor in self.neck.items()}
        for level, block in enumerate(self.extra, 6):
            outputs[f"p{level}"] = block(outputs[f"p{level - 1}"])
        return {name: outputs[name] for name in self._out_features}


def load_movenet(trunk: MoveNet, path: str) -> None:
    """Give the trunk the weights of a file, whose further heads are left out.

    Raises:
        CheckpointError: the file cannot be read, or does not fit.
    """
    key = "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED"
    path = find_weights(path, key)
    given = read_tensors(path, key)
    own = trunk.state_dict()
    wrong = misfits(own, given)
    if wrong:
        raise CheckpointError(f"weights {path} are not those of MoveNet MultiPose ({wrong}); check {key}")
    trunk.load_state_dict({name: given[name] for name in own})
    mark_filled(trunk)


@BACKBONE_REGISTRY.register()
def build_movenet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> MoveNetPyramid:
    """``MODEL.BACKBONE.NAME``; options under ``MODEL.RLE_ONESTAGE.MOVENET`` and ``TRUNK``."""
    options, trunk = cfg.MODEL.RLE_ONESTAGE.MOVENET, MoveNet(heads=cfg.MODEL.RLE_ONESTAGE.MOVENET.HEADS)
    if options.PRETRAINED:
        load_movenet(trunk, options.PRETRAINED)
    backbone = MoveNetPyramid(
        trunk=trunk, out_features=options.OUT_FEATURES, channels=options.CHANNELS, norm=options.NORM
    )
    norms = cfg.MODEL.RLE_ONESTAGE.TRUNK
    backbone.freeze(cfg.MODEL.BACKBONE.FREEZE_AT, norms.NORM, norms.NORM_MOMENTUM)
    return backbone
