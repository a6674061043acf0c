"""Walking and running with planted feet: the legs by inverse kinematics from the distance walked, the arms from
``poses.gait``."""

from typing import TYPE_CHECKING

import numpy as np

from . import body, poses

if TYPE_CHECKING:
    from synthetic_people.body import BodyShape


THIGH, SHANK = 0.245, 0.240  # of the leg's length, as in body.forward_kinematics
TOE, HEEL = (0.105, 0.028), (0.022, 0.024)  # of the height: along the foot and below the ankle


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with a level start and end."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def run_share(speed: np.ndarray) -> np.ndarray:
    """0 for a walk, 1 for a run; people change at about 2 m/s. Any shape, metres per second."""
    return smoothstep((np.asarray(speed, float) - 1.8) / 0.7)


def cycle_length(speed: np.ndarray, height: float) -> np.ndarray:
    """Metres of a cycle (two steps): step length and frequency grow alike, with the root of the speed."""
    return 0.8 * height * np.sqrt(np.maximum(speed, 0) / 1.35 + 4e-4)


def phases(speed: np.ndarray, height: float, rate: int, start: float = 0.0) -> np.ndarray:
    """Phase of the gait (F,) in turns, which advances with the distance walked; ``speed`` (F,) in metres per second."""
    return start + np.cumsum(speed / cycle_length(speed, height)) / rate


def _bump(turns: np.ndarray, sharp: int) -> np.ndarray:
    return np.exp(sharp * (np.cos(2 * np.pi * turns) - 1))


def legs(
    shape: "BodyShape", phase: np.ndarray, length: np.ndarray, run: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of one leg in degrees while its foot is planted, then swung.

    Args:
        shape: a body's proportions.
        phase: (F,) turns since the heel's strike.
        length: (F,) metres of a cycle.
        run: (F,) in [0, 1].

    Returns:
        thigh and shank (F,), forward from the vertical, and the foot's pitch (F,), toes up.
    """
    phase = np.mod(phase, 1.0)
    high, leg = shape.height, shape.height * shape.leg
    stance = 0.62 - 0.26 * run
    effort = np.clip(length / (0.6 * high), 0, 1)
    swing = np.clip((phase - stance) / (1 - stance), 0, 1)
    # Where the foot is relative to the hip: back at the body's pace on the ground; then a cubic to the front whose ends
    # have that pace, so that the foot neither slips nor jerks.
    front, back, pace = (0.46 * stance) * length, (-0.54 * stance) * length, -length * (1 - stance)
    h1, h2 = 2 * swing**3 - 3 * swing**2 + 1, swing**3 - 2 * swing**2 + swing
    forward = np.where(phase < stance, front - length * phase, h1 * back + (1 - h1) * front
                       + (h2 + swing**3 - swing**2) * pace)  # fmt: skip
    strike, push = _bump(phase - 0.98, 9), _bump(phase - stance - 0.03, 7)
    pitch = effort * (np.deg2rad(18 - 12 * run) * strike - np.deg2rad(48 + 8 * run) * push)
    c, s = np.cos(pitch), np.sin(pitch)
    up = high * np.maximum(TOE[1] * c - TOE[0] * s, HEEL[1] * c + HEEL[0] * s)  # ankle over the toe, or over the heel
    forward = forward + high * np.where(pitch < 0, TOE[0] * (1 - c) - TOE[1] * s, HEEL[0] * (c - 1) - HEEL[1] * s)
    lift = (0.035 + 0.15 * run) * high * effort * np.sin(np.pi * swing**0.8) ** 2
    reach = 0.54 * stance * length
    drop = 0.5 * (leg * 0.485 - np.sqrt(np.maximum((leg * 0.485) ** 2 - reach**2, 0.1 * leg**2)))
    bob = 0.5 + 0.5 * np.cos(4 * np.pi * (phase - stance / 2)) * (1 - 1.6 * run)
    hip = 0.485 * leg * (0.995 - 0.015 * run) + TOE[1] * high - drop * (1 - bob) - 0.012 * high * effort
    down = hip - up - lift
    a, b = THIGH * leg, SHANK * leg
    distance = np.clip(np.hypot(forward, down), 0.5 * (a + b), 0.999 * (a + b))
    knee = np.arccos(np.clip((distance**2 - a**2 - b**2) / (2 * a * b), -1, 1))
    thigh = np.arctan2(forward, down) + np.arctan2(b * np.sin(knee), a + b * np.cos(knee))
    return np.rad2deg(thigh), np.rad2deg(thigh - knee), np.rad2deg(pitch)


def stride_pose(shape: "BodyShape", phase: np.ndarray, length: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Poses (F, D) of a walk or run; arguments as for :func:`legs`. At length 0 the person stands."""
    phase, length, run = np.broadcast_arrays(np.asarray(phase, float), length, run)
    amount = np.clip(length / (0.8 * shape.height), 0, 1.25)
    pose = np.stack([poses.gait(p, a, r) for p, a, r in zip(phase, amount, run)])
    pose[:, body.INDEX["lean"]] = 1.5 * np.minimum(amount, 1) + 8 * run
    lean = pose[:, body.INDEX["lean"]]
    for side, shift in (("left", 0.0), ("right", 0.5)):
        thigh, shank, pitch = legs(shape, phase + shift, length, run)
        for name, value in (("hip_flex", thigh + lean), ("knee", thigh - shank), ("ankle", pitch - shank),
                            ("hip_abd", 2.0), ("hip_rot", 3.0)):  # fmt: skip
            pose[:, body.INDEX[f"{side}_{name}"]] = value
        # Without steps the arms hang.
        pose[:, body.INDEX[f"{side}_elbow"]] -= 6 * (1 - np.minimum(amount, 1))
    return body.within_limits(pose)


def flight(phase: np.ndarray, run: np.ndarray, height: float) -> np.ndarray:
    """Metres (F,) by which a runner leaves the ground between two steps."""
    return 0.035 * height * run * np.maximum(np.sin(4 * np.pi * (phase - 0.36)), 0) ** 2
