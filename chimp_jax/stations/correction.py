"""Corrects distances at one station by a few known distances there: a Gaussian process. Pure NumPy and SciPy.

The errors of one station resemble each other: its camera height, view or species differ. Errors resemble each other
most where animals stand at the same place of the picture. The scale is g(d) = log(d + 1 m): its errors are relative for
far animals, and absolute for near animals. With the estimate d and the foot of the animal's box at column x and row y
of the picture, the error g(truth) - g(d) at one station is the sum of

    a constant,
    a line in g(d), around the middle of the distances,
    a smooth function of (y, x, g(d)): squared exponential covariance, with a length scale for each,
    noise of each row.

All four are Gaussian with mean 0. The correction is the posterior mean, given the known distances (Rasmussen &
Williams 2006, "Gaussian Processes for Machine Learning", algorithm 2.1). Known distances are few, so the correction is
shrunk towards no correction. How far depends on the ErrorModel, which is fitted to the members' out-of-fold rows.

A row without a box has an unknown foot. The covariance is then averaged over the feet of the out-of-fold rows, whose
distribution is taken as normal. The part of the correction that requires no position remains.

`python -m bench.real_boxes FOLDER` measures this correction beside a line and a factor.
"""

import dataclasses

import numpy as np
import scipy

_SHIFT_M = 1.0  # of the logarithm
_GRID = np.arange(0, 5.0001, 0.05)  # of g(d), 0 to 147 m; the correction is linear between these distances
_LEAST_RISE = 0.1  # of g(corrected) over g(d): a correction never reverses the order of distances
_PRIOR_SD = 1.0  # of the logarithms of the standard deviations and length scales
_MOST_CLIPS = 50  # of a site in fit_error_model, to save time


@dataclasses.dataclass(frozen=True)
class ErrorModel:
    """How errors at one station resemble each other. Lengths are shares of the picture, the rest is in units of g."""

    centre_m: float  # the line passes through 0 here
    noise: float  # standard deviation of a row
    constant: float  # standard deviation of the stations' constants
    slope: float  # standard deviation of the stations' slopes
    smooth: float  # standard deviation of the smooth function
    column_length: float  # length scales of the smooth function
    row_length: float
    log_length: float  # of g(d)
    foot_mean: tuple[float, float]  # column, row: the normal distribution of unknown feet
    foot_sd: tuple[float, float]


# Fitted to box-only estimates of the Deep Chimpact labels by `python -m bench.real_boxes FOLDER`, rounded. Without OOF
# rows all of them are used, and without boxes in the OOF rows the feet and their lengths.
ASSUMED_ERRORS = ErrorModel(
    centre_m=5.0,
    noise=0.23,
    constant=0.08,
    slope=0.08,
    smooth=0.23,
    column_length=0.64,
    row_length=0.09,
    log_length=0.25,
    foot_mean=(0.48, 0.82),
    foot_sd=(0.25, 0.14),
)
_FITTED = ('noise', 'constant', 'slope', 'smooth', 'column_length', 'row_length', 'log_length')


@dataclasses.dataclass(frozen=True)
class Correction:
    """The correction of one station. Made by fit_correction."""

    model: ErrorModel
    log_estimate: np.ndarray  # [k] g of the known rows' estimates
    foot: np.ndarray  # [k, 2]
    weight: np.ndarray  # [k]: the posterior mean is the covariance with the known rows times these weights

    def apply(self, distance_m, foot) -> np.ndarray:
        """distance_m [n], foot [n, 2] (column, row as shares; NaN if unknown) -> corrected [n], metres.

        The result is >= 0, and NaN if the distance is NaN. With the same foot, a larger distance has a larger result
        (or both are 0). So the map can be applied to an estimate and to both ends of its interval.
        """
        distance_m, foot = np.asarray(distance_m, float), _feet(foot, np.shape(distance_m))
        known = ~np.isnan(distance_m)
        corrected_m = np.full(distance_m.shape, np.nan)
        corrected_m[known] = self._apply(distance_m[known], foot[known])
        return corrected_m

    def _apply(self, distance_m: np.ndarray, foot: np.ndarray) -> np.ndarray:
        model, weight = self.model, self.weight
        centre = error_scale(model.centre_m)
        line = model.constant**2 * weight.sum()
        line = line + model.slope**2 * (weight @ (self.log_estimate - centre)) * (_GRID - centre)
        near = _closeness(_GRID[:, None], self.log_estimate, model.log_length)
        places = _places(model, foot[:, None], self.foot) * weight
        mapped = _GRID + line + model.smooth**2 * places @ near.T  # [n, grid]
        mapped = np.maximum.accumulate(mapped - _LEAST_RISE * _GRID, axis=1) + _LEAST_RISE * _GRID
        step = _GRID[1]
        at = error_scale(distance_m) / step
        left = np.minimum(at.astype(int), len(_GRID) - 2)
        rows = np.arange(len(at))
        inside = np.minimum(at - left, 1)
        beyond = (at - left - inside) * step  # beyond the grid the correction of its end holds
        result = mapped[rows, left] * (1 - inside) + mapped[rows, left + 1] * inside + beyond
        return np.maximum(np.exp(result) - _SHIFT_M, 0)


