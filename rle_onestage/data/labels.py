"""What the labels of a training set say, and what they leave open.

Sets that are trained on together may have other joints, other rules for a joint without label, and people whom nobody
labelled. What a set does not know must not be taught: :class:`SetOptions` says how it was labelled,
:class:`LabelRules` is that in terms of the model's joints.
"""

import hashlib
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError
from ..structures.skeleton import map_joints
from ..utils.near import did_you_mean
from ..utils.shards import name_in_set

logger = logging.getLogger(__name__)

HIDDEN = ("counted", "told", "unknown")
_CHOICES = {
    "unlabelled": ("absent", "unknown"),
    "area": ("given", "box"),
    "hidden": HIDDEN,
    "part": ("all", "train", "held_out"),
    "scored_as": ("", "coco", "crowdpose", "coco_wholebody", "mpii", "h36m"),
}
_TEXT = (lambda value: isinstance(value, str), "text")
_NAMES = (
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value),
    "a list of file names",
)
_KINDS = {
    "partial": (lambda value: isinstance(value, bool), "True or False"),
    "one_in": (lambda value: type(value) is int and value >= 2, "a whole number of 2 or more"),
    "only": _NAMES,
    "without": _NAMES,
}
_said: set[tuple[str, tuple[str, ...]]] = set()


@dataclass(frozen=True)
class SetOptions:
    """How a data set was labelled: the fourth entry of ``DATASETS.KEYPOINT_FILES``, as a dictionary.

    Attributes:
        unlabelled: what a joint without label means. "absent": the annotators saw that it is not there (COCO).
            "unknown": nothing (a teacher that labels only what it is sure of).
        partial: whether there are people without any label. Places away from known people then teach "nobody" with less
            weight, see ``MODEL.RLE_ONESTAGE.PARTIAL``.
        area: "given", or "box": the areas were made from boxes, and say nothing of the ratio between the two.
        weight_by: name of a number in [0, 1] that each annotation has and that says how much it counts, such as a
            teacher's "score"; empty: all count alike.
        hidden: whether labels tell hidden joints (visibility 1) from visible ones (2). "told": they do. "unknown": they
            do not (a teacher's, or where hidden joints are left out). "counted": they do if both occur often enough,
            see :data:`~.coco.flags.LEAST_SHARE`.
        part: "all" images, or of a split by file name (:func:`is_held_out`) those to "train" on or those "held_out".
        one_in: one image in so many is held out.
        only: file names of the images to take, or patterns such as ``"okfde*"``; with folders ``"session_a/*"``. Empty:
            all.
        without: the same of images to leave out, such as copies of test images.
        scored_as: how results are scored, a key of ``SCORINGS`` in :mod:`rle_onestage.evaluation.protocols`; empty: by
            the layout of the file.
    """

    unlabelled: str = "absent"
    partial: bool = False
    area: str = "given"
    weight_by: str = ""
    hidden: str = "counted"
    part: str = "all"
    one_in: int = 10
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    scored_as: str = ""

    @classmethod
    def parse(cls, name: str, options: dict[str, Any]) -> "SetOptions":
        """Read options from a config.

        Args:
            name: of the set, for messages.
            options: name -> value.

        Raises:
            ConfigError: an option or its value is unknown.
        """
        where = f"DATASETS.KEYPOINT_FILES: the options of {name!r}"
        if not isinstance(options, dict):
            raise ConfigError(f"{where} must be a dictionary such as {{partial: True}}, not {options!r}")
        known = [field.name for field in fields(cls)]
        for key, value in options.items():
            if key not in known:
                hint = did_you_mean(str(key), known)
                raise ConfigError(f"{where} have {key!r}; {hint}{' ' * bool(hint)}there are {', '.join(known)}")
            if key in _CHOICES and value not in _CHOICES[key]:
                raise ConfigError(f"{where}: {key} is {value!r}; choose one of {', '.join(_CHOICES[key])}")
            if not _KINDS.get(key, _TEXT)[0](value):
                raise ConfigError(f"{where}: {key} must be {_KINDS.get(key, _TEXT)[1]}, not {value!r}")
        settled: dict[str, Any] = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in options.items()}
        return cls(**settled)


class LabelRules(NamedTuple):
    """How to read the labels of one set, in terms of the model's K joints."""

    joints: np.ndarray  # (K,) int64, place of each joint in the set's own order; -1: the set does not have it
    absent_known: bool  # a joint without label is known to be absent
    partial: bool
    weight: float  # how much the set counts in the losses
    hidden_told: bool = False  # labels tell hidden joints from visible ones

    @property
    def plain(self) -> bool:
        """Whether every place of an image teaches in full: nothing to tell the losses about regions."""
        return not self.partial and self.weight == 1 and bool((self.joints >= 0).all())


