"""A keypoint set: joint names, mirror pairs, limbs and COCO's OKS sigmas.

Built-in sets are COCO 17, CrowdPose 14, MPII 16, H36M 17 and :mod:`.structures.wholebody`; any other comes from the
``categories`` entry of a COCO-format file (:func:`skeleton_from_category`).

OKS sigmas follow COCO's convention: the falloff of joint ``i`` is ``k_i = 2 * sigma_i``. COCO measured them for its
17 joints (https://cocodataset.org/#keypoints-eval) and CrowdPose published those of its 14
(https://github.com/Jeff-sjtu/CrowdPose). There are no official ones for other sets: :func:`stand_in_oks_sigmas` then
takes the value of the same body part from those two, and ``STAND_IN_OKS_SIGMA`` where there is no such part.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, DataError, counted, shown
from .category_extras import category_limbs, category_oks_sigmas
from .flip_pairs import category_flip_pairs, find_flip_pairs, flip_index, split_side

STAND_IN_OKS_SIGMA = 0.08
STAND_INS = f"stand-ins by body part ({STAND_IN_OKS_SIGMA} elsewhere)"
OKS_KEY = "TEST.KEYPOINT_OKS_SIGMAS"

# COCO's own (nose to ankle), CrowdPose's (head, neck); the pelvis lies between the hips.
_PART_OKS_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "head": 0.079,
    "neck": 0.079,
    "pelvis": 0.107,
}
MOST_LETTERS = 100  # of a joint's name, as in checkpoints


@dataclass(frozen=True)
class Skeleton:
    """A keypoint set of K joints.

    Attributes:
        name: what the set is called.
        names: K joint names.
        flip_pairs: pairs of 0-based joint indices that swap in a mirror.
        limbs: pairs of 0-based joint indices that are joined by a line.
        oks_sigmas: K OKS sigmas, in units of the root of the person's area; the falloff is ``k = 2 * sigma``.
        has_oks_sigmas: False when they are a stand-in that nobody measured.
        oks_source: where they come from, as evaluation says it.
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    oks_sigmas: tuple[float, ...]
    has_oks_sigmas: bool = True
    oks_source: str = "as given"

    @property
    def num_joints(self) -> int:
        """K."""
        return len(self.names)

    @property
    def flip_index(self) -> list[int]:
        """Permutation ``p`` such that joint ``i`` of a mirrored person is joint ``p[i]`` of the person."""
        return flip_index(self.flip_pairs, self.num_joints)

    @property
    def sides(self) -> list[str]:
        """Of each joint ``left``, ``right`` or ``""``: by its name, else the first of a flip pair is left."""
        sides = [split_side(name)[1] for name in self.names]
        for left, right in self.flip_pairs:
            if not (sides[left] or sides[right]):
                sides[left], sides[right] = "left", "right"
        return sides

    @property
    def flip_map(self) -> list[tuple[str, str]]:
        """The pairs by name, as Detectron2's ``keypoint_flip_map``."""
        return [(self.names[left], self.names[right]) for left, right in self.flip_pairs]

    @property
    def connection_rules(self) -> list[tuple[str, str, tuple[int, int, int]]]:
        """Limbs by name and RGB colour, as Detectron2's ``keypoint_connection_rules``."""
        sides = self.sides
        return [(self.names[a], self.names[b], _limb_colour({sides[a], sides[b]} - {""})) for a, b in self.limbs]


def _limb_colour(sides: Set[str]) -> tuple[int, int, int]:
    """The RGB colour of a limb, by the sides of its joints."""
    if sides == {"left"}:
        return (102, 204, 255)
    if sides == {"right"}:
        return (255, 128, 0)
    return (51, 255, 102)


# Other words for the same body part, in the form that :func:`~.flip_pairs.split_side` gives.
_SYNONYMS = {
    "headtop": "head top", "top head": "head top", "top of head": "head top", "head crown": "head top",
    "sho": "shoulder", "shldr": "shoulder", "elb": "elbow", "wri": "wrist", "wr": "wrist", "kne": "knee",
    "ank": "ankle", "mid hip": "pelvis", "hip centre": "pelvis", "hip center": "pelvis", "midhip": "pelvis",
    "nose tip": "nose", "eye ball": "eye", "upper neck": "neck", "neck base": "neck",
}  # fmt: skip


