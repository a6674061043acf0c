"""Whether a folder holds a training of the same config: one that goes on there gives what it would have given."""

import os
from collections.abc import Iterator
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.config import CfgNode as CN

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError

# What does not change the weights that come out of a training; the OKS sigmas do, being part of the assignment.
EVALUATION_ONLY = ("TEST.", "MODEL.RLE_ONESTAGE.TEST.", "DATASETS.TEST", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST")
_TRAINED_WITH = ("TEST.KEYPOINT_OKS_SIGMAS",)
_ASIDE = ("DATALOADER.NUM_WORKERS", "SOLVER.LOG_PERIOD", "VERSION", "SOLVER.CHECKPOINT_KEEP")
# What does not change the metrics of given weights, nor the weights that come out of given ones.
PLACE = ("OUTPUT_DIR", "MODEL.WEIGHTS", *_ASIDE)


def check_same_training(folder: str, cfg: CfgNode) -> None:
    """What lies in a folder was trained with a config, but for keys that do not change the weights.

    Args:
        folder: of a training; one without ``config.yaml`` is new.
        cfg: of the training that is to go on there.

    Raises:
        ConfigError: it was trained with another config.
    """
    stored = os.path.join(folder, "config.yaml")
    if not os.path.exists(stored):
        return
    ignored = (*EVALUATION_ONLY, "OUTPUT_DIR", *_ASIDE)
    found = differences(load_config(stored), cfg, ignored, keep=_TRAINED_WITH)
    if found:
        key, before, now = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(
            f"{folder} was trained with {key} {before!r}, now it is {now!r}{more}; give another --output, or "
            "the config and options of before"
        )


def differences(
    before: CfgNode, now: CfgNode, ignored: tuple[str, ...], keep: tuple[str, ...] = ()
) -> list[tuple[str, Any, Any]]:
    """Keys in which two configs differ: list of (key, before, now).

    Args:
        before: the config of the files that are there.
        now: the config of this run.
        ignored: keys, or beginnings of keys ending in a dot, that may differ.
        keep: but not these.
    """
    first, second = (dict(_flat(yaml.safe_load(cfg.dump()))) for cfg in (before, now))
    found = []
    for key in sorted(first.keys() | second.keys()):
        free = any(key == name or (name.endswith(".") and key.startswith(name)) for name in ignored)
        if (key in keep or not free) and first.get(key) != second.get(key):
            found.append((key, first.get(key), second.get(key)))
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, (dict, CN)) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
