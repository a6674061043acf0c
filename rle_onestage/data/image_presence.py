"""Whether the images are there that a training and the evaluation after it will read, before any of them is read."""

import functools
import logging
import os
from collections.abc import Iterable, Sequence

from detectron2.config import CfgNode

from ..errors import DataError, counted
from ..utils.bounded import within
from ..utils.bounded_reading import READ_SECONDS
from ..utils.images import ImageCache
from ..utils.shards import split_member
from .datasets import load_dataset
from .mapper import MAPPER_REGISTRY, PoseMapper

logger = logging.getLogger(__name__)


def check_test_images(cfg: CfgNode) -> None:
    """Look for the files of all images of ``DATASETS.TEST``. They are not read, so that it takes no time.

    Images of a mapper that reads them in a way of its own, and those that are named by an address, are left alone.

    Args:
        cfg: reads DATASETS, and INPUT.MAPPER.

    Raises:
        ConfigError: as :func:`~.datasets.load_dataset`.
        DataError: an image is missing; or as :func:`~.datasets.load_dataset`.
    """
    if not _reads_files(MAPPER_REGISTRY.get(cfg.INPUT.MAPPER)):
        return
    for name in cfg.DATASETS.TEST:
        records = load_dataset(cfg, name)
        missing = _missing_of(records, name)
        if missing:
            raise DataError(
                f"{len(missing)} of {counted(len(records), 'image')} of the test set {name!r} are missing, the first "
                f"is {missing[0]}; put them there, or take them out of the annotation file, as the evaluation after "
                "the training needs each (DATASETS.TEST () trains without one)"
            )


def check_training_images(records: Sequence[dict], mapper: object, max_unreadable: float) -> None:
    """Look for the files of the images to train on, as :func:`check_test_images` does.

    Args:
        records: of all sets.
        mapper: that reads them.
        max_unreadable: share of them that may be missing, which is a warning then.

    Raises:
        DataError: more are missing.
    """
    if not _reads_files(type(mapper)) or type(getattr(mapper, "cache", None)) is not ImageCache:
        return
    missing = _missing_of(records, "DATASETS.TRAIN")
    if not missing:
        return
    what = f"{len(missing)} of {counted(len(records), 'training image')} are missing: {', '.join(missing[:3])}"
    what += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    if len(missing) > max_unreadable * len(records):
        raise DataError(
            f"{what}; put them there, take them out of the annotation file, or raise INPUT.POSE.MAX_UNREADABLE "
            f"({max_unreadable:g}), the share that a training does without"
        )
    logger.warning("%s; INPUT.POSE.MAX_UNREADABLE (%g) allows it: others take their places.", what, max_unreadable)


def _reads_files(kind: object) -> bool:
    """Whether a class of mappers reads the images in our way."""
    ours = ("__call__", "_test_sample", "_single")
    return (
        isinstance(kind, type)
        and issubclass(kind, PoseMapper)
        and all(getattr(kind, name) is getattr(PoseMapper, name) for name in ours)
    )


def _missing_of(records: Sequence[dict], name: str) -> list[str]:
    """Files of images that are not there; none where that cannot be known, which is told.

    Args:
        records: of a data set.
        name: of the set, for the message.
    """
    files = [str(record["file_name"]) for record in records if record.get("file_name")]
    try:
        return within(READ_SECONDS, functools.partial(missing_files, files), name="image finder")
    except TimeoutError:
        logger.warning(
            "Whether the images of %s are there is not known: their file system does not answer for %d s.",
            name, READ_SECONDS,
        )  # fmt: skip
        return []


def missing_files(files: Iterable[str]) -> list[str]:
    """Those of some files that do not exist, without addresses and images in shards. Each folder is listed once.

    Args:
        files: paths.
    """
    folders: dict[str, frozenset[str]] = {}
    paths = [file for file in files if "://" not in file and not split_member(file)]
    for path in paths:
        folder = os.path.dirname(path)
        if folder not in folders:
            folders[folder] = _names_in(folder)
    # What is not listed is asked for: some file systems take other cases, or other forms of accents, for the same.
    return [
        path
        for path in paths
        if os.path.basename(path) not in folders[os.path.dirname(path)] and not os.path.exists(path)
    ]


def _names_in(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if not entry.is_symlink())  # those may lead nowhere
    except (OSError, ValueError):  # it is not there, or may be entered but not listed
        return frozenset()
