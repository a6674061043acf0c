"""The motion of joints against matrices written out: prediction, update and smoother of the Kalman filter."""

import numpy as np
import pytest

from rle_onestage.video.tracking import motion

RELAXATION = 0.4
ACCELERATION = np.array([2.0])
SIZE = np.array([10.0])


def one_point(position=0.0, velocity=0.0, pp=1.0, pv=0.0, vv=1.0):
    """A track with one point; y stays at rest at 0 with the same covariance."""
    make = lambda x, y: np.array([[[x, y]]], dtype=float)  # noqa: E731
    return motion.State(make(position, 0), make(velocity, 0), make(pp, pp), make(pv, pv), make(vv, vv))


def matrices(dt):
    """Transition and noise of one coordinate about its person; the noise is the integral of exp(A s) B B' exp(A s)'."""

    def transition(s):
        return np.array([[1, RELAXATION * (1 - np.exp(-s / RELAXATION))], [0, np.exp(-s / RELAXATION)]])

    s = (np.arange(20000) + 0.5) * dt / 20000
    columns = np.stack([transition(v) @ (0, ACCELERATION[0] * SIZE[0]) for v in s])
    return transition(dt), np.einsum("ni,nj->ij", columns, columns) * dt / len(s)


def covariance(state):
    return np.array([[state.pp[0, 0, 0], state.pv[0, 0, 0]], [state.pv[0, 0, 0], state.vv[0, 0, 0]]])


def mean(state):
    return np.array([state.position[0, 0, 0], state.velocity[0, 0, 0]])


def step(state, dt):
    return motion.predict(state, dt, SIZE, ACCELERATION, RELAXATION)


@pytest.mark.parametrize("dt", [1e-5, 0.04, 0.5, 3.0])
def test_covariance_follows_the_equation(dt):
    f, q = matrices(dt)
    before = one_point(pp=4.0, pv=0.7, vv=9.0)
    after = covariance(step(before, dt).predicted)
    assert after == pytest.approx(f @ covariance(before) @ f.T + q, rel=1e-3)


def test_two_steps_are_one_long_step():
    state = one_point(3.0, 2.0, 4.0, 0.5, 9.0)
    twice, once = step(step(state, 0.1).predicted, 0.25).predicted, step(state, 0.35).predicted
    for a, b in zip(twice, once):
        assert a == pytest.approx(b, rel=1e-9)


def test_a_limb_swings_out_and_then_goes_where_the_person_goes():
    velocity = np.array([[[1.0, 0], [1.0, 0], [7.0, 0]]])
    zero, one = np.zeros((1, 3, 2)), np.ones((1, 3, 2))
    state = motion.State(zero, velocity, one, zero, one)
    far = motion.predict(state, 20.0, SIZE, np.ones(3), RELAXATION).predicted
    person = 3.0  # mean velocity
    assert far.velocity[0, :, 0] == pytest.approx(person, abs=1e-9)
    assert far.position[0, :, 0] == pytest.approx(person * 20 + RELAXATION * (velocity[0, :, 0] - person))


def test_update_is_the_matrix_filter():
    state, measured, variance = one_point(3.0, 2.0, 4.0, 0.5, 9.0), 5.0, 2.0
    after = motion.update(state, np.full((1, 1, 2), measured), np.full((1, 1, 2), variance), outlier=100.0)
    p, h = covariance(state), np.array([1.0, 0.0])
    gain = p @ h / (h @ p @ h + variance)
    assert mean(after) == pytest.approx(mean(state) + gain * (measured - 3.0))
    assert covariance(after) == pytest.approx(p - np.outer(gain, h) @ p)


def test_without_measurement_nothing_but_time_changes():
    state = one_point(3.0, 2.0, 4.0, 0.5, 9.0)
    after = motion.update(state, np.full((1, 1, 2), np.nan), np.full((1, 1, 2), np.inf), outlier=3.0)
    for a, b in zip(after, state):
        assert (a == b).all()


