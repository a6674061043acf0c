"""Whole numbers of a file that anybody may have written."""

from typing import TypeGuard


def is_whole(value: object, low: int = 0, high: int = 2**63) -> TypeGuard[int]:
    """Whether a value is an integer, no bool, of at least ``low`` and below ``high`` (as int64 holds)."""
    return type(value) is int and low <= value < high
