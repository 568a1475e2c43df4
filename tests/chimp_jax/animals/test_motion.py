"""Positions and speeds along a track, against direct least squares and walks of known speed."""

import numpy as np
import pytest

from chimp_jax.animals.motion import estimate_motion, position_noise, smooth_positions


def test_noise_of_a_position_by_hand():
    # 10 m straight ahead: 1 m along z, 10 m * 0.02 = 0.2 m along x. At 3, 4 m the axes are turned: (0.6, 0.8) ahead.
    noise = position_noise(np.array([[0.0, 10.0], [3.0, 4.0]]), np.array([[0.1, 0.1]]), 0.02)
    np.testing.assert_allclose(noise[0, 0], [[0.04, 0], [0, 1]], atol=1e-12)
    ahead, aside = np.array([0.6, 0.8]), np.array([0.8, -0.6])
    np.testing.assert_allclose(noise[1, 0], 0.25 * np.outer(ahead, ahead) + 0.01 * np.outer(aside, aside))


def direct_smoother(time_s, places_m, noise, speed_m_s):
    """Conditions the joint normal of all states on all positions at once.

    The velocity is a Brownian motion of density q and the place its integral, so for times s <= t since the start:
    cov(v, v) = q s, cov(x_s, v_t) = q s^2 / 2, cov(v_s, x_t) = q (s t - s^2 / 2), cov(x, x) = q s^2 (3 t - s) / 6.
    """
    q, t = 2 * speed_m_s**2 / 12, np.asarray(time_s) - time_s[0]
    n, start = len(t), np.zeros(4)
    start[:2] = places_m[0]
    joint = np.zeros((n, 4, n, 4))
    for i in range(n):
        for k in range(n):
            s, u = min(t[i], t[k]), max(t[i], t[k])
            xx = q * s**2 * (3 * u - s) / 6 + 100.0**2 + speed_m_s**2 * t[i] * t[k]
            first, second = (q * s**2 / 2, q * (s * u - s**2 / 2))
            xv = (first if t[i] <= t[k] else second) + speed_m_s**2 * t[i]
            vx = (first if t[k] <= t[i] else second) + speed_m_s**2 * t[k]
            for a in (0, 1):
                joint[i, a, k, a], joint[i, a + 2, k, a + 2] = xx, q * s + speed_m_s**2
                joint[i, a, k, a + 2], joint[i, a + 2, k, a] = xv, vx
    places = [4 * i + a for i in range(n) for a in (0, 1)]
    joint, mean = joint.reshape(4 * n, 4 * n), np.tile(start, n)
    seen = joint[np.ix_(places, places)].copy()
    for i in range(n):
        seen[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] += noise[i]
    gain = np.linalg.solve(seen, joint[places]).T
    surprise = places_m.ravel() - mean[places]
    log_likelihood = -(surprise @ np.linalg.solve(seen, surprise) + np.linalg.slogdet(seen)[1]) / 2
    return (mean + gain @ surprise).reshape(n, 4), joint - gain @ joint[places], log_likelihood


def test_the_smoother_equals_direct_conditioning():
    rng = np.random.default_rng(1)
    time_s, places_m = np.array([0.0, 0.5, 1.5, 1.6, 4.0]), rng.normal(0, 2, (5, 2)) + [0, 8]
    noise = position_noise(places_m, np.full((2, 5), 0.1), 0.01)
    smoothed = smooth_positions(time_s, places_m, noise, np.array([0.3, 1.0]))
    for h, speed_m_s in enumerate((0.3, 1.0)):
        mean, covariance, log_likelihood = direct_smoother(time_s, places_m, noise[:, h], speed_m_s)
        np.testing.assert_allclose(smoothed.mean[:, h], mean, atol=1e-6)
        blocks = [covariance[4 * i : 4 * i + 4, 4 * i : 4 * i + 4] for i in range(5)]
        np.testing.assert_allclose(smoothed.covariance[:, h], blocks, atol=1e-5)
        assert smoothed.log_likelihood[h] == pytest.approx(log_likelihood, abs=1e-5)


def polar(places_m):
    return np.hypot(*places_m.T), np.degrees(np.arctan2(*places_m.T))


def noisy(places_m, rng):
    """Distances and angles with a shared and a new error in each second."""
    distance_m, angle_deg = polar(places_m)
    error = 0.1 * rng.normal() + 0.1 * rng.normal(size=len(distance_m))
    return distance_m * np.exp(error), angle_deg + 0.5 * rng.normal(size=len(distance_m))


