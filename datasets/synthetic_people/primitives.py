"""The solids that everything is made of: quadrics (ellipsoids, tapered capsules) and flat polygons.

A quadric lives in a local frame, ``p = centre + basis @ x``; in it an ellipsoid is ``|x|^2 = 1`` and a cone has its
axis along local z. Points outside of ``|clip . (x, 1)| < 1`` are cut away, so a tapered capsule is one clipped cone
and two ellipsoids.
"""

from dataclasses import dataclass, field

import numpy as np

NO_CUT = 1e3


@dataclass
class Quadrics:
    """A growing list of quadrics in world space; one person or one object writes into it.

    For shading each one has a frame of its own, ``(u, w, v) = frame_axes.T @ (p - frame_origin)`` in metres (u across,
    w to the front, v along), a material for ``v - slope * |u| <= cut`` and another beyond the cut.
    """

    centre: list = field(default_factory=list)
    basis: list = field(default_factory=list)
    form: list = field(default_factory=list)  # (a, az, bz, c): a (x^2 + y^2) + az z^2 + 2 bz z + c = 0
    ends: list = field(default_factory=list)  # (radius at 0, length, radius at length), for the bounding box
    clip: list = field(default_factory=list)  # (4,) linear form in local coordinates
    frame_axes: list = field(default_factory=list)
    frame_origin: list = field(default_factory=list)
    materials: list = field(default_factory=list)  # (below the cut, beyond the cut, cut, slope)
    owner: list = field(default_factory=list)

    def _add(
        self,
        centre: np.ndarray,
        basis: np.ndarray,
        form: tuple[float, float, float, float],
        ends: tuple[float, float, float],
        clip: tuple[float, float, float, float],
        frame: tuple[np.ndarray, np.ndarray],
        materials: tuple[int, int, float, float],
        owner: int,
    ) -> None:
        self.centre.append(centre)
        self.basis.append(basis)
        self.form.append(form)
        self.ends.append(ends)
        self.clip.append(clip)
        self.frame_origin.append(frame[0])
        self.frame_axes.append(frame[1])
        self.materials.append(materials)
        self.owner.append(owner)

    def ellipsoid(
        self,
        centre: np.ndarray,
        axes: np.ndarray,
        radii: np.ndarray,
        material: int | tuple[int, int, float, float],
        owner: int,
        *,
        frame: tuple[np.ndarray, np.ndarray] | None = None,
        clip: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    ) -> None:
        """Half-axes ``radii`` (3,) along the columns of ``axes`` (3, 3); ``clip`` keeps ``|clip . (x, 1)| < 1``."""
        material = material if isinstance(material, tuple) else (material, material, NO_CUT, 0.0)
        self._add(
            centre, axes * radii, (1.0, 1.0, 0.0, -1.0), (1.0, 0.0, 1.0), clip, frame or (centre, axes), material, owner
        )

    def cone(
        self,
        start: np.ndarray,
        end: np.ndarray,
        r0: float,
        r1: float,
        side: np.ndarray,
        material: int | tuple[int, int, float, float],
        owner: int,
        *,
        flat: float = 1.0,
        rounded: bool = True,
        frame: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """The side of a tapered capsule from ``start`` to ``end``; ``side`` is the direction of its wide axis.

        Its thickness across ``side`` is ``flat`` times that along it. ``rounded`` makes the side tangent to the
        spheres of ``r0`` and ``r1`` (to be drawn with :meth:`ellipsoid`); otherwise it is a plain frustum, open at
        its ends.
        """
        axis = end - start
        length = float(np.sqrt(axis @ axis))
        axis = axis / length
        wide = side - (side @ axis) * axis
        wide = wide / np.sqrt(wide @ wide)
        depth = np.array(
            [
                axis[1] * wide[2] - axis[2] * wide[1],
                axis[2] * wide[0] - axis[0] * wide[2],
                axis[0] * wide[1] - axis[1] * wide[0],
            ]
        )
        axes = np.stack([wide, depth, axis], 1)
        taper = r0 - r1
        slant = length**2 - taper**2 if rounded else length**2
        low, high = (r0 * taper / length, length + r1 * taper / length) if rounded else (0.0, length)
        clip = (0.0, 0.0, 2 / (high - low), -(high + low) / (high - low))
        form = (slant, -(taper**2), length * r0 * taper, -(length**2) * r0**2)
        material = material if isinstance(material, tuple) else (material, material, NO_CUT, 0.0)
        basis = axes * (1.0, flat, 1.0)
        self._add(start, basis, form, (r0, length, r1), clip, frame or (start, axes), material, owner)

    def __len__(self) -> int:
        return len(self.centre)


@dataclass
class Polygons:
    """Flat convex polygons in world space, with the same shading frames and materials as the quadrics."""

    corners: list = field(default_factory=list)
    normal: list = field(default_factory=list)
    frame_axes: list = field(default_factory=list)
    materials: list = field(default_factory=list)
    owner: list = field(default_factory=list)

    def polygon(self, corners: np.ndarray, material: int, owner: int) -> None:
        """Corners (n, 3) in order; u runs along the first edge, v across it."""
        u = corners[1] - corners[0]
        u = u / np.sqrt(u @ u)
        normal = np.cross(u, corners[2] - corners[1])
        normal = normal / np.sqrt(normal @ normal)
        self.corners.append(np.asarray(corners, float))
        self.normal.append(normal)
        self.frame_axes.append(np.stack([u, normal, np.cross(normal, u)], 1))
        self.materials.append((material, material, NO_CUT, 0.0))
        self.owner.append(owner)

    def box(self, centre: np.ndarray, half: np.ndarray, yaw: float, material: int, owner: int) -> None:
        """The five visible sides of a box that stands upright, turned by ``yaw``; half extents (3,)."""
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
        for axis, sign in ((0, 1), (0, -1), (2, 1), (2, -1), (1, 1)):
            corners = np.empty((4, 3))
            corners[:, axis] = sign
            corners[:, [k for k in range(3) if k != axis]] = signs
            self.polygon((corners * half) @ turn.T + centre, material, owner)

    def __len__(self) -> int:
        return len(self.corners)
