"""One image's content: camera, light, people with their poses and places, objects, background."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import body, poses
from .background import Background
from .camera import Camera
from .effects import sample_effects
from .objects import Objects
from .outfit import Materials, Outfit
from .seeds import stream
from .shading import Light

if TYPE_CHECKING:
    from synthetic_people.body import BodyShape, Posed


ASPECTS = ((4, 3), (1, 1), (3, 4), (5, 4), (3, 2))
ASPECT_WEIGHTS = (0.38, 0.22, 0.18, 0.12, 0.10)


@dataclass(frozen=True)
class Layout:
    """How many people, and how they fill the image. ``crowding`` is the share of a smaller box that another may
    cover."""

    people: tuple = (1, 6)
    weights: tuple = (0.07, 0.17, 0.34, 0.25, 0.12, 0.05)
    crowding: float = 0.52
    close_up: float = 0.06
    share: tuple = (0.58, 0.86)  # height of a standing person in the image

    def count(self, rng: np.random.Generator) -> int:
        """Number of people of one image; a number beyond the weights is as likely as the last of them."""
        low, high = self.people
        weight = np.array([self.weights[min(k, len(self.weights)) - 1] for k in range(low, high + 1)])
        return int(rng.choice(np.arange(low, high + 1), p=weight / weight.sum()))


@dataclass
class Person:
    """One person: who, in which clothes, where. ``posed`` is in world space."""

    posed: body.Posed
    outfit: Outfit
    family: str
    seed: tuple[int, str, int, int]  # of the set, split, image, number in it


@dataclass
class Scene:
    """All that an image shows."""

    camera: Camera
    light: Light
    people: list
    objects: Objects
    materials: Materials
    background: Background
    effects: dict


def image_size(rng: np.random.Generator, size: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height): ``size`` as given if it is a pair, else a varied aspect with that longest side, multiples of
    8."""
    if isinstance(size, (tuple, list)):
        return int(size[0]), int(size[1])
    a, b = ASPECTS[rng.choice(len(ASPECTS), p=ASPECT_WEIGHTS)]
    longest = max(a, b)
    return int(round(size * a / longest / 8)) * 8, int(round(size * b / longest / 8)) * 8


def sample_camera(
    rng: np.random.Generator, layout: "Layout", count: int, width: int, height: int
) -> "tuple[Camera, float]":
    """A camera that sees a standing person at ``share`` of its height, and the depth of that person."""
    fov = np.deg2rad(rng.uniform(32, 68))
    share = rng.uniform(*layout.share) * (1.0 if count < 4 else 0.9)
    if rng.random() < layout.close_up:
        share = rng.uniform(0.95, 1.55)
    depth = max(1.72 / (share * 2 * np.tan(fov / 2)), 1.7)
    above = float(np.clip(rng.normal(1.35, 0.5), 0.35, 3.2))
    aim = rng.uniform(0.74, 1.0) if share < 0.95 else rng.uniform(0.85, 1.4)
    pitch = np.arctan2(above - aim, depth) + rng.normal(0, 0.03)
    roll = rng.normal(0, 0.03)
    position = (rng.uniform(-0.5, 0.5), above, 0.0)
    return Camera.looking(
        position=position, yaw=rng.normal(0, 0.05), pitch=pitch, roll=roll, fov=fov, width=width, height=height
    ), depth


def clear_of_trunk(posed: "Posed") -> bool:
    """Whether no elbow, wrist or hand is inside the trunk."""
    p, h = posed.points, posed.shape.height
    start, axis = p["pelvis"], p["neck"] - p["pelvis"]
    side = posed.frames["chest"][:, 0]
    for name in ("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_fingers", "right_fingers"):
        offset = p[name] - start
        along = np.clip(offset @ axis / (axis @ axis), 0, 1)
        away = offset - along * axis
        lateral = away @ side
        rest = np.sqrt(max(away @ away - lateral**2, 0))
        if np.hypot(lateral / (0.095 * posed.shape.girth), rest / (0.075 * posed.shape.girth)) < h:
            return False
    return True


def sample_posed(
    rng: np.random.Generator, shape: "BodyShape", yaw: float, tries: int = 6
) -> "tuple[str, np.ndarray, Posed]":
    """(family, pose, posed at the origin): draws again while an arm is inside the trunk."""
    for _ in range(tries):
        family, pose = poses.sample_pose(rng)
        posed = body.forward_kinematics(shape, pose, yaw)
        if clear_of_trunk(posed):
            break
    return family, pose, posed


