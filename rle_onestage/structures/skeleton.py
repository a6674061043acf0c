"""A keypoint set: joint names, mirror pairs, limbs and COCO's OKS sigmas.

Built-in sets are COCO 17, CrowdPose 14, MPII 16, H36M 17 and :mod:`.structures.wholebody`; any other comes from the
``categories`` entry of a COCO-format file (:func:`skeleton_from_category`).

OKS sigmas follow COCO's convention: the falloff of joint ``i`` is ``k_i = 2 * sigma_i``. COCO measured them for its
17 joints (https://cocodataset.org/#keypoints-eval) and CrowdPose published those of its 14
(https://github.com/Jeff-sjtu/CrowdPose). There are no official ones for other sets: :func:`stand_in_oks_sigmas` then
takes the value of the same body part from those two, and ``STAND_IN_OKS_SIGMA`` where there is no such part.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, DataError, counted, shown
from .category_extras import category_limbs, category_oks_sigmas, category_pairs

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
_LEFT, _RIGHT = ("left", "l"), ("right", "r")
MOST_LETTERS = 100  # of a joint's name, as in checkpoints
_warned: set[tuple[str, ...]] = set()  # joint names that were found to have no pairs
_logger = logging.getLogger(__name__)


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
        index = list(range(self.num_joints))
        for left, right in self.flip_pairs:
            index[left], index[right] = right, left
        return index

    @property
    def flip_map(self) -> list[tuple[str, str]]:
        """The pairs by name, as Detectron2's ``keypoint_flip_map``."""
        return [(self.names[left], self.names[right]) for left, right in self.flip_pairs]

    @property
    def connection_rules(self) -> list[tuple[str, str, tuple[int, int, int]]]:
        """Limbs by name and RGB colour, as Detectron2's ``keypoint_connection_rules``."""
        return [(self.names[a], self.names[b], _limb_colour(self.names[a], self.names[b])) for a, b in self.limbs]


def _limb_colour(a: str, b: str) -> tuple[int, int, int]:
    """The RGB colour of the limb between two joints, by its side."""
    sides = {split_side(a)[1], split_side(b)[1]} - {""}
    if sides == {"left"}:
        return (102, 204, 255)
    if sides == {"right"}:
        return (255, 128, 0)
    return (51, 255, 102)


def split_side(name: str) -> tuple[str, str]:
    """Split a joint name into the part and the side: ``"Left Wrist" -> ("wrist", "left")``.

    Known forms are ``left_wrist``, ``l_wrist``, ``wrist_left``, ``Left Wrist``, ``leftWrist``, ``LWrist``, ``wristL``
    and ``leftwrist``.

    Args:
        name: a joint name.

    Returns:
        (part, side), both in lower case; the side is ``left``, ``right``, or empty for joints in the middle.
    """
    tokens = [t.lower() for t in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)]
    for side, words in (("left", _LEFT), ("right", _RIGHT)):
        for word in words:
            if word in tokens and len(tokens) > 1:
                tokens.remove(word)
                return " ".join(tokens), side
    joined = " ".join(tokens)
    for side in ("left", "right"):
        if joined.startswith(side) and joined != side:
            return joined[len(side) :].strip(), side
        if joined.endswith(side) and joined != side:
            return joined[: -len(side)].strip(), side
    return joined, ""


# Other words for the same body part, in the form that :func:`split_side` gives.
_SYNONYMS = {
    "headtop": "head top", "top head": "head top", "top of head": "head top", "head crown": "head top",
    "sho": "shoulder", "shldr": "shoulder", "elb": "elbow", "wri": "wrist", "wr": "wrist", "kne": "knee",
    "ank": "ankle", "mid hip": "pelvis", "hip centre": "pelvis", "hip center": "pelvis", "midhip": "pelvis",
    "nose tip": "nose", "eye ball": "eye", "upper neck": "neck", "neck base": "neck",
}  # fmt: skip


