"""Labels that a model made, compared with labels of people on the same images."""

import logging
import os
from typing import Any, NamedTuple

import numpy as np
import torch

from ..data.coco.categories import keypoint_category
from ..data.coco.json_files import read_json
from ..errors import DataError
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.people_parquet import is_people_parquet, labels_from_parquet
from ..evaluation.per_joint import greedy_match
from ..evaluation.results import boxes_array, keypoints_array
from ..structures.boxes import iou_matrix, share_inside
from ..structures.oks import joint_oks
from ..structures.skeleton import Skeleton, skeleton_from_category

logger = logging.getLogger(__name__)

# A labelled person is a person of the ground truth at this box IoU or OKS, whichever is larger.
MATCH = 0.5
# A person lies in a region that holds this share of its box.
COVERED = 0.5
OUTCOMES = ("labelled", "ignored", "inside", "missed")


class Comparison(NamedTuple):
    """How labels compare: M people of the ground truth with joints, S of them labelled."""

    skeleton: Skeleton
    images: int
    complete_images: int  # those in which the ground truth marks everybody
    labelled: int  # labelled people in these
    real: int  # and how many of them are people
    ignored: int  # ignore regions of the labels
    outcome: np.ndarray  # (M,) index into OUTCOMES
    kept: np.ndarray  # (S, K) bool, joints that the labels have
    visibility: np.ndarray  # (S, K) of the ground truth: 0, 1 or 2
    relative: np.ndarray  # (S, K) distance over the root of the area, where both have the joint, else NaN
    oks: np.ndarray  # (S, K) similarity, the same
    z: np.ndarray  # (S, K, 2) error in the label's own standard deviations, NaN where it has none
    iou: np.ndarray  # (S,) of the boxes

    @property
    def precision(self) -> float:
        """Share of labelled people that are people, NaN without any."""
        return self.real / self.labelled if self.labelled else float("nan")

    def share(self, outcome: str) -> float:
        """Share of people with that outcome, NaN without people."""
        return _mean(self.outcome == OUTCOMES.index(outcome))

    def of_joints(self, joints: list[int]) -> dict[str, float]:
        """Metrics of some joints.

        Args:
            joints: their numbers.

        Returns:
            ``kept``: share of the ground truth's joints that is kept. ``oks``, ``error`` (median, over the root of the
            area) and ``bad`` (share with an OKS below 0.5) of the joints that both have. ``extra``: share of the kept
            joints that the ground truth does not label. ``z``: root mean square error in the labels' standard
            deviations. NaN where there is nothing to tell.
        """
        kept, known = self.kept[:, joints], self.visibility[:, joints] > 0
        both = kept & known
        z = self.z[:, joints][both]
        oks, relative = self.oks[:, joints][both], self.relative[:, joints][both]
        return {
            "kept": _mean(kept[known]),
            "oks": _mean(oks),
            "error": float(np.median(relative)) if relative.size else float("nan"),
            "bad": _mean(oks < 0.5),
            "extra": _mean(~known[kept]),
            "z": float(np.sqrt(np.mean(z**2))) if z.size else float("nan"),
        }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def compare_files(label_files: list[str], truth_file: str, *, complete_key: str | None = None) -> Comparison:
    """Compare files of labels with a ground truth of the same images.

    Images are the same if they have the same name, or if not, the same name without folders. Images of the ground truth
    that no file has do not count.

    Args:
        label_files: COCO-format files, or folders of ``rle-onestage predict``, each of other images.
        truth_file: COCO-format file.
        complete_key: images of the ground truth with this field have all their people marked, so that a labelled person
            who is none of them is a mistake; None: all images have.

    Raises:
        DataError: a file cannot be read, joints differ, an image is in no ground truth, in two files, or of another
            size.
    """
    dataset = read_json(truth_file)
    skeleton = skeleton_from_category(keypoint_category(dataset, truth_file))
    truth = GroundTruth(dataset=_with_annotations(dataset, truth_file), num_joints=skeleton.num_joints,
                        source=truth_file)  # fmt: skip
    parts: list[Comparison] = []
    seen: dict[Any, str] = {}
    for file in label_files:
        labels = _labels(file, skeleton, truth_file)
        pairs = _same_images(labels, truth)
        for image_id in pairs.values():
            if image_id in seen:
                raise DataError(
                    f"image {truth.images[image_id]['file_name']} is in {seen[image_id]} and in {file}; give files of "
                    "different images"
                )
            seen[image_id] = file
        parts.append(compare(labels, truth, skeleton, pairs, complete_key=complete_key))
    if len(seen) < len(truth.images):
        logger.info("%d of the %d images of %s are compared", len(seen), len(truth.images), truth_file)
    return pooled(parts)


