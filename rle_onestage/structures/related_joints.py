"""Which joints of a set lie nearest to one that it lacks: where a joint of one's own may begin."""

from collections.abc import Sequence

from .flip_pairs import split_side
from .skeleton import joint_key, map_joints

_FACE, _SHOULDERS, _HIPS = ("nose", "eye", "ear"), ("shoulder",), ("hip",)
# By a word of the joint's name, in the order in which words are looked for: parts of the body that it lies between or
# beside, in the words of COCO's joints.
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
    """Joints of another set beside or around those that it lacks: ``mid_hip`` lies between its hips.

    Args:
        names: joint names of the other set.
        wanted: joint names.

    Returns:
        {wanted: names of the other set, on its side if it has one}, of those wanted joints that
        :func:`~.skeleton.map_joints` does not find and whose name has the word of a part of the body.
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
    """Parts of the body beside a named one; none where no word is known."""
    words = {form for word in part.split() for form in (word, word.removesuffix("s"))}
    return next((parts for word, parts in _BESIDE.items() if set(word.split()) <= words), ())
