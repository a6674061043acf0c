"""A page of predictions beside labels, by the images that a model did best or worst on."""

import logging
import os

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..data.datasets import get_skeleton
from ..errors import ConfigError, DataError, check_score, counted
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.per_joint import ImageScore, worst_images
from ..evaluation.result_files import read_results
from ..evaluation.results import Result, by_image, instances_from_labels, instances_from_results
from ..structures import Skeleton
from ..utils.images import UnreadableImage, read_image
from ..video import io as media
from .pages import contact_sheet, side_by_side

logger = logging.getLogger(__name__)

ORDERS = ("worst", "best", "file")


def page_of_results(
    cfg: CfgNode,
    dataset_name: str,
    results_file: str,
    output: str,
    *,
    count: int = 12,
    order: str = "worst",
    columns: int = 2,
    threshold: float = 0.1,
) -> list[ImageScore]:
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
        The images on the page, in its order.

    Raises:
        DataError: nothing to draw: no labelled people, or no image that can be read.
        ConfigError: the threshold is no score, or there is no such order.
    """
    check_score(threshold, "the threshold (--confidence-threshold)")
    if order not in ORDERS:
        raise ConfigError(f"order (--order) is {order!r}; choose one of {', '.join(ORDERS)}")
    skeleton, metadata = get_skeleton(cfg, dataset_name), MetadataCatalog.get(dataset_name)
    truth = GroundTruth.of_dataset(dataset_name, skeleton.num_joints)
    results = read_results(results_file, labels=truth.labels, part=True)
    scores = worst_images(
        truth, results, skeleton.oks_sigmas, len(truth.images), score_threshold=threshold,
        max_people=cfg.TEST.MAX_PEOPLE,
    )  # fmt: skip
    scores = _in_order(scores, order, truth)
    groups, labels, pairs, shown = by_image(results), truth.by_image(), [], []
    for score in scores[:count]:
        people = groups.get(score.image_id, []), labels[score.image_id]
        pair = _pair(os.path.join(metadata.image_root, score.file_name), *people, skeleton, threshold)
        if pair is not None:
            pairs.append(pair)
            shown.append(score)
    if not pairs:
        raise DataError(
            f"{dataset_name} has no images with labelled people that can be read; check DETECTRON2_DATASETS"
        )
    numbers = [counted(s.people, "labelled person", "labelled people") for s in shown]
    captions = [f"{s.file_name}   mean OKS {100 * s.oks:.0f} %   {number}" for s, number in zip(shown, numbers)]
    media.make_folder(os.path.dirname(output))
    media.write_image(output, contact_sheet(pairs, columns, captions=captions, tile=(900, 320)))
    return shown


def _in_order(scores: list[ImageScore], order: str, truth: GroundTruth) -> list[ImageScore]:
    """Images, of which the worst come first, in one of the ORDERS."""
    if order == "file":
        place = {image_id: i for i, image_id in enumerate(truth.images)}
        return sorted(scores, key=lambda s: place[s.image_id])
    return scores[::-1] if order == "best" else scores


def _pair(
    path: str, results: list[Result], annotations: list[dict], skeleton: Skeleton, threshold: float
) -> np.ndarray | None:
    """Predictions beside labels of an image; None, with a warning, where it cannot be read."""
    try:
        image = read_image(path)
    except UnreadableImage as error:
        logger.warning("left out %s: %s", path, error.reason)
        return None
    predicted = instances_from_results(results, image.shape[:2], skeleton.num_joints)
    labelled = instances_from_labels(annotations, image.shape[:2], skeleton.num_joints)
    return side_by_side(image, predicted, labelled, skeleton, threshold=threshold)
