"""Exact ray casting of quadrics and polygons into a z-buffer, one primitive at a time inside its own bounding box.

A ray is ``p = t d`` with ``d = (X, Y, 1)`` in normalised image coordinates, so t is the depth. A quadric
``p.A p + 2 b.p + c = 0`` becomes ``t^2 d.A d + 2 t b.d + c = 0``; the ray enters it at ``t = c / (sqrt(disc) - b.d)``
with ``disc = d.(b b^T - c A) d``, a polynomial of second degree in X and Y that two small matrix products evaluate on
a grid.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from synthetic_people.camera import Camera
    from synthetic_people.primitives import Polygons, Quadrics


NEAR = 0.15


@dataclass
class Frame:
    """What the camera sees at ``scale`` samples per pixel and side: depth (H, W) float32 (inf where nothing is) and
    the index of the primitive (H, W) int32 (-1 where nothing is). ``table`` holds a row per primitive for shading,
    ``owner`` who owns it."""

    depth: np.ndarray
    index: np.ndarray
    x: np.ndarray
    y: np.ndarray
    table: list
    materials: list
    owner: list
    scale: int

    @classmethod
    def empty(cls, camera: "Camera", scale: int) -> "Frame":
        """Nothing in view yet."""
        x, y = camera.grid(scale)
        shape = (len(y), len(x))
        return cls(np.full(shape, np.inf, np.float32), np.full(shape, -1, np.int32), x, y, [], [], [], scale)

    @property
    def count(self) -> int:
        """Number of primitives so far."""
        return sum(len(rows) for rows in self.table)

    def owner_of(self, index: np.ndarray) -> np.ndarray:
        """Owner of primitives by their number, -1 for the background; any shape."""
        owner = np.concatenate([*(np.asarray(o, np.int32) for o in self.owner), [-1]]).astype(np.int32)
        return owner[index]


@dataclass
class Cover:
    """Where one person would be seen if nothing else were there: (H, W) bool, the box (x0, y0, x1, y1) outside of
    which it is False, and the range of the numbers of the person's primitives."""

    mask: np.ndarray
    box: tuple = (0, 0, 0, 0)
    numbers: tuple = (0, 0)


def camera_forms(camera: "Camera", quadrics: "Quadrics") -> tuple[np.ndarray, ...]:
    """Quadrics in camera space: A (n, 3, 3), b (n, 3), c (n,), clip direction and offset, bounds (n, 4) in X and Y,
    nearest depth."""
    centre = camera.to_camera(np.array(quadrics.centre))
    basis = camera.rotation @ np.array(quadrics.basis)
    inverse = np.linalg.inv(basis)
    origin = -(inverse @ centre[:, :, None])[:, :, 0]
    form = np.array(quadrics.form)
    diagonal = np.stack([form[:, 0], form[:, 0], form[:, 1]], 1)
    linear = np.zeros_like(origin)
    linear[:, 2] = form[:, 2]
    a = np.swapaxes(inverse, 1, 2) @ (diagonal[:, :, None] * inverse)
    b = (np.swapaxes(inverse, 1, 2) @ (diagonal * origin + linear)[:, :, None])[:, :, 0]
    c = (diagonal * origin**2).sum(1) + 2 * (linear * origin).sum(1) + form[:, 3]
    clip = np.array(quadrics.clip)
    clip_direction = (clip[:, None, :3] @ inverse)[:, 0]
    clip_offset = (clip[:, :3] * origin).sum(1) + clip[:, 3]
    scale = 1 / np.abs(a).max((1, 2))
    forms = a * scale[:, None, None], b * scale[:, None], c * scale
    ends = np.array(quadrics.ends)
    return (*forms, clip_direction, clip_offset, *bounds(centre, basis, ends))


