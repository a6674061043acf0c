"""Predictions in COCO's result format, and back; files of any program are read in :mod:`.result_files`."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from ..errors import MediaError
from ..structures.covariance import packed, unpacked
from ..utils.earlier_files import write_keeping_earlier
from ..utils.output_files import write_bytes

Result = dict[str, Any]  # one detection in COCO's format
# Detectron2 adds 0.5 to keypoints on loading (a pixel index becomes the pixel's centre); results take it off again.
PIXEL_CENTRE = 0.5
# Of pixels and probabilities in results: far below what can be seen, and half the size of the file. Scores stay exact,
# because rounding would tie them. Of square pixels, as exact as sigmas are.
DECIMALS = 4
SQUARE_DECIMALS = 6


def instances_to_coco(instances: Instances, image_id: Any, category_id: int | str = 1) -> list[Result]:
    """Instances of one image to COCO results.

    Args:
        instances: with ``pred_boxes``, ``scores`` and, where the model has them, ``pred_keypoints`` (N, K, 3),
            ``pred_keypoint_sigmas`` (N, K, 2), ``pred_keypoint_covariances`` (N, K, 2, 2),
            ``pred_keypoint_presence`` (N, K), ``pred_keypoint_visibility`` (N, K), ``pred_score_factors`` (N, 3),
            ``pred_areas`` (N,), ``pred_keypoints_3d`` (N, K, 3), ``pred_keypoint_3d_sigmas`` (N, K, 3),
            ``pred_roots_3d`` (N, 3) and ``pred_pixel_sizes`` (N,); pixels of the original image, millimetres.
        image_id: id in the annotation file.
        category_id: the person's id in the annotation file.

    Returns:
        N dicts of ``image_id, category_id, bbox (x, y, w, h), score, keypoints (3K: x, y, expected OKS),
        keypoint_sigmas (2K, pixels), keypoint_covariances (3K: xx, xy, yy, square pixels), keypoint_presence (K),
        keypoint_visibility (K), score_factors (3: score, quality, expected OKS), person_area (square pixels),
        keypoints_3d and keypoint_3d_sigmas (3K, millimetres relative to the root), root_3d (3, millimetres in the
        camera's axes), pixel_size (millimetres of a pixel at the root)``;
        keypoints are pixel indices, as in COCO's files.
    """
    if len(instances) == 0:
        return []
    instances = instances.to(torch.device("cpu"))
    boxes = instances.pred_boxes.tensor.double().numpy().copy()
    boxes[:, 2:] -= boxes[:, :2]
    results = [
        {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}
        for box, score in zip(boxes.round(DECIMALS).tolist(), instances.scores.double().tolist())
    ]
    if instances.has("pred_keypoints"):
        keypoints = instances.pred_keypoints.double().numpy().copy()
        keypoints[..., :2] -= PIXEL_CENTRE
        _attach(results, "keypoints", keypoints)
    if instances.has("pred_keypoint_sigmas"):
        _attach(results, "keypoint_sigmas", instances.pred_keypoint_sigmas.double().numpy())
    if instances.has("pred_keypoint_covariances"):
        numbers = packed(instances.pred_keypoint_covariances.double().numpy())
        _attach(results, "keypoint_covariances", numbers, SQUARE_DECIMALS)
    if instances.has("pred_keypoint_presence"):
        _attach(results, "keypoint_presence", instances.pred_keypoint_presence.double().numpy())
    if instances.has("pred_keypoint_visibility"):
        _attach(results, "keypoint_visibility", instances.pred_keypoint_visibility.double().numpy())
    if instances.has("pred_score_factors"):
        for result, row in zip(results, instances.pred_score_factors.double().tolist()):
            result["score_factors"] = row
    if instances.has("pred_areas"):
        for result, area in zip(results, instances.pred_areas.double().tolist()):
            result["person_area"] = round(area, DECIMALS)
    for field, key in (
        ("pred_keypoints_3d", "keypoints_3d"), ("pred_keypoint_3d_sigmas", "keypoint_3d_sigmas"),
        ("pred_roots_3d", "root_3d"),
    ):  # fmt: skip
        if instances.has(field):
            _attach(results, key, instances.get(field).double().numpy(), 2)  # hundredths of a millimetre
    if instances.has("pred_pixel_sizes"):
        for result, size in zip(results, instances.pred_pixel_sizes.double().tolist()):
            result["pixel_size"] = round(size, DECIMALS)
    return results


def _attach(results: list[Result], key: str, values: np.ndarray, decimals: int = DECIMALS) -> None:
    """Put a rounded row of values (N, ...) into each of N results."""
    for result, row in zip(results, values.reshape(len(results), -1).round(decimals).tolist()):
        result[key] = row


def keypoints_array(results: Sequence[Result], num_joints: int) -> np.ndarray:
    """Keypoints of results.

    Args:
        results: N COCO results.
        num_joints: K.

    Returns:
        (N, K, 3) in the file's coordinates.
    """
    return np.array([r["keypoints"] for r in results], dtype=float).reshape(-1, num_joints, 3)


def boxes_array(results: Sequence[Result]) -> np.ndarray:
    """Boxes of results.

    Args:
        results: N COCO results with boxes.

    Returns:
        (N, 4) x0, y0, x1, y1, in the file's coordinates.
    """
    boxes = np.array([r["bbox"] for r in results], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def extent(result: Result) -> list[float]:
    """The box round all joints of a result.

    Args:
        result: with ``keypoints``.

    Returns:
        x, y, width, height in the file's coordinates.
    """
    x, y = result["keypoints"][0::3], result["keypoints"][1::3]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def sure_results(results: Iterable[Result]) -> list[Result]:
    """The results that have a joint of a confidence above 0; the code of some benchmarks leaves out the others.

    Args:
        results: COCO results.
    """
    return [result for result in results if any(value > 0 for value in result["keypoints"][2::3])]


def by_image(results: Iterable[Result]) -> dict[Any, list[Result]]:
    """Results grouped by their image.

    Args:
        results: COCO results.

    Returns:
        Image id -> its results, best score first.
    """
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(result["image_id"], []).append(result)
    return {key: sorted(group, key=lambda r: -r["score"]) for key, group in groups.items()}


def write_json(data: Any, path: str, *, keep_earlier: bool = False) -> None:
    """Write JSON whole or not at all, or through a device or pipe; NaN and infinity, which JSON lacks, become null.

    Args:
        data: what to write.
        path: of the file; its folder is made.
        keep_earlier: keep a file of another content that has this name, see :mod:`rle_onestage.utils.earlier_files`.

    Raises:
        MediaError: the folder cannot be made or written.
    """
    content = json.dumps(without_nan(data), allow_nan=False).encode()
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        (write_keeping_earlier if keep_earlier else write_bytes)(path, content)
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another output") from error


def without_nan(value: Any) -> Any:
    """A value of dicts, lists and numbers with NaN and infinity, which JSON lacks, made None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def instances_from_results(results: Sequence[Result], size: tuple[int, int], num_joints: int) -> Instances:
    """COCO results of one image as ``Instances``, to be drawn.

    Args:
        results: N COCO results; one without box gets the extent of its joints.
        size: height and width of the image.
        num_joints: K.
    """
    out = Instances(tuple(size))
    boxes = torch.tensor([r.get("bbox") or extent(r) for r in results], dtype=torch.float64).reshape(-1, 4)
    out.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
    out.scores = torch.tensor([r["score"] for r in results], dtype=torch.float64)
    keypoints = torch.tensor([r["keypoints"] for r in results], dtype=torch.float64).reshape(-1, num_joints, 3)
    out.pred_keypoints = keypoints + torch.tensor([PIXEL_CENTRE, PIXEL_CENTRE, 0.0])
    one = (-1, num_joints)
    for key, shape in (("keypoint_sigmas", (*one, 2)), ("keypoint_presence", one), ("keypoint_visibility", one)):
        if results and all(key in r for r in results):
            out.set(f"pred_{key}", torch.tensor([r[key] for r in results], dtype=torch.float64).reshape(shape))
    if results and all("keypoint_covariances" in r for r in results):
        numbers = np.array([r["keypoint_covariances"] for r in results], dtype=float).reshape(-1, num_joints, 3)
        out.pred_keypoint_covariances = torch.from_numpy(unpacked(numbers))
    return out


def instances_from_labels(annotations: Sequence[dict[str, Any]], size: tuple[int, int], num_joints: int) -> Instances:
    """COCO annotations of one image as ``Instances``, to be drawn: visible joints filled, hidden ones hollow.

    Args:
        annotations: dicts with ``bbox`` (x, y, w, h) and ``keypoints`` (3K), in the file's coordinates.
        size: height and width of the image.
        num_joints: K.
    """
    out = instances_from_results([{**a, "score": 1.0} for a in annotations], size, num_joints)
    visibility = out.pred_keypoints[..., 2]
    out.pred_keypoint_presence = (visibility > 0).double()
    keypoints = out.pred_keypoints.clone()
    keypoints[..., 2] = (visibility - 1).clamp(min=0)
    out.pred_keypoints = keypoints
    return out
