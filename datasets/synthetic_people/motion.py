"""Where people of a clip walk: they cross, meet, turn round, leave the image and come back. Steered, smooth in time.

The ground is (x, z) in metres, a heading is the angle from +z to +x, ``u`` runs across the image from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .camera import Camera

PREROLL = 1.5  # seconds that are walked before the first frame, so that nobody starts from rest
SPEEDS = {"stroll": (0.65, 0.95), "walk": (1.15, 1.6), "run": (2.5, 3.3)}  # metres per second
TURN, TURN_GAIN = 12.0, 3.5  # largest angular acceleration, rad/s^2; heading error to angular speed, 1/s
FASTER, SLOWER, JERK = 2.2, 3.0, 14.0  # m/s^2, m/s^2, m/s^3
FORESIGHT = 1.6  # seconds within which people make way
CLOSEST = 0.58  # metres between the middles of two people


@dataclass(frozen=True)
class Field:
    """The ground that a camera sees between two depths, metres."""

    camera: Camera
    near: float
    far: float

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors on the ground along the view and to the right of the image."""
        forward = self.camera.rotation[2, [0, 2]]
        forward = forward / np.hypot(*forward)
        return forward, np.array([-forward[1], forward[0]])

    def point(self, u: float, depth: float) -> np.ndarray:
        """Ground point (2,) that is seen at ``u`` of the width."""
        forward, across = self.axes()
        middle = self.camera.position[[0, 2]] + forward * depth
        return middle + across * (u - 0.5) * self.camera.width / self.camera.focal * depth

    def seen(self, point: np.ndarray) -> tuple[float, float]:
        """(u, depth) of a ground point."""
        forward, across = self.axes()
        offset = point - self.camera.position[[0, 2]]
        depth = max(float(offset @ forward), 0.1)
        return float(offset @ across) / depth * self.camera.focal / self.camera.width + 0.5, depth

    def width(self, depth: float) -> float:
        """Metres across the image at a depth."""
        return self.camera.width / self.camera.focal * depth


@dataclass
class Task:
    """What somebody does next: ``go`` to ``point``; ``stand`` for ``seconds``; ``meet`` ``other`` at ``point`` for
    ``seconds``; ``follow`` ``other`` at an ``offset`` (to the right, to the front)."""

    kind: str
    point: np.ndarray = field(default_factory=lambda: np.zeros(2))
    speed: float = 1.3
    seconds: float = 0.0
    busy: bool = False
    other: int = -1
    offset: tuple = (0.0, 0.0)
    age: float = 0.0
    there: float = 0.0


@dataclass(eq=False)
class Walker:
    """State of one person, and the script that comes before free wandering."""

    point: np.ndarray
    yaw: float
    manner: str
    stays: bool = False
    script: list = field(default_factory=list)
    task: Task | None = None
    speed: float = 0.0
    acceleration: float = 0.0
    turning: float = 0.0
    face: float | None = None

    def heading(self) -> np.ndarray:
        """Unit vector (2,)."""
        return np.array([np.sin(self.yaw), np.cos(self.yaw)])


@dataclass(frozen=True)
class Path:
    """One person's way: place (F, 2), yaw (F,), speed (F,), turning (F,) rad/s, standing (F,) and busy (F,) bool."""

    place: np.ndarray
    yaw: np.ndarray
    speed: np.ndarray
    turning: np.ndarray
    standing: np.ndarray
    busy: np.ndarray


