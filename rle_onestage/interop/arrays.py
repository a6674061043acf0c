"""The fields of ``Instances`` as NumPy arrays, None where there is no such field."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances

from ..errors import DataError, counted
from ..structures.covariance import covariance_of

PERSON = ("person",)


class PeopleArrays(NamedTuple):
    """N people of one image, in its pixels."""

    size: tuple[int, int]  # height, width
    boxes: np.ndarray | None  # (N, 4) x0, y0, x1, y1
    scores: np.ndarray | None  # (N,)
    classes: np.ndarray | None  # (N,) int
    points: np.ndarray  # (N, K, 2)
    expected_oks: np.ndarray  # (N, K)
    sigmas: np.ndarray | None  # (N, K, 2) pixels
    covariances: np.ndarray | None  # (N, K, 2, 2) square pixels
    presence: np.ndarray | None  # (N, K)
    visibility: np.ndarray | None  # (N, K)
    identities: np.ndarray | None  # (N,) int
    predicted: np.ndarray | None  # (N,) bool


def people_arrays(people: Any) -> PeopleArrays:
    """The fields of people.

    Args:
        people: ``Instances`` of one image, of any device: those of a ``Predictor`` or ``PoseTracker``, or of another
            keypoint model of Detectron2. Where there are sigmas without covariances, these are upright.

    Returns:
        float32, as supervision has it; classes and identities int64. They are copies: to change them changes no people.

    Raises:
        DataError: not ``Instances``, or without ``pred_keypoints``.
    """
    if not isinstance(people, Instances):
        known = isinstance(people, dict) and "instances" in people
        remedy = "give outputs['instances']" if known else "give what a Predictor gives for one image"
        raise DataError(f"people must be Instances, not {type(people).__name__}; {remedy}")
    if not people.has("pred_keypoints"):
        raise DataError("people without pred_keypoints have no joints to convert; give what a Predictor gives")
    keypoints = _numpy(people.pred_keypoints)
    height, width = people.image_size
    return PeopleArrays(
        size=(int(height), int(width)),
        boxes=_numpy(people.pred_boxes.tensor) if people.has("pred_boxes") else None,
        scores=_array(people, "scores"),
        classes=_array(people, "pred_classes", torch.int64),
        points=keypoints[..., :2],
        expected_oks=keypoints[..., 2],
        sigmas=_array(people, "pred_keypoint_sigmas"),
        covariances=_covariances(people),
        presence=_array(people, "pred_keypoint_presence"),
        visibility=_array(people, "pred_keypoint_visibility"),
        identities=_array(people, "ID", torch.int64),
        predicted=_array(people, "predicted", torch.bool),
    )


def _numpy(values: torch.Tensor, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """A copy of a tensor as an array."""
    return values.detach().to("cpu", dtype, copy=True).numpy()


def _array(people: Instances, name: str, dtype: torch.dtype = torch.float32) -> np.ndarray | None:
    """A copy of a field as an array."""
    return _numpy(people.get(name), dtype) if people.has(name) else None


def _covariances(people: Instances) -> np.ndarray | None:
    """(N, K, 2, 2), upright where there are sigmas alone; None without either."""
    if people.has("pred_keypoint_covariances") or not people.has("pred_keypoint_sigmas"):
        return _array(people, "pred_keypoint_covariances")
    sigmas = people.pred_keypoint_sigmas.detach().float().cpu()
    return covariance_of(sigmas, torch.zeros_like(sigmas[..., 0])).numpy()


def names_of(classes: np.ndarray | None, number: int, class_names: Sequence[str]) -> list[str]:
    """The name of each one's class.

    Args:
        classes: (N,) indices, or None: all are of the first class.
        number: N.
        class_names: by index.

    Returns:
        N names.

    Raises:
        DataError: a class has no name, or ``class_names`` is one text.
    """
    if isinstance(class_names, str):
        raise DataError(f"class_names is the text {class_names!r}; give a list of names, such as [{class_names!r}]")
    indices = [0] * number if classes is None else classes.tolist()
    nameless = next((index for index in indices if not 0 <= index < len(class_names)), None)
    if nameless is not None:
        raise DataError(
            f"class_names has {counted(len(class_names), 'name')}, but one of the people has the class {nameless}; "
            "give a name for every class of the model"
        )
    return [class_names[index] for index in indices]
