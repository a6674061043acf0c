"""A split of a YOLO-pose data set as a file of COCO's format; :mod:`.yolo.writing` is the other way."""

import json
import os

from ..errors import ConfigError, MediaError, counted
from ..structures.boxes import AREA_OF_BOX
from ..utils.earlier_files import write_keeping_earlier
from .coco.annotations import read_keypoints
from .coco.json_files import read_json
from .yolo.description import read_description
from .yolo.reading import address_of


def yolo_to_coco(labels: str, output: str) -> list[str]:
    """Write a split of a YOLO-pose data set as a JSON file.

    Args:
        labels: address of the split, ``folder/data.yaml:val``.
        output: the file to write.

    Returns:
        What was written, and what the formats do not share, as lines for the user.

    Raises:
        DataError: the data set cannot be used, see :func:`~.yolo.reading.read_yolo`.
        ConfigError: the file to write is the data.yaml.
        MediaError: the file cannot be written.
    """
    address = address_of(labels)
    description = read_description(address.file)
    if os.path.exists(output) and os.path.samefile(output, address.file):
        raise ConfigError(f"{output} is the input and would be overwritten; give another file with --output")
    data = read_json(labels)
    problems = read_keypoints(data, labels).problems
    try:
        write_keeping_earlier(output, json.dumps(data).encode())
    except OSError as error:
        raise MediaError(
            f"{output} cannot be written ({error.strerror}); check that folder and the space left, or give another "
            "with --output"
        ) from error
    problems.say(labels)
    people = counted(len(data["annotations"]), "person", "people")
    lines = [f"{output}: {counted(len(data['images']), 'image')}, {people}; images are below {description.root}"]
    if outside := sum(os.path.isabs(image["file_name"]) for image in data["images"]):
        lines.append(f"{counted(outside, 'image lies', 'images lie')} outside of it and have their whole path")
    lines.append(f"YOLO-pose says neither area nor crowds: `area` is {AREA_OF_BOX:g} of the box, `iscrowd` 0")
    if not description.told:
        lines.append("its kpt_shape has no visibility: every labelled joint is written as visible, v = 2")
    if "flip_idx" in data["categories"][0]:
        lines.append("COCO's format has no place for `flip_idx`, which `categories` has for this package")
    return lines
