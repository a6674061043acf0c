"""People as ``supervision.KeyPoints`` and ``supervision.Detections``, whose annotators then draw them.

The keys of ``data`` that supervision and RF-DETR have too are theirs: ``covariance``, ``xyxy``, ``class_name``.
Coordinates stay as they are (origin at the corner of the first pixel), as in ``KeyPoints.from_detectron2``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from detectron2.structures import Instances

from ..errors import DataError, MissingPackageError, check_score
from ..structures.skeleton import Skeleton
from .arrays import PERSON, names_of, people_arrays
from .packages import optional_package

if TYPE_CHECKING:
    from supervision import Detections, KeyPoints

_REMEDY = "pip install 'rle-onestage[supervision]'"


def to_supervision(
    people: Instances, *, class_names: Sequence[str] = PERSON, least_presence: float = 0.5
) -> "KeyPoints":
    """People as supervision's key points.

        >>> key_points = to_supervision(predictor(image))
        >>> image = sv.VertexEllipseAreaAnnotator().annotate(image, key_points)

    Args:
        people: N of one image with ``pred_keypoints``; other fields may be absent.
        class_names: by ``pred_classes``.
        least_presence: joints less likely than this to be in the image are not ``visible``: supervision's annotators
            and boxes leave them out.

    Returns:
        ``KeyPoints`` with ``xy`` (N, K, 2) in pixels, ``keypoint_confidence`` (N, K), the expected OKS;
        ``detection_confidence`` (N,), ``class_id`` (N,), ``visible`` (N, K), None for people without presence. ``data``
        has ``class_name`` (N,) and, where the people have them, ``xyxy`` (N, 4), ``covariance`` (N, K, 2, 2) in square
        pixels, ``sigma`` (N, K, 2) in pixels, ``presence`` (N, K), ``visibility`` (N, K), ``tracker_id`` (N,),
        ``predicted`` (N,).

    Raises:
        MissingPackageError: supervision is not installed.
        DataError: the people have no joints, or a class has no name.
        ConfigError: ``least_presence`` is not in [0, 1].
    """
    check_score(least_presence, "least_presence")
    sv = _supervision()
    arrays = people_arrays(people)
    data = {
        "class_name": _names(arrays.classes, len(arrays.points), class_names),
        "xyxy": arrays.boxes,
        "covariance": arrays.covariances,
        "sigma": arrays.sigmas,
        "presence": arrays.presence,
        "visibility": arrays.visibility,
        "tracker_id": arrays.identities,
        "predicted": arrays.predicted,
    }
    return sv.KeyPoints(
        xy=arrays.points,
        class_id=arrays.classes,
        keypoint_confidence=arrays.expected_oks,
        detection_confidence=arrays.scores,
        visible=None if arrays.presence is None else arrays.presence >= least_presence,
        data=_present(data),
    )


def to_supervision_detections(people: Instances, *, class_names: Sequence[str] = PERSON) -> "Detections":
    """The boxes of people as supervision's detections, for its annotators of boxes, labels and traces.

    Args:
        people: N of one image with ``pred_boxes``.
        class_names: by ``pred_classes``.

    Returns:
        ``Detections`` with ``xyxy`` (N, 4) in pixels, ``confidence`` (N,), ``class_id`` (N,); of tracked people
        ``tracker_id`` (N,), and ``data`` has ``predicted`` (N,). They are in the order of :func:`to_supervision`.

    Raises:
        MissingPackageError: supervision is not installed.
        DataError: the people have no boxes, or a class has no name.
    """
    sv = _supervision()
    arrays = people_arrays(people)
    if arrays.boxes is None:
        raise DataError("people without pred_boxes have no boxes to convert; give what a Predictor gives")
    names = _names(arrays.classes, len(arrays.points), class_names)
    return sv.Detections(
        xyxy=arrays.boxes,
        confidence=arrays.scores,
        class_id=arrays.classes,
        tracker_id=arrays.identities,
        data=_present({"class_name": names, "predicted": arrays.predicted}),
    )


def supervision_edges(skeleton: Skeleton) -> list[tuple[int, int]]:
    """The limbs for ``supervision.EdgeAnnotator(edges=...)``.

    Args:
        skeleton: such as ``predictor.skeleton``.

    Returns:
        pairs of joint numbers from 1, as the annotator counts.

    Raises:
        DataError: there are no limbs; the annotator would take those of any skeleton with as many joints.
    """
    if not skeleton.limbs:
        raise DataError(
            f"the skeleton {skeleton.name!r} has no limbs, and EdgeAnnotator would take those of another one; do "
            "without it, or list the limbs as skeleton in the categories of the annotation file"
        )
    return [(a + 1, b + 1) for a, b in skeleton.limbs]


def _supervision() -> Any:
    """The module, of a version whose key points tell the confidence of a person from that of a joint."""
    sv = optional_package("supervision", _REMEDY)
    if not hasattr(sv, "VertexEllipseAreaAnnotator"):  # came with that
        raise MissingPackageError(f"supervision {sv.__version__} is too old; run {_REMEDY}")
    return sv


def _names(classes: np.ndarray | None, number: int, class_names: Sequence[str]) -> np.ndarray:
    """The names of the classes (N,), of text also where N is 0."""
    return np.array(names_of(classes, number, class_names), dtype=np.str_)


def _present(data: dict[str, Any]) -> dict[str, Any]:
    """The entries that are not None."""
    return {key: value for key, value in data.items() if value is not None}
