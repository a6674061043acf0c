"""How joints move between frames: a Kalman filter for each coordinate of each point of each track, and its smoother.

The velocity of a point is an Ornstein-Uhlenbeck process about the velocity of its person: a limb swings for a moment,
then goes where the body goes. With ``u`` the person's mean velocity, taken as known::

    dx = v dt,    dv = -(v - u) dt / RELAXATION + a s dB

``a`` (``accelerations``) is the strength of the point's random acceleration in person sizes, ``s`` the person's size
in pixels, ``B`` Brownian motion. A point that was not measured goes on in this way, with a standard deviation that
grows. The measurement noise is the network's own: the square of the predicted standard deviation. For the formulas
see Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation", sections 5.2 (filter),
6.2 (noise in continuous time) and 8.6 (Rauch-Tung-Striebel smoother).
"""

from typing import NamedTuple

import numpy as np

Index = np.ndarray | slice  # of tracks
_FARTHEST = 10.0  # standard deviations of one point in the mean of its person


class State(NamedTuple):
    """Mean and covariance of position and velocity of T tracks with J points, each coordinate by itself."""

    position: np.ndarray  # (T, J, 2) pixels
    velocity: np.ndarray  # (T, J, 2) pixels a second
    pp: np.ndarray  # (T, J, 2) variance of the position
    pv: np.ndarray  # (T, J, 2) covariance of position and velocity
    vv: np.ndarray  # (T, J, 2) variance of the velocity

    def rows(self, index: Index) -> "State":
        """The states of some tracks."""
        return State(*(values[index] for values in self))

    def put(self, index: Index, other: "State") -> "State":
        """A copy in which some tracks have another state."""
        out = State(*(values.copy() for values in self))
        for values, new in zip(out, other):
            values[index] = new
        return out

    def joined(self, other: "State") -> "State":
        """These tracks, then the others."""
        return State(*(np.concatenate(pair) for pair in zip(self, other)))


class Transition(NamedTuple):
    """What :func:`predict` did, as the smoother needs it: matrix ``[[1, reach], [0, decay]]``, and the prediction."""

    reach: float
    decay: float
    predicted: State


def empty_state(points: int) -> State:
    """The state of no track with J points."""
    return State(*(np.zeros((0, points, 2)) for _ in State._fields))


def initial_state(measured: np.ndarray, variance: np.ndarray, speed: np.ndarray) -> State:
    """States of new tracks, at rest.

    Args:
        measured: (T, J, 2) pixels.
        variance: (T, J, 2) square pixels.
        speed: (T,) standard deviation of a person's velocity, pixels a second.
    """
    speeds = np.broadcast_to(np.square(speed)[:, None, None], measured.shape).copy()
    return State(measured.copy(), np.zeros_like(measured), variance.copy(), np.zeros_like(measured), speeds)


def mean_velocity(state: State) -> np.ndarray:
    """Velocity (T, 1, 2) of each person: of its points, weighted by how well each is known."""
    weight = 1 / state.vv
    return (state.velocity * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)


def predict(state: State, dt: float, size: np.ndarray, accelerations: np.ndarray, relaxation: float) -> Transition:
    """The states a while later.

    Args:
        state: of T tracks.
        dt: seconds, above 0.
        size: (T,) of the people, pixels.
        accelerations: (J,) person sizes per second to the 3/2.
        relaxation: seconds.

    Returns:
        :class:`Transition`.
    """
    x = dt / relaxation
    decay = float(np.exp(-x))
    reach = relaxation * -float(np.expm1(-x))
    noise = np.square(np.asarray(accelerations)[None, :, None] * size[:, None, None])
    person = mean_velocity(state) if len(size) else np.zeros((0, 1, 2))
    swing = state.velocity - person
    predicted = State(
        state.position + person * dt + reach * swing,
        person + decay * swing,
        state.pp + 2 * reach * state.pv + reach**2 * state.vv + noise * _position_noise(x) * relaxation**3,
        decay * (state.pv + reach * state.vv) + noise * relaxation**2 / 2 * np.expm1(-x) ** 2,
        decay**2 * state.vv + noise * relaxation / 2 * -np.expm1(-2 * x),
    )
    return Transition(reach, decay, predicted)


