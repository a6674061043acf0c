"""The world behind the people: textured ground and a far wall or skyline, both defined in world space so that a
camera may move."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .outfit import muted_colour, random_colour

if TYPE_CHECKING:
    from synthetic_people.camera import Camera


KINDS = ("room", "street", "field", "hall", "clutter")


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int, channels: int = 1) -> np.ndarray:
    """(height, width, channels) float32, about -1 to 1, features of size / cells."""
    small = rng.standard_normal((max(cells * height // width, 2), cells, channels), dtype=np.float32)
    out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return out.reshape(height, width, channels)


def mottled(
    rng: np.random.Generator, height: int, width: int, low: np.ndarray, high: np.ndarray, grain: float = 0.05
) -> np.ndarray:
    """A surface between two colours with coarse and fine variation, (height, width, 3)."""
    amount = (
        0.5
        + 0.22 * smooth_noise(rng, height, width, int(rng.integers(3, 7)))
        + 0.16 * smooth_noise(rng, height, width, int(rng.integers(18, 48)))
    )
    fine = smooth_noise(rng, height, width, width // 2)
    return np.asarray(low, np.float32) + amount * np.asarray(high - low, np.float32) + grain * fine


def _grid_lines(
    image: np.ndarray, step_x: int, step_y: int, colour: list[float], thickness: int, stagger: bool
) -> None:
    height, width = image.shape[:2]
    for row, y in enumerate(range(0, height, step_y)):
        cv2.line(image, (0, y), (width, y), colour, thickness)
        shift = (row % 2) * step_x // 2 if stagger else 0
        for x in range(shift, width, step_x):
            cv2.line(image, (x, y), (x, y + step_y), colour, thickness)


def ground_texture(rng: np.random.Generator, kind: str, size: int = 256) -> tuple[np.ndarray, float]:
    """A tile of ground that is repeated, (size, size, 3) float32, and its side in metres."""
    if kind == "field":
        green = np.array([rng.uniform(0.1, 0.3), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.5)])
        image = mottled(rng, size, size, green * 0.6, green * 1.15, 0.10)
        side = rng.uniform(3, 8)
    elif kind == "street":
        grey = np.full(3, rng.uniform(0.3, 0.65)) * rng.uniform(0.92, 1.08, 3)
        image = mottled(rng, size, size, grey * 0.8, grey * 1.1, 0.05)
        if rng.random() < 0.5:
            _grid_lines(
                image,
                int(rng.choice([32, 64, 128])),
                int(rng.choice([32, 64])),
                (grey * 0.6).tolist(),
                2,
                rng.random() < 0.5,
            )
        side = rng.uniform(2, 5)
    else:
        tone = muted_colour(rng)
        image = mottled(rng, size, size, tone * 0.85, tone * 1.05, 0.03)
        style = rng.random()
        if style < 0.35:  # planks
            for x in range(0, size, 32):
                image[:, x : x + 32] *= rng.uniform(0.8, 1.12)
            _grid_lines(image, 32, size, (tone * 0.55).tolist(), 1, False)
        elif style < 0.6:  # tiles of two tones
            other = muted_colour(rng).astype(np.float32)
            image[: size // 2, : size // 2] = image[: size // 2, : size // 2] * 0.3 + other * 0.7
            image[size // 2 :, size // 2 :] = image[size // 2 :, size // 2 :] * 0.3 + other * 0.7
        elif style < 0.8:
            _grid_lines(image, 64, 64, (tone * 0.6).tolist(), 2, False)
        side = rng.uniform(1.2, 4)
    return np.clip(image, 0, 1.2).astype(np.float32), float(side)


def wall_texture(rng: np.random.Generator, kind: str, height: int = 192, width: int = 512) -> np.ndarray:
    """What stands at the end of the ground, (height, width, 3) float32; bottom row at the ground."""
    if kind in ("room", "hall"):
        return _interior(rng, kind, height, width)
    if kind == "clutter":
        image = mottled(rng, height, width, random_colour(rng), random_colour(rng), 0.06)
        _rectangles(rng, image, int(rng.integers(20, 60)), (6, 90), (6, 70))
        _strokes(rng, image, int(rng.integers(10, 30)))
        return np.clip(image, 0, 1.1)
    sky_low, sky_high = (
        np.array([0.95, 0.9, 0.85]) * rng.uniform(0.85, 1.1),
        np.array([1.0, 0.75, 0.55]) * rng.uniform(0.75, 1.1),
    )
    slope = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (sky_high * (1 - slope) + sky_low * slope).astype(np.float32).repeat(width, 1)
    image += 0.06 * np.maximum(smooth_noise(rng, height, width, 10), 0) * (1 - slope)
    if kind == "street":
        _buildings(rng, image)
    else:
        _hills(rng, image)
    if rng.random() < 0.7:
        _trees(rng, image, int(rng.integers(3, 14)))
    return np.clip(image, 0, 1.1)


def _rectangles(
    rng: np.random.Generator, image: np.ndarray, count: int, widths: tuple[int, int], heights: tuple[int, int]
) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        w, h = rng.integers(*widths), rng.integers(*heights)
        x, y = rng.integers(-w // 2, width), rng.integers(0, height)
        colour = random_colour(rng)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour.tolist(), -1)
        if rng.random() < 0.4:
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), (colour * 0.5).tolist(), 2)


def _strokes(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Slanted strokes and curves: things as thin as limbs that are not limbs."""
    height, width = image.shape[:2]
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        steps = rng.normal(0, 16, (4, 2)).cumsum(0)
        points = np.round(np.concatenate([[[x, y]], steps + (x, y)])).astype(np.int32)
        cv2.polylines(image, [points], False, random_colour(rng).tolist(), int(rng.integers(2, 9)), cv2.LINE_AA)


