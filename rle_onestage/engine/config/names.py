"""The names that a config may choose from, as they are when asked: users add their own. For ``--help``."""

import textwrap

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from fvcore.common.registry import Registry

from rle_onestage.data.transforms.stock import AUGMENTATION_REGISTRY, augmentation_names
from rle_onestage.engine.config.named_parts import Entries, Registered
from rle_onestage.engine.config.schema import SCHEMA
from rle_onestage.engine.config.validation import get
from rle_onestage.utils.registry import NamedRegistry

WIDTH = 100
# Of Detectron2's backbones those that feed a dense head; others of its registry are bases of them, or lack a pyramid.
_SUITED = ("build_retinanet_resnet_fpn_backbone", "build_resnet_fpn_backbone")
_TRAINING_ONLY = ("MODEL.RLE_ONESTAGE.ASSIGN.NAME", "INPUT.MAPPER", "INPUT.AUGMENTATIONS", "SOLVER.HOOKS")


def registered_names(*, training: bool = True) -> dict[str, list[str]]:
    """The names by each key that a registry stands behind.

    Args:
        training: those too that matter only where a model is trained.
    """
    rules = ((key, rule) for key, rule in SCHEMA.items() if isinstance(rule, (Registered, Entries)))
    names = {key: list(rule.registry.names) for key, rule in rules}
    names["MODEL.BACKBONE.NAME"] = backbone_names()
    names["INPUT.AUGMENTATIONS"] = augmentation_names()
    return {key: names[key] for key in sorted(names) if training or key not in _TRAINING_ONLY}


def backbone_names() -> list[str]:
    """Names of backbones: this project's and the user's, then Detectron2's that have a pyramid."""
    known = {name: made for name, made in BACKBONE_REGISTRY}
    own = [name for name, made in known.items() if not made.__module__.startswith("detectron2.")]
    return own + [name for name in _SUITED if name in known]


def own_parts(cfg: CfgNode) -> dict[str, list[str]]:
    """The parts of the user's own that a config uses: names by key."""
    registries: dict[str, Registry] = {
        "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
        "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
        "INPUT.AUGMENTATIONS": AUGMENTATION_REGISTRY,
    }
    registries |= {key: rule.registry for key, rule in SCHEMA.items() if isinstance(rule, (Registered, Entries))}
    parts = {}
    for key in sorted(registries):
        value = get(cfg, key)
        entries = [value] if isinstance(value, str) else value
        names = [entry if isinstance(entry, str) else entry[0] for entry in entries]
        own = [name for name in names if _is_own(registries[key], name)]
        if own:
            parts[key] = own
    return parts


def _is_own(registry: Registry, name: str) -> bool:
    """Whether the user's code made what has this name, registered or as ``module.Class``."""
    if name not in registry and not (isinstance(registry, NamedRegistry) and "." in name):
        return False
    return registry.get(name).__module__.split(".")[0] not in ("rle_onestage", "detectron2", "fvcore")


def listed_names(*, training: bool = True) -> str:
    """:func:`registered_names` for ``--help``, a paragraph a key."""
    lines = ["registered names, by the config key that takes them:"]
    for key, names in registered_names(training=training).items():
        text = f"{key}: {', '.join(names) or '(none)'}"
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False, break_long_words=False
        )
    lines += textwrap.wrap(
        "MODEL.RLE_ONESTAGE.TIMM.NAME: any model of timm that gives feature maps, such as resnet50 or "
        "mobilenetv4_conv_small; build_timm_fpn_backbone makes a pyramid of it",
        WIDTH, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines)
