"""A split of a YOLO-pose data set in COCO's form, which the one reader of annotations then checks as any file.

What the format lacks is inferred as Ultralytics' evaluation has it, and said in the log: an ``area`` of 0.53 of the
box, nobody a crowd, joints by ``kpt_names`` (without names 17 joints are COCO's if ``flip_idx`` is), pairs by
``flip_idx``. OKS sigmas are those of any file of the same joints. Ultralytics takes COCO's for any ``kpt_shape`` of
[17, 3], whatever its joints, and 1/K for others.
"""

import logging
import os
from typing import Any

from ...errors import DataError, counted, cut
from ...structures.boxes import AREA_OF_BOX
from ...structures.skeleton import COCO, OKS_KEY, SKELETONS, STAND_INS, find_flip_pairs, skeleton_from_category
from ...utils.images import UnreadableImage, image_size
from ...utils.label_address import Address, split_address
from .description import Description, read_description
from .images import Split, find_images, find_labels, label_file, listed, lonely_labels
from .rows import Row, read_rows

logger = logging.getLogger(__name__)
_said: set[tuple[str, str]] = set()  # (file, sentence)
# (path, time of change) -> height, width: a set is read several times in one run, its images' headers but once.
_sizes: dict[tuple[str, int], tuple[int, int]] = {}


def image_root(labels: str) -> str:
    """The folder that the names of a split's images are relative to: that of ``path``, or of the data.yaml.

    Args:
        labels: address of the split.
    """
    address = split_address(labels)
    assert address is not None
    try:
        return read_description(address.file).root
    except DataError:  # whoever reads the labels says so
        return os.path.dirname(os.path.abspath(address.file))


def address_of(labels: str) -> Address:
    """The data.yaml and the split that an address names.

    Args:
        labels: the address.

    Raises:
        DataError: it names no split.
    """
    address = split_address(labels)
    if address is None:
        described = ", ".join(read_description(labels).splits)
        raise DataError(f"{labels} has the splits {described or '(none)'}; say which, such as {labels}:val")
    return address


def read_yolo(address: Address) -> dict[str, Any]:
    """Read a split as a dictionary of COCO's format.

    Positions in pixels are the shares times the image's width and height, as they are COCO's numbers divided by these
    in Ultralytics' own sets. Ids count from 1, classes too.

    Args:
        address: of the split; its data.yaml is there.

    Raises:
        DataError: the data set cannot be used; the sentence names the file and the line.
    """
    description = read_description(address.file)
    split = find_images(description, address.split)
    where = f"{address.file}:{address.split}"
    images, annotations, repeated, missing = [], [], [], []
    for number, path in enumerate(split.images, start=1):
        height, width = _size(path, where)
        name = os.path.relpath(path, description.root) if path.startswith(description.root + os.sep) else path
        images.append({"id": number, "file_name": name.replace(os.sep, "/"), "width": width, "height": height})
        labels = find_labels(path)
        if labels is None:
            missing.append(label_file(path))
            continue
        rows, twice = read_rows(labels, description)
        repeated += [f"{labels}, line {line}" for line in twice]
        annotations += [_annotation(row, number, width, height) for row in rows]
    if len(missing) == len(images):
        raise DataError(
            f"{where}: none of its {len(images)} images has a label file, the first would be {missing[0]}; put the "
            "labels there (an empty file for an image without people)"
        )
    _say_left_out(where, split, missing, repeated)
    for annotation_number, annotation in enumerate(annotations, start=1):
        annotation["id"] = annotation_number
    return {"images": images, "annotations": annotations, "categories": _categories(description)}


def read_categories(file: str) -> list[dict[str, Any]]:
    """COCO's categories of a data.yaml, without its images and labels.

    Args:
        file: its path.

    Raises:
        DataError: see :func:`~.description.read_description`.
    """
    return _categories(read_description(file))


def _annotation(row: Row, image_id: int, width: int, height: int) -> dict[str, Any]:
    """A person in COCO's form, without its id."""
    x, y, w, h = row.box
    box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    return {
        "image_id": image_id,
        "category_id": row.number + 1,
        "bbox": box,
        "area": AREA_OF_BOX * box[2] * box[3],
        "area_source": "box",
        "iscrowd": 0,
        "num_keypoints": sum(v > 0 for _, _, v in row.joints),
        "keypoints": [value for x, y, v in row.joints for value in (x * width, y * height, v)],
    }


def _size(path: str, source: str) -> tuple[int, int]:
    """Height and width of an image as it is to be looked at."""
    try:
        key = path, os.stat(path).st_mtime_ns
        if key not in _sizes:
            _sizes[key] = image_size(path)
        return _sizes[key]
    except UnreadableImage as error:
        raise DataError(
            f"{source}: the size of {path} cannot be read, because {cut(error.reason, 200)}; replace the image or "
            "remove it"
        ) from error
    except OSError as error:
        raise DataError(f"{source}: image {path} cannot be read ({error.strerror}); replace it or remove it") from error


