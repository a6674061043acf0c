"""Precision and recall by the threshold of the score, at an OKS of 0.5, for any choice of the images."""

from typing import Any

import numpy as np

from rle_onestage.evaluation.operating import Curve

from .matching import Matching


def curve(matching: Matching, weights: np.ndarray | None = None) -> Curve:
    """The curve of a model on a set.

    Args:
        matching: from :func:`~.matching.match`. Detections of crowds and of people without joints do not count.
        weights: (I,) how often each image counts; None: once.
    """
    matches = matching.areas["all"]
    weights = np.ones(len(matches.people)) if weights is None else np.asarray(weights, dtype=float)
    weight = weights[matches.image]
    right, wrong = (part[0] * weight for part in (matches.right, matches.wrong))
    return Curve.of(matches.score, right, wrong, float(weights @ matches.people))


def images_with_people(results: list[dict], image_ids: dict[int, dict[str, Any]] | list[int], threshold: float) -> dict:
    """How many images have a detection of at least that score; to be asked of images without people.

    Args:
        results: COCO results.
        image_ids: of all images.
        threshold: lowest score.

    Returns:
        dict of ``images``, ``with_people``, ``share`` in percent, and ``highest``, the ids and scores of the ten
        images with the highest score, so that they can be looked at.
    """
    highest = {image_id: 0.0 for image_id in image_ids}
    for result in results:
        if result["image_id"] in highest:
            highest[result["image_id"]] = max(highest[result["image_id"]], result["score"])
    count = sum(score >= threshold for score in highest.values())
    top = sorted(highest.items(), key=lambda pair: -pair[1])[:10]
    share = 100 * count / len(highest) if highest else float("nan")
    return {"images": len(highest), "with_people": count, "share": share, "highest": top}
