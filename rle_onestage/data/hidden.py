"""Which data sets tell hidden joints from visible ones: their labels, or whoever registered them, say it.

Many sets have visibility 2 for every labelled joint, hidden or not (a teacher's labels, Leeds Sports Pose). They must
not teach that hidden joints are visible.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog

from ..errors import ConfigError, shown
from .coco.annotations import read_keypoints
from .coco.flags import FlagCounts, count_flags, remember_flags, remembered_flags
from .coco.json_files import read_json
from .datasets import KeypointMetadata, get_metadata
from .labels import HIDDEN, SetOptions
from .lookup import set_options

logger = logging.getLogger(__name__)


class HiddenTold(NamedTuple):
    """Whether a set tells, and why."""

    told: bool
    flags: FlagCounts | None  # None where it was not counted


def hidden_told(name: str) -> HiddenTold:
    """Whether the labels of a registered data set tell hidden joints from visible ones.

    The metadata's ``hidden`` decides, which a user sets (``MetadataCatalog.get(name).set(hidden="told")``), else the
    option ``hidden`` of ``DATASETS.KEYPOINT_FILES``, else the flags of the labels.

    Raises:
        ConfigError: no data set has this name, or its ``hidden`` has no meaning.
        DataError: its file cannot be used.
    """
    metadata = get_metadata(name)
    choice = metadata.get("hidden", None) or set_options(name).hidden
    if choice not in HIDDEN:
        raise ConfigError(
            f"the metadata of data set {name!r} have hidden {shown(choice)}; choose one of {', '.join(HIDDEN)}"
        )
    if choice != SetOptions.hidden:
        return HiddenTold(choice == "told", None)
    flags = _flags_of_file(metadata) if isinstance(metadata, KeypointMetadata) else _flags_of_records(name)
    return HiddenTold(flags.tell, flags)


def _flags_of_file(metadata: KeypointMetadata) -> FlagCounts:
    """Of a set of ours; its file is read unless it was for its records."""
    path = metadata.json_file
    found = remembered_flags(path)
    if found is None:
        found = read_keypoints(read_json(path, metadata.name), path, image_root=metadata.image_root).flags
        remember_flags(path, found)
    return found


def _flags_of_records(name: str) -> FlagCounts:
    """Of a set that is not ours, by Detectron2's dictionaries."""
    people = (a for record in DatasetCatalog.get(name) for a in record.get("annotations") or ())
    rows = [np.asarray(a["keypoints"], float)[2::3] for a in people if a.get("keypoints") and not a.get("iscrowd", 0)]
    return count_flags(np.concatenate([np.zeros(0), *rows]))


def say_who_tells(names: Sequence[str]) -> None:
    """Log which training sets tell hidden joints from visible ones; a warning where none does."""
    found = {name: hidden_told(name) for name in names}
    lines = {name: f"{name} ({_why(told)})" for name, told in found.items()}
    tell = ", ".join(lines[name] for name, told in found.items() if told.told)
    others = ", ".join(lines[name] for name, told in found.items() if not told.told)
    if tell:
        logger.info("Hidden told from visible: %s; not: %s", tell, others or "none")
        return
    logger.warning(
        "MODEL.RLE_ONESTAGE.HEAD.VISIBILITY is True, but no training set tells hidden joints from visible ones: %s. If "
        "the labels of one do, give it {hidden: told} in DATASETS.KEYPOINT_FILES.",
        others,
    )


def _why(found: HiddenTold) -> str:
    if found.flags is None:
        return "as it was registered"
    return f"{found.flags.hidden} hidden of {sum(found.flags)} labelled joints"
