"""The labels that predictions are measured against, as COCO's evaluation needs them."""

import copy
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.coco.annotations import KeypointFile, read_keypoints
from ..data.coco.arrays import LARGEST_COORDINATE
from ..data.coco.json_files import read_json, without_garbage_collection
from ..data.datasets import get_metadata
from ..data.lookup import images_of_part
from ..errors import counted
from .result_files import Labels
from .results import Result

# Pixels away from all that a file may have as a labelled joint, for those that nobody labelled.
NOWHERE = -3 * LARGEST_COORDINATE

logger = logging.getLogger(__name__)


class People(NamedTuple):
    """Labelled people of one image: those that are no crowd and have a labelled joint, as in the file."""

    boxes: np.ndarray  # (M, 4) x0, y0, x1, y1, pixels
    joints: np.ndarray  # (M, K, 2), in the file's coordinates (pixel indices)
    visibility: np.ndarray  # (M, K) 0, 1 or 2
    area: np.ndarray  # (M,) square pixels


class GroundTruth:
    """A COCO-format keypoint file as training reads it, complete for COCO's evaluation.

    Ids of images are the file's, whatever they are; :func:`~.metrics.for_coco` numbers them. Ids of annotations that
    COCO's matching cannot use (it takes 0 for "no match", and wants whole numbers) are numbered anew, with a warning;
    the file's is ``file_id`` then.

    Args:
        dataset: the parsed file: ``images``, ``annotations``, ``categories``.
        num_joints: K; every annotation must have 3K keypoint values.
        source: what to call the file in messages.
        image_root: folder from which image sizes are read that the file lacks; None: these are not known.

    Attributes:
        num_joints: K.
        source: what to call the file in messages.
        images: id -> entry of the file.
        category_id: the people's.
        annotations: complete, see :func:`~.metrics.for_coco`.
        dataset: all of it in COCO's format.

    Raises:
        DataError: the file has no keypoint annotations, or another number of joints, or cannot be used.
    """

    def __init__(
        self,
        *,
        dataset: dict[str, Any],
        num_joints: int,
        source: str = "ground truth",
        image_root: str | None = None,
    ) -> None:
        self.num_joints = num_joints
        self.source = str(source)
        file = read_keypoints(dataset, self.source, image_root=image_root, num_joints=num_joints)
        self.images: dict[Any, dict[str, Any]] = file.images
        self.category_id = file.category_id
        given = [c.get("id") for c in dataset.get("categories") or () if isinstance(c, dict) and c.get("keypoints")]
        # Those with the same joints count as one.
        self.category_ids = tuple(number for number in given if number is not None)
        self.annotations = self._numbered(_complete(file))
        file.problems.say(self.source)
        category = {"id": self.category_id, "name": "person"}
        self.dataset: dict[str, Any] = {
            "images": list(self.images.values()),
            "annotations": self.annotations,
            "categories": [category],
        }

    @classmethod
    def from_file(cls, json_file: str, num_joints: int, image_root: str | None = None) -> "GroundTruth":
        """Read a file.

        Args:
            json_file: COCO-format keypoint file.
            num_joints: K.
            image_root: see the class.

        Raises:
            DataError: the file is missing, is no JSON, or has no annotations.
        """
        return cls(dataset=read_json(json_file), num_joints=num_joints, source=json_file, image_root=image_root)

    @classmethod
    def of_dataset(cls, dataset_name: str, num_joints: int) -> "GroundTruth":
        """The labels of a registered data set: of its images alone, where it is a part of its file.

        Args:
            dataset_name: its name.
            num_joints: K.

        Raises:
            DataError: see :meth:`from_file`.
        """
        metadata = get_metadata(dataset_name)
        truth = cls.from_file(metadata.json_file, num_joints, metadata.get("image_root"))
        return truth.subset(images_of_part(dataset_name, truth.images.values()))

    @classmethod
    def merged(cls, truths: Sequence["GroundTruth"]) -> tuple["GroundTruth", list[dict[Any, int]]]:
        """Several as one, with new ids for images and annotations.

        Args:
            truths: of the same joints.

        Returns:
            The whole, and for each of ``truths`` its image ids -> the new ones.
        """
        whole = copy.copy(truths[0])
        maps: list[dict[Any, int]] = []
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

    def _numbered(self, annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The annotations with ids that COCO's matching can use."""
        if not all(type(a["id"]) is int and 0 < a["id"] < 2**53 for a in annotations):
            logger.warning(
                "%s: annotation ids are no whole numbers, or below 1, or large, which COCO's matching cannot use; "
                "renumbered", self.source,
            )  # fmt: skip
            for number, annotation in enumerate(annotations, start=1):
                annotation.update(id=number, file_id=annotation["id"])
        return annotations

    def subset(self, image_ids: Iterable[Any]) -> "GroundTruth":
        """The same with only some images.

        Args:
            image_ids: ids of these.
        """
        keep = set(image_ids)
        other = copy.copy(self)
        other.images = {i: image for i, image in self.images.items() if i in keep}
        other.annotations = [a for a in self.annotations if a["image_id"] in keep]
        other.dataset = {**self.dataset, "images": list(other.images.values()), "annotations": other.annotations}
        return other

    def changed(self, annotations: list[dict[str, Any]]) -> "GroundTruth":
        """The same with other annotations.

        Args:
            annotations: complete, see :func:`~.metrics.for_coco`.
        """
        other = copy.copy(self)
        other.annotations = annotations
        other.dataset = {**self.dataset, "annotations": annotations}
        return other

    @property
    def labels(self) -> Labels:
        """What results are checked against, see :func:`~.result_files.read_results`."""
        return Labels(self.source, self.images, self.num_joints, self.category_ids)

    def by_image(self) -> dict[Any, list[dict[str, Any]]]:
        """Annotations of labelled people (no crowds): image id -> its own."""
        found: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
        for a in self.annotations:
            if not a["iscrowd"] and any(v > 0 for v in a["keypoints"][2::3]):
                found[a["image_id"]].append(a)
        return dict(found)

    def people(self) -> dict[Any, People]:
        """Labelled people: image id -> its own, for the images that have any."""
        return {image_id: self._stack(group) for image_id, group in self.by_image().items()}

    def warn_of_cut(self, max_people: int, option: str = "TEST.MAX_PEOPLE") -> float:
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
                "In %s of %s there are more than %s (the fullest has %d), and COCO counts the best %d results of "
                "each: keypoint AR cannot exceed %.1f; set %s to %d to count all.",
                counted(int((numbers > max_people).sum()), "image"), self.source,
                counted(max_people, "labelled person", "labelled people"), numbers.max(), max_people, reach, option,
                numbers.max(),
            )  # fmt: skip
        return reach

    def warn_of_cut_results(
        self, results: Iterable[Result], max_people: int, threshold: float, option: str = "TEST.MAX_PEOPLE"
    ) -> None:
        """Say where more people are found than count: some images have more results with a score above a threshold.

        Args:
            results: COCO results; those of other images do not count.
            max_people: results an image that count.
            threshold: lowest score of a result that is taken for a person.
            option: what the user sets ``max_people`` with.
        """
        found = Counter(r["image_id"] for r in results if r["score"] >= threshold and r["image_id"] in self.images)
        full = [number for number in found.values() if number > max_people]
        if full:
            logger.warning(
                "In %s of %s there are more than %s with a score of at least %g (the fullest has %d); the best %d of "
                "each count. Set %s to %d to count all.",
                counted(len(full), "image"), self.source, counted(max_people, "result"), threshold, max(full),
                max_people, option, max(full),
            )  # fmt: skip

    def _stack(self, annotations: Sequence[dict[str, Any]]) -> People:
        """The people of one image as arrays."""
        keypoints = np.array([a["keypoints"] for a in annotations], dtype=float).reshape(-1, self.num_joints, 3)
        boxes = np.array([a["bbox"] for a in annotations], dtype=float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        area = np.array([a["area"] for a in annotations], dtype=float)
        return People(boxes, keypoints[..., :2], keypoints[..., 2], area)


@without_garbage_collection()
def _complete(file: KeypointFile) -> list[dict[str, Any]]:
    """The annotations in COCO's format, with all that its evaluation looks at.

    ``stated_keypoints`` is the file's own ``num_keypoints``, which some benchmarks go by. Where joints in space are
    known, ``points_3d`` (K, 3) has them relative to the root, and ``root_3d`` the root.
    """
    columns = (file.boxes.tolist(), file.areas.tolist(), file.crowd.tolist(), file.num_keypoints.tolist())
    space: list[dict[str, Any]] = [{}] * len(file.annotations)
    if file.space is not None:
        pairs = zip(np.isfinite(file.space.points).any((1, 2)), file.space.points.tolist(), file.space.root.tolist())
        space = [{"points_3d": points, "root_3d": root} if known else {} for known, points, root in pairs]
    return [
        {
            **{k: v for k, v in annotation.items() if k not in ("segmentation", "ignore")},
            **own,
            "category_id": file.category_id,
            "iscrowd": int(crowd),
            "keypoints": keypoints,
            "num_keypoints": number,
            "stated_keypoints": annotation.get("num_keypoints"),
            "bbox": box,
            "area": area,
        }
        for annotation, keypoints, own, box, area, crowd, number in zip(file.annotations, file.rows(), space, *columns)
    ]


def ground_truth_as_predictions(truth: GroundTruth) -> list[Result]:
    """Labels as perfect results: everybody but crowds, with their own box and joints.

    A check of the whole evaluation: box AP and keypoint AP must be 100.0 (up to 20 people an image, COCO's limit).
    People without a labelled joint come last, with all joints in the middle of their box, where COCO ignores them.

    COCO's matching is greedy: where one person's joints are some of another's, the one with fewer must come first, and
    have the other joints nowhere near, or either may take the other's match. Scores are equal, so the order counts.

    Args:
        truth: the labels.

    Returns:
        COCO results, by number of labelled joints.
    """
    results = []
    for a in sorted(truth.annotations, key=lambda a: a["num_keypoints"]):
        if a["iscrowd"]:
            continue
        x, y, width, height = a["bbox"]
        labelled = a["num_keypoints"] > 0
        keypoints = np.array(a["keypoints"], dtype=float).reshape(-1, 3)
        keypoints[:, 2] = keypoints[:, 2] > 0
        keypoints[keypoints[:, 2] == 0, :2] = NOWHERE
        if not labelled:
            keypoints[:] = x + width / 2, y + height / 2, 0
        results.append(
            {
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "bbox": [x, y, width, height],
                "keypoints": keypoints.reshape(-1).tolist(),
                "score": 1.0 if labelled else 0.5,
                "annotation_id": a["id"],
                **({"keypoints_3d": a["points_3d"], "root_3d": a["root_3d"]} if "points_3d" in a else {}),
            }
        )
    return results
