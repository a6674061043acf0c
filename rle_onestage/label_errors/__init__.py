"""Labels that a model finds unlikely: what speaks against them, what would explain them, and pages of them."""

from .evidence import Case, Collector, Evidence, Prediction, Ratios, Views, compare, match_cases, share_of_misses, weigh
from .mistakes import Explanation, Mistake, describe, explain
from .search import Findings, LabelError, find_label_errors, rank
from .trust import Trust, measure_trust

__all__ = [
    "Case",
    "Collector",
    "Evidence",
    "Explanation",
    "Findings",
    "Mistake",
    "Prediction",
    "Ratios",
    "LabelError",
    "Trust",
    "Views",
    "compare",
    "describe",
    "explain",
    "find_label_errors",
    "match_cases",
    "measure_trust",
    "rank",
    "share_of_misses",
    "weigh",
]
