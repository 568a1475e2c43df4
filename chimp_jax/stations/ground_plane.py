"""Distance and angle of a foot point from the ground plane of its station.

A camera over nearly flat ground sees a point of the ground at distance r (metres) in column x and row y, shares of the
picture from the left and the top, at about y = b2 + b3 (x - 0.5) + b1 / r. b2 is the row of the horizon, b3 its slope,
b1 the camera's height divided by twice the tangent of half its vertical field of view.
"""

from typing import NamedTuple

import numpy as np

from chimp_jax.stations.ground_prior import GroundPrior, PlaneMixture, plane_posterior

FEET_CUT = 'feet_cut'
ABOVE_HORIZON = 'above_horizon'
_LOWEST_FOOT = 0.99  # a box that ends lower is cut off by the edge of the picture
# Distances of animals whose feet are seen: the 6,456 labels of the challenge (drivendataorg/deep-chimpact-winners) with
# a box of probability > 0.5 that ends above 0.99. Their maximum-likelihood gamma distribution has this shape and scale
# (median 5.1 m); lognormal, Weibull and Rayleigh distributions fit them less well. No label is beyond 25 m. Without
# this prior, a foot near the horizon would have no upper limit.
_DISTANCE_SHAPE, _DISTANCE_SCALE_M = 2.90, 1.98
_NEAREST_M, _FARTHEST_M = 0.5, 25.0
_STEPS = 161  # of the quadrature over the logarithm of distance
_CHUNK = 4096  # boxes at a time, to bound memory
_SURELY_ABOVE = 1.645  # standard deviations: 95 %
_LEAST_WEIGHT = 1e-4  # of a value of the noise


class Ground(NamedTuple):
    """The ground plane of a station: the posterior of (b1 in metres, b2, b3) from n known points."""

    mean: np.ndarray  # [3]
    covariance: np.ndarray  # [3, 3]
    noise: float  # standard deviation of y around the plane, a share of the picture's height
    n: int
    mixture: PlaneMixture  # the same posterior, with the uncertainty of the noise


class Located(NamedTuple):
    """Distances of foot points, arrays [n]. NaN where reason is not empty."""

    distance_m: np.ndarray  # median of the predictive distribution: it minimises the expected absolute error
    lower_m: np.ndarray
    upper_m: np.ndarray
    spread_m: np.ndarray  # standard deviation in metres
    spread_log: np.ndarray  # standard deviation of the natural logarithm of the distance
    reason: np.ndarray  # '', 'feet_cut' or 'above_horizon'


def fit_ground(prior: GroundPrior, x, y, distance_m) -> Ground:
    """Returns the ground plane of a station from its prior and n known points, n = 0 included.

    x, y [n]: foot points, shares of the picture from left and top; y may exceed 1. distance_m [n]: metres.
    Raises ValueError if the lengths differ or a value is not finite or a distance is not above 0.
    """
    x, y, distance_m = (np.asarray(values, float).reshape(-1) for values in (x, y, distance_m))
    if not len(x) == len(y) == len(distance_m):
        raise ValueError(f'{len(x)} x, {len(y)} y and {len(distance_m)} distances; give one of each per point')
    if not np.isfinite([x, y, distance_m]).all() or (distance_m <= 0).any():
        raise ValueError('a known point has no finite x and y and a distance above 0; correct or remove the point')
    mixture = plane_posterior(prior, x, y, distance_m)
    noise = float(np.sqrt(mixture.weight @ mixture.noise**2))
    return Ground(*mixture.moments(), noise, len(x), mixture)