def _with_annotations(dataset: dict, file: str) -> dict:
    if not isinstance(dataset.get("annotations"), list):
        raise DataError(f"{file} has no list `annotations`; use a file with labels")
    return dataset


def _labels(file: str, skeleton: Skeleton, truth_file: str) -> GroundTruth:
    dataset = labels_from_parquet(file) if is_people_parquet(file) else read_json(file)
    names = tuple(keypoint_category(dataset, file)["keypoints"])
    if names != skeleton.names:
        raise DataError(f"{file} has the joints {', '.join(names)}, but {truth_file} has others; they must be the same")
    return GroundTruth(dataset=_with_annotations(dataset, file), num_joints=skeleton.num_joints, source=file)


def _same_images(labels: GroundTruth, truth: GroundTruth) -> dict:
    """Ids of the images of ``labels`` -> ids of the same images of ``truth``."""
    whole = {image["file_name"]: i for i, image in truth.images.items()}
    short: dict[str, list] = {}
    for name, i in whole.items():
        short.setdefault(os.path.basename(name), []).append(i)
    pairs = {}
    for i, image in labels.images.items():
        name = image["file_name"]
        found = [whole[name]] if name in whole else short.get(os.path.basename(name), [])
        if len(found) != 1:
            problem = "is in it twice" if found else "is not in it"
            raise DataError(f"{truth.source} cannot be compared: {name} of {labels.source} {problem}; "
                            "give the ground truth of these images")  # fmt: skip
        other = truth.images[found[0]]
        sizes = [(each.get("width"), each.get("height")) for each in (image, other)]
        if sizes[0] != sizes[1]:
            raise DataError(f"{name} is {sizes[0][0]} x {sizes[0][1]} in {labels.source} but {sizes[1][0]} x "
                            f"{sizes[1][1]} in {truth.source}; label the images that were annotated")  # fmt: skip
        pairs[i] = found[0]
    return pairs


def compare(
    labels: GroundTruth, truth: GroundTruth, skeleton: Skeleton, pairs: dict, *, complete_key: str | None = None
) -> Comparison:
    """Compare labels with a ground truth.

    Args:
        labels: of the same joints.
        truth: the same.
        skeleton: the joints.
        pairs: ids of images of ``labels`` -> ids of the same images of ``truth``.
        complete_key: see :func:`compare_files`.
    """
    own, theirs = _by_image(labels), _by_image(truth)
    parts = []
    for own_id, true_id in pairs.items():
        complete = complete_key is None or complete_key in truth.images[true_id]
        parts.append(_compare_image(own.get(own_id, []), theirs.get(true_id, []), skeleton, complete))
    return pooled(parts or [_compare_image([], [], skeleton, False)._replace(images=0)])


def pooled(parts: list[Comparison]) -> Comparison:
    """Comparisons of different images as one."""
    columns = list(zip(*parts))[1:]
    return Comparison(
        parts[0].skeleton,
        *(sum(column) for column in columns[:5]),
        *(np.concatenate(column) for column in columns[5:]),
    )


def _by_image(truth: GroundTruth) -> dict:
    groups: dict = {}
    for annotation in truth.annotations:
        groups.setdefault(annotation["image_id"], []).append(annotation)
    return groups


def _has_joints(annotation: dict) -> bool:
    return any(v > 0 for v in annotation["keypoints"][2::3])


