"""Positions of an animal along its track, smoothed with their uncertainty, and its speed.

Each distance and angle is a position on the ground: x to the right and z ahead of the camera, in metres. Joined by
straight lines, noisy positions make a path that is too long. So a Kalman filter and a Rauch-Tung-Striebel smoother
estimate the path (Särkkä 2013, "Bayesian Filtering and Smoothing", algorithms 4.2 and 8.2). The state is x, z and
their velocities. The velocity changes by white accelerations.

How the animal moves and how much of the error of a distance is new in each second are unknown. The smoother runs for
each combination of USUAL_SPEEDS_M_S and NEW_SHARES, and each counts by its likelihood. The speed comes from the
smoothed path, its interval from paths drawn from the posterior. `python -m bench.track_scores` measures the errors.
"""

from typing import NamedTuple

import numpy as np

LEAST_SECONDS, LEAST_POSITIONS = 2.0, 3  # of a track with a speed
ANGLE_SD_DEG = 0.5  # of the middle of a detector's box: 1 % of a picture of 45 degrees
# Standard deviations of each component of the velocity: standing, feeding, walking, hurrying.
USUAL_SPEEDS_M_S = (0.02, 0.15, 0.5, 1.2)
# Shares of the variance of a log distance that are new in each second. The rest is one error for the whole track, such
# as a wrong camera height. It scales the path and is not smoothed.
NEW_SHARES = (0.05, 0.25, 0.6, 1.0)
# The spectral density of the accelerations is 2 s^2 / _TURN_S for a usual speed s: the velocity of a walking animal
# (s = 0.5 m/s) changes by about 0.2 m/s within a second.
_TURN_S = 12.0
_MODEL_SD_LOG = 0.15  # error of a path because animals do not move like the model; gives the interval its coverage
_START_SD_M = 100.0  # the place of the animal is unknown before the first position
_LEAST_SD_LOG = 0.02
_DRAWS = 400


class Motion(NamedTuple):
    """The motion along one track. Speeds in m/s are means along the path, NaN if reason is not empty.

    x_m, z_m [n]: smoothed positions at time_s [n], as measured if there is a reason. sd_m [n]: their standard deviation
    along the less certain axis, without the error that the whole track shares.
    """

    time_s: np.ndarray
    x_m: np.ndarray
    z_m: np.ndarray
    sd_m: np.ndarray
    path_m: float
    speed_m_s: float
    lower_m_s: float
    upper_m_s: float
    reason: str


class Smoothed(NamedTuple):
    """Means [n, H, 4] and covariances [n, H, 4, 4] of x, z and velocities, for H hypotheses. log_likelihood [H]."""

    mean: np.ndarray
    covariance: np.ndarray
    log_likelihood: np.ndarray
    filtered: tuple[np.ndarray, np.ndarray]  # mean and covariance given the positions until then
    predicted: tuple[np.ndarray, np.ndarray]  # mean and covariance given the positions before
    gain: np.ndarray  # [n - 1, H, 4, 4] of the backward pass


