"""Metrics of a file of results, from any program."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from detectron2.utils.logger import create_small_table

from ..data.coco.categories import keypoint_category
from ..data.coco.json_files import read_json
from ..data.datasets import KeypointMetadata, get_metadata
from ..data.lookup import images_of_part
from ..errors import ConfigError, DataError, counted, shown
from ..structures import Skeleton, skeleton_from_category
from .ground_truth import GroundTruth, ground_truth_as_predictions
from .metrics import coco_metrics
from .partial_sets import tell_of_partial
from .per_joint import best_match, format_joint_errors, joint_errors, match_people
from .probabilities import format_probabilities, joint_claims, probability_table
from .protocols import SCORINGS, evaluator_type
from .result_files import read_results
from .space import has_space, space_tables
from .stand_ins import warn_of_stand_ins

logger = logging.getLogger(__name__)

# Results an image that may count: COCO's code makes tables of that size.
MOST_PEOPLE = 10_000
_LIMIT = "max_people (--max-people)"  # in messages
# Share of the images with people that may have no result before it is said: good models find nobody in some.
_SILENT = 0.1


def score_results(
    annotations: str,
    results_file: str | None = None,
    *,
    oks_sigmas: Sequence[float] = (),
    backend: str = "auto",
    threshold: float = 0.1,
    max_people: int = 20,
    dataset_name: str | None = None,
) -> OrderedDict[str, Mapping[str, Any]]:
    """Metrics of a file of COCO results; without one, of the ground truth as predictions (AP must be 100).

    Args:
        annotations: COCO-format keypoint file.
        results_file: COCO results, or None.
        oks_sigmas: (K,) COCO's OKS sigmas; empty: by the joints' names.
        backend: see :func:`~.metrics.coco_metrics`.
        threshold: lowest score of a best match.
        max_people: results an image that count, best first (COCO: 20); a warning says where that matters.
        dataset_name: a registered data set of this file; where it is a part of it, its images alone count. None: all.

    Returns:
        ``bbox`` (where all results have boxes), ``keypoints`` and ``best_match`` in percent, the further tables of a
        benchmark (:mod:`.protocols`), ``pose_3d`` where labels and results have joints in space
        (:mod:`rle_onestage.evaluation.space`), ``oks_sigmas`` with their ``source``, and ``table``, the per-joint
        table; where the results say presence or visibility, ``probabilities``, see
        :func:`~.probabilities.probability_table`.

    Raises:
        ConfigError: an OKS sigma or ``max_people`` is out of range.
        DataError: a file cannot be read or used, or nobody is labelled.
    """
    dataset = read_json(annotations)
    if not all(1e-6 <= sigma <= 1e3 for sigma in oks_sigmas):
        given = " ".join(f"{sigma:g}" for sigma in oks_sigmas)
        raise ConfigError(f"sigmas (--sigmas) are {given}; each must be a number from 1e-06 to 1000, as COCO's 0.026")
    skeleton = _skeleton(dataset, annotations, dataset_name, oks_sigmas)
    evaluator = evaluator_type(dataset_name, annotations)
    truth = GroundTruth(dataset=dataset, num_joints=skeleton.num_joints, source=annotations)
    if dataset_name is not None:
        truth = truth.subset(images_of_part(dataset_name, truth.images.values()))
    truth = SCORINGS[evaluator].prepare(truth)
    results = _results(truth, results_file, part=dataset_name is not None)
    if not 1 <= max_people <= MOST_PEOPLE:
        raise ConfigError(f"{_LIMIT} is {shown(max_people)}; give 1 to {MOST_PEOPLE}")
    _check_there_is_something(truth, results, threshold, annotations, results_file)
    if results_file:
        _warn_of_images_without_results(truth, results, results_file)
    warn_of_stand_ins(skeleton)
    if dataset_name is not None:
        tell_of_partial(dataset_name)
    truth.warn_of_cut(max_people, _LIMIT)
    if results_file:
        truth.warn_of_cut_results(results, max_people, threshold, _LIMIT)
    scores = _metrics(truth, results, skeleton, evaluator, backend=backend, max_people=max_people)
    scores["best_match"] = best_match(
        truth, results, skeleton.oks_sigmas, score_threshold=threshold, max_people=max_people
    )
    return scores


def _results(truth: GroundTruth, results_file: str | None, *, part: bool) -> list[dict[str, Any]]:
    """Of a file, or the labels themselves; people are the only category."""
    results = ground_truth_as_predictions(truth)
    if results_file:
        results = read_results(results_file, labels=truth.labels, part=part)
    for result in results:
        result["category_id"] = truth.category_id
    return results


def _metrics(
    truth: GroundTruth,
    results: list[dict[str, Any]],
    skeleton: Skeleton,
    evaluator: str,
    *,
    backend: str,
    max_people: int,
) -> OrderedDict[str, Mapping[str, Any]]:
    """What :func:`score_results` gives but for the best match, of results by the rules of an evaluator."""
    scoring = SCORINGS[evaluator]
    scores: OrderedDict[str, Mapping[str, Any]] = OrderedDict(oks_sigmas={"source": skeleton.oks_source})
    has_boxes = all("bbox" in r for r in results)
    options: dict[str, Any] = {"backend": backend, "max_people": max_people}
    if has_boxes and scoring.boxes:
        scores["bbox"] = coco_metrics(truth.dataset, results, "bbox", skeleton.oks_sigmas, **options)
    scores |= scoring.metrics(truth, results, skeleton.oks_sigmas, **options)
    if has_space(truth, results):
        scores |= space_tables(evaluator, truth, results, skeleton.names)
    if has_boxes:
        matches = match_people(truth, results, max_people=max_people)
        scores["table"] = joint_errors(matches, skeleton.oks_sigmas, skeleton.names)
        claims = joint_claims(truth, results, max_people=max_people)
        if claims:
            scores["probabilities"] = probability_table(claims, skeleton.names)
    return scores


def _skeleton(
    dataset: dict[str, Any], annotations: str, dataset_name: str | None, oks_sigmas: Sequence[float]
) -> Skeleton:
    """The joints of a registered set, or those that the file has, with OKS sigmas that are given."""
    metadata = None if dataset_name is None else get_metadata(dataset_name)
    known = metadata.source.skeleton if isinstance(metadata, KeypointMetadata) else None
    category = keypoint_category(dataset, annotations)
    if known is None:
        return skeleton_from_category(category, None, list(oks_sigmas))
    if len(category["keypoints"]) != known.num_joints:
        raise DataError(
            f"{annotations} has {counted(len(category['keypoints']), 'joint')}, but data set {dataset_name!r} has "
            f"{known.num_joints}; put the file of this set there, or name the set whose file it is"
        )
    if len(oks_sigmas) not in (0, known.num_joints):
        raise ConfigError(
            f"TEST.KEYPOINT_OKS_SIGMAS (--oks-sigmas) has {counted(len(oks_sigmas), 'value')} but {dataset_name} has "
            f"{counted(known.num_joints, 'joint')}; give one for each"
        )
    return replace(known, oks_sigmas=tuple(oks_sigmas), has_oks_sigmas=True) if len(oks_sigmas) else known


def _check_there_is_something(
    truth: GroundTruth, results: list[dict[str, Any]], threshold: float, annotations: str, results_file: str | None
) -> None:
    if not truth.people():
        raise DataError(f"{annotations} has no labelled people (no joint of anybody is labelled) to be found")
    if results and max(result["score"] for result in results) < threshold:
        logger.warning(
            "%s: no score reaches %g, so nobody has a best match; scores are probabilities from 0 to 1",
            results_file, threshold,
        )  # fmt: skip


def _warn_of_images_without_results(truth: GroundTruth, results: list[dict[str, Any]], results_file: str) -> None:
    """Results of a part of a file look bad beside all of its labels."""
    with_people, having = truth.by_image(), {result["image_id"] for result in results}
    without = [image for image in with_people if image not in having]
    if len(without) <= _SILENT * len(with_people):
        return
    people, lost = (sum(len(with_people[image]) for image in images) for images in (with_people, without))
    logger.warning(
        "%s has no result for %d of %s with people in %s: their %s not found, so AP is at most %.0f. If "
        "the results are of a part of the file, give --config-file and --dataset, which names that part, in place of "
        "--annotations.", results_file, len(without), counted(len(with_people), "image"), truth.source,
        counted(lost, "person counts as", "people count as"), 100 * (1 - lost / people),
    )  # fmt: skip


def format_scores(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Metrics of a file as text.

    Args:
        scores: of :func:`score_results`.
    """
    parts = [f"OKS sigmas: {scores['oks_sigmas']['source']}"] if "oks_sigmas" in scores else []
    others = ("oks_sigmas", "table", "probabilities", "best_match")
    parts += [f"{name}:\n{create_small_table(row)}" for name, row in scores.items() if name not in others]
    if "table" in scores:
        table = format_joint_errors(scores["table"])
        parts.append(f"joints of people matched at a box IoU of 0.5 (errors in % of sqrt(area)):\n{table}")
    if "probabilities" in scores:
        table = format_probabilities(scores["probabilities"])
        parts.append(f"probabilities of their joints (presence: labelled at all; visibility: not hidden):\n{table}")
    best = create_small_table(scores["best_match"])
    return "\n\n".join([*parts, f"best match of each labelled person (OKS in %):\n{best}"])
