"""CrowdPose's scores, as its API computes them (Li et al., CVPR 2019; https://github.com/Jeff-sjtu/CrowdPose).

- The area of a person is 0.53 of the box, whatever the file says.
- A person counts where ``num_keypoints`` of the file is above 0. It counts the visible joints alone, so somebody of
  whom all joints are hidden is ignored.
- A result without a joint of a confidence above 0 is left out.
- AP is also had for images that are easy, medium and hard: whose ``crowdIndex`` is below 0.2, below 0.8, and above.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

from ...data.coco.json_files import is_number
from ...structures.boxes import AREA_OF_BOX
from ..ground_truth import GroundTruth
from ..metrics import coco_metrics
from ..results import Result, sure_results

logger = logging.getLogger(__name__)

_METRICS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
# Name of the metric -> lowest crowdIndex, and the one above all.
LEVELS = {"APeasy": (float("-inf"), 0.2), "APmedium": (0.2, 0.8), "APhard": (0.8, float("inf"))}
CROWDPOSE_METRICS = (*_METRICS, *LEVELS)


def crowdpose_truth(truth: GroundTruth) -> GroundTruth:
    """Labels with the areas and the counts of joints that CrowdPose's API takes.

    Args:
        truth: of a file in CrowdPose's layout.
    """
    annotations = []
    for a in truth.annotations:
        stated = a.get("stated_keypoints")
        number = stated if type(stated) is int else a["num_keypoints"]
        annotations.append({**a, "area": AREA_OF_BOX * a["bbox"][2] * a["bbox"][3], "num_keypoints": number})
    return truth.changed(annotations)


def crowdpose_metrics(
    truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int, backend: str
) -> OrderedDict[str, OrderedDict[str, float]]:
    """CrowdPose's metrics; see :class:`~.Metrics`.

    Args:
        truth: of :func:`crowdpose_truth`.
        results: COCO results.
        oks_sigmas: (14,) OKS sigmas.
        max_people: results an image that count.
        backend: see :func:`~.metrics.coco_metrics`.
    """
    results = sure_results(results)
    whole = coco_metrics(truth.dataset, results, "keypoints", oks_sigmas, max_people=max_people, backend=backend)
    metrics = OrderedDict((name, whole[name]) for name in _METRICS)
    indices = {i: image["crowdIndex"] for i, image in truth.images.items() if is_number(image.get("crowdIndex"))}
    if len(indices) < len(truth.images):
        logger.warning(
            "%s: %d of %d images have no number `crowdIndex`, and count neither as easy nor as medium or hard; "
            "CrowdPose's own files have one for each",
            truth.source, len(truth.images) - len(indices), len(truth.images),
        )  # fmt: skip
    for name, (low, high) in LEVELS.items():
        part = truth.subset(i for i, index in indices.items() if low <= index < high)
        found = [result for result in results if result["image_id"] in part.images]
        scores = coco_metrics(part.dataset, found, "keypoints", oks_sigmas, max_people=max_people, backend=backend)
        metrics[name] = scores["AP"]
    return OrderedDict(keypoints=metrics)