def fit_correction(estimate_m, known_m, foot, model: ErrorModel = ASSUMED_ERRORS) -> Correction:
    """Fits the correction of one station. Without known rows it changes nothing.

    estimate_m, known_m [k], metres, >= 0. foot [k, 2]: column and row as shares, NaN if unknown. Raises ValueError if a
    value is not a distance.
    """
    log_estimate, log_known = (
        error_scale(_distances('estimate', estimate_m)),
        error_scale(_distances('known distance', known_m)),
    )
    foot = _feet(foot, log_estimate.shape)
    covariance = error_covariance(model, log_estimate[:, None], foot[:, None], log_estimate, foot)
    np.fill_diagonal(covariance, _variance(model, log_estimate))
    weight = np.zeros(0)
    if len(log_known):
        weight = scipy.linalg.cho_solve(scipy.linalg.cho_factor(covariance, lower=True), log_known - log_estimate)
    return Correction(model, log_estimate, foot, weight)


def fit_error_model(estimate_m, label_m, foot, site, clip, assumed: ErrorModel = ASSUMED_ERRORS) -> ErrorModel:
    """Fits an ErrorModel to OOF rows: maximum marginal likelihood, with a weak prior around `assumed`.

    estimate_m, label_m [n], metres; foot [n, 2], NaN if unknown; site, clip [n]. One row of each clip is used, because
    the known distances of a station should come from different clips, and rows of one clip resemble each other more.
    With few sites, the prior decides: the logarithm of each standard deviation and length scale is normal around the
    assumed value with a standard deviation of 1. Without boxes, the feet and their lengths are those of `assumed`.
    """
    log_estimate, log_label = error_scale(_distances('estimate', estimate_m)), error_scale(_distances('label', label_m))
    foot, site, clip = _feet(foot, log_estimate.shape), np.asarray(site, str), np.asarray(clip, str)
    start = assumed
    if not len(log_label):
        return start
    start = dataclasses.replace(start, centre_m=float(np.exp(np.median(log_label)) - _SHIFT_M))
    known = ~np.isnan(foot).any(axis=1)
    if len(np.unique(clip[known])) > 1:
        mean, sd = foot[known].mean(axis=0), np.maximum(foot[known].std(axis=0), 0.01)
        start = dataclasses.replace(start, foot_mean=tuple(mean.tolist()), foot_sd=tuple(sd.tolist()))
    chosen = _one_of_each_clip(site, clip)
    error = [(log_label - log_estimate)[rows] for rows in chosen]
    sizes = [len(rows) for rows in chosen]
    first = np.concatenate([np.repeat(rows, len(rows)) for rows in chosen])
    second = np.concatenate([np.tile(rows, len(rows)) for rows in chosen])
    centre = np.log([getattr(start, name) for name in _FITTED])

    def changed(logs: np.ndarray) -> ErrorModel:
        return dataclasses.replace(start, **dict(zip(_FITTED, np.exp(logs).tolist(), strict=True)))

    def loss(logs: np.ndarray) -> float:
        model = changed(logs)
        flat = error_covariance(model, log_estimate[first], foot[first], log_estimate[second], foot[second])
        flat = np.where(first == second, _variance(model, log_estimate[first]), flat)
        blocks = np.split(flat, np.cumsum(np.square(sizes))[:-1])
        fit = sum(
            _negative_log_likelihood(block.reshape(n, n), z) for block, n, z in zip(blocks, sizes, error, strict=True)
        )
        return fit + float(((logs - centre) ** 2).sum()) / (2 * _PRIOR_SD**2)

    held = () if known.any() else ('column_length', 'row_length')  # rows without a foot say nothing about them
    reach = [0 if name in held else 4 * _PRIOR_SD for name in _FITTED]
    bounds = list(zip(centre - reach, centre + reach, strict=True))
    found = scipy.optimize.minimize(loss, centre, method='L-BFGS-B', bounds=bounds, options={'ftol': 1e-6})
    return changed(found.x)