def bounds(centre: np.ndarray, basis: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounding boxes (x0, y0, x1, y1) of the perspective images of ellipsoids and of pairs of end ellipsoids, by the
    dual conic."""
    r0, length, r1 = ends.T
    middle = np.concatenate([centre, centre + basis[:, :, 2] * length[:, None]])
    shape = basis @ np.swapaxes(basis, 1, 2)
    shape = np.concatenate([shape * r0[:, None, None] ** 2, shape * r1[:, None, None] ** 2])
    dual = shape - middle[:, :, None] * middle[:, None, :]
    behind = dual[:, 2, 2] >= 0
    denominator = np.where(behind, -1.0, dual[:, 2, 2])
    boxes = []
    for k in (0, 1):
        root = np.sqrt(np.maximum(dual[:, k, 2] ** 2 - dual[:, k, k] * denominator, 0))
        boxes.append((dual[:, k, 2] + root) / denominator)
        boxes.append((dual[:, k, 2] - root) / denominator)
    low_x, high_x, low_y, high_y = boxes
    n = len(centre)
    nearest = middle[:, 2] - np.sqrt(shape[:, 2, 2])
    box = np.stack(
        [
            np.minimum(low_x[:n], low_x[n:]),
            np.minimum(low_y[:n], low_y[n:]),
            np.maximum(high_x[:n], high_x[n:]),
            np.maximum(high_y[:n], high_y[n:]),
        ],
        1,
    )
    return box, np.minimum(nearest[:n], nearest[n:])


def draw_quadrics(frame: "Frame", camera: "Camera", quadrics: "Quadrics", cover: "Cover | None" = None) -> None:
    """Draw all quadrics; a :class:`Cover` is filled in wherever one of them would be seen if nothing else were
    there."""
    if not len(quadrics):
        return
    a, b, c, clip_direction, clip_offset, box, nearest = camera_forms(camera, quadrics)
    first = frame.count
    frame.table.append(shading_rows(camera, a, b, np.array(quadrics.frame_axes), np.array(quadrics.frame_origin)))
    frame.materials.append(np.array(quadrics.materials, np.float64))
    frame.owner.append(quadrics.owner)
    columns = np.stack([np.searchsorted(frame.x, box[:, 0]), np.searchsorted(frame.x, box[:, 2])], 1)
    rows = np.stack([np.searchsorted(frame.y, box[:, 1]), np.searchsorted(frame.y, box[:, 3])], 1)
    g = b[:, :, None] * b[:, None, :] - c[:, None, None] * a
    clipped = np.abs(clip_direction).sum(1) > 0
    drawable = (nearest > NEAR) & (columns[:, 1] > columns[:, 0]) & (rows[:, 1] > rows[:, 0])
    mask = None
    if cover is not None:
        mask, cover.numbers = cover.mask, (first, first + len(quadrics))
        if drawable.any():
            low, high = (
                np.stack([columns, rows], 2)[drawable].min((0, 1)),
                np.stack([columns, rows], 2)[drawable].max((0, 1)),
            )
            cover.box = (*low.tolist(), *high.tolist())
    for i in np.flatnonzero(drawable):
        clip = (clip_direction[i], clip_offset[i]) if clipped[i] else None
        _draw_one(frame, first + i, columns[i], rows[i], g[i], b[i], c[i], clip, mask)


def _draw_one(
    frame: "Frame",
    number: int,
    columns: np.ndarray,
    rows: np.ndarray,
    g: np.ndarray,
    b: np.ndarray,
    c: float,
    clip: tuple[np.ndarray, float] | None,
    cover: np.ndarray | None,
) -> None:
    """One quadric into the buffers; the grid is centred on its box so that float32 is enough."""
    (x0, x1), (y0, y1) = columns, rows
    xc, yc = 0.5 * (frame.x[x0] + frame.x[x1 - 1]), 0.5 * (frame.y[y0] + frame.y[y1 - 1])
    d0 = np.array([xc, yc, 1.0])
    gd = g @ d0
    xs = np.empty((3, x1 - x0), np.float32)
    xs[0] = 1
    xs[1] = frame.x[x0:x1] - xc
    xs[2] = xs[1] * xs[1]
    ys = np.empty((y1 - y0, 3), np.float32)
    ys[:, 0] = 1
    ys[:, 1] = frame.y[y0:y1] - yc
    ys[:, 2] = ys[:, 1] * ys[:, 1]
    poly = np.array([[d0 @ gd, 2 * gd[0], g[0, 0]], [2 * gd[1], 2 * g[0, 1], 0], [g[1, 1], 0, 0]], np.float32)
    disc = ys @ (poly @ xs)
    hit = disc > 0
    np.maximum(disc, 0, out=disc)
    t = np.sqrt(disc, out=disc)
    t -= ys[:, :2] @ (np.array([[b @ d0, b[0]], [b[1], 0]], np.float32) @ xs[:2])
    np.divide(np.float32(c), t, out=t)
    if clip is not None:
        w, offset = clip
        s = ys[:, :2] @ (np.array([[w @ d0, w[0]], [w[1], 0]], np.float32) @ xs[:2])
        s *= t
        s += np.float32(offset)
        np.abs(s, out=s)
        hit &= s < 1
    hit &= t > NEAR
    if cover is not None:
        cover[y0:y1, x0:x1] |= hit
    depth = frame.depth[y0:y1, x0:x1]
    hit &= t < depth
    np.copyto(depth, t, where=hit)
    np.copyto(frame.index[y0:y1, x0:x1], number, where=hit)


def shading_rows(camera: "Camera", a: np.ndarray, b: np.ndarray, axes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(n, 24) float32: gradient of the surface, 9 + 3, and camera point to shading frame, 9 + 3."""
    local = np.swapaxes(camera.rotation @ axes, 1, 2)
    offset = -(local @ camera.to_camera(origin)[:, :, None])[:, :, 0]
    n = len(a)
    return np.concatenate([a.reshape(n, 9), b, local.reshape(n, 9), offset], 1).astype(np.float32)


def draw_polygons(frame: "Frame", camera: "Camera", polygons: "Polygons") -> None:
    """Draw flat polygons; those that reach behind the camera are left out."""
    if not len(polygons):
        return
    first = frame.count
    normal = np.array(polygons.normal) @ camera.rotation.T
    corners = [camera.to_camera(p) for p in polygons.corners]
    n = len(corners)
    facing = np.array([-1.0 if normal[i] @ corners[i][0] > 0 else 1.0 for i in range(n)])
    origin = np.array([p[0] for p in polygons.corners])
    frame.table.append(
        shading_rows(camera, np.zeros((n, 3, 3)), normal * facing[:, None], np.array(polygons.frame_axes), origin)
    )
    frame.materials.append(np.array(polygons.materials, np.float64))
    frame.owner.append(polygons.owner)
    height, width = frame.depth.shape
    step = frame.x[1] - frame.x[0]
    for i, points in enumerate(corners):
        if points[:, 2].min() < NEAR:
            continue
        pixels = (points[:, :2] / points[:, 2:] - (frame.x[0], frame.y[0])) / step
        low = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(0)) + 1, (width, height)).astype(int)
        if (high <= low).any():
            continue
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillConvexPoly(mask, np.round((pixels - low) * 16).clip(-(2**20), 2**20).astype(np.int32), 1, shift=4)
        xs, ys = frame.x[low[0] : high[0]], frame.y[low[1] : high[1]]
        plane = (normal[i, 0] * xs + normal[i, 2])[None] + (normal[i, 1] * ys)[:, None]
        with np.errstate(divide="ignore"):
            t = (float(normal[i] @ points[0]) / plane).astype(np.float32)
        depth = frame.depth[low[1] : high[1], low[0] : high[0]]
        hit = mask.astype(bool) & (t < depth) & (t > NEAR)
        np.copyto(depth, t, where=hit)
        np.copyto(frame.index[low[1] : high[1], low[0] : high[0]], first + i, where=hit)
