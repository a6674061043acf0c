"""An articulated body: degrees of freedom with limits, varied proportions, and forward kinematics.

Body frame: x to the person's left, y up, z to the front. Angles are in degrees. Ball joints (shoulder, hip) are a
swing, given as a rotation vector with a part to the front and a part to the side, after a twist about the limb; so
they have no singularity in the range that people use. Segment lengths as fractions of the height follow the usual
anthropometric tables (Drillis and Contini, 1964).
"""

from dataclasses import dataclass

import numpy as np

from rle_onestage.structures.skeleton import COCO

JOINTS, LIMBS = COCO.names, COCO.limbs

_TRUNK = {
    "lean": (-25, 100), "roll": (-35, 35),
    "spine_flex": (-25, 70), "spine_side": (-30, 30), "spine_twist": (-40, 40),
    "neck_flex": (-40, 45), "neck_side": (-30, 30), "neck_twist": (-70, 70),
}  # fmt: skip
_SIDE = {
    "shoulder_flex": (-50, 175), "shoulder_abd": (-35, 170), "shoulder_rot": (-80, 90), "elbow": (0, 145),
    "pronation": (-80, 80),
    "wrist": (-50, 60), "hip_flex": (-25, 120), "hip_abd": (-15, 60), "hip_rot": (-30, 50), "knee": (0, 145),
    "ankle": (-45, 30),
}  # fmt: skip
DOF = tuple(_TRUNK) + tuple(f"{side}_{name}" for side in ("left", "right") for name in _SIDE)
LIMITS = np.array(list(_TRUNK.values()) + 2 * list(_SIDE.values()), float)  # (D, 2)
INDEX = {name: i for i, name in enumerate(DOF)}
MIRROR = np.array([INDEX[n.replace("left", "#").replace("right", "left").replace("#", "right")] for n in DOF])
MIRROR_SIGN = np.array(
    [-1.0 if n in ("roll", "spine_side", "spine_twist", "neck_side", "neck_twist") else 1.0 for n in DOF]
)


def mirrored(pose: np.ndarray) -> np.ndarray:
    """The same pose with left and right exchanged, (..., D)."""
    return pose[..., MIRROR] * MIRROR_SIGN


def within_limits(pose: np.ndarray) -> np.ndarray:
    """The pose moved into the joint limits, (..., D)."""
    return np.clip(pose, LIMITS[:, 0], LIMITS[:, 1])


@dataclass(frozen=True)
class BodyShape:
    """Proportions of one person. ``height`` in metres; lengths and half-widths as fractions of it; ``child`` and
    ``woman`` in [0, 1]."""

    height: float
    woman: float
    child: float
    girth: float
    shoulder: float
    hip: float
    leg: float
    arm: float
    head: float
    neck: float
    muscle: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "BodyShape":
        """A person at random: about one in nine is a child."""
        woman = float(np.clip(rng.normal(0.12 if rng.random() < 0.5 else 0.88, 0.12), 0, 1))
        child = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.11 else 0.0
        height = rng.normal(1.77 - 0.13 * woman, 0.065) * (1 - 0.34 * child)
        girth = float(np.clip(np.exp(rng.normal(0.0, 0.16)), 0.74, 1.6))
        jitter = rng.normal(0, 1, 6).clip(-2, 2)
        return cls(
            height=float(height), woman=woman, child=child, girth=girth,
            shoulder=float((0.106 - 0.012 * woman - 0.004 * child) * (1 + 0.05 * jitter[0])),
            hip=float((0.052 + 0.004 * woman) * (1 + 0.06 * jitter[1])),
            leg=float((1 - 0.07 * child) * (1 + 0.03 * jitter[2])),
            arm=float(1 + 0.035 * jitter[3]),
            head=float((1 + 0.36 * child) * (1 + 0.04 * jitter[4])),
            neck=float(1 + 0.1 * jitter[5]),
            muscle=float(np.clip(rng.normal(0.55 - 0.3 * woman, 0.25), 0, 1.2)),
        )  # fmt: skip


def rot_x(angle: float) -> np.ndarray:
    """Rotation about x, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rot_y(angle: float) -> np.ndarray:
    """Rotation about y, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rot_z(angle: float) -> np.ndarray:
    """Rotation about z, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def rotation_vector(v: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: the rotation by ``|v|`` radians about ``v``."""
    angle = np.sqrt(v @ v)
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = v / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def bend(flex: float, side: float, twist: float) -> np.ndarray:
    """Rotation of a piece of the spine: twist, then flexion, then bending to the side."""
    return rot_y(twist) @ rot_x(flex) @ rot_z(side)


@dataclass(frozen=True)
class Posed:
    """A body in the world: named points (3,) and rotations (3, 3), and COCO's joints (17, 3), metres."""

    shape: BodyShape
    points: dict
    frames: dict
    joints: np.ndarray


def head_points(shape: "BodyShape") -> np.ndarray:
    """Nose, eyes, ears in the head's frame (metres), origin in the middle of the head."""
    unit = 0.064 * shape.height * shape.head
    face = np.array([
        [0, -0.20, 1.03], [0.32, 0.08, 0.74], [-0.32, 0.08, 0.74], [0.76, -0.04, -0.05], [-0.76, -0.04, -0.05],
    ])  # fmt: skip
    return face * unit


