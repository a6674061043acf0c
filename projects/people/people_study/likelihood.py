"""Nats of each labelled person's joints under a model's density, and their paired difference between models.

As in the package's table of calibration, people are matched at a box IoU of 0.5, so that wrong poses count too. Models
find different people; a difference is taken over those whom both found.
"""

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from rle_onestage.errors import DataError
from rle_onestage.evaluation.per_joint import MATCH_IOU, greedy_match
from rle_onestage.evaluation.results import boxes_array, by_image, write_json
from rle_onestage.structures.boxes import iou_matrix

from .bootstrap import draw_images, row
from .joints import matched_people
from .labels import LabelledSet

if TYPE_CHECKING:
    from rle_onestage.structures.error_density import ErrorDensity


ENDING = ".likelihood.json"


def pairs_by_box(labelled: LabelledSet, results: list[dict], *, max_people: int = 20) -> np.ndarray:
    """(P, 2) place in ``results`` and annotation id, of people matched at a box IoU of 0.5, greedily by score."""
    place = {id(result): i for i, result in enumerate(results)}
    groups, people, pairs = by_image(results), labelled.truth.people(), []
    for image_id, annotations in labelled.truth.by_image().items():
        group = groups.get(image_id, [])[:max_people]
        for i, j in greedy_match(iou_matrix(boxes_array(group), people[image_id].boxes), MATCH_IOU):
            pairs.append((place[id(group[i])], annotations[j]["id"]))
    return np.array(pairs, dtype=int).reshape(-1, 2)


def people_nats(labelled: LabelledSet, results: list[dict], density: "ErrorDensity") -> list[dict]:
    """Negative log-likelihood of each matched person.

    Args:
        labelled: the set.
        results: COCO results with ``bbox`` and ``keypoint_sigmas``.
        density: the model's :class:`~rle_onestage.structures.error_density.ErrorDensity`, on the CPU.

    Returns:
        list of dicts ``image_id``, ``annotation_id``, ``joints`` (labelled ones), ``nats`` (their sum, in pixels).
    """
    pairs = pairs_by_box(labelled, results)
    matches = matched_people(labelled, results, pairs)
    residual = torch.from_numpy(matches.joints - matches.predicted)
    nats = -density.log_prob(residual, torch.from_numpy(matches.std)).double().numpy()
    known = matches.visibility > 0
    columns = (matches.image_id, pairs[:, 1], known.sum(1), np.where(known, nats, 0).sum(1))
    keys = ("image_id", "annotation_id", "joints", "nats")
    return [dict(zip(keys, each)) for each in zip(*(column.tolist() for column in columns))]


def write_nats(path: str, rows: list[dict]) -> None:
    """Write them beside the file of results that they belong to."""
    write_json(rows, beside(path))


def beside(results_file: str) -> str:
    """Where the likelihoods of a file of results lie."""
    return os.path.splitext(results_file)[0] + ENDING


def read_nats(results_file: str) -> list[dict] | None:
    """The likelihoods beside a file of results; None where there are none.

    Raises:
        DataError: the file cannot be read.
    """
    path = beside(results_file)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); measure the model again") from error


def compare_nats(
    people: dict[str, list[dict]], baseline: str, image_ids: list, *, resamples: int = 1000, seed: int = 0
) -> dict:
    """Nats a joint of several models, and differences from one of them over the people whom both found.

    Args:
        people: model -> from :func:`people_nats`, on the same set.
        baseline: one of the models.
        image_ids: (I,) of the set, in the order of the draws.
        resamples: see :func:`~.bootstrap.compare`.
        seed: see :func:`~.bootstrap.compare`.

    Returns:
        dict model -> dict of ``value`` (of all whom it found), ``joints``, ``both`` (joints of people whom both found),
        and ``difference``, ``difference_interval``, ``above`` of these.
    """
    draws = draw_images(len(image_ids), resamples, seed)
    place = {image_id: i for i, image_id in enumerate(image_ids)}
    base, table = {r["annotation_id"]: r for r in people[baseline]}, {}
    for name, rows in people.items():
        shared = [r for r in rows if r["annotation_id"] in base]
        sums = np.zeros((3, len(image_ids)))  # nats, nats of the baseline, joints
        for r in shared:
            sums[:, place[r["image_id"]]] += (r["nats"], base[r["annotation_id"]]["nats"], r["joints"])
        own, other = (_ratio(sums[i] @ draws.T, sums[2] @ draws.T) for i in (0, 1))
        full = [float(_ratio(sums[i].sum(), sums[2].sum())) for i in (0, 1)]
        line = row(full[0], own, full[1], other)
        joints = sum(r["joints"] for r in rows)
        table[name] = {
            "value": sum(r["nats"] for r in rows) / joints if joints else float("nan"),
            "joints": joints,
            "both": int(sums[2].sum()),
            **{key: line[key] for key in ("difference", "difference_interval", "above")},
        }
    return table


def _ratio(nats: float | np.ndarray, joints: float | np.ndarray) -> np.ndarray:
    return np.where(joints > 0, nats / np.maximum(joints, 1), np.nan)