def plain_rules(num_joints: int) -> LabelRules:
    """The rules of a set that has the model's joints and labels everybody."""
    return LabelRules(np.arange(num_joints), True, False, 1.0)


def make_rules(
    dataset_name: str,
    names: Sequence[str],
    wanted: Sequence[str],
    options: SetOptions,
    weight: float,
    hidden_told: bool = False,
) -> LabelRules:
    """Map the joints of a set to the model's by name; says once what does not map.

    Args:
        dataset_name: for messages.
        names: joints of the set.
        wanted: joints of the model.
        options: of the set.
        weight: how much the set counts.
        hidden_told: whether its labels tell hidden joints from visible ones.

    Raises:
        ConfigError: the two have no joint in common.
    """
    joints = np.array(map_joints(names, wanted))
    if (joints < 0).all():
        raise ConfigError(
            f"data set {dataset_name!r} has none of the model's joints: it has {', '.join(names)}, the model has "
            f"{', '.join(wanted)}; train on sets whose joints have names in common"
        )
    missing = [name for name, place in zip(wanted, joints) if place < 0]
    unused = [name for place, name in enumerate(names) if place not in joints]
    if (missing or unused) and (dataset_name, tuple(wanted)) not in _said:
        _said.add((dataset_name, tuple(wanted)))
        logger.info(
            "Data set %s: joints that it does not have, and that it teaches nothing of: %s; joints of its own that the "
            "model does not have: %s", dataset_name, ", ".join(missing) or "none", ", ".join(unused) or "none",
        )  # fmt: skip
    return LabelRules(joints, options.unlabelled == "absent", options.partial, weight, hidden_told)


def is_held_out(file_name: str, one_in: int = 10) -> bool:
    """Whether an image is never trained on: one in so many, by a hash of its file name without folders."""
    digest = hashlib.sha1(os.path.basename(name_in_set(file_name)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % one_in == 0


def in_part(file_name: str, options: SetOptions) -> bool:
    """Whether an image, by its path or its name in the set, is in the part of its set that the options ask for."""
    if options.only and not _matches(file_name, options.only) or _matches(file_name, options.without):
        return False
    if options.part == "all":
        return True
    return is_held_out(file_name, options.one_in) == (options.part == "held_out")


def idle_patterns(file_names: Sequence[str], options: SetOptions) -> list[str]:
    """The patterns of ``only`` and ``without`` that no file name matches."""
    patterns = (*options.only, *options.without)
    return [pattern for pattern in patterns if not any(_matches(name, [pattern]) for name in file_names)]


def _matches(file_name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits the end of a path: a name, or folders and a name."""
    parts = name_in_set(file_name).replace("\\", "/").split("/")
    for wanted in (pattern.split("/") for pattern in patterns):
        if len(wanted) <= len(parts) and all(map(fnmatchcase, parts[-len(wanted) :], wanted)):
            return True
    return False


def set_weights(names: Sequence[str], weights: Sequence[Any]) -> list[tuple[float, float]]:
    """Read ``DATASETS.TRAIN_WEIGHTS``.

    Args:
        names: of the training sets.
        weights: for each a number, how often its images come, or a pair [how often, how much they count]; empty: 1.

    Returns:
        For each set (how often, how much).

    Raises:
        ConfigError: their number differs, or one is negative or not finite, or all are zero.
    """
    if not len(weights):
        return [(1.0, 1.0)] * len(names)
    key = "DATASETS.TRAIN_WEIGHTS"
    if len(weights) != len(names):
        raise ConfigError(f"{key} has {len(weights)} entries for the {len(names)} sets of TRAIN; give one each")
    pairs = []
    for name, entry in zip(names, weights):
        pair = list(entry) if isinstance(entry, (list, tuple)) else [entry, 1.0]
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in pair)
        if len(pair) != 2 or not numbers or not all(math.isfinite(v) and v >= 0 for v in pair):
            raise ConfigError(
                f"{key}: the entry of {name!r} is {entry!r}; give a number of at least 0, how often its images come, "
                "or a pair [how often, how much they count]"
            )
        pairs.append((float(pair[0]), float(pair[1])))
    if not any(often * count for often, count in pairs):
        raise ConfigError(f"{key} is {list(weights)}: no set is ever trained on; give one of them a weight above 0")
    return pairs
