"""Filters to compare with: the One-Euro filter and a moving average, on the joints of one track."""

import numpy as np


def one_euro(
    points: np.ndarray,
    times: np.ndarray,
    sizes: np.ndarray,
    *,
    min_cutoff: float,
    beta: float,
    derivative_cutoff: float = 1.0,
) -> np.ndarray:
    """One-Euro filter (Casiez, Roussel and Vogel, CHI 2012, equations 1 to 6): a low pass that opens with speed.

    Args:
        points: (T, K, 2) in pixels.
        times: (T,) seconds.
        sizes: (T,) of the person, pixels.
        min_cutoff: Hz at rest.
        beta: Hz for each person size a second.
        derivative_cutoff: Hz.

    Returns:
        (T, K, 2).
    """
    out, speed = [points[0]], np.zeros_like(points[0])
    for i in range(1, len(points)):
        dt = times[i] - times[i - 1]
        part = _share(derivative_cutoff, dt)
        speed = part * (points[i] - out[-1]) / dt + (1 - part) * speed
        part = _share(min_cutoff + beta * np.abs(speed) / sizes[i], dt)
        out.append(part * points[i] + (1 - part) * out[-1])
    return np.stack(out)


def _share(cutoff: float | np.ndarray, dt: float) -> float | np.ndarray:
    """Weight of the new value in a first-order low pass."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * dt))


def moving_average(points: np.ndarray, times: np.ndarray, seconds: float) -> np.ndarray:
    """Mean (T, K, 2) of the points (T, K, 2) of the last ``seconds``, this one included."""
    first = np.searchsorted(times, times - seconds + 1e-6)
    total = np.concatenate([np.zeros_like(points[:1]), points.cumsum(0)])
    last = np.arange(1, len(points) + 1)
    return (total[last] - total[first]) / (last - first)[:, None, None]