def test_an_outlier_pulls_no_more_than_one_at_the_limit():
    state, variance = one_point(pp=4.0, vv=1.0), np.full((1, 1, 2), 5.0)
    near, far = (
        motion.update(state, np.array([[[x * 3.0, 0.0]]]), variance, outlier=2.0).position[0, 0, 0]
        for x in (2.0, 200.0)
    )
    assert near == pytest.approx(4 / 9 * 6.0) and far == pytest.approx(near)


def test_filter_and_smoother_are_the_posterior_of_the_measurements():
    """Against the Gaussian of the positions and velocities at all times, conditioned at once."""
    rng, steps, dt = np.random.default_rng(0), 6, 0.1
    measured, variances = rng.normal(0, 5, steps), rng.uniform(0.5, 6, steps)
    # A second point that is known to rest keeps the person's velocity at 0, so that the model is linear.
    start = motion.State(
        np.array([[[1.0, 0], [0, 0]]]), np.zeros((1, 2, 2)), np.array([[[4.0, 4], [1, 1]]]), np.zeros((1, 2, 2)),
        np.array([[[9.0, 9], [1e-15, 1e-15]]]),
    )  # fmt: skip
    filtered, transitions, state = [], [], start
    for i in range(steps):
        if i:
            transitions.append(motion.predict(state, dt, SIZE, np.array([2.0, 0.0]), RELAXATION))
            state = transitions[-1].predicted
        value, variance = np.zeros((1, 2, 2)), np.full((1, 2, 2), np.inf)
        value[0, 0], variance[0, 0] = measured[i], variances[i]
        state = motion.update(state, value, variance, outlier=1e9)
        filtered.append(state)
    later = filtered[-1]
    for i in range(steps - 2, -1, -1):
        later = motion.smooth(filtered[i], transitions[i], later)
    expected_mean, expected_covariance = posterior(dt, measured, variances)
    assert mean(filtered[-1]) == pytest.approx(expected_mean[-2:], rel=1e-4)
    assert mean(later) == pytest.approx(expected_mean[:2], rel=1e-4)
    assert covariance(later) == pytest.approx(expected_covariance[:2, :2], rel=1e-4)


def posterior(dt, measured, variances):
    """Mean and covariance of (x_0, v_0, x_1, v_1, ...) given measurements of all positions."""
    f, q = matrices(dt)
    steps = len(measured)
    prior_mean, blocks = [np.array([1.0, 0.0])], [np.diag([4.0, 9.0])]
    for _ in range(steps - 1):
        prior_mean.append(f @ prior_mean[-1])
        blocks.append(f @ blocks[-1] @ f.T + q)
    prior = np.zeros((2 * steps, 2 * steps))
    for i in range(steps):
        block = blocks[i]
        for j in range(i, steps):
            prior[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = block
            prior[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = block.T
            block = block @ f.T
    h = np.zeros((steps, 2 * steps))
    h[np.arange(steps), 2 * np.arange(steps)] = 1
    prior_mean = np.concatenate(prior_mean)
    gain = prior @ h.T @ np.linalg.inv(h @ prior @ h.T + np.diag(variances))
    return prior_mean + gain @ (measured - h @ prior_mean), prior - gain @ h @ prior


def test_a_person_who_jumps_is_where_it_is_seen_and_one_wrong_joint_moves_nobody():
    shape = (2, 10, 2)
    state = motion.State(*(np.full(shape, value) for value in (0.0, 0.0, 1.0, 0.5, 4.0)))
    measured, variance = np.zeros(shape), np.full(shape, 3.0)
    measured[0], measured[1, 0, 0] = 20.0, 6.0  # the first jumps; of the second, one coordinate is off by 3 sigma
    wide = motion.widen(state, measured, variance, 2.0)
    # (20^2 / 4 variances, as far as one point counts) / 2
    for value, expected in zip((wide.pp, wide.pv, wide.vv), (50.0, 25.0, 200.0)):
        assert value[0] == pytest.approx(expected)
    for a, b in zip(wide, state):
        assert (a[1] == b[1]).all()
    after = motion.update(wide, measured, variance, outlier=3.0)
    assert (after.position[0] > 0.9 * 20).all()
    hidden = motion.widen(state, np.full(shape, np.nan), np.full(shape, np.inf), 2.0)
    assert (hidden.pp == state.pp).all()
