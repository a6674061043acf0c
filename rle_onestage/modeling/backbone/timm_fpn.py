"""Any timm network with a light feature pyramid, as a Detectron2 backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import CheckpointError, ConfigError
from ...utils.pretrained import find_weights, misfits, read_tensors
from ..trained_parts import mark_filled
from .trunk import TrunkBackbone, feature_info, timm_stages

_PRETRAINED = "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED"
_COUNTER = "num_batches_tracked"


def make_norm(name: str, channels: int) -> nn.Module:
    """ "GN" (32 groups, or fewer so that each has four channels) or "BN"."""
    if name == "GN":
        groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % (4 * g) == 0 or g == 1)
        return nn.GroupNorm(groups, channels)
    if name == "BN":
        return nn.BatchNorm2d(channels)
    raise ConfigError(f"Norm '{name}' is not known; use 'GN' or 'BN'.")


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution that leaves bfloat16 autocast on CPUs where float32 is faster.

    oneDNN's bfloat16 gradient of depthwise convolutions is slow where they are strided (5 x 5, stride 2, 192 channels
    at 24 x 24, batch 16, one thread: 63 ms against 5 ms in float32) or large (5 x 5 at 32 x 32: 95 against 35 ms); at
    3 x 3 without stride it is the faster one (96 channels at 64 x 64: 13 against 25 ms).
    """

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Conv2d``: (B, C, H, W) -> (B, C, H / stride, W / stride), in the type of ``x``."""
        fast = max(self.kernel_size) <= 3 and max(self.stride) == 1
        learns = self.training and torch.is_grad_enabled()
        if fast or not (x.device.type == "cpu" and learns and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


class SameConv2d(nn.Conv2d):
    """Convolution that pads as TensorFlow's SAME does: what is odd of it goes right and below.

    The output has ``ceil(H / stride)`` rows. A kernel of 3 with stride 2 on an even side pads one pixel at the end.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (top, bottom), (left, right) = (self._pads(axis, size) for axis, size in enumerate(x.shape[-2:]))
        odd = bottom > top, right > left
        learns = torch.is_grad_enabled() and weight.requires_grad
        if any(odd) and (learns or max(self.dilation) > 1):
            x = F.pad(x, (left, right, top, bottom))
            return F.conv2d(x, weight, bias, self.stride, 0, self.dilation, self.groups)
        if any(odd):
            # A row or column of zeros in front of the kernel pads alike on both sides: no padded copy of the map, which
            # costs more than a depthwise convolution itself. Its gradient would be slower: 71 against 36 ms (16 x 96
            # channels at 128 x 128, one thread).
            weight = F.pad(weight, (int(odd[1]), 0, int(odd[0]), 0))
        return F.conv2d(x, weight, bias, self.stride, (bottom, right), self.dilation, self.groups)

    def _pads(self, axis: int, size: int) -> tuple[int, int]:
        kernel, stride, dilation = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2


class SameDepthwiseConv2d(DepthwiseConv2d, SameConv2d):
    """:class:`DepthwiseConv2d` with the padding of :class:`SameConv2d`."""


def with_fast_depthwise(module: nn.Module) -> nn.Module:
    """Make the depthwise convolutions of a module, which keeps its parameters, :class:`DepthwiseConv2d`.

    timm's convolutions with TensorFlow's padding become :class:`SameConv2d`.
    """
    kinds = {nn.Conv2d: (nn.Conv2d, DepthwiseConv2d), Conv2dSame: (SameConv2d, SameDepthwiseConv2d)}
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and type(part) in kinds:
            part.__class__ = kinds[type(part)][part.groups == part.in_channels > 1]
    return module


