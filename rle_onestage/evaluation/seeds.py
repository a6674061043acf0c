"""Several trainings of each model, one a seed: means, and differences seed by seed with their intervals."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

# Of one training: metric -> value; None where it is not known.
Metrics = Mapping[str, float | None]


def mean_interval(values: Sequence[float]) -> list[float]:
    """The interval that holds the mean with 95 %, by Student's t.

    Args:
        values: of two seeds or more.

    Returns:
        Its lower and its upper end.
    """
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return [mean(values) - half, mean(values) + half]


def over_seeds(own: Mapping[int, float], base: Mapping[int, float]) -> dict[str, Any] | None:
    """A metric of one model less another's, seed by seed; seeds that only one of them has do not count.

    Args:
        own: seed -> value.
        base: seed -> value.

    Returns:
        dict of ``difference``, ``seeds`` (how many) and ``interval``; None with fewer than two common seeds.
    """
    values = [own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())]
    if len(values) < 2:
        return None
    return {"difference": mean(values), "seeds": len(values), "interval": mean_interval(values)}


def metrics_over_seeds(
    own: Mapping[int, Metrics], base: Mapping[int, Metrics], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What :func:`over_seeds` says of several metrics.

    Args:
        own: seed -> metrics.
        base: seed -> metrics.
        names: of the metrics.

    Returns:
        Metric -> its difference; without those that fewer than two common seeds have.
    """
    found = {name: over_seeds(_of_metric(own, name), _of_metric(base, name)) for name in names}
    return {name: difference for name, difference in found.items() if difference is not None}


def _of_metric(seeds: Mapping[int, Metrics], name: str) -> dict[int, float]:
    values = {seed: metrics.get(name) for seed, metrics in seeds.items()}
    return {seed: value for seed, value in values.items() if value is not None}


def mean_and_sd(seeds: Mapping[int, Metrics], names: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Means and standard deviations over seeds.

    Args:
        seeds: seed -> metrics.
        names: of the metrics; None: all, in the order in which they come.

    Returns:
        dict of ``mean`` and ``sd``: metric -> value. ``mean`` has what one seed has, ``sd`` what two or more have.
    """
    if names is None:
        names = list(dict.fromkeys(name for metrics in seeds.values() for name in metrics))
    values = {name: list(_of_metric(seeds, name).values()) for name in names}
    return {
        "mean": {name: mean(found) for name, found in values.items() if found},
        "sd": {name: stdev(found) for name, found in values.items() if len(found) > 1},
    }
