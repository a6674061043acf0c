"""Writing a YOLO-pose data set from COCO's format: a folder whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from ...errors import ConfigError, DataError, MediaError, counted, cut, shown
from ...structures.skeleton import skeleton_from_category
from ...utils.bounded_reading import read_file
from ...utils.images import UnreadableImage, image_size
from ...utils.output_files import UNFINISHED, temporary_beside
from ...utils.shards import name_in_set, split_member
from ..coco.annotations import KeypointFile, read_keypoints
from ..coco.categories import keypoint_category
from ..coco.json_files import read_json
from .images import IMAGE_ENDINGS, label_file

DIGITS = 9  # of a share: a millionth of a pixel in the largest images


class CocoSplit(NamedTuple):
    """A file of COCO's format that becomes a split."""

    name: str  # train, val or test
    labels: str  # path of the file
    images: str  # path of the folder of its images


class _Image(NamedTuple):
    """An image of a split."""

    source: str  # path
    target: str  # path below the new data set
    text: str  # of its label file


def write_yolo(splits: Sequence[CocoSplit], output: str, *, link: bool = False) -> list[str]:
    """Write files of COCO's format as one YOLO-pose data set.

    Args:
        splits: of the same joints.
        output: the folder to make: ``data.yaml``, ``images`` and ``labels``.
        link: link to the images instead of copying them.

    Returns:
        What was written, and what the format has no place for, as lines for the user.

    Raises:
        DataError: a file cannot be used, or an image is missing, or the splits have different joints.
        ConfigError: the folder is in use.
        MediaError: it cannot be written.
    """
    check_free(output)
    lines: list[str] = []
    content: dict[str, Any] = {}
    images: list[_Image] = []
    for split in splits:
        data = read_json(split.labels)
        file = read_keypoints(data, split.labels, image_root=split.images)
        described = _describe(data, split)
        for key, noun in (("kpt_names", "joints"), ("flip_idx", "left/right pairs")):
            if content.setdefault(key, described[key]) != described[key]:
                raise DataError(
                    f"{split.labels} has other {noun} than {splits[0].labels}; a data.yaml has one set of {noun} for "
                    "all splits"
                )
        content |= {key: value for key, value in described.items() if key not in content}
        content[split.name] = f"images/{split.name}"
        own, left_out = _images(file, split)
        images += own
        if keypoint_category(data, split.labels).get("oks_sigmas"):
            left_out.append("`oks_sigmas`")
        lines += [f"{split.name}: {line}" for line in _written(file, own, left_out)]
        file.problems.say(split.labels)
    _write_folder(images, _ordered(content, splits), output, link)
    if not {"train", "val"} <= {split.name for split in splits}:
        lines.append("Ultralytics trains only where a data.yaml has both train and val.")
    return lines


def check_free(output: str) -> None:
    """Raises ConfigError where a folder is in use: what is in it would be mixed with what is written."""
    if os.path.lexists(output) and not (os.path.isdir(output) and not os.listdir(output)):
        kind = "a folder in use" if os.path.isdir(output) else "a file"
        raise ConfigError(f"{output} is {kind}; name a new or an empty folder with --output")


