"""Families of natural poses, walking and running cycles, and smooth paths between poses. Angles in degrees, order of
``body.DOF``."""

from typing import Any

import numpy as np

from . import body

_NOISE = {
    "lean": 3, "roll": 2, "spine_flex": 5, "spine_side": 4, "spine_twist": 7, "neck_flex": 9, "neck_side": 6,
    "neck_twist": 20,
    "shoulder_flex": 11, "shoulder_abd": 7, "shoulder_rot": 18, "elbow": 14, "pronation": 25, "wrist": 14,
    "hip_flex": 6,
    "hip_abd": 4, "hip_rot": 8, "knee": 5, "ankle": 4,
}  # fmt: skip
NOISE = np.array([_NOISE[n.removeprefix("left_").removeprefix("right_")] for n in body.DOF], float)

REST = {
    "shoulder_flex": 2,
    "shoulder_abd": 8,
    "shoulder_rot": 0,
    "elbow": 14,
    "hip_abd": 4,
    "hip_rot": 8,
    "knee": 4,
    "neck_flex": 4,
}

# Arms are drawn independently of the legs, one entry for each side; numbers are (shoulder_flex, shoulder_abd,
# shoulder_rot, elbow).
ARMS = {
    "hang": (2, 8, 0, 14), "hip": (-15, 42, 35, 95), "chest": (35, 8, -55, 115), "pocket": (-8, 18, 10, 42),
    "forward": (80, 8, 0, 15),
    "raise": (150, 25, 0, 18), "side": (5, 88, 0, 12), "wave": (25, 85, 75, 85), "phone": (48, 22, -15, 138),
    "read": (32, 10, -25, 88),
    "back": (-28, 14, -20, 35), "head": (95, 75, 60, 130), "point": (75, 35, 0, 5), "carry": (10, 10, -20, 85),
    "overhead": (165, 10, 10, 40),
}  # fmt: skip
ARM_WEIGHT = {
    "hang": 5,
    "hip": 1.6,
    "pocket": 1.2,
    "chest": 1.2,
    "read": 1,
    "carry": 1,
    "wave": 1,
    "raise": 0.7,
    "side": 0.7,
}


def blank(**values: Any) -> np.ndarray:
    """A pose (D,) from the resting one; a key without a side sets both."""
    pose = np.zeros(len(body.DOF))
    for name, value in {**REST, **values}.items():
        for key in (name,) if name in body.INDEX else (f"left_{name}", f"right_{name}"):
            pose[body.INDEX[key]] = value
    return pose


def set_arm(pose: np.ndarray, side: str, entry: tuple) -> None:
    """Write one entry of ``ARMS`` into a pose, in place."""
    for name, value in zip(("shoulder_flex", "shoulder_abd", "shoulder_rot", "elbow"), entry):
        pose[body.INDEX[f"{side}_{name}"]] = value


