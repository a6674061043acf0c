"""``keypoints_3d`` of a COCO-format file: joints in millimetres, and what of them a network can see.

``keypoints_3d`` is a list of K triples (or a flat one of 3 K numbers) in millimetres: x right, y down, z along the
view. They may be in the camera's axes, or relative to any point: what counts is relative to the root, which is the
pelvis, or the middle of the hips (:func:`~rle_onestage.structures.root.place_of_root`). null and NaN stand for joints
without depth. The intrinsics are ``camera`` of the image, or ``camera`` of the file, which then holds for all images
(:func:`~rle_onestage.structures.root.read_camera`).

A network sees pixels. So depth is in pixels too: the joint's depth relative to the root, in millimetres, over the
millimetres that a pixel has at the root (root's depth over focal length). It scales with the image as x and y do, does
not change when the image is turned or mirrored, and needs no camera at test time. The millimetres of a pixel are a
second thing to learn, one number a person. Where a camera does not fit, or there is none, they are fitted to the
person's joints: the factor that best takes labelled pixels to millimetres in x and y.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...structures.root import Camera, place_of_root, read_camera, root_weights
from .arrays import CENTRE
from .json_files import Problems

# A camera fits where half of a person's labelled joints come within this share of the person's size in the image.
_FITS = 0.1
# Millimetres of a pixel that can be meant: from a hand's width before the camera to a person of one pixel.
_LEAST, _MOST = 1e-2, 1e4
_FARTHEST = 1e7  # millimetres


class SpaceLabels(NamedTuple):
    """Joints in space of A annotations with K joints; NaN for what is not known."""

    points: np.ndarray  # (A, K, 3) millimetres relative to the root, the axes of the camera
    depth: np.ndarray  # (A, K) depth relative to the root, in pixels of the image
    size: np.ndarray  # (A,) millimetres of a pixel at the root
    root: np.ndarray  # (A, 3) millimetres in the camera's axes; NaN unless the file has camera coordinates


def read_space(
    annotations: Sequence[dict],
    keypoints: np.ndarray,
    crowd: np.ndarray,
    names: Sequence[str],
    cameras: dict[Any, Any],
    problems: Problems,
) -> SpaceLabels | None:
    """Read ``keypoints_3d``; what cannot be used is counted, and costs the depth alone.

    Args:
        annotations: A of them, as in the file.
        keypoints: (A, K, 3) as in the file, pixel indices.
        crowd: (A,) bool, who teaches nothing.
        names: K joint names.
        cameras: image id -> entry ``camera``.
        problems: where it is counted.

    Returns:
        The labels; None where no annotation has any.
    """
    if not any(a.get("keypoints_3d") is not None for a in annotations):
        return None
    has_hips = root_weights(names)[1]
    known = {image: read_camera(entry) for image, entry in cameras.items()}
    points = np.full((len(annotations), len(names), 3), np.nan)
    depth, size = np.full(points.shape[:2], np.nan), np.full(len(annotations), np.nan)
    root = np.full((len(annotations), 3), np.nan)
    teaching = ~crowd & (keypoints[..., 2] > 0).any(1)
    for i, annotation in enumerate(annotations):
        if not teaching[i]:
            continue
        given = _given(annotation, len(names), problems)
        if given is None:
            continue
        origin = place_of_root(given, names)
        if not np.isfinite(origin).all():
            lacking = "the root (pelvis or hips)" if has_hips else "too many of the joints whose middle is the root"
            problems.add(f"annotations whose `keypoints_3d` lacks {lacking}, used without depth", annotation["id"])
            continue
        if not has_hips and not np.isfinite(given).all():
            problems.add("annotations whose root is the middle of the joints that have a place", annotation["id"])
        points[i] = given - origin
        size[i], in_camera = _pixel_size(given, origin, keypoints[i], known.get(annotation["image_id"]),
                                         annotation["id"], problems)  # fmt: skip
        depth[i] = points[i, :, 2] / size[i]
        if in_camera:
            root[i] = origin
    return SpaceLabels(points, depth, size, root)


def _given(annotation: dict, joints: int, problems: Problems) -> np.ndarray | None:
    """(K, 3) of one annotation, NaN for joints without depth; None where there is nothing to use."""
    value = annotation.get("keypoints_3d")
    if value is None or value == []:
        problems.add("annotations without `keypoints_3d` beside others that have it, used without depth",
                     annotation["id"])  # fmt: skip
        return None
    try:
        rows = [[np.nan] * 3 if row is None else row for row in value]
        numbers = np.array(rows, dtype=float).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.size != 3 * joints:
        problems.add(f"annotations whose `keypoints_3d` is not {joints} triples of numbers, used without depth",
                     annotation["id"])  # fmt: skip
        return None
    result = numbers.reshape(joints, 3)
    wrong = ~np.isfinite(result).all(1) | (np.abs(result) > _FARTHEST).any(1)
    result[wrong] = np.nan
    if wrong.any():
        problems.add("annotations with joints without a finite place in `keypoints_3d`, whose depth is left out",
                     annotation["id"])  # fmt: skip
    return None if wrong.all() else result


def _pixel_size(
    given: np.ndarray, root: np.ndarray, keypoints: np.ndarray, camera: Camera | None, name: Any, problems: Problems
) -> tuple[float, bool]:
    """Millimetres of a pixel at the root, NaN where they cannot be told; and whether it is the camera that tells."""
    labelled = (keypoints[:, 2] > 0) & np.isfinite(given).all(1)
    pixels = keypoints[:, :2] + CENTRE
    if camera is not None and labelled.any() and root[2] > 0 and (given[labelled, 2] > 0).all():
        error = np.linalg.norm(camera.project(given[labelled]) - pixels[labelled], axis=1)
        extent = np.linalg.norm(np.ptp(pixels[labelled], axis=0)) if labelled.sum() > 1 else 0.0
        if np.median(error) <= max(_FITS * extent, 2.0):
            return root[2] / camera.mean_focal, True
        problems.add(
            "annotations whose joints in space do not fall on their pixels through `camera`, which is not used for "
            "them (is it of another image size, or are they not in its axes?)", name,
        )  # fmt: skip
    fitted = _fitted(given[labelled, :2], pixels[labelled])
    if not _LEAST < fitted < _MOST:
        problems.add("annotations whose joints in space do not have the shape of those in the image, or too few are "
                     "labelled, used without depth", name)  # fmt: skip
        return np.nan, False
    if camera is None:
        problems.add("annotations in images without usable intrinsics (`camera`): the millimetres of a pixel are "
                     "fitted to their joints", name)  # fmt: skip
    return fitted, False


def _fitted(points: np.ndarray, pixels: np.ndarray) -> float:
    """The factor from pixels (n, 2) to millimetres (n, 2) of least squares; NaN for fewer than three joints."""
    if len(points) < 3:
        return float("nan")
    a, b = pixels - pixels.mean(0), points - points.mean(0)
    square, common = (a * a).sum(), (a * b).sum()
    # Of the variance in millimetres the pixels must explain a half: else these are not the same joints.
    if square <= 0 or common**2 < 0.5 * square * (b * b).sum():
        return float("nan")
    return float(common / square)
