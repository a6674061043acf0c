"""Boxes of people that are given at test: those of the labels, or of a file of detections."""

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, Instances

from ..errors import ConfigError, DataError, counted, shown
from .coco.json_files import load_json
from .datasets import get_metadata, load_dataset
from .mapper import MAPPER_REGISTRY, PoseMapper
from .people import read_people

logger = logging.getLogger(__name__)
# Of a box of the labels, so that the sigmoid of its logit is 1 in float32.
SURE = 20.0


@MAPPER_REGISTRY.register()
class GivenBoxesMapper(PoseMapper):
    """Gives test samples ``proposals`` as Detectron2's precomputed ones are; else it is :class:`~.mapper.PoseMapper`.

    The boxes are those of ``DATASETS.PROPOSAL_FILES_TEST``, a file of detections in COCO's format of results for each
    of ``DATASETS.TEST``. Without files they are the boxes of the labels, of people with a labelled joint.

    Args:
        boxes: of the test sets by name, by image: (N, 5) arrays of x0, y0, x1, y1 and score, best first; sets that are
            not there have the boxes of their labels.
        options: of :class:`~.mapper.PoseMapper`.
    """

    @configurable
    def __init__(self, *, boxes: Mapping[str, Mapping[Any, np.ndarray]] | None = None, **options: Any):
        super().__init__(**options)
        self.boxes = dict(boxes or {})

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True, **given: Any) -> dict[str, Any]:
        """As of :class:`~.mapper.PoseMapper`, and the boxes of the files.

        Args:
            cfg: the config.
            is_train: for training.
            given: as of :class:`~.mapper.PoseMapper`.

        Raises:
            ConfigError: there is not one file for each test set.
            DataError: see :func:`read_boxes`.
        """
        arguments = super().from_config(cfg, is_train, **given)
        files, sets = list(cfg.DATASETS.PROPOSAL_FILES_TEST), list(cfg.DATASETS.TEST)
        if is_train or not files:
            return arguments
        if len(files) != len(sets):
            raise ConfigError(
                f"DATASETS.PROPOSAL_FILES_TEST has {counted(len(files), 'file')}, DATASETS.TEST "
                f"{counted(len(sets), 'data set')}; give a file for each, or none for the boxes of the labels"
            )
        most = cfg.TEST.DETECTIONS_PER_IMAGE
        boxes = {
            name: read_boxes(file, load_dataset(cfg, name), category_ids=_person_ids(name), most=most)
            for name, file in zip(sets, files)
        }
        return {**arguments, "boxes": boxes}

    def _test_sample(self, record: dict[str, Any]) -> dict[str, Any]:
        sample = super()._test_sample(record)
        boxes = self.boxes.get(record.get("dataset_name", ""))
        if boxes is None:
            people = read_people(record, self._rules(record))
            wanted = ~people.crowd & (people.keypoints[..., 2] > 0).any(1)
            rows = np.concatenate([people.boxes[wanted], np.ones((int(wanted.sum()), 1))], 1)
        else:
            rows = boxes.get(record["image_id"], np.zeros((0, 5)))
        size = tuple(sample["image"].shape[1:])
        scale = np.array([size[1] / sample["width"], size[0] / sample["height"]] * 2)
        sample["proposals"] = as_proposals(rows[:, :4] * scale, rows[:, 4], size)
        return sample


def as_proposals(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> Instances:
    """Detectron2's precomputed proposals of an image.

    Args:
        boxes: (N, 4) in its pixels.
        scores: (N,) in [0, 1].
        size: height and width.
    """
    proposals = Instances(size)
    proposals.proposal_boxes = Boxes(torch.from_numpy(np.asarray(boxes, np.float32)))
    sure = 1 / (1 + math.exp(-SURE))
    clipped = np.clip(np.asarray(scores, float), 1 - sure, sure)
    proposals.objectness_logits = torch.from_numpy(np.log(clipped / (1 - clipped)).astype(np.float32))
    return proposals


def _person_ids(name: str) -> set[Any]:
    """Ids of the categories of a data set."""
    return set(get_metadata(name).get("thing_dataset_id_to_contiguous_id") or {1: 0})


def read_boxes(
    path: str, records: Iterable[Mapping[str, Any]], *, category_ids: Iterable[Any], most: int
) -> dict[Any, np.ndarray]:
    """The boxes of people of a file of detections: a list of ``{image_id, category_id, bbox, score}``.

    Boxes that leave their image, or have no area, are used as far as they go: what is beyond is cut off, and where
    nothing is left the box is left out. How many, a warning says. Entries of other categories, and of images that are
    not of the set, are left out.

    Args:
        path: of the file; a relative one is looked for under ``DETECTRON2_DATASETS`` too.
        records: of the images, with image_id, width and height.
        category_ids: of people; entries without one are people's.
        most: boxes of an image, the best.

    Returns:
        (N, 5) arrays of x0, y0, x1, y1 and score by image, best first.

    Raises:
        DataError: the file is not there, is none of detections, or has nobody on any of the images.
    """
    entries, ids = _entries(path), set(category_ids)
    sizes = {record["image_id"]: (record["width"], record["height"]) for record in records}
    rows: dict[Any, list[list[float]]] = {}
    cut = lost = 0
    for number, entry in enumerate(entries):
        if entry.get("category_id", next(iter(ids), None)) not in ids or entry.get("image_id") not in sizes:
            continue
        x0, y0, width, height, score = _numbers(entry, f"{path}: entry {number}")
        limit = sizes[entry["image_id"]]
        box = [max(x0, 0.0), max(y0, 0.0), min(x0 + width, limit[0]), min(y0 + height, limit[1])]
        if box[2] <= box[0] or box[3] <= box[1]:
            lost += 1
            continue
        cut += box != [x0, y0, x0 + width, y0 + height]
        rows.setdefault(entry["image_id"], []).append([*box, score])
    if not rows:
        raise DataError(
            f"{path} has no box of a person on any of the {counted(len(sizes), 'image')} of its data set; give the "
            "detections of that set"
        )
    if cut or lost:
        logger.warning(
            "%s: %s beyond the image (cut off), %s with nothing in it (left out)",
            path, counted(cut, "box reaches", "boxes reach"), counted(lost, "box", "boxes"),
        )  # fmt: skip
    return {image: np.array(sorted(own, key=lambda row: -row[4])[:most]) for image, own in rows.items()}


def _entries(path: str) -> Sequence[Any]:
    root = os.environ.get("DETECTRON2_DATASETS", "datasets")
    found = next((place for place in (path, os.path.join(root, path)) if os.path.isfile(place)), None)
    if found is None:
        raise DataError(f"there is no file {path} of detections; correct DATASETS.PROPOSAL_FILES_TEST")
    entries = load_json(found, found)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(
            f"{path} is no list of detections; give COCO's format of results: "
            "[{image_id, category_id, bbox, score}, ...]"
        )
    return entries


def _numbers(entry: Mapping[str, Any], where: str) -> list[float]:
    """x, y, width, height and score of an entry."""
    try:
        values = [float(value) for value in (*entry["bbox"], entry["score"])]
    except (KeyError, TypeError, ValueError):
        values = []
    if len(values) != 5 or not all(map(math.isfinite, values)) or not 0 <= values[4] <= 1:
        raise DataError(
            f"{where} is {shown(dict(entry))}; it must have bbox [x, y, width, height] and a score from 0 to 1"
        )
    return values
