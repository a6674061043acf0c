"""Where weights come from: the files that a training began with, and those that these were trained from.

A checkpoint has their names as ``origin``. Whatever is made of it keeps them, so that the licence of weights is known
after any number of trainings. ``[]``: all weights began at random. A checkpoint without the entry does not say.
"""

import contextlib
import filecmp
import logging
import os
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from detectron2.config import CfgNode
from torch import nn

from rle_onestage.engine.checkpoint.last import WRITTEN
from rle_onestage.engine.config.files import read_yaml
from rle_onestage.engine.config.validation import PRETRAINED_KEYS, get
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.trained_parts import filled_parts
from rle_onestage.utils.cards import card_of
from rle_onestage.utils.packaged_files import CHECKPOINTS, SHIPPED, TRAINING_CONFIG

logger = logging.getLogger("rle_onestage")

KEY = "origin"  # entry of a checkpoint
_MOST = 100  # names
_LONGEST = 300  # characters of one


def recorded_origin(content: Mapping[str, Any]) -> list[str] | None:
    """The names of what the weights of a checkpoint come from; None where it does not say."""
    names = content.get(KEY)
    sound = isinstance(names, (list, tuple)) and len(names) <= _MOST and all(map(_is_name, names))
    return list(names) if sound and names is not None else None


def stating(origin: Collection[str] | None) -> dict[str, list[str]]:
    """What a checkpoint says of where its weights come from: nothing where that is not known."""
    return {} if origin is None else {KEY: list(origin)}


def find_origin(content: Mapping[str, Any], path: str) -> list[str] | None:
    """Where the weights of a file come from: what it says, or what they are.

    Weights of the package are known by their bytes, whatever the name of the file. Checkpoints of an earlier version do
    not say it; the ``config.yaml`` of their training does, where it lies beside them.

    Args:
        content: of the file.
        path: of the file.

    Returns:
        Names such as ``rle-onestage://people.pth``; None where nobody knows.
    """
    recorded = recorded_origin(content)
    if recorded is not None:
        return recorded
    for shipped in sorted(CHECKPOINTS.glob("*.pth")):
        if filecmp.cmp(path, shipped, shallow=False):  # which looks at the sizes first
            return [f"{SHIPPED}{shipped.name}"]
    folder, name = os.path.split(path)
    config = os.path.join(folder, TRAINING_CONFIG)
    if WRITTEN.fullmatch(name) and os.path.isfile(config):
        with contextlib.suppress(ConfigError):  # it was damaged since
            model = read_yaml(config).values.get("MODEL")
            began_with = model.get("WEIGHTS") if isinstance(model, dict) else None
            if isinstance(began_with, str) and card_of(began_with):
                return [began_with]
    return None


def origin_of_start(
    model: nn.Module, cfg: CfgNode, content: Mapping[str, Any] | None, loaded: Collection[str]
) -> list[str]:
    """What the weights come from that a training begins with; says which licence goes with them.

    Args:
        model: to be trained, after its weights were loaded.
        cfg: of the training.
        content: of ``MODEL.WEIGHTS``; None without any.
        loaded: names of the model's weights that are theirs.
    """
    origin = [] if content is None else recorded_origin(content)
    if origin is None:
        origin = [_plain(cfg.MODEL.WEIGHTS)]
    origin += [name for name in _of_builder(model, cfg, loaded) if name not in origin]
    for name in origin:
        if card := card_of(name):
            logger.info("This training starts from %s, whose licence goes with what it makes: %s", name, card.in_short)
    return origin


def _of_builder(model: nn.Module, cfg: CfgNode, loaded: Collection[str]) -> list[str]:
    """What the trunk's builder took its weights from, unless all of them were replaced since."""
    key = PRETRAINED_KEYS.get(cfg.MODEL.BACKBONE.NAME)
    given, filled = get(cfg, key) if key else None, filled_parts(model)
    if not given or not filled or all(n in loaded for n, _ in model.named_parameters() if n.startswith(filled)):
        return []
    return [_plain(given) if isinstance(given, str) else f"timm {cfg.MODEL.RLE_ONESTAGE.TIMM.NAME}"]


def _plain(address: str) -> str:
    """The name of a file without its folder, or an address without what may be secret in it."""
    if "://" not in address:
        return os.path.basename(address)[:_LONGEST]
    with contextlib.suppress(ValueError):
        parts = urlsplit(address)
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return address[:_LONGEST]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()