def conv_block(inputs: int, outputs: int, *, kind: str, norm: str, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, norm, SiLU. ``kind``: "full", or "separable" (depthwise then pointwise)."""
    if kind == "full":
        conv: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)]
    elif kind == "separable":
        conv = [
            DepthwiseConv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        ]
    else:
        raise ConfigError(f"Convolution '{kind}' is not known; use 'full' or 'separable'.")
    return nn.Sequential(*conv, make_norm(norm, outputs), nn.SiLU(inplace=True))


class TimmPyramid(TrunkBackbone):
    """timm features with top-down additions (Lin et al., "Feature pyramid networks", CVPR 2017).

    Args:
        network: a timm model with ``features_only=True``.
        out_features: names ``p2`` to ``p7``; the digit is the logarithm of the stride. Levels beyond the network's
            last are made by convolutions of stride 2.
        channels: of every output.
        norm: "BN" or "GN".
        fine: channels of the finest output; 0: as the others.
        deconv: the finest output is made at twice its stride, from its features by a convolution of stride 2, and a
            transposed one enlarges it (as in Xiao et al., "Simple baselines", ECCV 2018): most work is at a quarter of
            the cells.

    Raises:
        ConfigError: the network has no such stride.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        out_features: Sequence[str],
        channels: int,
        norm: str,
        fine: int = 0,
        deconv: bool = False,
    ):
        super().__init__()
        self.network = with_fast_depthwise(network)
        info = feature_info(network)
        reductions = {r.bit_length() - 1: i for i, r in enumerate(info.reduction())}
        widths = info.channels()
        wanted = sorted(int(name[1:]) for name in out_features)
        inner = [n for n in sorted(reductions) if n >= wanted[0]]
        if not inner or inner[0] != wanted[0]:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES wants p{wanted[0]}, but this network's features have "
                f"the strides {sorted(info.reduction())}."
            )
        self._sources = [reductions[n] for n in inner]
        finest, self._deconv = f"p{inner[0]}", deconv
        if (fine or deconv) and len(inner) == 1:
            keys = [key for key, value in (("FINE_CHANNELS", fine), ("FINE_DECONV", deconv)) if value]
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.TIMM has {' and '.join(keys)}, but {finest} is the coarsest map of this network "
                f"too; name a finer one in OUT_FEATURES, or set {' and '.join(keys)} to their defaults."
            )
        first, *others = (widths[reductions[n]] for n in inner)
        self.lateral = nn.ModuleList(
            [
                _lateral(first, channels, norm, stride=2) if deconv else _lateral(first, fine or channels, norm),
                *(_lateral(width, channels, norm) for width in others),
            ]
        )
        # What the finest map gets from the one above it, made as narrow before it is enlarged.
        self.narrow = _lateral(channels, fine, norm) if fine and not deconv else None
        width = fine or channels
        self.output = nn.ModuleList(
            [
                _deconv_block(channels, width, norm) if deconv else _block(width, norm),
                *(_block(channels, norm) if f"p{n}" in out_features else nn.Identity() for n in inner[1:]),
            ]
        )
        extra = [n for n in range(inner[-1] + 1, wanted[-1] + 1)]
        self.extra = nn.ModuleList(conv_block(channels, channels, kind="separable", norm=norm, stride=2) for _ in extra)
        self._names = [f"p{n}" for n in inner + extra]
        self._out_features = list(out_features)
        self._out_feature_strides = {f"p{n}": 2**n for n in inner + extra}
        self._out_feature_channels = {name: channels for name in self._names} | ({finest: fine} if fine else {})
        self._divisibility = 2 ** inner[-1]

    @property
    def size_divisibility(self) -> int:
        """Input sides are padded to a multiple of this, so that the top-down additions fit."""
        return self._divisibility

    def stages(self) -> list[tuple[int, list[nn.Module]]]:
        """See :class:`~.trunk.TrunkBackbone`."""
        return timm_stages(self.network)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``image``: (B, 3, H, W). Returns the maps (B, C, H / stride, W / stride) by name."""
        features = self.network(image)
        top = None
        maps = []
        for source, lateral in zip(reversed(self._sources), reversed(self.lateral)):
            inner, last = lateral(features[source]), source == self._sources[0]
            if self.narrow is not None and last:
                top = self.narrow(top)
            if top is not None and not (self._deconv and last):
                top = F.interpolate(top, scale_factor=2.0, mode="nearest")
            top = inner if top is None else inner + top
            maps.append(top)
        maps = [block(x) for block, x in zip(self.output, reversed(maps))]
        for block in self.extra:
            maps.append(block(maps[-1]))
        return {name: x for name, x in zip(self._names, maps) if name in self._out_features}


def _lateral(inputs: int, outputs: int, norm: str, stride: int = 1) -> nn.Sequential:
    """1 x 1 convolution, or one of 2 x 2 cells at stride 2, and norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, stride, stride, bias=False), make_norm(norm, outputs))


def _block(channels: int, norm: str) -> nn.Sequential:
    """3 x 3 separable convolution, norm, SiLU."""
    return conv_block(channels, channels, kind="separable", norm=norm)


def _deconv_block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    """3 x 3 depthwise convolution, then a transposed one that makes 2 x 2 cells of each, norm, SiLU."""
    # Exported, it is twice as fast as a convolution and a pixel shuffle (ONNX Runtime, two threads). The bias tells the
    # four cells apart.
    return nn.Sequential(
        DepthwiseConv2d(inputs, inputs, 3, 1, 1, groups=inputs),
        nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False),
        make_norm(norm, outputs),
        nn.SiLU(inplace=True),
    )


