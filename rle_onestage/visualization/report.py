"""Pages of predictions beside labels, and figures of results that lie in a file."""

import logging
import os
from collections import OrderedDict

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.utils.logger import create_small_table
from tabulate import tabulate

from ..data.coco.categories import keypoint_category
from ..data.coco.json_files import read_json
from ..data.datasets import get_skeleton
from ..errors import ConfigError, DataError, check_score
from ..evaluation import (
    GroundTruth,
    best_match,
    coco_figures,
    ground_truth_as_predictions,
    joint_errors,
    match_people,
    read_results,
    worst_images,
)
from ..evaluation.per_joint import format_joint_errors
from ..evaluation.results import by_image, instances_from_labels, instances_from_results
from ..structures.skeleton import skeleton_from_category
from ..utils.images import UnreadableImage, read_image
from ..video import io as media
from . import contact_sheet, side_by_side

logger = logging.getLogger(__name__)

ORDERS = ("worst", "best", "file")


def page_of_results(cfg, dataset_name, results_file, output, *, count=12, order="worst", columns=2, threshold=0.1):
    """Draw predictions and labels side by side for some images of a set, on one page.

    Args:
        cfg: the config.
        dataset_name: a registered data set with labels.
        results_file: COCO results, as the evaluation writes them.
        output: image file to write.
        count: how many images.
        order: ``worst`` or ``best`` first by mean OKS over labelled people, or as in the ``file``.
        columns: pairs in a row.
        threshold: lowest score that is drawn and matched.

    Returns:
        list of :class:`~.evaluation.per_joint.ImageScore` of the images on the page.

    Raises:
        DataError: nothing to draw: no labelled people, or no image that can be read.
        ConfigError: the threshold is no score.
    """
    check_score(threshold, "the threshold (--confidence-threshold)")
    skeleton, metadata = get_skeleton(cfg, dataset_name), MetadataCatalog.get(dataset_name)
    truth = GroundTruth.of_dataset(dataset_name, skeleton.num_joints)
    results = read_results(results_file, labels=truth.labels, part=True)
    scores = worst_images(
        truth, results, skeleton.sigmas, len(truth.images), score_threshold=threshold, max_people=cfg.TEST.MAX_PEOPLE
    )
    if order == "best":
        scores.reverse()
    elif order == "file":
        place = {image_id: i for i, image_id in enumerate(truth.images)}
        scores.sort(key=lambda s: place[s.image_id])
    groups, labels, pairs, shown = by_image(results), truth.by_image(), [], []
    for score in scores[:count]:
        path = os.path.join(metadata.image_root, score.file_name)
        try:
            image = read_image(path)
        except UnreadableImage as error:
            logger.warning("left out %s: %s", path, error.reason)
            continue
        predicted = instances_from_results(groups.get(score.image_id, []), image.shape[:2], truth.num_joints)
        labelled = instances_from_labels(labels[score.image_id], image.shape[:2], truth.num_joints)
        pairs.append(side_by_side(image, predicted, labelled, skeleton, threshold=threshold))
        shown.append(score)
    if not pairs:
        raise DataError(
            f"{dataset_name} has no images with labelled people that can be read; check DETECTRON2_DATASETS"
        )
    captions = [f"{s.file_name}   OKS {100 * s.oks:.0f}   {s.people} labelled" for s in shown]
    media.make_folder(os.path.dirname(output))
    media.write_image(output, contact_sheet(pairs, columns, captions=captions, tile=(900, 320)))
    return shown


def score_results(annotations, results_file=None, *, sigmas=(), backend="auto", threshold=0.1, max_people=20):
    """Figures of a file of COCO results; without one, of the ground truth as predictions (AP must be 100).

    Args:
        annotations: COCO-format keypoint file.
        results_file: COCO results, or None.
        sigmas: OKS sigmas (K,); empty: by the joints' names.
        backend: see :func:`~.evaluation.metrics.coco_figures`.
        threshold: lowest score of a best match.
        max_people: results an image that count, best first (COCO: 20); a warning says where that matters.

    Returns:
        OrderedDict of ``bbox`` (where all results have boxes), ``keypoints`` and ``best_match`` in percent, and
        ``table``, the per-joint table.
    """
    dataset = read_json(annotations)
    if not all(0 < sigma < np.inf for sigma in sigmas):
        raise ConfigError(f"sigmas (--sigmas) are {' '.join(f'{s:g}' for s in sigmas)}; each must be a number above 0")
    skeleton = skeleton_from_category(keypoint_category(dataset, annotations), None, list(sigmas))
    truth = GroundTruth(dataset=dataset, num_joints=skeleton.num_joints, source=annotations)
    results = read_results(results_file, labels=truth.labels) if results_file else ground_truth_as_predictions(truth)
    for result in results:
        result["category_id"] = truth.category_id
    if max_people < 1:
        raise ConfigError(f"max_people (--max-people) is {max_people}; give 1 or more")
    truth.warn_of_cut(max_people, "max_people (--max-people)")
    scores, limit = OrderedDict(), {"max_people": max_people}
    has_boxes = all("bbox" in r for r in results)
    for iou_type in ("bbox", "keypoints") if has_boxes else ("keypoints",):
        scores[iou_type] = coco_figures(truth.dataset, results, iou_type, skeleton.sigmas, backend=backend, **limit)
    if has_boxes:
        scores["table"] = joint_errors(match_people(truth, results, **limit), skeleton.sigmas, skeleton.names)
    scores["best_match"] = best_match(truth, results, np.array(skeleton.sigmas), score_threshold=threshold, **limit)
    return scores


def format_scores(scores):
    """What :func:`score_results` gives, as text."""
    parts = [f"{name}:\n{create_small_table(scores[name])}" for name in ("bbox", "keypoints") if name in scores]
    if "table" in scores:
        parts.append(
            f"joints of people matched at a box IoU of 0.5 (% of sqrt(area)):\n{format_joint_errors(scores['table'])}"
        )
    best = tabulate([scores["best_match"]], headers="keys", tablefmt="pipe", floatfmt=".3f")
    return "\n\n".join([*parts, f"best match of each labelled person:\n{best}"])
