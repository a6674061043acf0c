"""How well joints in space are found: MPJPE and its kin, and intervals of depth."""

from .actions import space_tables
from .errors import (
    SPACE_METRICS,
    SpaceMatches,
    coverage,
    errors_in_space,
    has_space,
    joint_distances,
    match_in_space,
    n_mpjpe,
    pa_mpjpe,
    space_metrics,
)

__all__ = [
    "SPACE_METRICS",
    "SpaceMatches",
    "coverage",
    "errors_in_space",
    "has_space",
    "joint_distances",
    "match_in_space",
    "n_mpjpe",
    "pa_mpjpe",
    "space_metrics",
    "space_tables",
]
