"""Whether the images are there that an evaluation after the training will read: it stops at the first that is not."""

import functools
import logging
import os
from collections.abc import Iterable

from detectron2.config import CfgNode

from ..errors import DataError, counted
from ..utils.bounded import within
from ..utils.bounded_reading import READ_SECONDS
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
    kind = MAPPER_REGISTRY.get(cfg.INPUT.MAPPER)
    if not (isinstance(kind, type) and issubclass(kind, PoseMapper) and kind.__call__ is PoseMapper.__call__):
        return
    for name in cfg.DATASETS.TEST:
        files = [str(record["file_name"]) for record in load_dataset(cfg, name) if record.get("file_name")]
        try:
            missing = within(READ_SECONDS, functools.partial(missing_files, files), name="image finder")
        except TimeoutError:
            logger.warning(
                "Whether the images of %s are there is not known: their file system does not answer for %d s.",
                name, READ_SECONDS,
            )  # fmt: skip
            continue
        if missing:
            raise DataError(
                f"{len(missing)} of {counted(len(files), 'image')} of the test set {name!r} are missing, the first is "
                f"{missing[0]}; put them there, or take them out of the annotation file, because the evaluation after "
                "the training needs each (DATASETS.TEST () trains without one)"
            )


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
