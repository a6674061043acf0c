"""A pinhole camera. World: metres, y up, ground at y = 0. Camera: x right, y down, z along the view (the depth)."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Square pixels, principal point in the middle; pixel coordinates start at the corner of the first pixel.

    ``rotation`` (3, 3) takes world directions to camera directions, ``position`` (3,) is in world metres, ``focal``
    in pixels.
    """

    rotation: np.ndarray
    position: np.ndarray
    focal: float
    width: int
    height: int

    @classmethod
    def looking(
        cls,
        *,
        position: np.ndarray | tuple[float, float, float],
        yaw: float,
        pitch: float,
        roll: float,
        fov: float,
        width: int,
        height: int,
    ) -> "Camera":
        """From angles in radians; yaw 0 looks along world +z, positive pitch looks down; ``fov`` is vertical."""
        forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(roll), np.sin(roll)
        rotation = np.stack([c * right + s * down, c * down - s * right, forward])
        focal = height / (2 * np.tan(fov / 2))
        return cls(rotation, np.asarray(position, float), float(focal), int(width), int(height))

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) to camera points (..., 3)."""
        return (np.asarray(points) - self.position) @ self.rotation.T

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) to pixels (..., 2) and depth (...)."""
        local = self.to_camera(points)
        depth = local[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        x = local[..., 0] / safe * self.focal + self.width / 2
        y = local[..., 1] / safe * self.focal + self.height / 2
        return np.stack([x, y], -1), depth

    def back_project(self, x: float, y: float, depth: float) -> np.ndarray:
        """The world point (3,) that is seen at pixel (x, y) at this depth."""
        local = np.array([(x - self.width / 2) / self.focal, (y - self.height / 2) / self.focal, 1.0]) * depth
        return local @ self.rotation + self.position

    def grid(self, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Normalised image coordinates of the sample centres: x (W * scale,) and y (H * scale,), float64."""
        x = ((np.arange(self.width * scale) + 0.5) / scale - self.width / 2) / self.focal
        y = ((np.arange(self.height * scale) + 0.5) / scale - self.height / 2) / self.focal
        return x, y

    def as_dict(self) -> dict[str, Any]:
        """For the annotation file: intrinsics and pose, rounded."""
        return {
            "focal": round(self.focal, 4),
            "principal_point": [self.width / 2, self.height / 2],
            "rotation": np.round(self.rotation, 6).tolist(),
            "position": np.round(self.position, 5).tolist(),
        }
