"""Which joints swap in a mirror: told by left and right in their names, by a file, or by the config."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .category_extras import category_pairs

PAIRS_KEY = "DATASETS.KEYPOINT_FLIP_PAIRS"
_LEFT, _RIGHT = ("left", "l"), ("right", "r")
_warned: set[tuple[Any, ...]] = set()  # joint names and given pairs that were warned of
_logger = logging.getLogger(__name__)


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


def flip_index(pairs: Iterable[tuple[int, int]], number: int) -> list[int]:
    """Permutation ``p`` such that joint ``i`` of a mirrored person is joint ``p[i]`` of the person.

    Args:
        pairs: of 0-based indices that swap.
        number: of joints, K.
    """
    index = list(range(number))
    for left, right in pairs:
        index[left], index[right] = right, left
    return index


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


def join_flip_pairs(
    names: Sequence[str], known: Iterable[tuple[int, int]], given: Iterable[Sequence[str]]
) -> tuple[tuple[int, int], ...]:
    """Add pairs that are given to those that are known; a given pair stands in place of others of its joints.

    A warning says once which given pairs go against the names, and which joints of a side are left alone.

    Args:
        names: K joint names.
        known: pairs of 0-based indices that the names or a file tell.
        given: pairs of joint names, of ``DATASETS.KEYPOINT_FLIP_PAIRS``.

    Returns:
        Pairs of 0-based indices, sorted where there are given ones.

    Raises:
        ConfigError: see :func:`named_flip_pairs`.
    """
    known, pairs = tuple(known), named_flip_pairs(names, given)
    if not pairs:
        return known
    taken = {index for pair in pairs for index in pair}
    same = {frozenset(pair) for pair in pairs}
    dropped = [pair for pair in known if taken & set(pair) and frozenset(pair) not in same]
    joined = tuple(sorted([*pairs, *(pair for pair in known if not taken & set(pair))]))
    key = (*names, known, pairs)
    if key not in _warned:
        _warned.add(key)
        _warn_of_given(names, pairs, dropped)
        if alone := without_partner(names, joined):
            _warn_of_alone(alone)
    return joined


def category_flip_pairs(
    category: Mapping[str, Any], names: tuple[str, ...], given: Iterable[Sequence[str]] | None
) -> tuple[tuple[int, int], ...]:
    """The pairs of a category: those of its ``flip_idx``, else those that the names tell, and the given ones.

    Args:
        category: of a COCO-format file.
        names: its K joint names.
        given: pairs of joint names that are added; empty or None for none.

    Raises:
        ConfigError: see :func:`named_flip_pairs`.
        DataError: a ``flip_idx`` that does not fit the joints.
    """
    own = category_pairs(category, len(names))
    if own is None:
        known = find_flip_pairs(names)
    else:
        known = tuple((b, a) if split_side(names[a])[1] == "right" else (a, b) for a, b in own)
    if given:
        return join_flip_pairs(names, known, given)
    if own is None:
        _warn_of_found(names, known)
    return known


def _warn_of_found(names: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> None:
    """Say once of each set of joints what its names leave open.

    Args:
        names: K joint names.
        pairs: those found by the names.
    """
    alone = without_partner(names, pairs)
    if names in _warned or len(names) == 1 or (pairs and not alone):
        return
    _warned.add(names)
    if pairs:
        _warn_of_alone(alone)
        return
    _logger.warning(
        f"No left/right pairs among the joints %s: a mirrored image keeps them as they are. Give {PAIRS_KEY} if some "
        "swap.",
        ", ".join(names),
    )


def _warn_of_alone(alone: Sequence[str]) -> None:
    """Say which joints of a side keep their place in a mirror."""
    _logger.warning(
        "Joints that say left or right, but have no partner of the other side: %s. A mirrored image keeps them as "
        f"they are. Correct the names in the annotation file, or give their pairs by {PAIRS_KEY}.",
        ", ".join(alone),
    )


def _warn_of_given(names: Sequence[str], pairs: Iterable[tuple[int, int]], dropped: Sequence[tuple[int, int]]) -> None:
    """Say which given pairs go against the names, and which pairs they stand in place of."""
    broken = {index for pair in dropped for index in pair}
    odd = [pair for pair in pairs if broken & set(pair) or not _may_swap(*(names[index] for index in pair))]
    if not odd:
        return
    _logger.warning(
        f"{PAIRS_KEY} swaps %s, whose names say something else. It is followed%s; correct it unless it is meant.",
        _shown_pairs(names, odd),
        f" in place of {_shown_pairs(names, dropped)}" if dropped else "",
    )


def _may_swap(one: str, other: str) -> bool:
    """False for two joints that are of the same side, or of a side and with no word in common."""
    (part, side), (other_part, other_side) = split_side(one), split_side(other)
    if not (side or other_side):
        return True
    return side != other_side and bool(set(part.split()) & set(other_part.split()))


def _shown_pairs(names: Sequence[str], pairs: Iterable[tuple[int, int]]) -> str:
    """Pairs by name, as ``left_hand/right_hand, left_foot/right_foot``."""
    return ", ".join(f"{names[a]}/{names[b]}" for a, b in pairs)