def estimate_motion(
    time_s, distance_m, sd_log, angle_deg, coverage: float = 0.9, angle_sd_deg: float = ANGLE_SD_DEG
) -> Motion:
    """Returns the motion along one track, with an interval of the speed that holds it with probability `coverage`.

    time_s [n]: seconds, in any order, each once. distance_m [n]: metres, above 0. sd_log [n]: standard deviations of
    their natural logarithms. angle_deg [n]: from the middle of the picture, left negative. A position requires all
    four; others, with NaN, are left out. The speed is missing if there are fewer than 3 positions or less than 2 s.
    """
    columns = np.stack([np.asarray(column, float) for column in (time_s, distance_m, sd_log, angle_deg)])
    columns = columns[:, np.isfinite(columns).all(0) & (columns[1] > 0)]
    time_s, distance_m, sd_log, angle_deg = columns[:, np.argsort(columns[0], kind='stable')]
    lasts_s = time_s[-1] - time_s[0] if len(time_s) else 0.0
    reason = '' if len(time_s) >= LEAST_POSITIONS else f'fewer than {LEAST_POSITIONS} positions'
    if not reason and lasts_s < LEAST_SECONDS:
        reason = f'shorter than {LEAST_SECONDS:g} s'
    angle = np.radians(angle_deg)
    places_m = np.stack([distance_m * np.sin(angle), distance_m * np.cos(angle)], 1)
    if reason:
        sd_m = distance_m * sd_log
        return Motion(time_s, *places_m.T, sd_m, *[np.nan] * 4, reason)
    speeds, shares = (grid.ravel() for grid in np.meshgrid(USUAL_SPEEDS_M_S, NEW_SHARES))
    sd_log, sd_angle = np.maximum(sd_log, _LEAST_SD_LOG), np.radians(angle_sd_deg)
    around_m = places_m
    for _ in range(2):  # the noise of a position depends on where the animal is
        noise = position_noise(around_m, sd_log * np.sqrt(shares)[:, None], sd_angle)
        smoothed = smooth_positions(time_s, places_m, noise, speeds)
        weight = np.exp(smoothed.log_likelihood - smoothed.log_likelihood.max())
        weight /= weight.sum()
        around_m = np.einsum('h,nhk->nk', weight, smoothed.mean[..., :2])
    apart = smoothed.mean[..., :2] - around_m[:, None]
    covariance = smoothed.covariance[..., :2, :2] + apart[..., :, None] * apart[..., None, :]
    sd_m = np.sqrt(np.linalg.eigvalsh(np.einsum('h,nhjk->njk', weight, covariance))[:, 1])
    lengths_m = _path_lengths(smoothed, weight, np.sqrt((1 - shares) * np.mean(sd_log**2) + _MODEL_SD_LOG**2))
    levels = [0.5, (1 - coverage) / 2, (1 + coverage) / 2]
    path_m, lower_m, upper_m = np.quantile(lengths_m, levels).tolist()
    return Motion(time_s, *around_m.T, sd_m, path_m, path_m / lasts_s, lower_m / lasts_s, upper_m / lasts_s, '')


def _path_lengths(smoothed: Smoothed, weight: np.ndarray, scale_sd_log: np.ndarray) -> np.ndarray:
    """Returns lengths [S] of the path: those of the smoothed paths, scattered as drawn paths scatter.

    A drawn path has more turns than the smoothed one, so only its difference from the mean of the drawn paths counts.
    weight [H]: of the hypotheses. scale_sd_log [H]: of an error that scales the whole path.
    """
    rng = np.random.default_rng(0)  # the same track has the same speed
    which = np.searchsorted(np.cumsum(weight), (np.arange(_DRAWS) + 0.5) / _DRAWS).clip(0, len(weight) - 1)
    drawn_m, smooth_m = (_length(paths) for paths in (draw_paths(smoothed, which, rng), smoothed.mean[:, which, :2]))
    n_drawn = np.bincount(which, minlength=len(weight))
    mean_m = np.bincount(which, drawn_m, len(weight))[which] / n_drawn[which]
    scale = np.exp(scale_sd_log[which] * rng.standard_normal(_DRAWS))
    return np.maximum(smooth_m + drawn_m - mean_m, 0) * scale


def _length(paths_m: np.ndarray) -> np.ndarray:
    """Returns the lengths [S] of paths [n, S, 2]."""
    return np.hypot(*np.moveaxis(np.diff(paths_m, axis=0), 2, 0)).sum(0)


def position_noise(places_m: np.ndarray, sd_log: np.ndarray, sd_angle: float) -> np.ndarray:
    """Returns covariances [n, H, 2, 2] in m2 of positions [n, 2] from the errors of distance and angle.

    sd_log [H, n]: of the logarithm of the distances. sd_angle: radians.
    """
    distance_m = np.hypot(*places_m.T)
    ahead = places_m / np.maximum(distance_m, 1e-6)[:, None]
    aside = np.stack([ahead[:, 1], -ahead[:, 0]], 1)
    along, across = ((v[:, :, None] * v[:, None, :])[:, None] for v in (ahead, aside))
    radial = (sd_log.T * distance_m[:, None])[..., None, None] ** 2
    return along * radial + across * (sd_angle * distance_m)[:, None, None, None] ** 2


