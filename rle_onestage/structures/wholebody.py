"""The 133 joints of COCO-WholeBody: body, feet, face and hands.

Order and OKS sigmas are those of Jin et al., Whole-Body Human Pose Estimation in the Wild, ECCV 2020
(https://github.com/jin-s13/COCO-WholeBody). The 68 points of the face are those of 300-W: jaw, brows, nose, eyes, lips.
"""

from collections.abc import Iterable
from itertools import pairwise

from .flip_pairs import find_flip_pairs
from .skeleton import COCO, SKELETONS, Skeleton

_FEET = ("big_toe", "small_toe", "heel")
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_FACE = 68
# Points of the face that swap in a mirror: ranges whose sums are constant, first and last of one side.
_FACE_MIRRORS = ((0, 7, 16), (17, 21, 43), (31, 32, 66), (36, 39, 81), (40, 41, 87), (48, 50, 102), (55, 56, 114),
                 (60, 61, 124), (65, 65, 132))  # fmt: skip
# Lines of the face, and whether each is closed.
_FACE_LINES = ((0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False), (36, 41, True),
               (42, 47, True), (48, 59, True), (60, 67, True))  # fmt: skip
_FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041,
    0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012,
    0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034,
    0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008,
    0.008, 0.008, 0.010, 0.008,
)  # fmt: skip
_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021,
    0.032, 0.020, 0.019, 0.022, 0.031,
)  # fmt: skip


def _hand(side: str) -> list[str]:
    """Names of the 21 points of a hand: its root, and four of each finger."""
    return [f"{side}_hand_root", *(f"{side}_{finger}{i}" for finger in _FINGERS for i in range(1, 5))]


def _limbs(names: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    """All lines, as pairs of names."""
    yield from ((names[a], names[b]) for a, b in COCO.limbs)
    for side in ("left", "right"):
        yield from ((f"{side}_ankle", f"{side}_{part}") for part in _FEET)
        root = f"{side}_hand_root"
        yield f"{side}_wrist", root
        for finger in _FINGERS:
            yield from pairwise([root, *(f"{side}_{finger}{i}" for i in range(1, 5))])
    for first, last, closed in _FACE_LINES:
        line = [f"face-{i}" for i in range(first, last + 1)]
        yield from pairwise([*line, line[0]] if closed else line)
    yield "face-30", "face-33"  # tip of the nose


def _wholebody() -> Skeleton:
    names = (
        *COCO.names,
        *(f"{side}_{part}" for side in ("left", "right") for part in _FEET),
        *(f"face-{i}" for i in range(_FACE)),
        *_hand("left"),
        *_hand("right"),
    )
    index = {name: i for i, name in enumerate(names)}
    face = [
        (index[f"face-{i}"], index[f"face-{total - i}"])
        for first, last, total in _FACE_MIRRORS
        for i in range(first, last + 1)
    ]
    return Skeleton(
        name="coco_wholebody",
        names=names,
        flip_pairs=tuple(sorted([*find_flip_pairs(names), *face])),
        limbs=tuple((index[a], index[b]) for a, b in _limbs(names)),
        oks_sigmas=(*COCO.oks_sigmas, *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
    )


WHOLEBODY = _wholebody()
SKELETONS[WHOLEBODY.name] = WHOLEBODY
# Parts that are scored apart: name -> first joint, and the one behind the last.
WHOLEBODY_PARTS = {"body": (0, 17), "foot": (17, 23), "face": (23, 91), "lefthand": (91, 112), "righthand": (112, 133)}
