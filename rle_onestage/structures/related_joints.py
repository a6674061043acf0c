"""Joints near a joint that a set does not have. A new joint starts as the mean of these."""

from collections.abc import Sequence

from .flip_pairs import split_side
from .skeleton import joint_key, map_joints

_FACE, _SHOULDERS, _HIPS = ("nose", "eye", "ear"), ("shoulder",), ("hip",)
# {word of a joint's name: joints that it lies beside or between, in COCO's words}. The first word that fits counts.
_BESIDE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("head", "face", "forehead", "crown", "chin", "jaw", "mouth", "lip", "eyebrow", "cheek"), _FACE),
    **dict.fromkeys(("nose", "eye", "ear"), _FACE),
    **dict.fromkeys(("forearm", "fore arm", "lower arm", "lowerarm"), ("elbow", "wrist")),
    **dict.fromkeys(("upper arm", "upperarm"), ("shoulder", "elbow")),
    **dict.fromkeys(("thigh", "upper leg", "upperleg"), ("hip", "knee")),
    **dict.fromkeys(("calf", "shin", "lower leg", "lowerleg"), ("knee", "ankle")),
    "arm": ("shoulder", "elbow", "wrist"), "leg": ("hip", "knee", "ankle"),
    **dict.fromkeys(("hand", "palm", "thumb", "finger", "forefinger", "fingertip", "pinky", "knuckle"), ("wrist",)),
    **dict.fromkeys(("foot", "feet", "heel", "toe", "sole"), ("ankle",)),
    "shoulder": _SHOULDERS, "elbow": ("elbow",), "wrist": ("wrist",), "knee": ("knee",), "ankle": ("ankle",),
    **dict.fromkeys(("pelvis", "hip", "groin", "waist", "buttock"), _HIPS),
    **dict.fromkeys(("neck", "thorax", "chest", "sternum", "clavicle", "collarbone", "throat"), _SHOULDERS),
    **dict.fromkeys(("spine", "torso", "trunk", "belly", "stomach", "navel", "abdomen"), _SHOULDERS + _HIPS),
}  # fmt: skip


def related_joints(names: Sequence[str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """Find joints of a set that lie near those it does not have: ``mid_hip`` lies between the hips.

    Args:
        names: joint names of the set.
        wanted: names of joints that the set may have or not.

    Returns:
        {wanted joint: names of the joints near it}. It has the wanted joints that :func:`~.skeleton.map_joints` does
        not find in the set and whose names tell the part of the body. If the name tells a side, no joint near it is of
        the other side.
    """
    found = map_joints(names, wanted)
    keys = [joint_key(name) for name in names]
    related: dict[str, list[str]] = {}
    for name in (name for name, place in zip(wanted, found) if place < 0):
        side = split_side(name)[1]
        parts = _beside(joint_key(name)[0])
        near = [other for other, (part, its) in zip(names, keys) if part in parts and (not side or its in (side, ""))]
        if near:
            related[name] = near
    return related


def _beside(part: str) -> tuple[str, ...]:
    """Joints beside a part of the body, as :data:`_BESIDE` has them; none if it has no word of the part's name."""
    words = {form for word in part.split() for form in (word, word.removesuffix("s"))}
    return next((parts for word, parts in _BESIDE.items() if set(word.split()) <= words), ())
