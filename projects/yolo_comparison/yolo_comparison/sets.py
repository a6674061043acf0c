"""One data set of general and of crowded synthetic images, with a validation set of each."""

import contextlib
import json
import os
import shutil
from typing import Any

from synthetic_people.writer import make_dataset

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.errors import ConfigError
from rle_onestage.utils.safe_files import replaced_when_done, write_text

# Validation splits, and the preset that each comes from.
SPLITS = {"val": "general", "val_crowded": "crowded"}
_PRESETS = {"general": "quickstart", "crowded": "crowded"}


def annotations_file(root: str, split: str) -> str:
    """The COCO-format file of a split."""
    return os.path.join(root, "annotations", f"person_keypoints_{split}.json")


def make_sets(
    root: str,
    *,
    train: int,
    val: int,
    size: int,
    crowded_share: float,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> None:
    """Make ``root`` with the splits train (both kinds, general first), val and val_crowded.

    Args:
        root: folder; images of the same settings that are there already are kept.
        train: images to train on.
        val: of each validation set.
        size: longest side in pixels.
        crowded_share: of the training images.
        seed: of the generator.
        workers: processes of the generator.
        force: replace a set of other settings.

    Raises:
        ConfigError: a number is out of its range. DataError: ``root`` holds a set of other settings.
    """
    if not 0 <= crowded_share <= 1 or min(train, val) < 1:
        raise ConfigError("--train and --val must be at least 1 and --crowded-share from 0 to 1")
    crowded = round(train * crowded_share)
    numbers = {"general": train - crowded, "crowded": crowded}
    made = {kind: os.path.join(root, "made", kind) for kind in numbers}
    for kind, folder in made.items():
        make_dataset(folder, preset=_PRESETS[kind], train=max(numbers[kind], 1), val=val, videos=0, size=size,
                     seed=seed, workers=workers, force=force)  # fmt: skip
    merge([(kind, made[kind], "train", number) for kind, number in numbers.items()], root, "train")
    for split, kind in SPLITS.items():
        merge([(kind, made[kind], "val", val)], root, split)


def merge(parts: list[tuple[str, str, str, int]], root: str, split: str) -> None:
    """Put the first images of several COCO-format sets, with their labels, into one split.

    Args:
        parts: list of (prefix of the file names, folder, split, number of images).
        root: folder of the result.
        split: its split.
    """
    os.makedirs(os.path.join(root, "annotations"), exist_ok=True)
    os.makedirs(os.path.join(root, split), exist_ok=True)
    merged: dict[str, Any] = {}
    for prefix, folder, source, number in parts:
        data = read_json(annotations_file(folder, source))
        merged = merged or {**data, "images": [], "annotations": []}
        numbers = {}
        for image in data["images"][:number]:
            numbers[image["id"]] = len(merged["images"]) + 1
            name = f"{prefix}_{image['file_name']}"
            _link(os.path.join(folder, source, image["file_name"]), os.path.join(root, split, name))
            merged["images"].append({**image, "id": numbers[image["id"]], "file_name": name})
        for annotation in data["annotations"]:
            if annotation["image_id"] in numbers:
                index = {"id": len(merged["annotations"]) + 1, "image_id": numbers[annotation["image_id"]]}
                merged["annotations"].append({**annotation, **index})
    write_text(annotations_file(root, split), json.dumps(merged))
    listed, prefixes = {image["file_name"] for image in merged["images"]}, tuple(f"{prefix}_" for prefix, *_ in parts)
    for name in os.listdir(os.path.join(root, split)):  # of an earlier, larger set
        if name.startswith(prefixes) and name not in listed:
            os.remove(os.path.join(root, split, name))


def _link(source: str, target: str) -> None:
    """A second name of the same file where the file system can, else a copy; what was there goes."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(target)
    try:
        os.link(source, target)
    except OSError:
        with replaced_when_done(target) as temporary:
            shutil.copyfile(source, temporary)