def _describe(data: dict, split: CocoSplit) -> dict[str, Any]:
    """What the data.yaml says of the joints."""
    category = keypoint_category(data, split.labels)
    skeleton = skeleton_from_category(category)
    description: dict[str, Any] = {
        "kpt_shape": [skeleton.num_joints, 3],
        "flip_idx": skeleton.flip_index,
        "names": {0: str(category.get("name") or "person")},
        "kpt_names": {0: list(skeleton.names)},
    }
    if skeleton.limbs:
        description["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.limbs]
    return description


def _ordered(content: dict[str, Any], splits: Sequence[CocoSplit]) -> dict[str, Any]:
    """The splits first, as in Ultralytics' files."""
    first = {split.name: content[split.name] for split in splits}
    return first | {key: value for key, value in content.items() if key not in first}


def _images(file: KeypointFile, split: CocoSplit) -> tuple[list[_Image], list[str]]:
    """The images of a split with their labels, and what is left out."""
    boxes, keypoints, clipped, outside = _inside(file)
    rows: dict[Any, dict[str, None]] = {image_id: {} for image_id in file.images}  # of an image, each once
    for i in np.flatnonzero(~file.crowd):
        image_id = file.annotations[i]["image_id"]
        rows[image_id][_row(boxes[i], keypoints[i], file.sizes[image_id])] = None
    repeated = int((~file.crowd).sum()) - sum(map(len, rows.values()))
    images: list[_Image] = []
    seen: dict[str, str] = {}
    for image_id, image in file.images.items():
        source, target = _paths(image["file_name"], split)
        _check_size(source, file.sizes[image_id], split)
        labels = label_file(f"{os.sep}{target}")
        if labels in seen:
            raise DataError(
                f"{split.labels}: the images {seen[labels]} and {source} would share a label file, as it has the name "
                "of the image; rename one of them"
            )
        seen[labels] = source
        images.append(_Image(source, target, "".join(rows[image_id])))
    return images, _left_out(file, int(clipped.sum()), outside, repeated)


def _inside(file: KeypointFile) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Boxes (A, 4) as centre and size and joints (A, K, 3) that the format can say, in pixels.

    Returns:
        (boxes, keypoints, clipped, outside): which (A,) boxes were clipped at the border, and how many labelled
        joints lie outside of their image and have no label now.
    """
    extent = np.array([file.sizes[a["image_id"]] for a in file.annotations], float).reshape(-1, 2)
    keypoints = file.keypoints.copy()
    points = keypoints[..., :2]
    outside = (keypoints[..., 2] > 0) & ((points < 0) | (points > extent[:, None])).any(-1) & ~file.crowd[:, None]
    keypoints[outside | (keypoints[..., 2] == 0)] = 0
    low, high = file.boxes[:, :2], file.boxes[:, :2] + file.boxes[:, 2:]
    centre = (low + high) / 2
    clipped = ((centre < 0) | (centre > extent) | (file.boxes[:, 2:] > extent)).any(1) & ~file.crowd
    low, high = (np.where(clipped[:, None], np.clip(side, 0, extent), side) for side in (low, high))
    return np.concatenate([(low + high) / 2, high - low], 1), keypoints, clipped, int(outside.sum())


def _row(box: np.ndarray, keypoints: np.ndarray, size: tuple[float, float]) -> str:
    """The line of a person.

    Args:
        box: (4,) centre x, y, width, height, pixels.
        keypoints: (K, 3) x, y in pixels, visibility.
        size: width and height of the image.
    """
    shares = [_share(value) for value in (box.reshape(2, 2) / size).ravel()]
    joints = [f"{_share(x / size[0])} {_share(y / size[1])} {v:.0f}" for x, y, v in keypoints.tolist()]
    return " ".join(["0", *shares, *joints]) + "\n"


def _share(value: float) -> str:
    text = f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _paths(name: str, split: CocoSplit) -> tuple[str, str]:
    """Where an image is, and where it goes below the new folder."""
    source, name = os.path.join(split.images, name), name_in_set(name)
    # A folder "images" in the name would be the one that Ultralytics replaces by "labels".
    parts = [part for part in os.path.normpath(name).split(os.sep) if part != "images"]
    if os.path.isabs(name) or ".." in parts:
        raise DataError(
            f"{split.labels}: the image {shown(name, 200)} lies outside of {split.images}; give --images the folder of "
            "all images"
        )
    if any(part.startswith(".") for part in parts):
        raise DataError(
            f"{split.labels}: Ultralytics does not see {shown(name, 200)}, as a name in it begins with a dot; rename it"
        )
    if not name.lower().endswith(IMAGE_ENDINGS):
        raise DataError(
            f"{split.labels}: Ultralytics does not take {shown(name, 200)} for an image; save it with one of the "
            f"endings {' '.join(IMAGE_ENDINGS)}"
        )
    return source, os.path.join("images", split.name, *parts)


def _check_size(path: str, size: tuple[float, float], split: CocoSplit) -> None:
    """The image is there and has the size by which its labels are divided."""
    try:
        height, width = image_size(path)
    except UnreadableImage as error:
        raise DataError(f"{split.labels}: image {path}: {cut(error.reason, 200)}; see --images") from error
    if (width, height) != tuple(size):
        raise DataError(
            f"{split.labels} gives {path} the size {size[0]:g} x {size[1]:g}, but it has {width} x {height}; correct "
            "the file, as labels become shares of that size"
        )


def _left_out(file: KeypointFile, clipped: int, outside: int, repeated: int) -> list[str]:
    """What the format has no place for, by count."""
    people = ~file.crowd
    segments = sum(bool(a.get("segmentation")) for a, person in zip(file.annotations, people) if person)
    counts = (
        (int((file.measured & people).sum()), "area (0.53 of the box stands in)", "areas (0.53 of the box stands in)"),
        (segments, "segment", "segments"),
        (int(file.crowd.sum()), "crowd or ignore region", "crowds or ignore regions"),
        (outside, "joint outside its image", "joints outside their images"),
        (clipped, "part of a box outside its image", "parts of boxes outside their images"),
        (repeated, "person with the numbers of another", "people with the numbers of others"),
    )
    return [counted(number, one, many) for number, one, many in counts if number]


def _written(file: KeypointFile, images: Sequence[_Image], left_out: Sequence[str]) -> list[str]:
    """What a split has now, as lines for the user."""
    people = sum(image.text.count("\n") for image in images)
    lines = [f"{counted(len(images), 'image')}, {counted(people, 'person', 'people')}"]
    if left_out:
        lines.append(f"YOLO-pose has no place for {', '.join(left_out)}")
    if without := int((~file.crowd & (file.keypoints[..., 2] == 0).all(1)).sum()):
        lines.append(
            f"{counted(without, 'person has', 'people have')} no labelled joint: Ultralytics' own converter leaves "
            "such people out, as its evaluation counts them as missed"
        )
    return lines


def _write_folder(images: Sequence[_Image], content: dict[str, Any], output: str, link: bool) -> None:
    """Write all under a temporary name beside the folder, and rename it."""
    target = os.path.realpath(output)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        temporary = temporary_beside(target, UNFINISHED)
        try:
            os.mkdir(temporary)
            for image in images:
                _write_image(image, temporary, link)
            with open(os.path.join(temporary, "data.yaml"), "w", encoding="utf-8") as file:
                yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise MediaError(
            f"{output} cannot be written ({error.strerror or error}); check that folder and the space left, or give "
            "another with --output"
        ) from error


def _write_image(image: _Image, folder: str, link: bool) -> None:
    """An image, as a copy (Ultralytics mends damaged JPEGs in their place) or a link, and its labels."""
    path = os.path.join(folder, image.target)
    labels = label_file(path)
    for place in (path, labels):
        os.makedirs(os.path.dirname(place), exist_ok=True)
    if split_member(image.source):
        with open(path, "wb") as copy:
            copy.write(read_file(image.source))
    elif link:
        os.symlink(os.path.realpath(image.source), path)
    else:
        shutil.copyfile(image.source, path)
    with open(labels, "w", encoding="utf-8") as file:
        file.write(image.text)