def _compare_image(own: list[dict], theirs: list[dict], skeleton: Skeleton, complete: bool) -> Comparison:
    people = sorted((a for a in own if not a["iscrowd"] and _has_joints(a)), key=lambda a: -a.get("score", 1.0))
    ignored = [a for a in own if a["iscrowd"]]
    crowds = [a for a in theirs if a["iscrowd"]]
    true = [a for a in theirs if not a["iscrowd"] and _has_joints(a)]
    bare = [a for a in theirs if not a["iscrowd"] and not _has_joints(a)]
    boxes = boxes_array(people)
    joints, true_joints = (keypoints_array(group, skeleton.num_joints) for group in (people, true))
    area = np.array([a["area"] for a in true], dtype=float)
    oks = _similarity(joints, true_joints, area, skeleton)  # (N, M, K), NaN where not both have the joint
    iou = iou_matrix(boxes, boxes_array([*true, *bare]))  # (N, M and those without joints)
    alike = iou.copy()
    alike[:, : len(true)] = np.maximum(alike[:, : len(true)], _mean_of_known(oks))
    matches = greedy_match(alike, MATCH)
    rows, columns = np.array([m for m in matches if m[1] < len(true)], dtype=int).reshape(-1, 2).T
    strangers = np.setdiff1d(np.arange(len(people)), [row for row, _ in matches])
    real = len(matches) + int((share_inside(boxes[strangers], boxes_array(crowds)) >= COVERED).any(1).sum())
    both = ~np.isnan(oks[rows, columns])  # (S, K)
    offset = joints[rows, :, :2] - true_joints[columns, :, :2]
    relative = np.linalg.norm(offset, axis=-1) / np.sqrt(np.maximum(area[columns], 1e-9))[:, None]
    return Comparison(
        skeleton=skeleton,
        images=1,
        complete_images=int(complete),
        labelled=len(people) if complete else 0,
        real=real if complete else 0,
        ignored=len(ignored),
        outcome=_outcomes(columns, boxes_array(true), boxes_array(ignored), boxes),
        kept=joints[rows, :, 2] > 0,
        visibility=true_joints[columns, :, 2],
        relative=np.where(both, relative, np.nan),
        oks=oks[rows, columns],
        z=_in_sigmas(offset, [people[row] for row in rows], both),
        iou=iou[rows, columns],
    )


def _similarity(joints: np.ndarray, true: np.ndarray, area: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Similarity (N, M, K) of joints (N, K, 3) and (M, K, 3), NaN where not both are labelled."""
    distance2 = ((joints[:, None, :, :2] - true[None, :, :, :2]) ** 2).sum(-1)
    parts = (distance2, np.maximum(area, 1e-9), skeleton.oks_sigmas)
    similarity = joint_oks(*(torch.as_tensor(part, dtype=torch.float64) for part in parts)).numpy()
    both = (joints[:, None, :, 2] > 0) & (true[None, :, :, 2] > 0)
    return np.where(both, similarity, np.nan)


def _mean_of_known(oks: np.ndarray) -> np.ndarray:
    known = ~np.isnan(oks)
    return np.where(known, oks, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def _outcomes(labelled: np.ndarray, true: np.ndarray, ignored: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Index into OUTCOMES (M,) of each person, with boxes (., 4) of people, ignore regions and labelled people."""
    outcome = np.full(len(true), OUTCOMES.index("missed"))
    outcome[(share_inside(true, own) >= COVERED).any(1)] = OUTCOMES.index("inside")
    outcome[(share_inside(true, ignored) >= COVERED).any(1)] = OUTCOMES.index("ignored")
    outcome[labelled] = OUTCOMES.index("labelled")
    return outcome


def _in_sigmas(offset: np.ndarray, people: list[dict], both: np.ndarray) -> np.ndarray:
    """Errors (S, K, 2) in the standard deviations that the labels report."""
    nothing = [0.0] * (2 * both.shape[1])
    sigmas = np.array([p.get("keypoint_sigmas", nothing) for p in people], dtype=float).reshape(offset.shape)
    known = both[..., None] & (sigmas > 0)
    return np.where(known, offset / np.where(known, sigmas, 1.0), np.nan)
