"""Labelled sets and the results of models on them, one by one or several as one."""

import os
from collections import Counter
from typing import NamedTuple

from rle_onestage.data.coco_json import keypoint_category, read_json
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import GroundTruth, read_results
from rle_onestage.skeleton import Skeleton, skeleton_from_category

TOGETHER = "together"


class LabelledSet(NamedTuple):
    """Images with their labels."""

    name: str
    truth: GroundTruth
    skeleton: Skeleton
    folder: str | None = None  # of the images; None where they are not looked at


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


def _listed(truth, list_file):
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
    """A file of COCO results, those of the set's images only.

    Raises:
        DataError: the file cannot be used, has another number of joints, or nothing in it belongs to the set.
    """
    results = read_results(path)
    count = labelled.truth.num_joints
    wrong = next((r for r in results if len(r["keypoints"]) != 3 * count), None)
    if wrong is not None:
        raise DataError(
            f"{path} has results with {len(wrong['keypoints']) // 3} joints but {labelled.truth.source} has {count}; "
            "give the results of the same joints"
        )
    own = [{**r, "category_id": labelled.truth.category_id} for r in results if r["image_id"] in labelled.truth.images]
    if results and not own:
        raise DataError(f"{path} has no result of an image of {labelled.truth.source}; give the results of that set")
    return own


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
    images, annotations, image_ids, annotation_ids = [], [], {}, {}
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
