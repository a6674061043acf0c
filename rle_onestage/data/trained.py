"""Whether images are among those that a model was trained on: it errs less there, and knows their labels by heart."""

import os
from collections.abc import Sequence

from detectron2.config import CfgNode

from ..errors import PoseError, counted
from .coco.json_files import read_json
from .datasets import KeypointMetadata, get_metadata
from .labels import in_part
from .lookup import set_options


def trained_on(cfg: CfgNode, names: Sequence[str]) -> str:
    """A clause about images that ``DATASETS.TRAIN`` has too; empty where it has none of them on this machine.

    Args:
        cfg: the config, whose data sets are registered.
        names: of the data sets to look at; the first one with such images is named.
    """
    trained = {name: _files(name) for name in cfg.DATASETS.TRAIN}
    for name in names:
        own = _files(name)
        for train_name, files in trained.items():
            shared = own & files
            if shared:
                return (
                    f"{len(shared)} of {counted(len(own), 'image')} of {name} are trained on (the first is "
                    f"{os.path.basename(min(shared))}; DATASETS.TRAIN names {train_name})"
                )
    return ""


def _files(name: str) -> set[str]:
    """Paths of the images of a data set; none where it is not ours or its file cannot be read here."""
    try:
        metadata = get_metadata(name)
        if not isinstance(metadata, KeypointMetadata):
            return set()
        images = read_json(metadata.json_file)["images"]
    except PoseError:  # whoever uses the set says what is wrong with it
        return set()
    names = [image.get("file_name") for image in images if isinstance(image, dict)]
    options = set_options(name)
    root = os.path.realpath(metadata.image_root)
    files = [os.path.join(root, name) for name in names if isinstance(name, str)]
    return {os.path.realpath(file) for file in files if in_part(file, options)}
