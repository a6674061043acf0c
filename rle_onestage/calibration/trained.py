"""Whether a calibration looks at images that are trained on: their errors are smaller than those of other images."""

import os
from collections.abc import Sequence

from detectron2.config import CfgNode

from ..data.coco.json_files import read_json
from ..data.datasets import KeypointMetadata, get_metadata
from ..data.labels import in_part
from ..data.lookup import set_options
from ..errors import PoseError, counted


def doubt_of_trained(cfg: CfgNode, names: Sequence[str]) -> str:
    """A sentence about images that ``DATASETS.TRAIN`` has too; empty where it has none of them on this machine.

    Args:
        cfg: the config, whose data sets are registered.
        names: of the data sets to fit and to report on.
    """
    trained = {name: _files(name) for name in cfg.DATASETS.TRAIN}
    for name in names:
        own = _files(name)
        for train_name, files in trained.items():
            shared = own & files
            if shared:
                return (
                    f"{len(shared)} of {counted(len(own), 'image')} of {name} are trained on (the first is "
                    f"{os.path.basename(min(shared))}; DATASETS.TRAIN names {train_name}), where errors are smaller "
                    "than on new images, so the corrected sigmas are too small; give --dataset a set without them, "
                    "such as the part held_out of a label file"
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
    return {os.path.realpath(os.path.join(root, n)) for n in names if isinstance(n, str) and in_part(n, options)}