# Words that some label files have for the joint of a set that is nearest.
_NEAR = {"hand": "wrist", "palm": "wrist", "foot": "ankle", "feet": "ankle", "heel": "ankle"}


def joint_key(name: str) -> tuple[str, str]:
    """What a joint is called everywhere, e.g. ``"LSho" -> ("shoulder", "left")``.

    Args:
        name: a joint name.

    Returns:
        (part, side), see :func:`~.flip_pairs.split_side`.
    """
    part, side = split_side(name)
    return _SYNONYMS.get(part, part), side


def map_joints(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Find each wanted joint among the joints of another set, by name.

    Args:
        names: joint names of the other set.
        wanted: K joint names.

    Returns:
        K indices into ``names``; -1 for a joint that the other set lacks. Equal names go before synonyms.
    """
    exact = {name: i for i, name in enumerate(names)}
    by_key: dict[tuple[str, str], int] = {}
    for i, name in enumerate(names):
        by_key.setdefault(joint_key(name), i)
    return [exact.get(name, by_key.get(joint_key(name), -1)) for name in wanted]


def near_joints(names: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Guess which joints are called otherwise in another set: ``left_hand`` may be its ``left_wrist``.

    Args:
        names: joint names of the other set.
        wanted: joint names.

    Returns:
        {wanted: name of the same side whose part has a word in common with it, or a near one}. Of joints that
        :func:`map_joints` finds there is no guess, and no joint is guessed twice.
    """
    found = map_joints(names, wanted)
    free = [name for i, name in enumerate(names) if i not in found]
    guesses: dict[str, str] = {}
    for name in (name for name, place in zip(wanted, found) if place < 0):
        part, side = joint_key(name)
        words = {_NEAR.get(word, word) for word in part.split()}
        near = (other for other in free if joint_key(other)[1] == side and words & set(joint_key(other)[0].split()))
        if (guess := next(near, None)) is not None:
            guesses[name] = guess
            free.remove(guess)
    return guesses


def stand_in_oks_sigmas(names: Iterable[str]) -> tuple[float, ...]:
    """OKS sigmas for joints that nobody measured.

    Args:
        names: K joint names.

    Returns:
        K OKS sigmas: those of the body part of that name, else :data:`STAND_IN_OKS_SIGMA`.
    """
    result = []
    for name in names:
        words = split_side(name)[0].split()
        result.append(next((_PART_OKS_SIGMAS[w] for w in words if w in _PART_OKS_SIGMAS), STAND_IN_OKS_SIGMA))
    return tuple(result)


def skeleton_from_category(
    category: Mapping[str, Any],
    flip_pairs: Iterable[Sequence[str]] | None = None,
    oks_sigmas: Sequence[float] | None = None,
) -> Skeleton:
    """Make a skeleton from a ``categories`` entry of a COCO-format file.

    Args:
        category: has ``keypoints`` and may have ``skeleton`` (limbs, 1-based), ``name``, and :mod:`.category_extras`.
        flip_pairs: pairs of joint names that are added to the category's, else to those that the names tell.
        oks_sigmas: K OKS sigmas; empty or None: the category's, else the official ones of COCO's or CrowdPose's joints,
            else :func:`stand_in_oks_sigmas`, which evaluation warns of.

    Raises:
        DataError: no keypoints, joint names that repeat, a limb that does not exist, or extras that do not fit.
        ConfigError: a flip pair that does not exist, or a wrong number of OKS sigmas.
    """
    names = tuple(str(n) for n in category.get("keypoints") or ())
    if not names:
        raise DataError(f"category {category.get('name', '?')!r} has no keypoints; list the joint names there.")
    long = next((name for name in names if len(name) > MOST_LETTERS), None)
    if long is not None:  # each message that names the joints would have it
        raise DataError(
            f"category {shown(category.get('name', '?'))} has the joint {shown(long, 40)} of {len(long)} letters; give "
            f"joints names of up to {MOST_LETTERS}."
        )
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise DataError(
            f"category {category.get('name', '?')!r} has the joint {twice[0]!r} twice; joint names must differ."
        )
    known = next((s for s in SKELETONS.values() if s.names == names), None)
    pairs = category_flip_pairs(category, names, flip_pairs)
    chosen, measured, source = _choose_oks_sigmas(names, oks_sigmas, category, known)
    return Skeleton(
        name=str(category.get("name", "custom")),
        names=names,
        flip_pairs=pairs,
        limbs=category_limbs(category, len(names)),
        oks_sigmas=chosen,
        has_oks_sigmas=measured,
        oks_source=source,
    )


def _choose_oks_sigmas(
    names: tuple[str, ...], given: Sequence[float] | None, category: Mapping[str, Any], known: Skeleton | None
) -> tuple[tuple[float, ...], bool, str]:
    """K OKS sigmas, whether somebody measured them, and their source: given, the category's, official or stand-ins."""
    number = len(names)
    if given:
        if len(given) != number:
            raise ConfigError(
                f"{OKS_KEY} has {counted(len(given), 'value')} but the file has {counted(number, 'joint')}; give one "
                "for each."
            )
        return tuple(float(s) for s in given), True, f"as given ({OKS_KEY} or --oks-sigmas)"
    if own := category_oks_sigmas(category, number):
        # convert-dataset of earlier versions wrote Ultralytics' 1/K, which nobody measured.
        guessed, where = own == [1 / number] * number, "`oks_sigmas` of the label file"
        return tuple(own), not guessed, f"1/{number} each ({where})" if guessed else where
    if known is not None and known.has_oks_sigmas:
        return known.oks_sigmas, True, known.oks_source
    return stand_in_oks_sigmas(names), False, STAND_INS


def _built_in(name: str, joints: str, limbs: str, measured: bool) -> Skeleton:
    """A skeleton from joint names and limbs (``name-name``) that blanks separate."""
    names = tuple(joints.split())
    index = {n: i for i, n in enumerate(names)}
    pairs = tuple((index[a], index[b]) for a, b in (limb.split("-") for limb in limbs.split()))
    source = f"those that {name} published" if measured else STAND_INS
    return Skeleton(name, names, find_flip_pairs(names), pairs, stand_in_oks_sigmas(names), measured, source)


COCO = _built_in(
    "coco",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    "left_ankle-left_knee left_knee-left_hip right_ankle-right_knee right_knee-right_hip left_hip-right_hip "
    "left_shoulder-left_hip right_shoulder-right_hip left_shoulder-right_shoulder left_shoulder-left_elbow "
    "right_shoulder-right_elbow left_elbow-left_wrist right_elbow-right_wrist left_eye-right_eye nose-left_eye "
    "nose-right_eye left_eye-left_ear right_eye-right_ear left_ear-left_shoulder right_ear-right_shoulder",
    measured=True,
)
CROWDPOSE = _built_in(
    "crowdpose",
    "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee "
    "right_knee left_ankle right_ankle head neck",
    "left_ankle-left_knee left_knee-left_hip right_ankle-right_knee right_knee-right_hip left_hip-right_hip "
    "left_shoulder-left_hip right_shoulder-right_hip left_shoulder-right_shoulder left_shoulder-left_elbow "
    "right_shoulder-right_elbow left_elbow-left_wrist right_elbow-right_wrist head-neck left_shoulder-neck "
    "right_shoulder-neck",
    measured=True,
)
MPII = _built_in(
    "mpii",
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top right_wrist "
    "right_elbow right_shoulder left_shoulder left_elbow left_wrist",
    "right_ankle-right_knee right_knee-right_hip right_hip-pelvis left_hip-pelvis left_knee-left_hip "
    "left_ankle-left_knee pelvis-thorax thorax-upper_neck upper_neck-head_top right_wrist-right_elbow "
    "right_elbow-right_shoulder right_shoulder-thorax left_shoulder-thorax left_elbow-left_shoulder "
    "left_wrist-left_elbow",
    measured=False,
)
H36M = _built_in(
    "h36m",
    "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax neck_base head left_shoulder "
    "left_elbow left_wrist right_shoulder right_elbow right_wrist",
    "pelvis-right_hip right_hip-right_knee right_knee-right_ankle pelvis-left_hip left_hip-left_knee "
    "left_knee-left_ankle "
    "pelvis-spine spine-thorax thorax-neck_base neck_base-head thorax-left_shoulder left_shoulder-left_elbow "
    "left_elbow-left_wrist thorax-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist",
    measured=False,
)
SKELETONS: dict[str, Skeleton] = {s.name: s for s in (COCO, CROWDPOSE, MPII, H36M)}
