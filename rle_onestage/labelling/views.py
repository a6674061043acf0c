"""One image looked at several times: at several sizes and mirrored, with all detections in the image's pixels."""

import copy
from typing import NamedTuple

import numpy as np
from detectron2.structures import Instances

from ..data.transforms.augmentation import resize_image
from ..errors import ConfigError
from ..predictor import Predictor
from ..structures.covariance import correlation_of
from .options import LabelOptions

# No standard deviation counts as smaller, in pixels: joints are given as pixels, and a zero would outweigh everything.
LEAST_SIGMA = 0.05


class Detections(NamedTuple):
    """N people as one view has them, in the pixels of the image."""

    boxes: np.ndarray  # (N, 4) x0, y0, x1, y1
    joints: np.ndarray  # (N, K, 2)
    sigmas: np.ndarray  # (N, K, 2) standard deviations of x and y
    presence: np.ndarray  # (N, K) probability that the joint is in the image
    scores: np.ndarray  # (N,)
    areas: np.ndarray  # (N,) COCO areas, square pixels
    correlations: np.ndarray  # (N, K) of the errors in x and y

    def take(self, rows: list[int] | np.ndarray) -> "Detections":
        """The chosen rows."""
        return Detections(*(values[rows] for values in self))


def from_instances(people: Instances) -> Detections:
    """What a predictor gives for one image.

    Raises:
        ConfigError: the model reports no standard deviations.
    """
    needed = ("pred_keypoint_sigmas", "pred_keypoint_presence", "pred_areas")
    if not all(people.has(name) for name in needed):
        raise ConfigError("the model reports no sigma of its joints, so nothing says which are sure; use RLEOneStage")
    sigmas = people.pred_keypoint_sigmas.double().numpy()
    correlations = np.zeros(sigmas.shape[:2])
    if people.has("pred_keypoint_covariances"):
        correlations = correlation_of(people.pred_keypoint_covariances.double().numpy())
    return Detections(
        boxes=people.pred_boxes.tensor.double().numpy(),
        joints=people.pred_keypoints[..., :2].double().numpy(),
        sigmas=sigmas.clip(min=LEAST_SIGMA),
        presence=people.pred_keypoint_presence.double().numpy(),
        scores=people.scores.double().numpy(),
        areas=people.pred_areas.double().numpy().clip(min=1.0),
        correlations=correlations,
    )


def mirrored_back(detections: Detections, width: int, flip_index: list[int]) -> Detections:
    """Detections of the mirrored image as detections of the image.

    Args:
        detections: in the pixels of the mirrored image.
        width: of the image, pixels.
        flip_index: (K,) which joint each is in a mirror.
    """
    boxes, joints = detections.boxes.copy(), detections.joints[:, flip_index]
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    joints[..., 0] = width - joints[..., 0]
    return detections._replace(
        boxes=boxes,
        joints=joints,
        sigmas=detections.sigmas[:, flip_index],
        presence=detections.presence[:, flip_index],
        correlations=-detections.correlations[:, flip_index],
    )


class LongestSide:
    """Resizes images to a longest side.

    Args:
        size: pixels.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8."""
        factor = self.size / max(image.shape[:2])
        height, width = (max(1, int(side * factor + 0.5)) for side in image.shape[:2])
        return resize_image(image, height, width)


def predictors_at(predictor: Predictor, sizes: tuple[int, ...]) -> list[Predictor]:
    """The predictor once for each longest side; they share the model.

    Args:
        predictor: its own resize is not used.
        sizes: pixels.
    """
    out = []
    for size in sizes:
        other = copy.copy(predictor)
        other.resize = LongestSide(size)
        out.append(other)
    return out


def look(predictors: list, image: np.ndarray, flip_index: list[int], options: LabelOptions) -> list[Detections]:
    """The detections of each view.

    Args:
        predictors: of :func:`predictors_at`.
        image: (H, W, 3) uint8 BGR.
        flip_index: (K,) which joint each is in a mirror.
        options: whether to look at the mirrored image too.

    Returns:
        One :class:`Detections` a view: each size as it is, then mirrored.
    """
    views = []
    for predictor in predictors:
        if not options.mirror:
            views.append(from_instances(predictor(image)))
            continue
        straight, mirrored = predictor.batch([image, np.ascontiguousarray(image[:, ::-1])])
        views.append(from_instances(straight))
        views.append(mirrored_back(from_instances(mirrored), image.shape[1], flip_index))
    return views
