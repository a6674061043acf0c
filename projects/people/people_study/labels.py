"""Labelled sets and the results of models on them, one by one or several as one."""

import argparse
import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from rle_onestage.data.coco.categories import keypoint_category
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import GroundTruth, read_results
from rle_onestage.evaluation.results import extent
from rle_onestage.structures.skeleton import Skeleton, skeleton_from_category

TOGETHER = "together"


class LabelledSet(NamedTuple):
    """Images with their labels."""

    name: str
    truth: GroundTruth
    skeleton: Skeleton
    folder: str | None = None  # of the images; None where they are not looked at

    @property
    def image_folder(self) -> str:
        """The folder, where images are looked at.

        Raises:
            DataError: the set has none.
        """
        if self.folder is None:
            raise DataError(f"set {self.name} has no image folder; name it with the set")
        return self.folder


def read_set(name: str, annotations: str, folder: str | None = None, *, list_file: str | None = None) -> LabelledSet:
    """Read a COCO-format keypoint file.

    Args:
        name: what to call the set.
        annotations: the file; it may have no annotations (images without people).
        folder: of the images.
        list_file: text file with the names of the images that count, one a line; None: all.

    Raises:
        DataError: a file cannot be used, the folder is not there, or the list names an image that the set lacks.
    """
    dataset = read_json(annotations, name)
    if not isinstance(dataset.get("annotations"), list):
        raise DataError(f"{annotations} has no list `annotations`; use a file with labels, which may be an empty list")
    if folder is not None and not os.path.isdir(folder):
        raise DataError(f"set {name}: there is no image folder {folder}; name the folder that has the images")
    skeleton = skeleton_from_category(keypoint_category(dataset, annotations), None, [])
    truth = GroundTruth(dataset=dataset, num_joints=skeleton.num_joints, source=annotations)
    if list_file is not None:
        truth = truth.subset(_listed(truth, list_file))
    return LabelledSet(name, truth, skeleton, folder)


def _listed(truth: "GroundTruth", list_file: str) -> Iterable:
    """Ids of the images that a file names."""
    try:
        with open(list_file, encoding="utf-8") as file:
            names = {line.strip() for line in file if line.strip()}
    except OSError as error:
        raise DataError(f"list {list_file} cannot be read ({error.strerror}); name a text file") from error
    chosen = {image["file_name"]: i for i, image in truth.images.items() if image["file_name"] in names}
    missing = sorted(names - set(chosen))
    if missing:
        raise DataError(f"{list_file} names {missing[0]}, which is not in {truth.source}; make the list from that file")
    return chosen.values()


def read_results_of(labelled: LabelledSet, path: str) -> list[dict]:
    """A file of COCO results, those of the set's images only; one without a box gets the extent of its joints.

    Raises:
        DataError: the file cannot be used, has another number of joints, or nothing in it belongs to the set.
    """
    category = {"category_id": labelled.truth.category_id}
    results = read_results(path, labels=labelled.truth.labels, part=True)
    return [{"bbox": extent(result), **result, **category} for result in results]


class Together(NamedTuple):
    """Several sets as one."""

    labelled: LabelledSet
    image_id: dict  # (set, image id) -> new id
    annotation_id: dict  # (set, annotation id) -> new id

    def results(self, parts: dict[str, list[dict]]) -> list[dict]:
        """One model's COCO results on the sets, set -> list, as results on all of them."""
        return [
            {**r, "image_id": self.image_id[name, r["image_id"]], "category_id": 1}
            for name, part in parts.items()
            for r in part
        ]

    def nats(self, parts: dict[str, list[dict]]) -> list[dict]:
        """The same for what :func:`~.likelihood.people_nats` gives."""
        new = {"image_id": self.image_id, "annotation_id": self.annotation_id}
        return [
            {**r, **{key: ids[name, r[key]] for key, ids in new.items()}} for name, part in parts.items() for r in part
        ]


def together(sets: list[LabelledSet]) -> Together:
    """Several sets as one, with new ids of images and annotations, as those of different sets may be the same.

    Args:
        sets: with the same joints.

    Raises:
        ConfigError: the joints differ, or two sets have the same name.
    """
    first = sets[0]
    repeated = [name for name, count in Counter(s.name for s in sets).items() if count > 1]
    if repeated:
        raise ConfigError(f"two sets are called {repeated[0]}; every name must be different")
    images: list[dict] = []
    annotations: list[dict] = []
    image_ids, annotation_ids = {}, {}
    for labelled in sets:
        if labelled.skeleton.names != first.skeleton.names:
            raise ConfigError(f"{first.name} and {labelled.name} have different joints and cannot be measured as one")
        for image_id, image in labelled.truth.images.items():
            number = image_ids[labelled.name, image_id] = len(images) + 1
            images.append({**image, "id": number, "set": labelled.name})
        for a in labelled.truth.annotations:
            number = annotation_ids[labelled.name, a["id"]] = len(annotations) + 1
            image_id = image_ids[labelled.name, a["image_id"]]
            annotations.append({**a, "id": number, "image_id": image_id, "category_id": 1})
    category = {"id": 1, "name": "person", "keypoints": list(first.skeleton.names)}
    dataset = {"images": images, "annotations": annotations, "categories": [category]}
    truth = GroundTruth(dataset=dataset, num_joints=first.truth.num_joints, source=TOGETHER)
    return Together(LabelledSet(TOGETHER, truth, first.skeleton), image_ids, annotation_ids)


def add_set_flags(parser: argparse.ArgumentParser) -> None:
    """``--set NAME ANNOTATIONS [FOLDER]`` and ``--list NAME FILE``, see :func:`sets_from`."""
    parser.add_argument(
        "--set", nargs="+", action="append", required=True, metavar=("NAME", "FILE"), dest="sets",
        help="a labelled set: its name, its annotation file, and the folder of its images where they are looked at",
    )  # fmt: skip
    parser.add_argument(
        "--list", nargs=2, action="append", default=[], metavar=("NAME", "FILE"), dest="lists",
        help="a text file with the names of the only images of that set that count, one a line",
    )  # fmt: skip


def sets_from(args: argparse.Namespace) -> dict[str, LabelledSet]:
    """The sets that the command line names, by name.

    Raises:
        ConfigError: a set has too few or too many values, a name is repeated, or a list is of no set.
        DataError: see :func:`read_set`.
    """
    lists, sets = dict(args.lists), {}
    for given in args.sets:
        if len(given) not in (2, 3):
            raise ConfigError(f"--set {' '.join(given)} must be a name, an annotation file and perhaps an image folder")
        if given[0] in sets:
            raise ConfigError(f"two sets are called {given[0]}; every name must be different")
        sets[given[0]] = read_set(*given, list_file=lists.pop(given[0], None))
    if lists:
        raise ConfigError(f"--list {next(iter(lists))} is of no set that --set names")
    return sets