def sample_yaw(rng: np.random.Generator) -> float:
    """Facing the camera more often than not; every direction happens."""
    if rng.random() < 0.66:
        return np.pi + rng.normal(0, 0.7)
    return rng.uniform(-np.pi, np.pi)


def _box(camera: "Camera", foot: np.ndarray, height: float) -> tuple[float, float, float, float]:
    """A rough box in the image of a person who stands at ``foot`` (x, z)."""
    ends, _ = camera.project(np.array([[foot[0], 0.0, foot[1]], [foot[0], height, foot[1]]]))
    tall = abs(ends[0, 1] - ends[1, 1])
    x = ends[:, 0].mean()
    return x - 0.17 * tall, ends[1, 1], x + 0.17 * tall, ends[0, 1]


def _covered(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(w, 0) * max(h, 0) / max(smaller, 1e-6)


def place(
    rng: np.random.Generator,
    camera: "Camera",
    depth: float,
    layout: "Layout",
    taken: list[tuple[np.ndarray, tuple]],
    height: float,
    tries: int = 24,
) -> tuple[np.ndarray, tuple[float, float, float, float]] | None:
    """Ground point (x, z) for one more person, or None when there is no room; ``taken`` holds (foot, box) of the
    others."""
    forward = camera.rotation[2, [0, 2]] / np.hypot(*camera.rotation[2, [0, 2]])
    across = np.array([-forward[1], forward[0]])
    allowed = layout.crowding * rng.uniform(0.35, 1.0)
    for _ in range(tries):
        far = depth * rng.uniform(0.95, 1.45)
        u = (
            rng.uniform(0.13, 0.87)
            if rng.random() < 0.9
            else rng.choice([rng.uniform(-0.04, 0.1), rng.uniform(0.9, 1.04)])
        )
        foot = camera.position[[0, 2]] + forward * far + across * (u - 0.5) * camera.width / camera.focal * far
        box = _box(camera, foot, height)
        if all(np.hypot(*(foot - f)) > 0.5 and _covered(box, b) < allowed for f, b in taken):
            return foot, box
    return None


def stand(posed: "Posed", foot: np.ndarray, family: str, rng: np.random.Generator) -> "Posed":
    """The same body moved to a place on the ground; in the air for a jump or the flight of a run."""
    lift = 0.0
    if family in poses.IN_THE_AIR:
        lift = rng.uniform(0.05, 0.45) if family == "jumping" else rng.uniform(0, 0.06)
    return moved(posed, np.array([foot[0], lift - body.lowest_point(posed), foot[1]]))


def moved(posed: "Posed", offset: np.ndarray) -> "Posed":
    """The same posed body at another place."""
    points = {name: p + offset for name, p in posed.points.items()}
    return body.Posed(posed.shape, points, posed.frames, posed.joints + offset)


def sample_scene(seed: int, split: str, image: int, size: int | tuple[int, int], layout: "Layout") -> "Scene":
    """Everything about one image, a pure function of its arguments."""
    rng = stream(seed, split, image, "layout")
    width, height = image_size(rng, size)
    count = layout.count(rng)
    camera, depth = sample_camera(rng, layout, count, width, height)
    light = Light.sample(rng)
    materials = Materials()
    objects = Objects(materials)
    rng_objects = stream(seed, split, image, "objects")
    people: list[Person] = []
    taken: list[tuple[np.ndarray, tuple[float, float, float, float]]] = []
    for k in range(count):
        shape = body.BodyShape.sample(stream(seed, split, image, "body", k))
        spot = place(rng, camera, depth, layout, taken, shape.height)
        if spot is None:
            continue
        taken.append(spot)
        rng_pose = stream(seed, split, image, "pose", k)
        yaw = sample_yaw(rng_pose)
        family, _, posed = sample_posed(rng_pose, shape, yaw)
        posed = stand(posed, spot[0], family, rng_pose)
        if family == "sitting":
            pelvis = posed.points["pelvis"]
            objects.seat(
                rng_objects, pelvis, max(pelvis[1] - 0.072 * shape.height * shape.girth, 0.03), yaw, 0.11 * shape.height
            )
        outfit = Outfit.sample(stream(seed, split, image, "outfit", k), shape)
        people.append(Person(posed, outfit, family, (seed, split, image, k)))
    farthest = max([float(camera.to_camera(p.posed.points["pelvis"])[2]) for p in people] + [depth])
    objects.scatter(rng_objects, camera, depth * 0.95, farthest * 1.25, [foot for foot, _ in taken])
    background = Background(stream(seed, split, image, "background"), farthest + 1.0)
    effects = sample_effects(stream(seed, split, image, "effects"))
    return Scene(camera, light, people, objects, materials, background, effects)
