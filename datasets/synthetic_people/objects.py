"""Things that are not people: furniture-like boxes, poles, balls, plants, limb-like tubes; behind, among and in front
of the people."""

from typing import TYPE_CHECKING

import numpy as np

from .outfit import cloth, random_colour, solid
from .primitives import Polygons, Quadrics

if TYPE_CHECKING:
    from synthetic_people.camera import Camera
    from synthetic_people.outfit import Materials


OBJECT = 1000  # owner number of everything that is not a person


class Objects:
    """All objects of an image; they are drawn like people, so depth order and hiding are exact."""

    def __init__(self, materials: "Materials"):
        self.materials = materials
        self.quadrics, self.polygons = Quadrics(), Polygons()

    def _paint(self, rng: np.random.Generator) -> int:
        row = cloth(rng, patterned=0.3) if rng.random() < 0.4 else solid(random_colour(rng), gloss=rng.uniform(0, 0.4))
        row[13] = 0.0
        return self.materials.add(row)

    def cabinet(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """A box on the ground."""
        half = np.array([rng.uniform(0.15, 0.7), rng.uniform(0.12, 0.9), rng.uniform(0.15, 0.4)])
        self.polygons.box(np.array([at[0], half[1], at[1]]), half, rng.uniform(0, np.pi), self._paint(rng), OBJECT)

    def table(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """A top on four legs."""
        paint, yaw, height = self._paint(rng), rng.uniform(-0.5, 0.5), rng.uniform(0.4, 0.95)
        half = np.array([rng.uniform(0.3, 0.8), 0.025, rng.uniform(0.22, 0.45)])
        self.polygons.box(np.array([at[0], height, at[1]]), half, yaw, paint, OBJECT)
        for sx in (-0.9, 0.9):
            for sz in (-0.9, 0.9):
                x, z = sx * half[0], sz * half[2]
                foot = np.array(
                    [at[0] + np.cos(yaw) * x + np.sin(yaw) * z, 0, at[1] - np.sin(yaw) * x + np.cos(yaw) * z]
                )
                self._tube(foot, foot + (0, height, 0), 0.025, 0.025, paint)

    def seat(self, rng: np.random.Generator, centre: np.ndarray, top: float, yaw: float, width: float) -> None:
        """What a sitting person sits on: a stool, a bench or a chair; ``top`` is its height."""
        paint = self._paint(rng)
        half = np.array([width * rng.uniform(1.0, 2.2), max(top / 2, 0.01), 0.2])
        if rng.random() < 0.5:
            self.polygons.box(np.array([centre[0], top / 2, centre[2]]), half, yaw, paint, OBJECT)
        else:
            slab = np.array([half[0], 0.03, half[2]])
            self.polygons.box(np.array([centre[0], top - 0.03, centre[2]]), slab, yaw, paint, OBJECT)
            c, s = np.cos(yaw), np.sin(yaw)
            for sx, sz in ((-0.9, -0.9), (0.9, -0.9), (-0.9, 0.9), (0.9, 0.9)):
                x, z = sx * slab[0], sz * slab[2]
                foot = np.array([centre[0] + c * x + s * z, 0, centre[2] - s * x + c * z])
                self._tube(foot, foot + (0, max(top - 0.03, 0.02), 0), 0.022, 0.022, paint)

    def pole(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """A lamp post, a tree trunk, a column."""
        radius, height, lean = rng.uniform(0.03, 0.16), rng.uniform(1.5, 4.0), rng.normal(0, 0.05, 2)
        start = np.array([at[0], 0.0, at[1]])
        self._tube(start, start + (lean[0], height, lean[1]), radius, radius * rng.uniform(0.6, 1.0), self._paint(rng))

    def ball(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """A ball, a bag, a bush trimmed round."""
        radii = rng.uniform(0.1, 0.35) * rng.uniform(0.7, 1.2, 3)
        self.quadrics.ellipsoid(np.array([at[0], radii[1], at[1]]), np.eye(3), radii, self._paint(rng), OBJECT)

    def plant(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """A cluster of leaves."""
        green = np.array([rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.4)])
        height, spread = rng.uniform(0.25, 1.2), rng.uniform(0.15, 0.4)
        paints = [self.materials.add(solid(np.clip(green * f, 0, 1), gloss=0.1)) for f in (0.6, 0.85, 1.15)]
        for _ in range(int(rng.integers(10, 20))):
            where = np.array([at[0], height * rng.uniform(0.15, 1.0), at[1]]) + rng.normal(0, spread * 0.5, 3) * (
                1,
                0.3,
                1,
            )
            turn = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
            radii = rng.uniform(0.03, 0.085) * np.array([1.0, 0.25, rng.uniform(1.0, 2.2)])
            self.quadrics.ellipsoid(where, turn, radii, paints[int(rng.integers(3))], OBJECT)

    def limbs(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """Jointed tubes in skin or cloth colours that belong to nobody: branches, racks, hoses."""
        tone = rng.uniform(0.15, 0.9) * np.array([0.62, 0.75, 1.0]) if rng.random() < 0.5 else random_colour(rng)
        paint = self.materials.add(solid(tone, gloss=0.1))
        point = np.array([at[0], rng.uniform(0.05, 1.5), at[1]])
        for _ in range(int(rng.integers(2, 4))):
            step = rng.normal(0, 0.25, 3)
            self._tube(point, point + step, rng.uniform(0.025, 0.07), rng.uniform(0.02, 0.06), paint)
            point = point + step

    def fence(self, rng: np.random.Generator, at: np.ndarray) -> None:
        """Uprights and two rails."""
        paint, height, gap = self._paint(rng), rng.uniform(0.5, 1.1), rng.uniform(0.18, 0.5)
        count = int(rng.integers(3, 7))
        for i in range(count):
            foot = np.array([at[0] + (i - count / 2) * gap, 0, at[1]])
            self._tube(foot, foot + (0, height, 0), 0.02, 0.02, paint)
        for level in (0.5, 0.95):
            start = np.array([at[0] - count / 2 * gap, height * level, at[1]])
            self._tube(start, start + ((count - 1) * gap, 0, 0), 0.02, 0.02, paint)

    def pillar(self, rng: np.random.Generator, at: np.ndarray, half: float) -> None:
        """A thick column from the ground to above everybody's head; ``half`` its radius."""
        start = np.array([at[0], 0.0, at[1]])
        self._tube(start, start + (0, rng.uniform(2.8, 4.0), 0), half, half * rng.uniform(0.85, 1.0), self._paint(rng))

    def panel(self, rng: np.random.Generator, at: np.ndarray, half: float) -> None:
        """A piece of wall; ``half`` its half width."""
        size = np.array([half, rng.uniform(0.8, 1.25), rng.uniform(0.03, 0.15)])
        self.polygons.box(np.array([at[0], size[1], at[1]]), size, rng.normal(0, 0.15), self._paint(rng), OBJECT)

    def sign(self, rng: np.random.Generator, at: np.ndarray, half: float) -> None:
        """A board on two posts, which hides trunks and heads and leaves the feet."""
        paint, yaw, low, high = self._paint(rng), rng.normal(0, 0.15), rng.uniform(0.35, 0.8), rng.uniform(1.7, 2.3)
        size = np.array([half, (high - low) / 2, 0.03])
        self.polygons.box(np.array([at[0], (high + low) / 2, at[1]]), size, yaw, paint, OBJECT)
        for side in (-0.8, 0.8):
            foot = np.array([at[0] + np.cos(yaw) * side * half, 0.0, at[1] - np.sin(yaw) * side * half])
            self._tube(foot, foot + (0, low, 0), 0.03, 0.03, paint)

    def _tube(self, start: np.ndarray, end: np.ndarray, r0: float, r1: float, paint: int) -> None:
        axis = np.asarray(end, float) - start
        side = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.7 * np.linalg.norm(axis) else np.array([0, 0, 1.0])
        self.quadrics.cone(np.asarray(start, float), np.asarray(end, float), r0, r1, side, paint, OBJECT)
        for point, radius in ((start, r0), (end, r1)):
            self.quadrics.ellipsoid(np.asarray(point, float), np.eye(3), np.full(3, radius), paint, OBJECT)

    def scatter(
        self,
        rng: np.random.Generator,
        camera: "Camera",
        nearest: float,
        farthest: float,
        people: list[np.ndarray],
        front: float | None = None,
        hiding: float = 0.27,
    ) -> None:
        """Place some objects at random in the view; with probability ``hiding`` one in front of the people, nearer than
        ``front``, to hide some of them."""
        front = front or nearest
        back = ("cabinet", "table", "pole", "ball", "plant", "limbs", "fence")
        for _ in range(int(rng.poisson(2.8))):
            depth = rng.uniform(nearest, max(farthest, nearest + 0.5))
            self._place(rng, camera, str(rng.choice(back)), depth, people)
        if rng.random() < hiding:
            kind = str(
                rng.choice(("plant", "table", "pole", "fence", "ball", "cabinet"), p=(0.28, 0.2, 0.16, 0.16, 0.1, 0.1))
            )
            self._place(rng, camera, kind, front * rng.uniform(0.55, 0.85), people)

    def _place(
        self, rng: np.random.Generator, camera: "Camera", kind: str, depth: float, people: list[np.ndarray]
    ) -> None:
        forward = camera.rotation[2]
        ground = np.array([forward[0], forward[2]]) / np.hypot(forward[0], forward[2])
        across = rng.uniform(-0.6, 0.6) * camera.width / camera.focal * depth
        at = camera.position[[0, 2]] + ground * depth + across * np.array([-ground[1], ground[0]])
        if all(np.hypot(*(at - p)) > 0.75 for p in people):
            getattr(self, kind)(rng, at)
