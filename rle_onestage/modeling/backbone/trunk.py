"""Backbones whose trunk may start from pretrained weights: what of it stays as it is, and which part lies how deep."""

from collections.abc import Iterable, Sequence
from typing import cast

from detectron2.modeling import Backbone
from timm.models import FeatureInfo
from torch import nn

from ...errors import ConfigError


class TrunkBackbone(Backbone):
    """A backbone of a trunk, which may be pretrained, and what starts anew on top of it."""

    _frozen: Sequence[nn.Module] = ()

    def stages(self) -> list[tuple[int, list[nn.Module]]]:
        """The trunk from the image upwards: the logarithm of a stage's stride, and its modules."""
        raise NotImplementedError

    def freeze(self, at: int, norm: str = "train", momentum: float = 0.0) -> None:
        """Settle what of the trunk learns.

        What is frozen has no gradient, and stays in evaluation mode, so that its batch norms count nothing.

        Args:
            at: the stages up to the stride 2 ** ``at`` are frozen; 0: none, -1: all.
            norm: "train", or "frozen": all batch norms of the trunk keep their statistics, gain and shift.
            momentum: share of a batch in the running statistics of the trunk's batch norms; 0 leaves that as it is.
        """
        stages = self.stages() if at or norm == "frozen" or momentum else []
        parts = [module for level, modules in stages if at < 0 or level <= at for module in modules]
        norms = [each for _, modules in stages for module in modules for each in batch_norms(module)]
        for each in norms if momentum else ():
            each.momentum = momentum
        self._frozen = [*parts, *(norms if norm == "frozen" else [])]
        for module in self._frozen:
            module.requires_grad_(False)
            module.eval()

    def train(self, mode: bool = True) -> "TrunkBackbone":
        """As ``nn.Module.train``; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self


def batch_norms(module: nn.Module) -> Iterable[nn.modules.batchnorm._BatchNorm]:
    """The batch norms in a module, itself included."""
    return (each for each in module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))


def feature_info(network: nn.Module) -> FeatureInfo:
    """What a timm network with ``features_only`` says of its feature maps."""
    return cast(FeatureInfo, network.feature_info)


def timm_stages(network: nn.Module) -> list[tuple[int, list[nn.Module]]]:
    """The children of a timm network with ``features_only``, by the stride of the first feature map that needs them.

    Raises:
        ConfigError: the network does not say which of its modules gives which features.
    """
    info = feature_info(network)
    ends = [name.replace(".", "_") for name in info.module_name()]
    levels = [stride.bit_length() - 1 for stride in info.reduction()]
    inside = {name.split(".")[0] for name in info.module_name() if "." in name}
    steps: list[tuple[str, nn.Module]] = []
    for name, child in network.named_children():
        nested = name in inside and isinstance(child, nn.Sequential | nn.ModuleList)
        steps += [(f"{name}_{key}", part) for key, part in child.named_children()] if nested else [(name, child)]
    names = [name for name, _ in steps]
    if any(end not in names for end in ends):
        raise ConfigError(
            f"timm's {type(network).__name__} does not say which of its parts gives which features, so that "
            "MODEL.BACKBONE.FREEZE_AT, MODEL.RLE_ONESTAGE.TRUNK and SOLVER.LAYER_DECAY cannot work; leave them "
            "at their defaults, or choose another MODEL.RLE_ONESTAGE.TIMM.NAME."
        )
    stages, start = [], 0
    for end, level in zip(ends, levels):
        stop = names.index(end) + 1 if end != ends[-1] else len(names)
        stages.append((level, [part for _, part in steps[start:stop]]))
        start = stop
    return stages
