"""Labels that a model finds unlikely: what speaks against them, what would explain them, and pages of them."""

from .evidence import Case, Collector, Evidence, Prediction, Ratios, Views, compare, match_cases, share_of_misses, weigh
from .mistakes import Explanation, Mistake, describe, explain
from .search import Findings, Suspect, find_suspects, rank

__all__ = [
    "Case",
    "Collector",
    "Evidence",
    "Explanation",
    "Findings",
    "Mistake",
    "Prediction",
    "Ratios",
    "Suspect",
    "Views",
    "compare",
    "describe",
    "explain",
    "find_suspects",
    "match_cases",
    "rank",
    "share_of_misses",
    "weigh",
]