def test_a_straight_walk_without_noise_has_its_speed():
    time_s = np.arange(0, 10.5, 0.5)
    places_m = np.stack([-3 + 0.6 * time_s, 6 + 0.8 * time_s], 1)  # 1 m/s
    distance_m, angle_deg = polar(places_m)
    motion = estimate_motion(time_s, distance_m, np.full(21, 0.02), angle_deg)
    assert motion.speed_m_s == pytest.approx(1.0, abs=0.05)
    assert motion.path_m == pytest.approx(10 * motion.speed_m_s)
    assert motion.lower_m_s < 1 < motion.upper_m_s and motion.reason == ''
    np.testing.assert_allclose([motion.x_m, motion.z_m], places_m.T, atol=0.15)


def test_noise_does_not_lengthen_a_path():
    """Straight lines through these positions are more than twice as long as the walk of 0.8 m/s."""
    time_s, speeds, naive, covered = np.arange(0, 15, 0.5), [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        turn = rng.uniform(0, 2 * np.pi)
        places_m = np.outer(time_s - 7.25, 0.8 * np.array([np.cos(turn), np.sin(turn)])) + [0, 9]
        distance_m, angle_deg = noisy(places_m, rng)
        motion = estimate_motion(time_s, distance_m, np.full(30, 0.1 * 2**0.5), angle_deg)
        speeds.append(motion.speed_m_s)
        covered.append(motion.lower_m_s < 0.8 < motion.upper_m_s)
        measured_m = distance_m[:, None] * np.stack([np.sin(a := np.radians(angle_deg)), np.cos(a)], 1)
        naive.append(np.hypot(*np.diff(measured_m, axis=0).T).sum() / 14.5)
    assert np.median(naive) > 1.6
    assert np.median(speeds) == pytest.approx(0.8, rel=0.12)
    assert np.mean(covered) >= 0.75


def test_a_standing_animal_has_almost_no_speed():
    for seed in range(5):
        distance_m, angle_deg = noisy(np.tile([1.0, 7.0], (30, 1)), np.random.default_rng(seed))
        motion = estimate_motion(np.arange(30) / 2, distance_m, np.full(30, 0.14), angle_deg)
        assert motion.speed_m_s < 0.1 and motion.lower_m_s < 0.02


@pytest.mark.parametrize(
    ('time_s', 'reason'),
    [([0, 1], 'fewer than 3 positions'), ([0, 0.5, 1, 1.5], 'shorter than 2 s'), ([], 'fewer than 3 positions')],
)
def test_short_tracks_have_positions_and_no_speed(time_s, reason):
    n = len(time_s)
    motion = estimate_motion(time_s, np.full(n, 5.0), np.full(n, 0.1), np.full(n, 30.0))
    assert motion.reason == reason and np.isnan([motion.speed_m_s, motion.lower_m_s, motion.path_m]).all()
    np.testing.assert_allclose(motion.x_m, np.full(n, 2.5))  # 5 m * sin 30 degrees


def test_missing_values_are_left_out_and_the_order_does_not_matter():
    time_s, distance_m = np.arange(8.0), np.linspace(4, 8, 8)
    sd_log, angle_deg = np.full(8, 0.1), np.linspace(-10, 10, 8)
    with_gap = distance_m.copy()
    with_gap[3] = np.nan
    kept, order = np.arange(8) != 3, np.array([5, 2, 7, 3, 0, 1, 4, 6])
    full = estimate_motion(time_s[order], with_gap[order], sd_log[order], angle_deg[order])
    part = estimate_motion(time_s[kept], distance_m[kept], sd_log[kept], angle_deg[kept])
    assert full.speed_m_s == part.speed_m_s and len(full.time_s) == 7
    without = estimate_motion(time_s, distance_m, sd_log, np.full(8, np.nan))
    assert without.reason == 'fewer than 3 positions'


def test_a_higher_coverage_has_a_wider_interval():
    values = np.arange(6.0), np.linspace(4, 8, 6), np.full(6, 0.1), np.zeros(6)
    narrow, wide = (estimate_motion(*values, coverage=coverage) for coverage in (0.5, 0.9))
    assert wide.lower_m_s < narrow.lower_m_s < narrow.upper_m_s < wide.upper_m_s
    assert wide.speed_m_s == narrow.speed_m_s
