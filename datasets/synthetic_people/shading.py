"""Deferred shading: colours of all covered samples at once, from the primitive's gradient, frame, material and face."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from synthetic_people.camera import Camera
    from synthetic_people.outfit import Materials
    from synthetic_people.raster import Frame


COARSE = np.float32(0.9)


@dataclass(frozen=True)
class Light:
    """One lamp or sun and its surroundings. ``direction`` (3,) points to the light in world axes; colours are BGR."""

    direction: np.ndarray
    colour: np.ndarray
    ambient: np.ndarray
    ground: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Light":
        """From overcast to harsh, warm or cool; mostly from above and from the side of the camera (-z)."""
        azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 1.3)
        if rng.random() < 0.75:
            azimuth = np.pi + rng.normal(0, 0.9)
        direction = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
        warm = rng.normal(0, 0.06)
        strength, ambient = rng.uniform(0.35, 0.8), rng.uniform(0.45, 0.7)
        tint = np.array([1 - warm, 1.0, 1 + warm])
        return cls(direction, strength * tint, ambient * (2 - tint), ambient * 0.65 * np.array([0.95, 1, 1.02]))


def shade(
    frame: "Frame", camera: "Camera", light: "Light", materials: "Materials", phase: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (n, 3) float32 BGR of the covered samples, and their flat positions (n,) in the frame."""
    flat = np.flatnonzero(frame.index.ravel() >= 0)
    if not len(flat):
        return np.zeros((0, 3), np.float32), flat
    number = frame.index.ravel()[flat]
    depth = frame.depth.ravel()[flat]
    rows, columns = np.divmod(flat, frame.depth.shape[1])
    x = frame.x.astype(np.float32)[columns] * depth
    y = frame.y.astype(np.float32)[rows] * depth
    table = np.ascontiguousarray(np.concatenate(frame.table).T)
    number = number.astype(np.intp)

    def affine(first: int) -> list[np.ndarray]:
        """Three affine forms of the camera point, rows ``first`` to ``first + 11`` of the table."""
        out = []
        for k in range(3):
            value = table[first + 3 * k].take(number) * x
            value += table[first + 3 * k + 1].take(number) * y
            value += table[first + 3 * k + 2].take(number) * depth
            value += table[first + 9 + k].take(number)
            out.append(value)
        return out

    normal, local = affine(0), affine(12)
    colour, gloss, wrinkle = _albedo(frame, number, local, materials)
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + np.float32(1e-12)
    nx, ny, nz = (part / length for part in normal)
    if wrinkle is not None:
        u, w, v = local
        fold = np.sin(u * 31 + v * 53 + np.sin(v * 23 - w * 19) * 2) * wrinkle
        fold2 = np.sin(v * 37 - u * 29 + np.sin(w * 21 + u * 17) * 2) * wrinkle
        nx += fold
        ny += fold2
    return _lit(colour, gloss, (nx, ny, nz), camera, light), flat


def _lit(
    colour: np.ndarray,
    gloss: np.ndarray,
    normal: tuple[np.ndarray, np.ndarray, np.ndarray],
    camera: "Camera",
    light: "Light",
) -> np.ndarray:
    """Wrapped diffuse light, light from sky and ground, a little gloss; colour (n, 3) is changed in place."""
    nx, ny, nz = normal
    to_light = (camera.rotation @ light.direction).astype(np.float32)
    up = camera.rotation[:, 1].astype(np.float32)
    diffuse = np.maximum(
        (nx * to_light[0] + ny * to_light[1] + nz * to_light[2] + np.float32(0.15)) / np.float32(1.15), 0
    )
    sky = np.float32(0.5) + np.float32(0.5) * (nx * up[0] + ny * up[1] + nz * up[2])
    half = to_light - np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0) ** 8
    shine = shine * shine * gloss
    for k in range(3):
        light_k = diffuse * np.float32(light.colour[k]) + sky * np.float32(light.ambient[k] - light.ground[k])
        light_k += np.float32(light.ground[k])
        colour[:, k] *= light_k
        colour[:, k] += shine * np.float32(light.colour[k])
    return colour


def _albedo(
    frame: "Frame", number: np.ndarray, local: list[np.ndarray], materials: "Materials"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour (n, 3) before lighting, gloss (n,), strength of wrinkles (n,) or None."""
    u, w, v = local
    choice = np.concatenate(frame.materials).astype(np.float32)
    below, beyond = choice[:, 0].astype(np.intp), choice[:, 1].astype(np.intp)
    edge = v - choice[:, 3].take(number) * np.abs(u)
    material = np.where(edge > choice[:, 2].take(number), beyond.take(number), below.take(number))
    table = materials.table()
    columns = np.ascontiguousarray(table.T)
    colour = table[:, :3].take(material, axis=0)
    if (table[:, 11] < 5).any():
        fancy = np.flatnonzero((table[:, 11] < 5).take(material))
        m = material[fancy]
        su = np.sin(u[fancy] * columns[6].take(m) + np.float32(1.1))
        sv = np.sin(v[fancy] * columns[7].take(m) + np.float32(0.4))
        value = columns[8].take(m) * su + columns[9].take(m) * sv + columns[10].take(m) * su * sv
        second = value > columns[11].take(m)
        colour[fancy[second]] = table[:, 3:6].take(m[second], axis=0)
    if materials.faces:
        faced = np.flatnonzero((table[:, 14] >= 0).take(material))
        if len(faced):
            face = np.array(materials.faces, np.float32)[table[:, 14].take(material[faced]).astype(np.intp)]
            colour[faced] = _face(colour[faced], face, u[faced], v[faced], w[faced])
    return colour, columns[12].take(material), columns[13].take(material)


def _face(colour: np.ndarray, face: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Eyes, brows, lips, beard, glasses painted on the head; x to the left, y up, z to the front, in head units."""
    front = z > 0.25
    side = np.abs(x)
    lower = (y < -0.36) & (z > -0.1) & (face[:, 12] > 0)
    colour[lower] = face[lower, 3:6] * 0.6 + colour[lower] * 0.4
    lips = front & (((x / 0.27) ** 2 + ((y + 0.60) / 0.085) ** 2) < 1)
    colour[lips] = face[lips, 6:9]
    white = front & ((((side - 0.32) / 0.17) ** 2 + ((y - 0.08) / 0.095) ** 2) < 1)
    colour[white] = 0.92
    iris = front & (((side - 0.32) ** 2 + (y - 0.08) ** 2) < 0.0085)
    colour[iris] = face[iris, 9:12]
    brow = front & (side > 0.14) & (side < 0.55) & (np.abs(y - 0.29 - face[:, 14] + 0.12 * (side - 0.32) ** 2) < 0.05)
    colour[brow] = face[brow, 3:6]
    ring = np.abs(((side - 0.33) / 0.26) ** 2 + ((y - 0.07) / 0.22) ** 2 - 1) < 0.32
    glasses = (face[:, 13] > 0) & (
        (front & (ring | ((side < 0.1) & (np.abs(y - 0.1) < 0.04)))) | ((np.abs(y - 0.1) < 0.05) & (z < 0.5) & (z > 0))
    )
    colour[glasses] = 0.08
    return colour
