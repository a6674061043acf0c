"""How people of a clip move their bodies: steps with the distance walked, and on the spot waving, dancing, squatting,
boxing and more, each blended smoothly into the next."""

from typing import TYPE_CHECKING

import numpy as np

from . import body, poses
from .scene import moved
from .stride import cycle_length, flight, phases, run_share, stride_pose

if TYPE_CHECKING:
    from synthetic_people.body import BodyShape, Posed
    from synthetic_people.motion import Path


SETTLE = 0.2  # standard deviation in seconds of the blend between walking and standing
TURNING_STEPS = 0.22  # metres per radian: somebody who turns on the spot steps


def soften(values: np.ndarray, sigma: float) -> np.ndarray:
    """(F,) smoothed by a Gaussian of ``sigma`` frames; the ends go on as they are."""
    reach = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(np.asarray(values, float), reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _swing(rng: np.random.Generator, frames: int, rate: int, frequency: float) -> np.ndarray:
    """(F,) between 0 and 1 at about a frequency that wanders a little."""
    time = np.arange(frames) / rate
    wander = 0.12 * np.sin(2 * np.pi * (0.21 * time + rng.random()))
    return 0.5 - 0.5 * np.cos(2 * np.pi * (frequency * time + wander + rng.random()))


def _between(low: np.ndarray, high: np.ndarray, part: np.ndarray) -> np.ndarray:
    return low + (high - low) * part[:, None]


def _with_arms(pose: np.ndarray, left: tuple[int, int, int, int], right: tuple[int, int, int, int]) -> np.ndarray:
    pose = pose.copy()
    poses.set_arm(pose, "left", left)
    poses.set_arm(pose, "right", right)
    return pose


def _waving(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    base = poses.blank(hip_abd=rng.uniform(3, 9))
    rest = [poses.ARMS[str(rng.choice(["hang", "hip", "pocket"]))], (150, 30, 0, 15), (30, 88, 75, 80)]
    left = rest[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
    low = _with_arms(base, left, (60, 85, 40, 95))
    high = _with_arms(base, left, (110, 85, 45, 30))
    return _between(low, high, _swing(rng, frames, rate, rng.uniform(1.3, 2.2)))


def _jumping_jack(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    arms = (5, 12, 0, 10), (40, 150, 0, 15)
    low = _with_arms(poses.blank(hip_abd=2, knee=12), arms[0], arms[0])
    high = _with_arms(poses.blank(hip_abd=24, knee=6), arms[1], arms[1])
    return _between(low, high, _swing(rng, frames, rate, rng.uniform(0.8, 1.2)))


def _squats(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    depth = rng.uniform(0.6, 1.0)
    low = _with_arms(poses.blank(hip_abd=10), (2, 8, 0, 14), (2, 8, 0, 14))
    high = poses.blank(lean=30 * depth, hip_flex=105 * depth, knee=125 * depth, hip_abd=16, hip_rot=18)
    high = _with_arms(high, (82, 8, 0, 12), (82, 8, 0, 12))
    return _between(low, high, _swing(rng, frames, rate, rng.uniform(0.4, 0.65)))


def _boxing(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    guard, punch = (45, 12, -30, 125), (85, 8, -5, 8)
    base = poses.blank(left_hip_flex=16, left_knee=22, right_hip_flex=-6, right_knee=22, hip_abd=10, lean=6)
    still = _with_arms(base, guard, guard)
    left, right = (_swing(rng, frames, rate, f) ** 2 for f in rng.uniform(0.9, 1.5, 2))
    out = still + left[:, None] * (_with_arms(base, punch, guard) - still)
    out += right[:, None] * (_with_arms(base, guard, punch) - still)
    out[:, body.INDEX["spine_twist"]] += 14 * (right - left)
    return out


def _arm_circles(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    time = np.arange(frames) / rate
    out = np.tile(poses.blank(hip_abd=8), (frames, 1))
    frequency, start = rng.uniform(0.7, 1.1), rng.random()
    for side, shift in (("left", 0.0), ("right", float(rng.choice([0.0, 0.5])))):
        a = 2 * np.pi * (frequency * time + start + shift)
        out[:, body.INDEX[f"{side}_shoulder_flex"]] = 60 + 60 * np.cos(a)
        out[:, body.INDEX[f"{side}_shoulder_abd"]] = 75 + 50 * np.sin(a)
        out[:, body.INDEX[f"{side}_elbow"]] = 20
    return out


def _dancing(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    return poses.smooth_path(rng, frames, rate, ("dancing", "arms_up", "dancing", "squatting"), hold=(0.42, 0.8))


def _exercise(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    return poses.smooth_path(rng, frames, rate, ("arms_up", "throwing", "racket", "bending", "lunging"), (0.6, 1.1))


BUSY = (_waving, _jumping_jack, _squats, _boxing, _arm_circles, _dancing, _exercise)


def _idle(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
    """Standing, with arms that move now and then, and a head that looks round."""
    out = poses.smooth_path(rng, frames, rate, ("standing",), hold=(1.2, 2.6))
    legs = [k for name, k in body.INDEX.items() if "hip" in name or "knee" in name or name in ("roll", "lean")]
    out[:, legs] = out[:1, legs]
    return poses.level_feet(out)


class Performance:
    """The movement of one person along a :class:`~.motion.Path`; ``pose`` (F, D) is within the limits."""

    def __init__(self, rng: np.random.Generator, shape: "BodyShape", path: "Path", rate: int):
        frames = len(path.speed)
        self.shape, self.place, self.yaw = shape, path.place, path.yaw
        stepping = np.hypot(path.speed, TURNING_STEPS * soften(path.turning, 0.1 * rate))
        run = run_share(path.speed)
        phase = phases(stepping, shape.height, rate, rng.random())
        pose = stride_pose(shape, phase, cycle_length(stepping, shape.height), run)
        pose = pose + self._manner(rng, frames, rate)
        if rng.random() < 0.22:
            self._carry(rng, pose)
        doing = BUSY[int(rng.integers(len(BUSY)))](rng, frames, rate)
        upper = np.array([not ("hip" in n or "knee" in n or "ankle" in n) for n in body.DOF])
        doing = poses.level_feet(doing) + upper * rng.normal(0, 1, len(upper)).clip(-2, 2) * poses.NOISE * 0.35
        busy = soften(path.busy, SETTLE * rate)[:, None]
        idle = soften(path.standing & ~path.busy, SETTLE * rate)[:, None]
        pose = pose + idle * (_idle(rng, frames, rate) - pose) * (1 - busy) + busy * (doing - pose)
        self.pose = body.within_limits(pose)
        self.lift = flight(phase, run, shape.height) * (1 - busy[:, 0])

    @staticmethod
    def _manner(rng: np.random.Generator, frames: int, rate: int) -> np.ndarray:
        """(F, D) how somebody carries itself, and slow movements of the head and trunk."""
        still = rng.normal(0, 1, len(body.DOF)).clip(-2, 2) * poses.NOISE * 0.4
        still[[k for n, k in body.INDEX.items() if "hip" in n or "knee" in n or "ankle" in n]] = 0
        out = np.tile(still, (frames, 1))
        for name, amount in (("neck_twist", 22), ("neck_flex", 6), ("spine_twist", 4), ("spine_side", 2)):
            out[:, body.INDEX[name]] += amount * rng.uniform(0.3, 1) * (_swing(rng, frames, rate, 0.3) - 0.5)
        return out

    @staticmethod
    def _carry(rng: np.random.Generator, pose: np.ndarray) -> None:
        """Hold something, or a telephone, while walking: one arm or both do not swing."""
        entry = poses.ARMS[str(rng.choice(["phone", "carry", "read", "pocket", "hip"]))]
        sides = ("left", "right") if rng.random() < 0.4 else (str(rng.choice(["left", "right"])),)
        for side in sides:
            for name, value in zip(("shoulder_flex", "shoulder_abd", "shoulder_rot", "elbow"), entry):
                column = body.INDEX[f"{side}_{name}"]
                pose[:, column] = value + 0.12 * (pose[:, column] - pose[:, column].mean())

    def at(self, frame: int) -> "Posed":
        """The posed body of one frame, feet on the ground."""
        posed = body.forward_kinematics(self.shape, self.pose[frame], self.yaw[frame])
        x, z = self.place[frame]
        return moved(posed, np.array([x, self.lift[frame] - body.lowest_point(posed), z]))