class Crowd:
    """Plans and walks for all people of a clip together; a pure function of its arguments.

    Args:
        rng: a generator.
        ground: the :class:`Field`.
        count: people.
        obstacles: (n, 3) x, z, radius of what cannot be walked through.
    """

    def __init__(
        self,
        *,
        rng: np.random.Generator,
        ground: "Field",
        count: int,
        obstacles: Sequence[tuple[float, float, float]] = (),
    ):
        self.rng, self.ground = rng, ground
        self.obstacles = np.asarray(obstacles, float).reshape(-1, 3)
        self.walkers = []
        for _ in range(count):
            self.walkers.append(Walker(self._free_point(), rng.uniform(-np.pi, np.pi), self._manner()))
        self._cast(count)

    def walk(self, frames: int, rate: int) -> "list[Path]":
        """A :class:`Path` for each person."""
        before = int(PREROLL * rate)
        rows = np.zeros((frames + before, len(self.walkers), 7))
        for row in rows:
            wanted = [self._wanted(k, 1 / rate) for k in range(len(self.walkers))]
            for k, (walker, (velocity, still)) in enumerate(zip(self.walkers, wanted)):
                _steer(walker, velocity, 1 / rate)
                busy = still and walker.task is not None and walker.task.busy
                row[k] = *walker.point, walker.yaw, walker.speed, walker.turning, still, busy
            self._step_aside(rate)
        rows = rows[before:].transpose(1, 2, 0)
        return [Path(r[:2].T, r[2], r[3], r[4], r[5] > 0, r[6] > 0) for r in rows]

    def _manner(self) -> str:
        return str(self.rng.choice(["stroll", "walk", "run"], p=[0.25, 0.57, 0.18]))

    def _speed(self, walker: "Walker") -> float:
        manner = self._manner() if self.rng.random() < 0.12 else walker.manner
        return self.rng.uniform(*SPEEDS[manner])

    def _depth(self) -> float:
        return self.rng.uniform(self.ground.near, self.ground.far)

    def _free_point(self, tries: int = 30) -> np.ndarray:
        for _ in range(tries):
            point = self.ground.point(self.rng.uniform(0.06, 0.94), self._depth())
            if all(np.hypot(*(point - w.point)) > 0.9 for w in self.walkers) and self._clear(point):
                break
        return point

    def _clear(self, point: np.ndarray) -> bool:
        """Whether somebody may stay there: neither inside an obstacle nor behind it for the camera."""
        u, depth = self.ground.seen(point)
        for x, z, radius in self.obstacles:
            at, before = self.ground.seen(np.array([x, z]))
            hidden = before < depth and abs(at - u) < radius / self.ground.width(before) + 0.03
            if hidden or np.hypot(x - point[0], z - point[1]) < radius + 0.5:
                return False
        return True

    def _cast(self, count: int) -> None:
        """Give out the parts: people who stay, pairs who meet, companions, people who leave and come back."""
        rng = self.rng
        first, *free = rng.permutation(count)
        self._leave(self.walkers[first])
        for _ in range(int(round(0.17 * count + rng.uniform(-0.4, 0.4)))):
            walker = self.walkers[free.pop()]
            walker.stays = True
            walker.script = [Task("stand", seconds=rng.uniform(3, 9), busy=True)]
        for _ in range(1 + count // 6 if count > 3 or rng.random() < 0.4 else 0):
            if len(free) >= 2:
                self._meeting(free.pop(), free.pop())
        if len(free) >= 3 and rng.random() < 0.7:
            leader, other = free.pop(), free.pop()
            side = rng.choice([-1, 1]) * rng.uniform(0.6, 0.8)
            self._leave(self.walkers[leader]) if rng.random() < 0.4 else None
            self.walkers[other].script = [Task("follow", other=leader, offset=(side, rng.uniform(-0.3, 0.2)))]
            walker = self.walkers[leader]
            right = np.array([-np.cos(walker.yaw), np.sin(walker.yaw)])
            self.walkers[other].point, self.walkers[other].yaw = walker.point + right * side, walker.yaw
            for w in (walker, self.walkers[other]):
                w.manner = "walk"
        for k in free[: count // 4]:
            self._leave(self.walkers[k])

    def _meeting(self, a: int, b: int) -> None:
        """Two people meet, stand close, and part; half of them go on the way that the other one came."""
        rng, ground = self.rng, self.ground
        depth = rng.uniform(ground.near, 0.6 * ground.far + 0.4 * ground.near)
        for _ in range(12):
            spot = ground.point(rng.uniform(0.22, 0.78), depth)
            if self._clear(spot):
                break
        angle, seconds = rng.uniform(0, np.pi), rng.uniform(0.9, 2.2)
        offset = rng.uniform(0.34, 0.45) * np.array([np.cos(angle), np.sin(angle)])
        sides = rng.permutation([0, 1])
        leave = sides if rng.random() < 0.5 else 1 - sides
        for k, other, side, end, sign in ((a, b, sides[0], leave[0], 1), (b, a, sides[1], leave[1], -1)):
            walker = self.walkers[k]
            walker.point = ground.point((0.02, 0.98)[side] + rng.uniform(-0.1, 0.1), depth * rng.uniform(0.9, 1.2))
            walker.yaw = _angle(spot - walker.point)
            away = ground.point((0.08, 0.92)[end], depth * rng.uniform(0.8, 1.4))
            walker.script = [
                Task("meet", point=spot + sign * offset, speed=rng.uniform(1.2, 1.7), seconds=seconds, other=other,
                     busy=rng.random() < 0.25),
                Task("go", point=away, speed=self._speed(walker)),
            ]  # fmt: skip

    def _leave(self, walker: "Walker") -> None:
        """Start not far from a side, leave over it, come back."""
        side = int(self.rng.integers(2))
        walker.point = self.ground.point((0.25, 0.75)[side] + self.rng.uniform(-0.15, 0.15), self._depth())
        walker.script = self._out_and_in(walker.point, side)
        walker.yaw = _angle(walker.script[0].point - walker.point)
        if walker.manner == "stroll":
            walker.manner = "walk"

    def _out_and_in(self, point: np.ndarray, side: int) -> "list[Task]":
        ground, rng = self.ground, self.rng
        depth = np.clip(ground.seen(point)[1] + rng.normal(0, 0.4), ground.near, ground.far)
        margin = rng.uniform(0.75, 1.3) / ground.width(depth)
        out = ground.point(-margin if side == 0 else 1 + margin, depth)
        back = ground.point(rng.uniform(0.25, 0.6) if side == 0 else rng.uniform(0.4, 0.75), self._depth())
        return [Task("go", point=p, speed=rng.uniform(1.2, 1.9)) for p in (out, back)]

    def _next(self, k: int) -> "Task":
        """The next task of somebody who wanders."""
        walker, rng, ground = self.walkers[k], self.rng, self.ground
        if walker.script:
            return walker.script.pop(0)
        if walker.stays:
            walker.script = [Task("stand", seconds=rng.uniform(3, 6), busy=True)]
            return Task("go", point=self._free_point(), speed=self._speed(walker))
        u, depth = ground.seen(walker.point)
        kind = rng.random()
        if kind < 0.12:
            return Task("stand", seconds=rng.uniform(0.6, 1.8), busy=rng.random() < 0.4)
        if kind < 0.24:
            walker.script = self._out_and_in(walker.point, int(u > 0.5))
            return walker.script.pop(0)
        speed = self._speed(walker)
        others = [w for w in self.walkers if w is not walker and 0.03 < ground.seen(w.point)[0] < 0.97]
        if kind < 0.75 and others:
            return Task("go", point=self._beyond(u, others[int(rng.integers(len(others)))]), speed=speed)
        u = rng.uniform(0.72, 0.97) if u < 0.5 else rng.uniform(0.03, 0.28)
        return Task("go", point=ground.point(u, self._depth()), speed=speed)

    def _beyond(self, u: float, other: "Walker") -> np.ndarray:
        """A point at the other side of somebody, as the camera sees it, and at another depth."""
        rng, ground = self.rng, self.ground
        at, depth = ground.seen(other.point + other.heading() * other.speed)
        end = at + np.sign(at - u) * rng.uniform(0.15, 0.45)
        choices = [d for d in (self._depth() for _ in range(6)) if abs(d - depth) > 0.7] or [self._depth()]
        return ground.point(float(np.clip(end, -0.04, 1.04)), choices[0])

    def _wanted(self, k: int, step: float) -> tuple[np.ndarray, bool]:
        """(velocity (2,) that the person wants, whether it stands), and the end of tasks that are done."""
        walker = self.walkers[k]
        if walker.task is None:
            walker.task, walker.face = self._next(k), None
        task = walker.task
        task.age += step
        if task.kind == "follow":
            return self._follow(k, task)
        if task.kind == "stand":
            if task.age > task.seconds:
                walker.task = None
                return np.zeros(2), False
            return np.zeros(2), walker.speed < 0.25
        gap = task.point - walker.point
        distance = np.hypot(*gap)
        if task.kind == "meet":
            return self._meet(k, task, gap, distance, step)
        # Whoever stops at the end slows down on the way there.
        stops = bool(walker.script) and walker.script[0].kind == "stand"
        if distance < (0.15 if stops else 0.55) or task.age > 6.0:
            walker.task = None
        speed = min(task.speed, np.sqrt(2.4 * max(distance - 0.1, 0)) + 0.1) if stops else task.speed
        return gap / max(distance, 1e-6) * speed + self._make_way(k, speed), False

    def _meet(self, k: int, task: "Task", gap: np.ndarray, distance: float, step: float) -> tuple[np.ndarray, bool]:
        walker = self.walkers[k]
        other = self.walkers[task.other]
        theirs = other.task if other.task is not None and other.task.kind == "meet" else None
        if task.there or distance < 0.15:
            task.there += step if theirs is None or theirs.there else 1e-3
            walker.face = _angle(other.point - walker.point)
            if task.there > task.seconds or task.age > 6.5:
                walker.task, walker.face = None, None
                return np.zeros(2), False
            return np.zeros(2), walker.speed < 0.25
        if task.age > 6.5:
            walker.task = None
        speed = min(task.speed, np.sqrt(2.4 * max(distance - 0.1, 0)) + 0.1)
        return gap / max(distance, 1e-6) * speed + self._make_way(k, speed, task.other), False

    def _follow(self, k: int, task: "Task") -> tuple[np.ndarray, bool]:
        leader = self.walkers[task.other]
        ahead = leader.heading()
        slot = leader.point + task.offset[0] * np.array([-ahead[1], ahead[0]]) + task.offset[1] * ahead
        velocity = ahead * leader.speed + 1.3 * (slot - self.walkers[k].point)
        if np.hypot(*velocity) < 0.25 and leader.speed < 0.2:
            self.walkers[k].face = leader.yaw
            return np.zeros(2), self.walkers[k].speed < 0.25
        self.walkers[k].face = None
        return velocity + 0.6 * self._make_way(k, leader.speed, task.other), False

    def _make_way(self, k: int, speed: float, friend: int = -1) -> np.ndarray:
        """Velocity (2,) past whoever and whatever is in the way."""
        walker, push = self.walkers[k], np.zeros(2)
        around = [(w.point, w.heading() * w.speed, 0.3) for j, w in enumerate(self.walkers) if j not in (k, friend)]
        for point, pace, radius in around + [(o[:2], np.zeros(2), o[2] + 0.1) for o in self.obstacles]:
            push += _past(walker, point, pace, radius) * (0.6 + speed)
        length = np.hypot(*push)
        return push * min(1.0, 1.3 * (0.6 + speed) / max(length, 1e-6))

    def _step_aside(self, rate: int) -> None:
        """Who stands closer than shoulders allow steps aside, smoothly, whatever else is planned."""
        points = np.array([w.point for w in self.walkers])
        gaps = points[:, None] - points
        distance = np.maximum(np.hypot(*gaps.transpose(2, 0, 1)), 1e-3)
        np.fill_diagonal(distance, np.inf)
        drift = (gaps / distance[..., None] * (3.0 * np.clip(CLOSEST - distance, 0, 0.3))[..., None]).sum(1)
        for walker, velocity in zip(self.walkers, drift):
            walker.point = walker.point + velocity / rate


def _past(walker: "Walker", point: np.ndarray, pace: np.ndarray, radius: float) -> np.ndarray:
    """Push (2,), about 0 to 1, past something at ``point`` that moves at ``pace``: at right angles to the own heading
    if the two would come too close within ``FORESIGHT`` seconds, and away from what is too close already."""
    gap = walker.point - point
    distance = max(np.hypot(*gap), 1e-6)
    push = gap / distance * max(1 - (distance - radius) / 0.55, 0.0)
    toward = walker.heading() * walker.speed - pace
    time = -(gap @ toward) / max(toward @ toward, 1e-6)
    if not 0 < time < FORESIGHT:
        return push
    nearest = gap + time * toward
    need = 1 - np.hypot(*nearest) / (radius + 0.55)
    if need <= 0:
        return push
    side = np.array([-walker.heading()[1], walker.heading()[0]])
    side = side * (np.sign(nearest @ side) or 1.0)
    return push + side * need**0.5 * (1 - time / FORESIGHT)


def _angle(vector: np.ndarray) -> float:
    return float(np.arctan2(vector[0], vector[1]))


def _steer(walker: "Walker", velocity: np.ndarray, step: float) -> None:
    """One step of a person with inertia: turns towards the wanted velocity, slower while it looks elsewhere."""
    wanted = np.hypot(*velocity)
    aim = _angle(velocity) if wanted > 0.05 else walker.face if walker.face is not None else walker.yaw
    error = (aim - walker.yaw + np.pi) % (2 * np.pi) - np.pi
    fastest = 2.8 / (1 + 0.3 * walker.speed)
    turning = np.clip(TURN_GAIN * error, -fastest, fastest)
    walker.turning += np.clip(turning - walker.turning, -TURN * step, TURN * step)
    walker.yaw += walker.turning * step
    goal = wanted * max(np.cos(error), 0.12 if abs(error) < 2.0 else 0.0)
    acceleration = np.clip((goal - walker.speed) * 4, -SLOWER, FASTER)
    walker.acceleration += np.clip(acceleration - walker.acceleration, -JERK * step, JERK * step)
    walker.speed = max(walker.speed + walker.acceleration * step, 0.0)
    if walker.speed == 0.0:
        walker.acceleration = max(walker.acceleration, 0.0)
    walker.point = walker.point + walker.heading() * walker.speed * step