def _interior(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    tone = muted_colour(rng)
    image = mottled(rng, height, width, tone * 0.9, tone * 1.04, 0.02)
    if rng.random() < 0.3:
        stripes = (np.arange(width) // int(rng.integers(6, 20)) % 2).astype(bool)
        image[:, stripes] *= rng.uniform(0.8, 0.95)
    if kind == "hall" and rng.random() < 0.6:
        _grid_lines(image, 24, 12, (tone * 0.7).tolist(), 1, True)
    for _ in range(int(rng.integers(3, 10))):  # doors, windows, pictures, posters
        w, h = int(rng.integers(20, 70)), int(rng.integers(24, 90))
        x, y = int(rng.integers(0, width)), int(rng.integers(20, height - h))
        if rng.random() < 0.3:
            y, h = height - 110, 110
        frame, inner = random_colour(rng), random_colour(rng, dark=0.3, bright=1.0)
        cv2.rectangle(image, (x - 2, y - 2), (x + w + 2, y + h + 2), frame.tolist(), -1)
        piece = image[y : y + h, x : min(x + w, width)]
        if piece.size:
            rows, columns = piece.shape[:2]
            piece[:] = mottled(rng, rows, columns, inner * 0.7, inner, 0.04) if columns > 1 else inner
            if rng.random() < 0.4:
                _rectangles(rng, piece, int(rng.integers(2, 8)), (4, 24), (4, 24))
    if rng.random() < 0.4:  # shelves with books
        y0, x0 = int(rng.integers(30, 90)), int(rng.integers(0, width - 120))
        for y in range(y0, height - 10, 26):
            for x in range(x0, x0 + 110, 5):
                cv2.rectangle(image, (x, y + int(rng.integers(0, 8))), (x + 4, y + 22), random_colour(rng).tolist(), -1)
            cv2.rectangle(image, (x0, y + 22), (x0 + 112, y + 25), (tone * 0.4).tolist(), -1)
    cv2.rectangle(image, (0, height - 6), (width, height), (tone * rng.uniform(0.4, 1.1)).tolist(), -1)
    return np.clip(image, 0, 1.1)


def _buildings(rng: np.random.Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    x = -10
    while x < width:
        w, top = int(rng.integers(40, 130)), int(rng.integers(0, height // 2))
        tone = muted_colour(rng)
        cv2.rectangle(image, (x, top), (x + w, height), tone.tolist(), -1)
        step_x, step_y, lit = (
            int(rng.integers(10, 22)),
            int(rng.integers(12, 26)),
            random_colour(rng, dark=0.1, bright=0.9),
        )
        for y in range(top + 5, height - 24, step_y):
            for u in range(x + 5, x + w - 8, step_x):
                cv2.rectangle(image, (u, y), (u + step_x // 2, y + step_y // 2), lit.tolist(), -1)
        if rng.random() < 0.6:
            cv2.rectangle(image, (x + 4, height - 34), (x + w - 4, height - 1), random_colour(rng).tolist(), -1)
        x += w + int(rng.integers(0, 14))
    image += 0.03 * smooth_noise(rng, height, width, 64)


def _hills(rng: np.random.Generator, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    for level in range(int(rng.integers(1, 4))):
        line = height * (0.72 + 0.09 * level) + 12 * smooth_noise(rng, 2, width, 6)[0, :, 0]
        tone = np.array([0.25, 0.45, 0.3]) * rng.uniform(0.5, 1.2, 3)
        image[np.arange(height)[:, None] > line[None]] = tone


def _trees(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        x, size = int(rng.integers(0, width)), rng.uniform(12, 44)
        green = np.array([rng.uniform(0.05, 0.3), rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.4)])
        top = int(height - rng.uniform(20, 90))
        cv2.line(image, (x, height), (x, top), (0.12, 0.18, 0.28), int(max(size / 8, 2)))
        for _ in range(14):
            at = rng.normal(0, size / 2.2, 2)
            radius = int(rng.uniform(0.15, 0.4) * size) + 1
            cv2.circle(image, (int(x + at[0]), int(top + at[1])), radius, (green * rng.uniform(0.6, 1.3)).tolist(), -1)


class Background:
    """Ground plane y = 0 and a wall at ``distance`` metres; :meth:`render` gives what a camera sees of them."""

    def __init__(self, rng: np.random.Generator, distance_room: float, kind: str | None = None):
        self.kind = kind or str(rng.choice(KINDS, p=[0.26, 0.22, 0.2, 0.16, 0.16]))
        inside = self.kind in ("room", "hall", "clutter")
        self.distance = distance_room * rng.uniform(1.05, 1.6) if inside else distance_room * rng.uniform(2.0, 4.0)
        self.ground, self.side = ground_texture(rng, self.kind)
        self.wall = wall_texture(rng, self.kind).astype(np.float32)
        self.wall_height = (
            max(self.distance * rng.uniform(0.35, 0.6), rng.uniform(2.4, 3.4))
            if inside
            else self.distance * rng.uniform(0.5, 0.8)
        )
        self.turn = rng.uniform(0, 2 * np.pi)
        self.shift = rng.uniform(0, 1, 2)
        self.fade = rng.uniform(0.0, 0.35)

    def render(self, camera: "Camera") -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) float32 BGR, and where it is the ground, (H, W) bool."""
        x, y = (axis.astype(np.float32) for axis in camera.grid())
        r = camera.rotation.astype(np.float32)
        dx, dy, dz = ((x * r[0, k] + r[2, k])[None] + (y * r[1, k])[:, None] for k in range(3))  # rays in the world
        px, py, pz = camera.position.astype(np.float32)
        # Inverse distances along the ray; the larger one is nearer.
        to_ground, to_wall = dy * (-1 / py), dz * np.float32(1 / (self.distance - pz))
        on_ground = to_ground > np.maximum(to_wall, np.float32(1e-4))
        rows = np.flatnonzero(~on_ground.all(1))
        image = np.empty((*dx.shape, 3), np.float32)
        if len(rows):
            part = slice(rows[0], rows[-1] + 1)
            t = 1 / np.maximum(to_wall[part], np.float32(1e-4))
            image[part] = self._wall(px + t * dx[part], py + t * dy[part])
        rows = np.flatnonzero(on_ground.any(1))
        if len(rows):
            part = slice(rows[0], rows[-1] + 1)
            t = 1 / np.maximum(to_ground[part], np.float32(1e-4))
            floor = self._floor(px + t * dx[part], pz + t * dz[part], t)
            np.copyto(image[part], floor, where=on_ground[part, :, None])
        return image, on_ground

    def _wall(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows, columns = self.wall.shape[:2]
        scale = rows / self.wall_height
        u = np.mod(x * np.float32(scale) + np.float32(self.shift[0] * columns), np.float32(columns))
        top = 0 if self.kind in ("street", "field") else -rows  # no second skyline upside down in the sky
        v = np.clip(np.float32(rows - 1) - y * np.float32(scale), top, rows - 1)
        return cv2.remap(self.wall, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    def _floor(self, x: np.ndarray, z: np.ndarray, distance: np.ndarray) -> np.ndarray:
        size = len(self.ground)
        c, s = np.cos(self.turn) * size / self.side, np.sin(self.turn) * size / self.side
        u = np.mod(np.float32(c) * x + np.float32(s) * z + np.float32(1000 * self.shift[0]), np.float32(size))
        v = np.mod(np.float32(c) * z - np.float32(s) * x + np.float32(1000 * self.shift[1]), np.float32(size))
        floor = cv2.remap(self.ground, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        floor *= (1 - np.clip(distance * np.float32(self.fade / 1.2 / self.distance), 0, self.fade))[..., None]
        return floor