def build_timm_network(
    name: str, *, pretrained: bool | str, drop_path: float, indices: Sequence[int] | None = None
) -> nn.Module:
    """A timm network that returns features.

    Args:
        name: timm's.
        pretrained: True for the weights of timm's hub; or a file, or an installed package, see
            :func:`~rle_onestage.utils.pretrained.find_weights`.
        drop_path: probability of leaving out a block in training.
        indices: of the features; None for all.

    Raises:
        ConfigError: timm does not know the name.
        CheckpointError: the pretrained weights cannot be reached, or do not fit.
    """
    import timm

    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    from_hub = pretrained is True
    try:
        network = timm.create_model(name, features_only=True, pretrained=from_hub, out_indices=indices, **options)
    except (RuntimeError, TypeError) as error:
        near = timm.list_models(f"*{name[:6]}*")[:3]
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.TIMM.NAME '{name}' cannot be built by timm ({error}); near names: {near}."
        ) from error
    except Exception as error:  # the hub's client has error types of its own for every way of not being reachable
        if not from_hub:
            raise
        raise CheckpointError(
            f"The pretrained weights of timm's '{name}' cannot be reached ({type(error).__name__}); set {_PRETRAINED} "
            "to a file or an installed package that has them, or to False to start from scratch."
        ) from error
    if isinstance(pretrained, str) and pretrained:
        path = find_weights(pretrained, _PRETRAINED)
        load_timm_weights(network, name, read_tensors(path, _PRETRAINED), path)
    if pretrained:
        mark_filled(network)
    return network


def load_timm_weights(network: nn.Module, name: str, given: Mapping[str, Tensor], path: str) -> None:
    """Load weights of the whole timm model ``name`` into its ``network`` of features.

    Names are timm's; where they are others, the tensors go in order, shape by shape.

    Raises:
        CheckpointError: they do not fit: names the first tensors, with both shapes.
    """
    state = {key: value for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
    own = {_plain(key): key for key in state}
    given = {key: value for key, value in given.items() if not key.endswith(_COUNTER)}
    if sum(_plain(key) in own for key in given) < len(own) / 2:
        given = _in_order(name, given, path)
    given = {own[_plain(key)]: value for key, value in given.items() if _plain(key) in own}
    wrong = misfits(state, given)
    if wrong:
        raise CheckpointError(f"weights {path} do not fit timm's '{name}' ({wrong}); check {_PRETRAINED}")
    network.load_state_dict(given, strict=False)


def _plain(key: str) -> str:
    """A name without what timm changes where it makes a list of stages: ``stages.0.x`` becomes ``stages_0.x``."""
    return key.replace(".", "_")


def _in_order(name: str, given: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    import timm

    with torch.random.fork_rng(devices=[]):
        whole = timm.create_model(name).state_dict()
    whole = {key: value for key, value in whole.items() if not key.endswith(_COUNTER)}
    pairs = list(zip(whole.items(), given.items()))
    wrong = [
        f"{theirs} {tuple(value.shape)} in the file, {own} {tuple(mine.shape)} in the model"
        for (own, mine), (theirs, value) in pairs if mine.shape != value.shape
    ]  # fmt: skip
    if wrong or len(whole) != len(given):
        raise CheckpointError(
            f"weights {path} do not fit timm's '{name}' by name or in order ({len(given)} tensors, {len(whole)} in the "
            f"model{''.join(f'; {text}' for text in wrong[:3])}); check {_PRETRAINED}"
        )
    return {own: value for (own, _), (_, value) in pairs}


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmPyramid:
    """``MODEL.BACKBONE.NAME``; options under ``MODEL.RLE_ONESTAGE.TIMM`` and ``TRUNK``."""
    options, trunk = cfg.MODEL.RLE_ONESTAGE.TIMM, cfg.MODEL.RLE_ONESTAGE.TRUNK
    network = build_timm_network(options.NAME, pretrained=options.PRETRAINED, drop_path=options.DROP_PATH)
    finest = min(options.OUT_FEATURES, key=lambda name: int(name[1:]), default="")
    if options.FINE_CHANNELS and cfg.MODEL.META_ARCHITECTURE != "RLEOneStage":
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.TIMM.FINE_CHANNELS is {options.FINE_CHANNELS}, but only RLEOneStage has a refinement "
            f"that reads such a map, and MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}; set it to 0."
        )
    if options.FINE_CHANNELS and finest in cfg.MODEL.RLE_ONESTAGE.IN_FEATURES:
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.TIMM.FINE_CHANNELS is {options.FINE_CHANNELS}, but the head reads the finest map "
            f"{finest} too; take {finest} out of MODEL.RLE_ONESTAGE.IN_FEATURES, or set FINE_CHANNELS to 0."
        )
    backbone = TimmPyramid(
        network=network, out_features=options.OUT_FEATURES, channels=options.FPN_CHANNELS, norm=options.NORM,
        fine=options.FINE_CHANNELS, deconv=options.FINE_DECONV,
    )  # fmt: skip
    backbone.freeze(cfg.MODEL.BACKBONE.FREEZE_AT, trunk.NORM, trunk.NORM_MOMENTUM)
    return backbone
