"""What a category says of its joints: limbs, and beside COCO's format a mirror (``flip_idx``) and OKS sigmas."""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import DataError, shown


def pairs_of_flip_index(index: Any, number: int) -> list[tuple[int, int]]:
    """Turn a mirror's permutation (``flip_idx``) into pairs.

    Args:
        index: for each joint the one that it becomes.
        number: of joints, K.

    Returns:
        Pairs of 0-based indices, the smaller one first.

    Raises:
        DataError: it is no permutation of the K joints that undoes itself.
    """
    whole = isinstance(index, (list, tuple)) and all(type(joint) is int for joint in index)
    if not whole or len(index) != number:
        found = f"{len(index)} numbers" if whole else shown(index)
        raise DataError(f"`flip_idx` has {found}, but must have one of 0 to {number - 1} for each of {number} joints")
    for joint, other in enumerate(index):
        if not 0 <= other < number or index[other] != joint:
            back = f", and joint {other} the number {index[other]}" if 0 <= other < number else ""
            raise DataError(
                f"`flip_idx` gives joint {joint} the number {other}{back}; its numbers go from 0 to {number - 1}, and "
                "two joints that swap name each other"
            )
    return [(a, b) for a, b in enumerate(index) if a < b]


def category_pairs(category: Mapping[str, Any], number: int) -> list[tuple[int, int]] | None:
    """The pairs of a category's ``flip_idx``; None where it has none.

    Args:
        category: of a file.
        number: of joints, K.

    Raises:
        DataError: it does not fit the joints.
    """
    if category.get("flip_idx") is None:
        return None
    try:
        return pairs_of_flip_index(category["flip_idx"], number)
    except DataError as error:
        raise DataError(f"category {shown(category.get('name', '?'))}: {error}") from error


def category_limbs(category: Mapping[str, Any], number: int) -> tuple[tuple[int, int], ...]:
    """The limbs of a category as pairs of 0-based indices.

    Args:
        category: of a file.
        number: of joints, K.

    Raises:
        DataError: they are no pairs of joint numbers.
    """
    limbs = []
    for limb in category.get("skeleton") or ():
        if len(limb) != 2 or not all(1 <= int(j) <= number for j in limb):
            raise DataError(
                f"category {category.get('name', '?')!r} has the limb {list(limb)}, but limbs are pairs of joint "
                f"numbers from 1 to {number}."
            )
        limbs.append((int(limb[0]) - 1, int(limb[1]) - 1))
    return tuple(limbs)


def category_oks_sigmas(category: Mapping[str, Any], number: int) -> list[float] | None:
    """A category's ``oks_sigmas``; None where it has none.

    Args:
        category: of a file.
        number: of joints, K.

    Raises:
        DataError: they are not K numbers above 0.
    """
    given = category.get("oks_sigmas")
    if given is None:
        return None
    numbers = isinstance(given, list) and all(type(s) in (int, float) and 0 < s < math.inf for s in given)
    if not numbers or len(given) != number:
        raise DataError(
            f"category {shown(category.get('name', '?'))} has `oks_sigmas` {shown(given)}; it must be one number above "
            f"0 for each of {number} joints"
        )
    return [float(s) for s in given]
