"""The labels that predictions are measured against, read from a COCO-format file as COCO's evaluation needs them."""

import copy
import logging
import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ..data.coco_json import AREA_OF_BOX, keypoint_category, read_json
from ..data.datasets import get_metadata
from ..data.lookup import images_of_part
from ..errors import DataError

logger = logging.getLogger(__name__)


class People(NamedTuple):
    """Labelled people of one image: those that are no crowd and have a labelled joint, as in the file."""

    boxes: np.ndarray  # (M, 4) x0, y0, x1, y1
    joints: np.ndarray  # (M, K, 2), in the file's coordinates (pixel indices)
    visibility: np.ndarray  # (M, K) 0, 1 or 2
    area: np.ndarray  # (M,)


class GroundTruth:
    """A COCO-format keypoint file, completed so that ``pycocotools`` and ``faster-coco-eval`` both take it.

    What a file may lack is filled in: ``iscrowd`` 0, ``num_keypoints`` from the visibility flags, ``bbox`` from
    the labelled joints, ``area`` 0.53 of the box (with a warning). Annotation ids that are missing, repeated or
    below 1 are renumbered, because COCO's matching takes the id 0 for "no match" (with a warning).

    Args:
        dataset: the parsed file: ``images``, ``annotations``, ``categories``.
        num_joints: K; every annotation must have 3K keypoint values.
        source: what to call the file in messages.

    Raises:
        DataError: the file has no keypoint annotations, or another number of joints.
    """

    def __init__(self, *, dataset, num_joints, source="ground truth"):
        self.num_joints = num_joints
        self.source = source
        self.images = {image["id"]: image for image in dataset["images"]}
        self.category_id = keypoint_category(dataset, source)["id"]
        self.annotations = self._complete(
            [a for a in dataset["annotations"] if a.get("category_id", self.category_id) == self.category_id]
        )
        category = {"id": self.category_id, "name": "person"}
        self.dataset = {"images": list(dataset["images"]), "annotations": self.annotations, "categories": [category]}

    @classmethod
    def from_file(cls, json_file, num_joints):
        """Read a file.

        Raises:
            DataError: the file is missing, is no JSON, or has no annotations.
        """
        dataset = read_json(json_file)
        if not isinstance(dataset.get("annotations"), list):
            raise DataError(f"{json_file} has no list `annotations`, so nothing can be scored; use a file with labels.")
        return cls(dataset=dataset, num_joints=num_joints, source=str(json_file))

    @classmethod
    def of_dataset(cls, dataset_name, num_joints):
        """The labels of a registered data set: of its images alone, where it is a part of its file.

        Raises:
            DataError: see :meth:`from_file`.
        """
        metadata = get_metadata(dataset_name)
        truth = cls.from_file(metadata.json_file, num_joints)
        return truth.subset(images_of_part(dataset_name, truth.images.values()))

    @classmethod
    def merged(cls, truths):
        """Several as one, with new ids for images and annotations.

        Args:
            truths: of the same joints.

        Returns:
            (ground truth, for each of ``truths`` a dict of its image ids to the new ones)
        """
        whole, maps = copy.copy(truths[0]), []
        whole.images, whole.annotations = {}, []
        whole.source = ", ".join(truth.source for truth in truths)
        for truth in truths:
            ids = {image_id: len(whole.images) + place for place, image_id in enumerate(truth.images, start=1)}
            maps.append(ids)
            whole.images |= {ids[i]: {**image, "id": ids[i]} for i, image in truth.images.items()}
            for a in truth.annotations:
                number = len(whole.annotations) + 1
                moved = {"id": number, "image_id": ids[a["image_id"]], "category_id": whole.category_id}
                whole.annotations.append({**a, **moved})
        images = list(whole.images.values())
        whole.dataset = {**whole.dataset, "images": images, "annotations": whole.annotations}
        return whole, maps

    def _complete(self, annotations):
        out, without_area = [], 0
        for annotation in annotations:
            a = {k: v for k, v in annotation.items() if k not in ("segmentation", "ignore")}
            a["category_id"] = self.category_id
            a["iscrowd"] = int(a.get("iscrowd", 0))
            a["keypoints"] = a.get("keypoints") or [0] * (3 * self.num_joints)
            if len(a["keypoints"]) != 3 * self.num_joints:
                raise DataError(
                    f"{self.source}: annotation {a.get('id')} has {len(a['keypoints']) / 3:g} joints, "
                    f"but the model has {self.num_joints}; set MODEL.RLE_ONESTAGE.NUM_KEYPOINTS to the file's number"
                )
            a.setdefault("num_keypoints", sum(v > 0 for v in a["keypoints"][2::3]))
            a["bbox"] = a.get("bbox") or _extent(a["keypoints"])
            if not _is_number(a.get("area")):
                a["area"] = AREA_OF_BOX * a["bbox"][2] * a["bbox"][3]
                without_area += 1
            out.append(a)
        if without_area:
            logger.warning("%s: %d people without area; %g of the box is used", self.source, without_area, AREA_OF_BOX)
        return self._numbered(out)

    def _numbered(self, annotations):
        ids = [a.get("id") for a in annotations]
        usable = all(isinstance(i, int) and i > 0 for i in ids) and len(set(ids)) == len(ids)
        if not usable:
            logger.warning(
                "%s: annotation ids are missing, repeated or below 1, which COCO's matching cannot use; renumbered",
                self.source,
            )
            for number, annotation in enumerate(annotations, start=1):
                annotation["id"] = number
        return annotations

    def subset(self, image_ids):
        """The same with only these images."""
        keep = set(image_ids)
        other = copy.copy(self)
        other.images = {i: image for i, image in self.images.items() if i in keep}
        other.annotations = [a for a in self.annotations if a["image_id"] in keep]
        other.dataset = {**self.dataset, "images": list(other.images.values()), "annotations": other.annotations}
        return other

    def by_image(self):
        """Annotations of labelled people (no crowds), grouped: dict image id -> list."""
        found = defaultdict(list)
        for a in self.annotations:
            if not a["iscrowd"] and any(v > 0 for v in a["keypoints"][2::3]):
                found[a["image_id"]].append(a)
        return dict(found)

    def people(self):
        """Returns: dict image id -> :class:`People`, for the images that have any."""
        return {image_id: self._stack(group) for image_id, group in self.by_image().items()}

    def warn_of_cut(self, max_people, option="TEST.MAX_PEOPLE"):
        """Say when the limit on people an image matters: some images have more who are labelled.

        Args:
            max_people: results an image that count.
            option: what the user sets it with.

        Returns:
            The highest recall that the limit leaves, in percent (NaN without people).
        """
        numbers = np.array([len(people.area) for people in self.people().values()], dtype=int)
        if not numbers.size:
            return math.nan
        reach = 100.0 * float(np.minimum(numbers, max_people).sum() / numbers.sum())
        if numbers.max() > max_people:
            logger.warning(
                "%d images of %s have more than %d labelled people (the fullest %d), and COCO counts the %d best "
                "results of each: keypoint AR cannot exceed %.1f; set %s to %d to count all.",
                (numbers > max_people).sum(), self.source, max_people, numbers.max(), max_people, reach, option,
                numbers.max(),
            )  # fmt: skip
        return reach

    def _stack(self, annotations):
        keypoints = np.array([a["keypoints"] for a in annotations], dtype=float).reshape(-1, self.num_joints, 3)
        boxes = np.array([a["bbox"] for a in annotations], dtype=float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        area = np.array([a["area"] for a in annotations], dtype=float)
        return People(boxes, keypoints[..., :2], keypoints[..., 2], area)


def _extent(keypoints):
    """Box (x, y, w, h) round the labelled joints."""
    joints = np.array(keypoints, dtype=float).reshape(-1, 3)
    joints = joints[joints[:, 2] > 0, :2]
    if not len(joints):
        return [0.0] * 4
    return [*joints.min(0).tolist(), *np.ptp(joints, axis=0).tolist()]


def _is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)


def ground_truth_as_predictions(truth):
    """Labels as perfect results: everybody but crowds, with their own box and joints.

    A check of the whole evaluation: box AP and keypoint AP must be 100.0 (up to 20 people an image, COCO's limit).
    People without a labelled joint come last, with all joints in the middle of their box, where COCO ignores them.

    Returns:
        list of COCO results.
    """
    results = []
    for a in truth.annotations:
        if a["iscrowd"]:
            continue
        x, y, width, height = a["bbox"]
        labelled = a["num_keypoints"] > 0
        keypoints = np.array(a["keypoints"], dtype=float).reshape(-1, 3)
        keypoints[:, 2] = keypoints[:, 2] > 0
        if not labelled:
            keypoints[:] = x + width / 2, y + height / 2, 0
        results.append(
            {
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "bbox": [x, y, width, height],
                "keypoints": keypoints.reshape(-1).tolist(),
                "score": 1.0 if labelled else 0.5,
            }
        )
    return results