def fuse(distance_a_m, sd_log_a, distance_b_m, sd_log_b) -> tuple[np.ndarray, np.ndarray]:
    """Two estimates of the same distances, fused by their precision on the log scale -> distance_m [n], sd_log [n].

    distance [n], metres, > 0; sd_log [n]: standard deviations of their natural logarithms, > 0. The errors of the two
    are taken as independent and normal on this scale. Where one estimate has a NaN, the other is the result.
    """
    means = np.log(np.stack(np.broadcast_arrays(np.asarray(distance_a_m, float), np.asarray(distance_b_m, float))))
    sds = np.stack(np.broadcast_arrays(np.asarray(sd_log_a, float), np.asarray(sd_log_b, float)))
    missing = np.isnan(means) | np.isnan(sds)
    precision = np.where(missing, 0, 1 / np.where(missing, 1, sds) ** 2)
    with np.errstate(divide='ignore', invalid='ignore'):
        total = precision.sum(axis=0)
        mean = (precision * np.where(missing, 0, means)).sum(axis=0) / total
        return np.exp(mean), np.where(total > 0, 1 / np.sqrt(total), np.nan)


def error_scale(distance_m) -> np.ndarray:
    """Returns g of distances in metres, the scale of the errors."""
    return np.log(np.asarray(distance_m, float) + _SHIFT_M)


def _closeness(a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
    return np.exp(-(((a - b) / length) ** 2) / 2)


def _places(model: ErrorModel, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the correlation of the smooth function between two feet [..., 2] of different rows, by broadcasting.

    An unknown foot is normal with foot_mean and foot_sd: the squared exponential's expectation has a closed form.
    """
    result = 1.0
    lengths = (model.column_length, model.row_length)
    unknown = np.isnan(a).any(axis=-1).astype(float), np.isnan(b).any(axis=-1).astype(float)
    for axis, (length, mean, sd) in enumerate(zip(lengths, model.foot_mean, model.foot_sd, strict=True)):
        widened = length**2 + (unknown[0] + unknown[1]) * sd**2
        apart = np.where(unknown[0] > 0, mean, a[..., axis]) - np.where(unknown[1] > 0, mean, b[..., axis])
        result = result * length / np.sqrt(widened) * np.exp(-(apart**2) / (2 * widened))
    return result


def error_covariance(
    model: ErrorModel, u: np.ndarray, foot_u: np.ndarray, v: np.ndarray, foot_v: np.ndarray
) -> np.ndarray:
    """Returns the covariance of the errors of different rows, without noise, by broadcasting. u, v: g(estimate)."""
    centre = error_scale(model.centre_m)
    line = model.constant**2 + model.slope**2 * (u - centre) * (v - centre)
    return line + model.smooth**2 * _places(model, foot_u, foot_v) * _closeness(u, v, model.log_length)


def _variance(model: ErrorModel, u: np.ndarray) -> np.ndarray:
    """Returns the variance of a row's error, with noise. It is the same with an unknown foot."""
    line = model.constant**2 + model.slope**2 * (u - error_scale(model.centre_m)) ** 2
    return line + model.smooth**2 + model.noise**2


def _negative_log_likelihood(covariance: np.ndarray, error: np.ndarray) -> float:
    """Returns the negative log density of N(0, covariance) at error, up to a constant."""
    factor = np.linalg.cholesky(covariance)
    return float(np.square(np.linalg.solve(factor, error)).sum() / 2 + np.log(np.diag(factor)).sum())


def _one_of_each_clip(site: np.ndarray, clip: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of each site: one random row of at most _MOST_CLIPS random clips. The choice is repeatable."""
    order = np.random.default_rng(0).permutation(len(site))
    _, first = np.unique(np.stack([site, clip])[:, order], axis=1, return_index=True)
    rows = order[np.sort(first)]
    return [rows[site[rows] == name][:_MOST_CLIPS] for name in np.unique(site)]


def _distances(name: str, values) -> np.ndarray:
    values = np.asarray(values, float)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise ValueError(f'{name} {values[bad][0]:g} m is not a distance ({np.count_nonzero(bad)} such rows)')
    return values


def _feet(foot, shape: tuple[int, ...]) -> np.ndarray:
    foot = np.asarray(foot, float)
    if foot.shape != (*shape, 2):
        raise ValueError(f'give column and row of one foot for each of {shape} distances, not {foot.shape}')
    return foot