def joint_key(name: str) -> tuple[str, str]:
    """What a joint is called everywhere, e.g. ``"LSho" -> ("shoulder", "left")``.

    Args:
        name: a joint name.

    Returns:
        (part, side), see :func:`split_side`.
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


def find_flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Find the joints that swap in a mirror from their names.

    Args:
        names: K joint names, e.g. ``["nose", "left_eye", "right_eye"]``.

    Returns:
        Pairs (left, right) of 0-based indices, in the order of the left joints.
    """
    parts = [split_side(name) for name in names]
    where = {part: i for i, part in enumerate(parts)}
    pairs = [
        (i, where[part, "right"]) for i, (part, side) in enumerate(parts) if side == "left" and (part, "right") in where
    ]
    paired = {i for pair in pairs for i in pair}
    # Glued single letters (lwrist, rwrist) count only when both sides exist: "lip" alone has no side.
    plain = {name.lower(): i for i, name in enumerate(names) if i not in paired}
    for name, i in plain.items():
        if name.startswith("l") and "r" + name[1:] in plain:
            pairs.append((i, plain["r" + name[1:]]))
    return tuple(sorted(pairs))


def without_partner(names: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Joints that say left or right, and have no pair: their partner may be misspelt.

    Args:
        names: K joint names.
        pairs: pairs of 0-based indices that were found, see :func:`find_flip_pairs`.
    """
    paired = {index for pair in pairs for index in pair}
    return [name for index, name in enumerate(names) if index not in paired and split_side(name)[1]]


def named_flip_pairs(names: Iterable[str], pairs: Iterable[Sequence[str]]) -> tuple[tuple[int, int], ...]:
    """Turn pairs of joint names (``cfg.DATASETS.KEYPOINT_FLIP_PAIRS``) into pairs of indices.

    Args:
        names: K joint names.
        pairs: pairs of these names.

    Returns:
        Pairs of 0-based indices, in the order of ``pairs``.

    Raises:
        ConfigError: a name is not one of the joints, or a joint is in two pairs.
    """
    names = list(names)
    result: list[tuple[int, int]] = []
    seen: set[str] = set()
    for pair in pairs:
        for joint in pair:
            if joint not in names:
                raise ConfigError(
                    f"DATASETS.KEYPOINT_FLIP_PAIRS names {joint!r}, which is not one of the joints {', '.join(names)}."
                )
            if joint in seen:
                raise ConfigError(f"DATASETS.KEYPOINT_FLIP_PAIRS has {joint!r} twice; a joint can be in one pair only.")
            seen.add(joint)
        if len(pair) != 2:
            raise ConfigError(f"DATASETS.KEYPOINT_FLIP_PAIRS must hold pairs of joint names, not {list(pair)}.")
        result.append((names.index(pair[0]), names.index(pair[1])))
    return tuple(result)


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
        flip_pairs: pairs of joint names; empty or None: the category's, else found from left and right in the names.
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
    pairs = named_flip_pairs(names, flip_pairs) if flip_pairs else _own_pairs(category, names)
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


def _own_pairs(category: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The pairs of a category's ``flip_idx``, or those that the names tell."""
    if (given := category_pairs(category, len(names))) is not None:
        return tuple((b, a) if split_side(names[a])[1] == "right" else (a, b) for a, b in given)
    pairs = find_flip_pairs(names)
    _warn_of_pairs(names, pairs)
    return pairs


def _warn_of_pairs(names: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> None:
    """Say once of each set of joints what its names leave open.

    Args:
        names: K joint names.
        pairs: those found by the names.
    """
    alone = without_partner(names, pairs)
    if names in _warned or len(names) == 1 or (pairs and not alone):
        return
    _warned.add(names)
    if not pairs:
        _logger.warning(
            "No left/right pairs among the joints %s: a mirrored image keeps them as they are. "
            "Give DATASETS.KEYPOINT_FLIP_PAIRS if some swap.",
            ", ".join(names),
        )
    else:
        _logger.warning(
            "Joints that say left or right, but have no partner of the other side: %s. A mirrored image keeps them as "
            "they are. Correct the names in the annotation file, or give all pairs by DATASETS.KEYPOINT_FLIP_PAIRS.",
            ", ".join(alone),
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
