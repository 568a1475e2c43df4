"""Whether the known points of a station fit its plane: each against the others, pairs, the slope, the scatter."""

from typing import NamedTuple

import numpy as np

from chimp_jax.stations.ground_plane import Ground, fit_ground, locate
from chimp_jax.stations.ground_prior import GroundPrior, plane_rows

OFF_SD = 3.0
_SAME_FOOT = 0.02  # shares of the picture: as far apart as two clicks on one foot
_FARTHER = 1.3  # ratio of distances
_STEEPEST = 0.35  # b3 of a tilted camera: twice the spread of the default prior, rounded up
_LARGE_ERROR = 0.5  # of the mean distance: leave-one-out errors at the ten stations of bench.real_stations stay below
_LEAST_FOR_ERROR = 3
_LEAST_FOR_SLOPE = 5
_LEAST_RANGE = 2.0  # farthest by nearest point, for a slope
_SLOPES = (0.5, 1.5)  # 1 to 4 of 100 simulated stations of a survey leave this range, 1 of 10 if its scatter is unknown
_LARGE_SCATTER_SD = 1.645  # of the logarithm of the noise: 1 of 20 stations


class PointChecks(NamedTuple):
    """The known points of a station against each other. Arrays [n], in the order of the points."""

    estimate_m: np.ndarray  # leave-one-out: from the other points; NaN if above the horizon
    residual_sd: np.ndarray  # leave-one-out, of y, in standard deviations; positive if the foot is lower than expected
    is_off: np.ndarray  # bool: beyond OFF_SD, or contradicts another point
    slope: float  # of the estimates on the true distances, metres per metre; NaN from too few points
    notes: list[str]  # about the station, a sentence each
    point_notes: list[str]  # about each point, '' if the point fits
    contradicts: np.ndarray  # int: the point that contradicts this one, -1 if none does


def check_points(prior: GroundPrior, x, y, distance_m) -> PointChecks:
    """Returns leave-one-out estimates of the known points of a station, and notes where they do not fit a plane.

    x, y [n]: foot points, shares of the picture; distance_m [n]: metres. Raises ValueError as fit_ground does.
    """
    x, y, distance_m = (np.asarray(values, float).reshape(-1) for values in (x, y, distance_m))
    whole = fit_ground(prior, x, y, distance_m)
    n = len(x)
    estimate_m, residual_sd = np.full(n, np.nan), np.full(n, np.nan)
    for i in range(n):
        others = np.arange(n) != i
        ground = fit_ground(prior, x[others], y[others], distance_m[others])
        estimate_m[i] = locate(ground, x[i], y[i]).distance_m[0]
        residual_sd[i] = _residual_sd(ground, x[i], y[i], distance_m[i])
    contradicts = _contradictions(prior, x, y, distance_m)
    is_off = (np.abs(residual_sd) > OFF_SD) | (contradicts >= 0)
    point_notes = [''] * n
    for i in np.flatnonzero(is_off):
        point_notes[i] = _point_note(
            distance_m, estimate_m[i], residual_sd[i], i, contradicts[i], _same_foot(x, y)[i, contradicts[i]]
        )
    slope = _slope(distance_m, estimate_m)
    error = _relative_error(distance_m, estimate_m)
    return PointChecks(
        estimate_m, residual_sd, is_off, slope, _notes(prior, whole, slope, error), point_notes, contradicts
    )


def _residual_sd(ground: Ground, x, y, distance_m) -> float:
    row = plane_rows(x, distance_m)
    return float((y - row @ ground.mean) / np.sqrt(row @ ground.covariance @ row + ground.noise**2))


def _same_foot(x, y) -> np.ndarray:
    return (np.abs(x[:, None] - x) <= _SAME_FOOT) & (np.abs(y[:, None] - y) <= _SAME_FOOT)


def _contradictions(prior: GroundPrior, x, y, distance_m) -> np.ndarray:
    """Returns for each point the index of a point that contradicts it, -1 if none does.

    Two points contradict each other if the farther one is clearly lower in the picture, or if they have the same foot
    point and the ground of an average station moves the foot by more between their distances than noise explains. A
    point that contradicts more points than they contradict is the wrong one, and the others are not blamed for it.
    """
    apart_x, lower = np.abs(x[:, None] - x), y[:, None] - y
    same = _same_foot(x, y)
    moved = np.abs(prior.mean[0] * (1 / distance_m[:, None] - 1 / distance_m))
    same &= moved > _SAME_FOOT + OFF_SD * np.sqrt(2) * prior.noise
    # No slope of a station explains that a clearly farther foot is clearly lower.
    farther = distance_m[:, None] > _FARTHER * distance_m
    turned = farther & (lower > _SAME_FOOT + _STEEPEST * apart_x + OFF_SD * prior.noise)
    against = same | turned | turned.T
    partner = np.full(len(x), -1)
    while against.any():
        counts = against.sum(axis=1)
        worst = np.flatnonzero(counts == counts.max())
        partner[worst] = [int(np.argmax(against[i])) for i in worst]
        against[worst], against[:, worst] = False, False
    return partner


def _point_note(distance_m, estimate_m: float, residual_sd: float, i: int, other: int, same_foot: bool) -> str:
    if other >= 0:
        why = 'at the same foot point' if same_foot else 'because the farther foot is lower in the picture'
        return f'{distance_m[i]:g} m contradicts {distance_m[other]:g} m {why}; correct or remove one of the two points'
    among = 'the other points' if len(distance_m) > 1 else 'the other stations'
    told = f'put this foot at {estimate_m:.1f} m' if np.isfinite(estimate_m) else 'put this foot above the horizon'
    return (
        f'{among} {told}, the known distance is {distance_m[i]:g} m ({abs(residual_sd):.1f} standard deviations of '
        'the row); check the distance and the foot point'
    )


def _slope(distance_m, estimate_m) -> float:
    """Returns the least-squares slope of the estimates on the true distances, NaN from too few or too close points."""
    known = np.isfinite(estimate_m)
    true_m, estimate_m = distance_m[known], estimate_m[known]
    if len(true_m) < _LEAST_FOR_SLOPE or true_m.max() < _LEAST_RANGE * true_m.min():
        return float('nan')
    apart = true_m - true_m.mean()
    return float(apart @ estimate_m / (apart @ apart))


def _relative_error(distance_m, estimate_m) -> float:
    """Returns the leave-one-out MAE as a share of the mean distance, NaN from too few points."""
    known = np.isfinite(estimate_m)
    if known.sum() < _LEAST_FOR_ERROR:
        return float('nan')
    return float(np.abs(estimate_m[known] - distance_m[known]).mean() / distance_m[known].mean())


def _notes(prior: GroundPrior, ground: Ground, slope: float, error: float) -> list[str]:
    notes = []
    if error > _LARGE_ERROR:
        notes.append(
            f'each known point predicted from the others is wrong by {error:.0%} of the mean distance; check the '
            'distances and the foot points'
        )
    if slope < _SLOPES[0] or slope > _SLOPES[1]:
        notes.append(
            f'estimates from the other points rise by {slope:.2f} m per metre of true distance: the ground is no plane '
            'or distances are wrong; check the farthest and the nearest points'
        )
    if ground.n and ground.noise > prior.noise * np.exp(_LARGE_SCATTER_SD * prior.noise_spread):
        notes.append(
            f'the known points scatter around the plane by {100 * ground.noise:.0f} % of the height of the picture, '
            'more than at 19 of 20 stations: the ground is no plane or the camera was moved; check the points, and '
            'expect larger errors'
        )
    return notes