def random_arms(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Arms at random, often the same on both sides."""
    names = list(ARMS)
    weight = np.array([ARM_WEIGHT.get(n, 0.5) for n in names])
    first, second = rng.choice(len(names), 2, p=weight / weight.sum())
    if rng.random() < 0.45:
        second = first
    set_arm(pose, "left", ARMS[names[first]])
    set_arm(pose, "right", ARMS[names[second]])
    return pose


def gait(phase: float | np.ndarray, stride: float | np.ndarray = 1.0, run: float | np.ndarray = 0.0) -> np.ndarray:
    """One instant of a walk (``run`` 0) or run (1); ``phase`` in turns, any shape (...) gives (..., D).

    A few harmonics fitted by eye to textbook curves of hip, knee and ankle over the cycle; 0 is the left heel's strike.
    """
    phase = np.asarray(phase, float)
    pose = np.broadcast_to(blank(), (*phase.shape, len(body.DOF))).copy()

    def put(name: str, value: float | np.ndarray) -> None:
        pose[..., body.INDEX[name]] = value

    for side, shift in (("left", 0.0), ("right", 0.5)):
        a = 2 * np.pi * (phase + shift)
        swing = np.exp(1.6 * (np.cos(a - 2 * np.pi * 0.72) - 1))
        put(f"{side}_hip_flex", (8 + 14 * run) + (24 + 14 * run) * stride * np.cos(a + 0.25))
        put(
            f"{side}_knee",
            (5 + 14 * run)
            + (56 + 40 * run) * swing * (0.4 + 0.6 * stride)
            + 8 * stride * np.exp(2 * (np.cos(a - 0.9) - 1)),
        )
        put(
            f"{side}_ankle",
            4 + 10 * stride * np.sin(a - 0.9) - (14 + 8 * run) * np.exp(4 * (np.cos(a - 2 * np.pi * 0.6) - 1)),
        )
        put(f"{side}_shoulder_flex", 2 - (20 + 22 * run) * stride * np.cos(a + 0.25))
        put(f"{side}_elbow", 16 + 68 * run - (8 + 8 * run) * stride * np.cos(a))
        put(f"{side}_shoulder_abd", 7 + 6 * run)
        put(f"{side}_shoulder_rot", -12 * run)
        put(f"{side}_hip_abd", 2)
    put("spine_twist", -6 * stride * np.cos(2 * np.pi * phase))
    put("lean", 2 + 8 * run)
    return pose


def _standing(rng: np.random.Generator) -> np.ndarray:
    shift = rng.uniform(0, 1) ** 2
    pose = blank(
        left_hip_flex=8 * shift, left_knee=6 + 22 * shift, right_knee=2, hip_abd=rng.uniform(1, 12), roll=-4 * shift
    )
    return random_arms(pose, rng)


def _walking(rng: np.random.Generator) -> np.ndarray:
    pose = gait(rng.random(), rng.uniform(0.6, 1.25))
    return random_arms(pose, rng) if rng.random() < 0.25 else pose


def _running(rng: np.random.Generator) -> np.ndarray:
    return gait(rng.random(), rng.uniform(0.8, 1.25), 1.0)


def _sitting(rng: np.random.Generator) -> np.ndarray:
    flex = rng.uniform(72, 98)
    pose = blank(
        lean=rng.uniform(-12, 8),
        hip_flex=flex,
        knee=rng.uniform(60, 105),
        hip_abd=rng.uniform(2, 18),
        spine_flex=rng.uniform(0, 22),
    )
    arms = rng.choice(["lap", "read", "any"], p=[0.5, 0.25, 0.25])
    if arms == "any":
        return random_arms(pose, rng)
    for side in ("left", "right"):
        set_arm(pose, side, ARMS["read"] if arms == "read" else (28, 8, -12, 48))
    return pose


def _arms_up(rng: np.random.Generator) -> np.ndarray:
    pose = _standing(rng)
    both = rng.choice(["raise", "overhead", "wave", "side", "head"])
    set_arm(pose, "left", ARMS[both])
    if rng.random() < 0.65:
        set_arm(pose, "right", ARMS[both])
    return pose


def _squatting(rng: np.random.Generator) -> np.ndarray:
    depth = rng.uniform(0.35, 1.0)
    pose = blank(
        lean=30 * depth, hip_flex=105 * depth, knee=130 * depth, ankle=26 * depth, hip_abd=rng.uniform(6, 28),
        hip_rot=18,
        spine_flex=rng.uniform(0, 20), neck_flex=-15 * depth,
    )  # fmt: skip
    for side in ("left", "right"):
        set_arm(pose, side, ARMS["forward"] if rng.random() < 0.5 else (55, 10, -25, 70))
    return pose


def _bending(rng: np.random.Generator) -> np.ndarray:
    amount = rng.uniform(0.3, 1.0)
    pose = blank(
        lean=48 * amount,
        hip_flex=48 * amount + rng.uniform(0, 15),
        knee=rng.uniform(2, 30),
        spine_flex=38 * amount,
        neck_flex=-12,
    )
    reach = rng.uniform(30, 100)
    for side in ("left", "right"):
        set_arm(pose, side, (reach + rng.normal(0, 12), 8, 0, rng.uniform(5, 50)))
    return pose


def _kicking(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        lean=rng.uniform(-15, 8), left_hip_flex=rng.uniform(30, 95), left_knee=rng.uniform(0, 60), left_ankle=-25,
        right_hip_flex=-4,
        right_knee=rng.uniform(6, 25), spine_twist=rng.uniform(-20, 5),
    )  # fmt: skip
    set_arm(pose, "left", (-20, 45, 0, 30))
    set_arm(pose, "right", (35, 50, 0, 35))
    return pose


def _throwing(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        left_hip_flex=rng.uniform(15, 45),
        left_knee=rng.uniform(10, 50),
        right_hip_flex=-12,
        right_knee=12,
        hip_abd=8,
        spine_twist=-25,
    )
    set_arm(pose, "right", (rng.uniform(20, 100), rng.uniform(70, 110), 70, rng.uniform(60, 110)))
    set_arm(pose, "left", (rng.uniform(40, 95), 25, 0, rng.uniform(5, 45)))
    return pose


def _racket(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        lean=15,
        hip_flex=rng.uniform(25, 55),
        knee=rng.uniform(30, 60),
        ankle=12,
        hip_abd=rng.uniform(10, 26),
        hip_rot=15,
        spine_twist=25,
    )
    set_arm(pose, "right", (rng.uniform(20, 70), rng.uniform(20, 80), rng.uniform(-40, 40), rng.uniform(15, 80)))
    set_arm(pose, "left", (rng.uniform(20, 60), rng.uniform(15, 55), 0, rng.uniform(25, 80)))
    return pose


def _lunging(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        left_hip_flex=rng.uniform(60, 95),
        left_knee=rng.uniform(70, 105),
        right_hip_flex=-14,
        right_knee=rng.uniform(10, 60),
        lean=6,
    )
    pose[body.INDEX["right_ankle"]] = -20
    return random_arms(pose, rng)


def _jumping(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        hip_flex=rng.uniform(0, 60),
        knee=rng.uniform(10, 95),
        ankle=-30,
        hip_abd=rng.uniform(4, 35),
        lean=rng.uniform(-8, 15),
    )
    for side in ("left", "right"):
        set_arm(pose, side, (rng.uniform(20, 160), rng.uniform(15, 70), 20, rng.uniform(5, 70)))
    return pose


def _dancing(rng: np.random.Generator) -> np.ndarray:
    pose = blank(
        roll=rng.uniform(-10, 10), spine_side=rng.uniform(-20, 20), spine_twist=rng.uniform(-25, 25),
        left_hip_flex=rng.uniform(0, 70),
        left_knee=rng.uniform(5, 100), hip_abd=rng.uniform(5, 35), right_knee=rng.uniform(2, 25),
    )  # fmt: skip
    for side in ("left", "right"):
        set_arm(pose, side, (rng.uniform(-20, 120), rng.uniform(15, 110), rng.uniform(-30, 70), rng.uniform(5, 120)))
    return pose


FAMILIES = {
    "standing": (_standing, 0.27), "walking": (_walking, 0.17), "running": (_running, 0.07),
    "sitting": (_sitting, 0.10),
    "arms_up": (_arms_up, 0.10), "squatting": (_squatting, 0.06), "bending": (_bending, 0.05),
    "kicking": (_kicking, 0.03),
    "throwing": (_throwing, 0.04), "racket": (_racket, 0.03), "lunging": (_lunging, 0.03),
    "jumping": (_jumping, 0.02), "dancing": (_dancing, 0.03),
}  # fmt: skip
IN_THE_AIR = ("jumping", "running")


def sample_pose(rng: np.random.Generator, family: str | None = None) -> tuple[str, np.ndarray]:
    """(name of the family, pose (D,) within the limits): family, variation, noise, mirror; planted feet are
    levelled."""
    names = list(FAMILIES)
    if family is None:
        family = names[rng.choice(len(names), p=[FAMILIES[n][1] for n in names])]
    pose = FAMILIES[family][0](rng)
    pose = body.within_limits(pose + rng.normal(0, 1, len(pose)).clip(-2.2, 2.2) * NOISE)
    if rng.random() < 0.5:
        pose = body.mirrored(pose)
    if family in ("standing", "sitting", "arms_up", "squatting", "bending", "racket", "throwing"):
        pose = level_feet(pose)
    return family, body.within_limits(pose)


def level_feet(pose: np.ndarray) -> np.ndarray:
    """Turn the ankles so that the soles are parallel to the ground, as far as they can, (..., D)."""
    pose = pose.copy()
    for side in ("left", "right"):
        get = {n: pose[..., body.INDEX[f"{side}_{n}"]] for n in ("hip_flex", "knee")}
        pose[..., body.INDEX[f"{side}_ankle"]] = pose[..., body.INDEX["lean"]] + get["knee"] - get["hip_flex"]
    return body.within_limits(pose)


def smooth_path(
    rng: np.random.Generator,
    frames: int,
    rate: int,
    families: tuple | None = None,
    hold: tuple[float, float] = (0.7, 1.5),
) -> np.ndarray:
    """(frames, D): natural cubic path through poses of a few families, ``hold`` seconds apart, within the joint limits.

    The cosine easing between two keys has no overshoot, so limits that hold at the keys hold everywhere.
    """
    families = families or ("standing", "arms_up", "squatting", "bending", "dancing", "throwing")
    times, keys = [0.0], [sample_pose(rng, str(rng.choice(families)))[1]]
    while times[-1] < frames / rate + 1:
        times.append(times[-1] + rng.uniform(*hold))
        keys.append(sample_pose(rng, str(rng.choice(families)))[1])
    now = np.arange(frames) / rate
    slot = np.searchsorted(times, now, side="right") - 1
    at, poses = np.array(times), np.array(keys)
    part = (now - at[slot]) / (at[slot + 1] - at[slot])
    ease = (0.5 - 0.5 * np.cos(np.pi * part))[:, None]
    return poses[slot] * (1 - ease) + poses[slot + 1] * ease
