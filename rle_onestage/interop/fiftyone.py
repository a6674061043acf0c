"""People as labels of FiftyOne, which has coordinates relative to the image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from detectron2.structures import Instances

from ..errors import DataError, check_score
from ..structures.covariance import packed
from ..structures.skeleton import Skeleton
from .arrays import PERSON, PeopleArrays, names_of, people_arrays
from .packages import optional_package

if TYPE_CHECKING:
    from fiftyone import Detections, Keypoints, KeypointSkeleton

# No extra of ours: it brings opencv-python-headless, which must not stand beside opencv-python.
_REMEDY = "pip install fiftyone, in an environment without opencv-python"


class FiftyOneLabels(NamedTuple):
    """The people of one image, for two fields of a sample.

    Attributes:
        keypoints: ``fiftyone.Keypoints``.
        detections: ``fiftyone.Detections``: the boxes, in the same order; None for people without boxes.
    """

    keypoints: "Keypoints"
    detections: "Detections | None"


def to_fiftyone(
    people: Instances, *, class_names: Sequence[str] = PERSON, least_presence: float = 0.5
) -> FiftyOneLabels:
    """People as FiftyOne's labels.

        >>> sample = fo.Sample(filepath="a.jpg")
        >>> sample["people"], sample["boxes"] = to_fiftyone(predictor(image))

    Args:
        people: N of one image with ``pred_keypoints``; other fields may be absent.
        class_names: by ``pred_classes``.
        least_presence: joints less likely than this to be in the image become NaN, which is how FiftyOne has missing
            ones; 0 keeps all.

    Returns:
        One ``Keypoint`` and one ``Detection`` a person. Both have ``label`` and, where the people have them, ``index``
        (the identity of a tracked person) and ``predicted``. A ``Keypoint`` has ``points`` and ``confidence``, the
        expected OKS; ``score``; and lists with an entry a joint that FiftyOne can filter by: ``sigma_x`` and
        ``sigma_y`` in pixels of the image, ``covariance`` (xx, xy, yy) in square pixels, ``presence`` and
        ``visibility``.

    Raises:
        MissingPackageError: FiftyOne is not installed.
        DataError: the people have no joints, a class has no name, or the image has no size.
        ConfigError: ``least_presence`` is not in [0, 1].
    """
    check_score(least_presence, "least_presence")
    fo = optional_package("fiftyone", _REMEDY)
    arrays = people_arrays(people)
    if 0 in arrays.size:
        raise DataError(f"image_size of the people is {arrays.size}; give the height and width of their image")
    common = _common(arrays, class_names)
    joints = _joints(arrays, least_presence)
    keypoints = [fo.Keypoint(**_row(common, i), **_row(joints, i)) for i in range(len(arrays.points))]
    if arrays.boxes is None:
        return FiftyOneLabels(fo.Keypoints(keypoints=keypoints), None)
    boxes = {"bounding_box": _relative_boxes(arrays.boxes, arrays.size), "confidence": _listed(arrays.scores)}
    detections = [fo.Detection(**_row(common, i), **_row(boxes, i)) for i in range(len(arrays.points))]
    return FiftyOneLabels(fo.Keypoints(keypoints=keypoints), fo.Detections(detections=detections))


def fiftyone_skeleton(skeleton: Skeleton) -> "KeypointSkeleton":
    """The joints and limbs for ``dataset.default_skeleton``.

    Args:
        skeleton: such as ``predictor.skeleton``.

    Returns:
        ``fiftyone.KeypointSkeleton``, with joint numbers from 0.

    Raises:
        MissingPackageError: FiftyOne is not installed.
    """
    fo = optional_package("fiftyone", _REMEDY)
    return fo.KeypointSkeleton(labels=list(skeleton.names), edges=[list(limb) for limb in skeleton.limbs])


def _common(arrays: PeopleArrays, class_names: Sequence[str]) -> dict[str, list | None]:
    """What both labels of a person have, N entries each."""
    names = names_of(arrays.classes, len(arrays.points), class_names)
    return {"label": names, "index": _listed(arrays.identities), "predicted": _listed(arrays.predicted)}


def _joints(arrays: PeopleArrays, least_presence: float) -> dict[str, list | None]:
    """What the joints of a person have, N entries each."""
    height, width = arrays.size
    points = arrays.points.astype(float) / (width, height)
    if arrays.presence is not None:
        points[~(arrays.presence >= least_presence)] = np.nan
    sigmas = (None, None) if arrays.sigmas is None else np.moveaxis(arrays.sigmas, -1, 0)
    return {
        "points": points.tolist(),
        "confidence": _listed(arrays.expected_oks),
        "score": _listed(arrays.scores),
        "sigma_x": _listed(sigmas[0]),
        "sigma_y": _listed(sigmas[1]),
        "covariance": None if arrays.covariances is None else packed(arrays.covariances).tolist(),
        "presence": _listed(arrays.presence),
        "visibility": _listed(arrays.visibility),
    }


def _relative_boxes(boxes: np.ndarray, size: tuple[int, int]) -> list[list[float]]:
    """Boxes (N, 4) as x, y, width, height in parts of the image."""
    height, width = size
    relative = boxes.astype(float) / (width, height, width, height)
    relative[:, 2:] -= relative[:, :2]
    return relative.tolist()


def _listed(values: np.ndarray | None) -> list | None:
    return None if values is None else values.tolist()


def _row(columns: dict[str, list | None], index: int) -> dict[str, Any]:
    """One person's entry of each column that there is."""
    return {key: column[index] for key, column in columns.items() if column is not None}