def _position_noise(x: float) -> float:
    """``x - 3/2 + 2 exp(-x) - exp(-2 x) / 2``, the first term of its series where the others cancel."""
    return x**3 / 3 if x < 1e-3 else x - 1.5 + 2 * float(np.exp(-x)) - 0.5 * float(np.exp(-2 * x))


def widen(state: State, measured: np.ndarray, variance: np.ndarray, surprise: float) -> State:
    """The predicted states with room for what was not foreseen.

    People whose points are together farther off than expected have turned, jumped, or were somebody else: their
    covariances of the points that are seen are multiplied by how much farther (an adaptive filter by the normalised
    innovation squared; Bar-Shalom et al., section 11.2).

    Args:
        state: predicted, of T tracks.
        measured: (T, J, 2) pixels.
        variance: (T, J, 2) square pixels, infinite where there is no measurement.
        surprise: a person's mean squared innovation, in variances, from which on its covariances are multiplied.
    """
    there = np.isfinite(variance)
    innovation = np.where(there, measured - state.position, 0.0)
    squared = np.minimum(np.square(innovation) / (state.pp + np.where(there, variance, 1.0)), _FARTHEST**2)
    mean = squared.sum((1, 2)) / np.maximum(there.sum((1, 2)), 1)
    # Not those that are hidden: no measurement would narrow them again.
    factor = np.where(there, np.maximum(mean / surprise, 1.0)[:, None, None], 1.0)
    return state._replace(pp=factor * state.pp, pv=factor * state.pv, vv=factor * state.vv)


def update(state: State, measured: np.ndarray, variance: np.ndarray, outlier: float) -> State:
    """The states after a measurement.

    A measurement farther off than ``outlier`` standard deviations pulls no more than one at that distance (its
    variance is enlarged in proportion): the errors of joints have long tails.

    Args:
        state: predicted, of T tracks.
        measured: (T, J, 2) pixels.
        variance: (T, J, 2) square pixels, infinite where there is no measurement.
        outlier: standard deviations.
    """
    there = np.isfinite(variance)
    variance = np.where(there, variance, 1.0)
    innovation = np.where(there, measured - state.position, 0.0)
    total = state.pp + variance
    far = np.abs(innovation) / np.sqrt(total)
    total = np.where(far > outlier, total * far / outlier, total)
    gain = np.where(there, state.pp / total, 0.0)
    speed_gain = np.where(there, state.pv / total, 0.0)
    return State(
        state.position + gain * innovation,
        state.velocity + speed_gain * innovation,
        state.pp * (1 - gain),
        state.pv * (1 - gain),
        state.vv - speed_gain * state.pv,
    )


def smooth(filtered: State, transition: Transition, later: State) -> State:
    """The states given also what came later: one step back of the Rauch-Tung-Striebel smoother.

    Args:
        filtered: at this frame, T tracks.
        transition: from this frame to the next one.
        later: smoothed states of the same tracks at the next frame.
    """
    reach, decay, ahead = transition
    determinant = np.maximum(ahead.pp * ahead.vv - ahead.pv**2, 1e-12)
    # cross = P F', gain = cross P_ahead^-1, in 2 x 2 blocks
    cross_pp, cross_pv = filtered.pp + reach * filtered.pv, decay * filtered.pv
    cross_vp, cross_vv = filtered.pv + reach * filtered.vv, decay * filtered.vv
    gpp = (cross_pp * ahead.vv - cross_pv * ahead.pv) / determinant
    gpv = (cross_pv * ahead.pp - cross_pp * ahead.pv) / determinant
    gvp = (cross_vp * ahead.vv - cross_vv * ahead.pv) / determinant
    gvv = (cross_vv * ahead.pp - cross_vp * ahead.pv) / determinant
    dx, dv = later.position - ahead.position, later.velocity - ahead.velocity
    dpp, dpv, dvv = later.pp - ahead.pp, later.pv - ahead.pv, later.vv - ahead.vv
    return State(
        filtered.position + gpp * dx + gpv * dv,
        filtered.velocity + gvp * dx + gvv * dv,
        np.maximum(filtered.pp + gpp**2 * dpp + 2 * gpp * gpv * dpv + gpv**2 * dvv, 0.0),
        filtered.pv + gpp * gvp * dpp + (gpp * gvv + gpv * gvp) * dpv + gpv * gvv * dvv,
        np.maximum(filtered.vv + gvp**2 * dpp + 2 * gvp * gvv * dpv + gvv**2 * dvv, 0.0),
    )