def forward_kinematics(
    shape: "BodyShape", pose: np.ndarray, yaw: float = 0.0, position: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> "Posed":
    """The posed body; ``position`` is the middle of the hips in the world, ``pose`` (D,) in degrees, ``yaw`` in
    radians."""
    h = shape.height
    q = {name: value for name, value in zip(DOF, np.deg2rad(pose))}
    points, frames = {"pelvis": np.asarray(position, float)}, {}
    frames["pelvis"] = rot_y(yaw) @ rot_x(q["lean"]) @ rot_z(q["roll"])
    half = bend(q["spine_flex"] / 2, q["spine_side"] / 2, q["spine_twist"] / 2)
    frames["belly"] = frames["pelvis"] @ half
    frames["chest"] = frames["belly"] @ half
    neck = bend(q["neck_flex"] / 2, q["neck_side"] / 2, q["neck_twist"] / 2)
    frames["neck"] = frames["chest"] @ neck
    frames["head"] = frames["neck"] @ neck
    trunk = h * (1 + 0.05 * shape.child)
    points["waist"] = points["pelvis"] + frames["pelvis"] @ (0, 0.075 * trunk, 0)
    points["chest"] = points["waist"] + frames["belly"] @ (0, 0.10 * trunk, 0)
    points["neck"] = points["chest"] + frames["chest"] @ (0, 0.125 * trunk, -0.004 * h)
    unit = 0.064 * h * shape.head
    points["skull"] = points["neck"] + frames["neck"] @ (0, 0.048 * h * shape.neck, 0.006 * h)
    points["head"] = points["skull"] + frames["head"] @ (0, 0.62 * unit, 0.10 * unit)
    joints = np.empty((17, 3))
    joints[:5] = points["head"] + head_points(shape) @ frames["head"].T
    for s, side in ((1, "left"), (-1, "right")):
        _arm(points, frames, shape, q, s, side)
        _leg(points, frames, shape, q, s, side)
    for k, name in enumerate(JOINTS[5:], 5):
        joints[k] = points[name]
    return Posed(shape, points, frames, joints)


def _arm(
    points: dict[str, np.ndarray],
    frames: dict[str, np.ndarray],
    shape: "BodyShape",
    q: dict[str, float],
    s: int,
    side: str,
) -> None:
    h, arm = shape.height, shape.height * shape.arm
    flex, abd = q[f"{side}_shoulder_flex"], q[f"{side}_shoulder_abd"]
    raised = min(np.hypot(flex, abd) / np.pi, 1.0)  # the collar bone lifts with the arm
    shoulder = (
        s * (shape.shoulder - 0.018 * raised) * h,
        (-0.018 + 0.045 * raised) * h,
        0.02 * h * max(np.sin(flex), -0.5),
    )
    points[f"{side}_shoulder"] = points["neck"] + frames["chest"] @ shoulder
    swing = rotation_vector(np.array([-flex, 0.0, s * abd]))
    upper = frames["chest"] @ swing @ rot_y(s * q[f"{side}_shoulder_rot"])
    lower = upper @ rot_x(-q[f"{side}_elbow"])
    hand = lower @ rot_y(s * (q[f"{side}_pronation"] - 0.6)) @ rot_x(-q[f"{side}_wrist"])
    frames.update({f"{side}_upper_arm": upper, f"{side}_forearm": lower, f"{side}_hand": hand})
    points[f"{side}_elbow"] = points[f"{side}_shoulder"] - upper[:, 1] * 0.168 * arm
    points[f"{side}_wrist"] = points[f"{side}_elbow"] - lower[:, 1] * 0.145 * arm
    points[f"{side}_fingers"] = points[f"{side}_wrist"] - hand[:, 1] * 0.095 * arm


def _leg(
    points: dict[str, np.ndarray],
    frames: dict[str, np.ndarray],
    shape: "BodyShape",
    q: dict[str, float],
    s: int,
    side: str,
) -> None:
    h, leg = shape.height, shape.height * shape.leg
    points[f"{side}_hip"] = points["pelvis"] + frames["pelvis"] @ (s * shape.hip * h, 0, 0)
    swing = rotation_vector(np.array([-q[f"{side}_hip_flex"], 0.0, s * q[f"{side}_hip_abd"]]))
    thigh = frames["pelvis"] @ swing @ rot_y(s * q[f"{side}_hip_rot"])
    shank = thigh @ rot_x(q[f"{side}_knee"])
    foot = shank @ rot_x(-q[f"{side}_ankle"]) @ rot_y(s * 0.12)
    frames.update({f"{side}_thigh": thigh, f"{side}_shank": shank, f"{side}_foot": foot})
    points[f"{side}_knee"] = points[f"{side}_hip"] - thigh[:, 1] * 0.245 * leg
    points[f"{side}_ankle"] = points[f"{side}_knee"] - shank[:, 1] * 0.240 * leg
    points[f"{side}_heel"] = points[f"{side}_ankle"] + foot @ (0, -0.024 * h, -0.022 * h)
    points[f"{side}_toe"] = points[f"{side}_ankle"] + foot @ (0, -0.028 * h, 0.105 * h)


def lowest_point(posed: "Posed") -> float:
    """Height of the lowest part of the body, metres: soles, and whatever else may touch the ground."""
    h, p = posed.shape.height, posed.points
    low = [
        p[f"{s}_{n}"][1] - r * h
        for s in ("left", "right")
        for n, r in (("heel", 0.011), ("toe", 0.008), ("knee", 0.03), ("wrist", 0.02), ("fingers", 0.01))
    ]
    return min(min(low), p["pelvis"][1] - 0.075 * h * posed.shape.girth, p["head"][1] - 0.07 * h)