def step_model(gap_s: float, usual_speed_m_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the transition [4, 4] over a gap, and the covariance [H, 4, 4] that it adds."""
    transition = np.eye(4)
    transition[[0, 1], [2, 3]] = gap_s
    block = np.array([[gap_s**3 / 3, gap_s**2 / 2], [gap_s**2 / 2, gap_s]])
    density = 2 * np.asarray(usual_speed_m_s) ** 2 / _TURN_S
    return transition, density[:, None, None] * np.kron(block, np.eye(2))


def smooth_positions(time_s, places_m: np.ndarray, noise: np.ndarray, usual_speed_m_s: np.ndarray) -> Smoothed:
    """Returns the smoothed states for each hypothesis.

    time_s [n], increasing; places_m [n, 2]: measured positions; noise [n, H, 2, 2]: their covariances; usual_speed_m_s
    [H]. Before the first position, the place is unknown and the velocity is normal around 0 with the usual speed.
    """
    n, n_hypotheses = len(time_s), len(usual_speed_m_s)
    mean = np.zeros((n_hypotheses, 4))
    mean[:, :2] = places_m[0]
    covariance = np.zeros((n_hypotheses, 4, 4))
    covariance[:, [0, 1], [0, 1]] = _START_SD_M**2
    covariance[:, [2, 3], [2, 3]] = np.asarray(usual_speed_m_s)[:, None] ** 2
    means, covariances, predictions, log_likelihood = [], [], [], np.zeros(n_hypotheses)
    for k in range(n):
        if k:
            transition, added = step_model(time_s[k] - time_s[k - 1], usual_speed_m_s)
            mean, covariance = mean @ transition.T, transition @ covariance @ transition.T + added
        predictions.append((mean, covariance))
        surprise, spread = places_m[k] - mean[:, :2], covariance[:, :2, :2] + noise[k]
        gain = np.linalg.solve(spread, covariance[:, :2]).swapaxes(1, 2)  # covariances are symmetric
        weighed = np.linalg.solve(spread, surprise[..., None])[..., 0]
        log_likelihood -= ((surprise * weighed).sum(1) + np.linalg.slogdet(spread)[1]) / 2
        mean = mean + np.einsum('hij,hj->hi', gain, surprise)
        covariance = covariance - gain @ covariance[:, :2]
        means.append(mean)
        covariances.append(covariance)
    filtered, predicted = (
        tuple(map(np.array, pair)) for pair in ((means, covariances), zip(*predictions, strict=True))
    )
    gains = np.zeros((n - 1, n_hypotheses, 4, 4))
    for k in range(n - 2, -1, -1):
        transition, _ = step_model(time_s[k + 1] - time_s[k], usual_speed_m_s)
        gain = np.linalg.solve(predicted[1][k + 1], transition @ covariances[k]).swapaxes(1, 2)
        means[k] = means[k] + np.einsum('hij,hj->hi', gain, means[k + 1] - predicted[0][k + 1])
        change = covariances[k + 1] - predicted[1][k + 1]
        covariances[k] = covariances[k] + gain @ change @ gain.swapaxes(1, 2)
        gains[k] = gain
    return Smoothed(np.array(means), np.array(covariances), log_likelihood, filtered, predicted, gains)


def draw_paths(smoothed: Smoothed, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns positions [n, S, 2] of S paths from the posterior, each of the hypothesis which [S]."""
    means, covariances = smoothed.filtered
    path = [means[-1, which] + _normal(covariances[-1], which, rng)]
    for k in range(len(means) - 2, -1, -1):
        gain = smoothed.gain[k]
        known = gain @ smoothed.predicted[1][k + 1] @ gain.swapaxes(1, 2)
        surprise = path[-1] - smoothed.predicted[0][k + 1, which]
        centre = means[k, which] + np.einsum('sij,sj->si', gain[which], surprise)
        path.append(centre + _normal(covariances[k] - known, which, rng))
    return np.array(path[::-1])[..., :2]


def _normal(covariance: np.ndarray, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a draw [S, 4] for each hypothesis of which [S] from normals with mean 0 and covariance [H, 4, 4]."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    return np.einsum('sij,sj->si', root[which], rng.standard_normal((len(which), 4)))
