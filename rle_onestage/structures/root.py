"""The root of a person, to which joints in space are relative; the camera; and joints in millimetres."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .skeleton import joint_key

_PELVIS = ("pelvis", "root")  # parts as :func:`~.skeleton.joint_key` gives them
# Share of the joints whose middle may stand for that of all.
ENOUGH = 0.75


def root_weights(names: Sequence[str]) -> tuple[np.ndarray, bool]:
    """Weights of the joints whose mean is a person's root.

    Args:
        names: K joint names.

    Returns:
        (weights (K,) with the sum 1, whether it is a hip root): the pelvis, else the middle of the two hips; without
        either the middle of all joints, and False.
    """
    pelvis, hips = _root_joints(tuple(names))
    own = pelvis or hips
    weights = np.zeros(len(names))
    weights[own if own else slice(None)] = 1
    return weights / max(weights.sum(), 1), bool(own)


def place_of_root(points: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Where the root of a person is whose joints are not all known.

    A pelvis without a place is taken to be in the middle of the hips. One hip says little of the other, so it is no
    root. Where the root is the middle of all joints, that of those with a place stands for it, if they are
    :data:`ENOUGH` of all: it is off by the share of the missing joints times their distance from the others.

    Args:
        points: (K, 3), NaN for joints without a place.
        names: K joint names.

    Returns:
        (3,), NaN where it is not known.
    """
    pelvis, hips = _root_joints(tuple(names))
    known = np.isfinite(points).all(1)
    for joints in (pelvis, hips):
        if joints and known[joints].all():
            return points[joints].mean(0)
    if pelvis or hips or not len(points) or known.mean() < ENOUGH:
        return np.full(3, np.nan)
    return points[known].mean(0)


@functools.cache
def _root_joints(names: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Places of the pelvis, and of both hips; none where there is none, and where there are not two."""
    keys = [joint_key(name) for name in names]
    pelvis = [i for i, (part, side) in enumerate(keys) if part in _PELVIS and not side]
    hips = [i for i, (part, side) in enumerate(keys) if part == "hip" and side]
    return pelvis, hips if len(hips) == 2 else []


class Camera(NamedTuple):
    """A pinhole camera; pixels count from the corner of the first pixel."""

    focal: tuple[float, float]  # x, y, in pixels
    principal_point: tuple[float, float]  # x, y, in pixels

    @property
    def mean_focal(self) -> float:
        """One focal length for lengths in any direction."""
        return float(np.sqrt(self.focal[0] * self.focal[1]))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in the camera's axes to pixels (..., 2)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return points[..., :2] / points[..., 2:] * np.array(self.focal) + np.array(self.principal_point)


def read_camera(entry: Any) -> Camera | None:
    """The intrinsics of an entry ``camera`` of an image, a file, or an input dict of the model.

    Args:
        entry: ``{"focal": f or [fx, fy], "principal_point": [cx, cy]}``; Human3.6M's ``{"f": ..., "c": ...}``; a matrix
            ``{"intrinsics": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]}``; or a :class:`Camera`.

    Returns:
        The camera; None for what has no such numbers, or none that are possible.
    """
    if isinstance(entry, Camera):
        return entry
    if not isinstance(entry, dict):
        return None
    matrix = entry.get("intrinsics", entry.get("K"))
    try:
        if matrix is not None:
            k = np.asarray(matrix, float).reshape(3, 3)
            focal, centre = k[[0, 1], [0, 1]], k[:2, 2]
        else:
            focal = np.broadcast_to(np.asarray(entry.get("focal", entry.get("f")), float), (2,))
            centre = np.asarray(entry.get("principal_point", entry.get("c")), float).reshape(2)
    except (TypeError, ValueError, OverflowError):
        return None
    if not (np.isfinite(focal).all() and np.isfinite(centre).all() and (focal > 0).all() and (focal < 1e7).all()):
        return None
    return Camera((float(focal[0]), float(focal[1])), (float(centre[0]), float(centre[1])))
