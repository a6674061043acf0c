"""Choose the tracker's options on clips: random steps from the best so far, kept where the metrics rise."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .identity import identity_metrics
from .smoothness import smoothness_metrics
from .variants import identities, metrics, with_options

if TYPE_CHECKING:
    from rle_onestage.structures.skeleton import Skeleton
    from video_benchmark.clips import Clip
    from video_benchmark.detections import Found
    from video_benchmark.variants import Variant


# Smallest and largest value of what is searched, on a logarithmic scale where the first is above 0.
TRACKING = {
    "high": (0.1, 0.6), "low": (0.02, 0.3), "birth": (0.15, 0.7), "match": (0.02, 0.5), "match_low": (0.02, 0.6),
    "overlap": (0.0, 1.0), "duplicate": (0.05, 0.9), "keep": (0.3, 6.0), "lately": (0.02, 1.0),
    "box_noise": (0.01, 0.3), "box_acceleration": (0.1, 5.0), "speed": (0.1, 4.0),
}  # fmt: skip
MOTION = {
    "noise": (0.05, 4.0), "relaxation": (0.1, 4.0), "outlier": (1.0, 10.0), "surprise": (0.2, 10.0),
    "swing": (0.2, 4.0),
}  # fmt: skip


def identity_score(variant: "Variant", cases: "dict[str, tuple[Clip, Found]]", skeleton: "Skeleton") -> float:
    """IDF1 + HOTA over all clips."""
    found = identity_metrics([identities(variant, clip, found, skeleton) for clip, found in cases.values()])
    return found["IDF1"] + found["HOTA"]


def smoothness_score(variant: "Variant", cases: "dict[str, tuple[Clip, Found]]", skeleton: "Skeleton") -> float:
    """Error and half the jitter, with the sign changed."""
    results = [metrics(variant, clip, found, skeleton)[1] for clip, found in cases.values()]
    found = smoothness_metrics(results)
    return -found["error"] - 0.5 * found["jitter"]


def tune(
    variant: "Variant",
    cases: "dict[str, tuple[Clip, Found]]",
    skeleton: "Skeleton",
    *,
    ranges: dict[str, tuple[float, float]],
    score: Callable,
    trials: int,
    seed: int = 0,
) -> "Iterator[tuple[int, Variant, float]]":
    """Search.

    Args:
        variant: to start from.
        cases: of :func:`~.detections.load_all`.
        skeleton: of the joints.
        ranges: ``TRACKING`` or ``MOTION``.
        score: function of (variant, cases, skeleton), larger is better.
        trials: number of steps.

    Yields:
        (number of the trial, best variant so far, its score) at the start and after each gain.
    """
    rng = np.random.default_rng(seed)
    best = score(variant, cases, skeleton)
    yield 0, variant, best
    for trial in range(1, trials + 1):
        names = rng.choice(list(ranges), size=rng.integers(1, 4), replace=False)
        changes = {name: _step(rng, getattr(variant.options, name), *ranges[name]) for name in names}
        candidate = with_options(variant, **changes)
        value = score(candidate, cases, skeleton)
        if value > best:
            variant, best = candidate, value
            yield trial, variant, best


def _step(rng: np.random.Generator, value: float, low: float, high: float) -> float:
    """A value near another one, within limits, of three digits."""
    if low > 0:
        value = np.exp(np.clip(np.log(max(value, low)) + rng.normal(0, 0.3), np.log(low), np.log(high)))
    else:
        value = np.clip(value + rng.normal(0, 0.2 * (high - low)), low, high)
    return float(f"{value:.3g}")