def locate(ground: Ground, x, y, coverage: float = 0.9, feet_cut=None) -> Located:
    """Returns the distances of foot points with intervals that hold the true distance with probability `coverage`.

    x, y [n]: shares of the picture from left and top. feet_cut [n] bool: from foot_points. A distance is refused where
    the feet are cut off, and where the foot is above the horizon with a probability of 95 %. A foot that may be below
    the horizon is far away: its interval is wide. The predictive distribution has the uncertainty of plane and noise,
    and a prior over distances of animals from 0.5 to 25 m. A foot that is nearer or farther gets an end of this range.
    Raises ValueError if coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f'coverage {coverage} is not between 0 and 1; give a share such as 0.9')
    x, y = (np.asarray(values, float).reshape(-1) for values in (x, y))
    reason = np.full(len(x), '', dtype='<U13')
    reason[~(_above_horizon_sd(ground, x, y) < _SURELY_ABOVE)] = ABOVE_HORIZON
    if feet_cut is not None:
        reason[np.asarray(feet_cut, bool)] = FEET_CUT
    levels = np.array([0.5, (1 - coverage) / 2, (1 + coverage) / 2])
    found = np.full((5, len(x)), np.nan)
    usable = np.flatnonzero(reason == '')
    for start in range(0, len(usable), _CHUNK):
        part = usable[start : start + _CHUNK]
        found[:, part] = _summary(*_distance_density(ground, x[part], y[part]), levels)
    return Located(*found, reason)


def foot_points(boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x [n], y [n] of the feet, the middle of each box's lower edge, and feet_cut [n] bool.

    boxes [n, 4]: x1, y1, x2, y2 in shares of the picture. Feet are cut off if the box ends below 0.99.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3], boxes[:, 3] > _LOWEST_FOOT


def angle_deg(x, theta_deg: float) -> np.ndarray:
    """Returns the angles from the middle of the picture in degrees, left negative.

    x: shares of the picture's width; theta_deg: horizontal field of view, above 0 and below 180. Pinhole model: the
    distortion of wide-angle lenses is ignored.
    """
    half_width = np.tan(np.radians(theta_deg) / 2)
    return np.degrees(np.arctan((np.asarray(x, float) - 0.5) * 2 * half_width))


def equal_distance_line(ground: Ground, distance_m: float, n: int = 2) -> np.ndarray:
    """Returns [n, 2]: x and y of n points of the ground at a distance, from the left to the right edge."""
    x = np.linspace(0, 1, n)
    return np.stack([x, ground.mean[1] + ground.mean[2] * (x - 0.5) + ground.mean[0] / distance_m], axis=1)


def _above_horizon_sd(ground: Ground, x, y) -> np.ndarray:
    """Returns how far the feet are above the horizon, in standard deviations of horizon and foot."""
    at_horizon = np.stack([np.zeros_like(x), np.ones_like(x), x - 0.5], axis=1)
    variance = np.einsum('na,ab,nb->n', at_horizon, ground.covariance, at_horizon) + ground.noise**2
    return (at_horizon @ ground.mean - y) / np.sqrt(variance)


def _distance_density(ground: Ground, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Returns log distances [G] and the density [n, G] of each foot's log distance, up to a factor."""
    log_m = np.linspace(np.log(_NEAREST_M), np.log(_FARTHEST_M), _STEPS)
    near = np.exp(-log_m)
    x = (np.asarray(x) - 0.5)[:, None]
    y = np.asarray(y)[:, None]
    log_prior = _DISTANCE_SHAPE * log_m - np.exp(log_m) / _DISTANCE_SCALE_M
    mixture = ground.mixture
    kept = mixture.weight > _LEAST_WEIGHT
    logs = []
    for weight, mean, c, noise in zip(*(part[kept] for part in mixture), strict=True):
        at_column = c[1, 1] + 2 * c[1, 2] * x + c[2, 2] * x**2
        variance = c[0, 0] * near**2 + 2 * (c[0, 1] + c[0, 2] * x) * near + at_column + noise**2
        apart = y - mean[1] - mean[2] * x - mean[0] * near
        logs.append(np.log(weight) - apart**2 / variance / 2 - np.log(variance) / 2)
    log_density = np.logaddexp.reduce(logs) + log_prior
    return log_m, np.exp(log_density - log_density.max(axis=1, keepdims=True))


def _summary(log_m, density, levels) -> np.ndarray:
    """Returns [5, n]: the quantiles at three levels, the standard deviations of distance and of its logarithm."""
    steps = (density[:, 1:] + density[:, :-1]) / 2
    share = np.concatenate([np.zeros((len(density), 1)), np.cumsum(steps, axis=1)], axis=1)
    share /= share[:, -1:]
    quantiles = [np.exp(_crossing(log_m, share, level)) for level in levels]
    weight = density / density.sum(axis=1, keepdims=True)
    spreads = []
    for value in (np.exp(log_m), log_m):
        mean = weight @ value
        spreads.append(np.sqrt(np.maximum(weight @ value**2 - mean**2, 0)))
    return np.array([*quantiles, *spreads])


def _crossing(log_m, share, level: float) -> np.ndarray:
    """Returns where each row of share [n, G], which rises from 0 to 1, reaches the level."""
    after = np.clip((share < level).sum(axis=1), 1, len(log_m) - 1)
    row = np.arange(len(share))
    low, high = share[row, after - 1], share[row, after]
    return log_m[after - 1] + (level - low) / (high - low) * (log_m[1] - log_m[0])