def _say(source: str, sentence: str, level: int = logging.INFO) -> None:
    """Log a sentence once in this process: a set is read for training and for evaluation."""
    if (source, sentence) not in _said:
        _said.add((source, sentence))
        logger.log(level, "%s: %s", source, sentence)


def _say_left_out(where: str, split: Split, missing: list[str], repeated: list[str]) -> None:
    """What is not as it should be, with the first few names.

    Args:
        where: address of the split.
        split: its images.
        missing: label files that are not there.
        repeated: lines of label files that repeat others.
    """
    if missing:
        sentence = f"images without a label file teach that nobody is there: {listed(missing, 'missing file')}"
        remedy = "if they have people, add the labels or take the images out; if not, an empty file says so"
        _say(where, f"{sentence} of {counted(len(split.images), 'image')}; {remedy}", logging.WARNING)
    if split.repeated:
        _say(where, f"images that are listed twice count once: {listed(split.repeated, 'image')}", logging.WARNING)
    if repeated:
        _say(where, f"rows that repeat another are left out: {listed(repeated, 'row')}", logging.WARNING)
    lonely = lonely_labels(split.images) if split.whole else []
    if lonely:
        _say(where, f"label files without an image teach nothing: {listed(lonely, 'file')}", logging.WARNING)


def _categories(description: Description) -> list[dict[str, Any]]:
    """COCO's categories, one for each class, with what this package infers."""
    file, number = description.file, description.num_joints
    names = description.names
    coco = list(COCO.names)
    if names is None and number == len(coco) and description.flip_index in (None, COCO.flip_index):
        names = coco
        # Without a mirror either, nothing speaks for COCO's joints but their number.
        _say(file, "its 17 joints have no names and are taken for COCO's; give kpt_names if they are others",
             logging.WARNING if description.flip_index is None else logging.INFO)  # fmt: skip
    elif names is None:
        names = [f"joint_{place}" for place in range(number)]
        _say(file, f"its joints have no names and are called joint_0 to joint_{number - 1}; give kpt_names for others")
    category: dict[str, Any] = {
        "name": description.classes[0],
        "keypoints": names,
        "skeleton": _limbs(description, names),
    }
    if description.flip_index is not None:
        category["flip_idx"] = description.flip_index
    _say_pairs(file, category)
    known = next((s for s in SKELETONS.values() if list(s.names) == names and s.has_oks_sigmas), None)
    whose = f"those of {known.name}" if known else f"{STAND_INS}, not Ultralytics' 1/{number}; see {OKS_KEY}"
    _say(file, f"the OKS sigmas are {whose}")
    _say(file, f"the area of a person is {AREA_OF_BOX:g} of the box, as in Ultralytics' evaluation, and nobody is a "
               "crowd")  # fmt: skip
    if not description.told:
        _say(file, f"kpt_shape [{number}, 2] has no visibility: joints at 0, 0 or below 0 have no label, all others "
                   "are taken as visible")  # fmt: skip
    return [{**category, "id": place + 1, "name": name} for place, name in description.classes.items()]


def _limbs(description: Description, names: list[str]) -> Any:
    """The limbs of the file, else those of a set of joints that is known, as COCO counts them."""
    if description.limbs:
        _say(description.file, "the limbs that are drawn are those of `skeleton`")
        return description.limbs
    known = next((s for s in SKELETONS.values() if list(s.names) == names), None)
    whose = f"are those of {known.name}" if known else "are none; give `skeleton`, pairs of joint numbers from 1"
    _say(description.file, f"the limbs that are drawn {whose}")
    return [[a + 1, b + 1] for a, b in known.limbs] if known else []


def _say_pairs(file: str, category: dict[str, Any]) -> None:
    """Which joints swap in a mirror, and how that is known."""
    names = category["keypoints"]
    pairs = skeleton_from_category(category).flip_pairs
    source = "flip_idx" if "flip_idx" in category else "the names of the joints"
    _say(
        file,
        f"joints that swap in a mirror, by {source}: {', '.join(f'{names[a]}/{names[b]}' for a, b in pairs) or 'none'}",
    )
    other = set(map(frozenset, find_flip_pairs(names))) - set(map(frozenset, pairs))
    if other:
        told = ", ".join(f"{names[a]} and {names[b]}" for a, b in sorted(map(sorted, other)))
        _say(file, f"flip_idx does not swap {told}, whose names say left and right; flip_idx is taken",
             logging.WARNING)  # fmt: skip
