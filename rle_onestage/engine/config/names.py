"""The names that a config may choose from, as they are when asked: users add their own. For ``--help``."""

import textwrap

from detectron2.modeling import BACKBONE_REGISTRY

from rle_onestage.data.transforms.stock import augmentation_names
from rle_onestage.engine.config.rules import Entries, Registered
from rle_onestage.engine.config.schema import SCHEMA

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
