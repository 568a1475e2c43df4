"""What stations have in common: the prior over the ground planes of stations, and its fit to a survey's stations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEAST_STATIONS = 5  # with fewer stations of one's own, the default prior stays
# The default: M. Rowcliffe and N. Chatterjee, camcal_validation, poles clicked by hand at 20 stations of Hoge Veluwe.
# There b1 is 1.40 +- 0.17 m, b2 0.45 +- 0.05, b3 0.02 +- 0.05 and the scatter of y 0.02 of the picture's height.
# Another survey mounts another camera at another height and tilt, and a detector's boxes scatter more. Least squares on
# labels and boxes of the challenge (tables of drivendataorg/deep-chimpact-winners; 38 sites of Moyen Bafing with 15 or
# more) give b1 0.66 +- 0.43 m, b2 0.67 +- 0.15, b3 -0.01 +- 0.17 and a scatter of 0.06. So the default is wider than
# its source: stations of one survey differ by _WITHIN, surveys by _BETWEEN, and the noise is between the two figures.
_MEAN = np.array([1.40, 0.45, 0.02])
_WITHIN = np.array([0.25, 0.08, 0.08])
_BETWEEN = np.array([0.40, 0.13, 0.09])
_NOISE = 0.034
_LOG_NOISE_WITHIN = 0.5  # standard deviations of the logarithm of the noise
_LOG_NOISE_BETWEEN = 0.5
_WEIGHT = 2.0  # the default's variation within a survey counts as much as this many stations
_LEAST_NOISE = 0.002  # nobody places a foot better; points that fit exactly would otherwise have no noise at all
_ROUNDS = 30  # of EM; for the ten shared stations nothing changes in six digits after 20
_STEPS = np.linspace(-3, 3, 13)  # of the quadrature over the noise, in standard deviations of its logarithm


class GroundPrior(NamedTuple):
    """A Gaussian prior over (b1 in metres, b2, b3) of y = b2 + b3 (x - 0.5) + b1 / distance, and the noise of y.

    The logarithm of a station's noise is Gaussian, too: its median is `noise`, its standard deviation `noise_spread`.
    """

    mean: np.ndarray  # [3]
    covariance: np.ndarray  # [3, 3]
    noise: float  # standard deviation of y, a share of the picture's height
    source: str
    noise_spread: float = float(np.hypot(_LOG_NOISE_WITHIN, _LOG_NOISE_BETWEEN))


DEFAULT_PRIOR = GroundPrior(
    _MEAN,
    np.diag(_WITHIN**2 + _BETWEEN**2),
    _NOISE,
    '20 stations of Hoge Veluwe (M. Rowcliffe and N. Chatterjee, camcal_validation), widened for other surveys',
)


class PlaneMixture(NamedTuple):
    """The posterior of a plane: Gaussian for each of J values of the noise, with the weights of these values."""

    weight: np.ndarray  # [J], sum 1
    mean: np.ndarray  # [J, 3]
    covariance: np.ndarray  # [J, 3, 3]
    noise: np.ndarray  # [J]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean [3] and covariance [3, 3] of the mixture."""
        mean = self.weight @ self.mean
        apart = self.mean - mean
        return mean, np.einsum('j,jab->ab', self.weight, self.covariance + apart[:, :, None] * apart[:, None])


def plane_rows(x, distance_m) -> np.ndarray:
    """Returns [n, 3]: y is their product with (b1, b2, b3)."""
    x, distance_m = np.asarray(x, float), np.asarray(distance_m, float)
    return np.stack([1 / distance_m, np.ones_like(x), x - 0.5], axis=-1)


def plane_posterior(prior: GroundPrior, x, y, distance_m) -> PlaneMixture:
    """Returns the posterior of the plane of a station from n known points, n = 0 included.

    Given the noise the posterior is Gaussian, in closed form. The noise is integrated by quadrature.
    """
    steps = _STEPS if prior.noise_spread else np.zeros(1)
    noise = np.maximum(prior.noise * np.exp(prior.noise_spread * steps), _LEAST_NOISE)
    log_weight = -(steps**2) / 2
    # In the basis of `axes`, prior and likelihood are both diagonal, whatever the noise.
    root = np.linalg.cholesky(prior.covariance)
    rows = plane_rows(x, distance_m) @ root
    apart = np.asarray(y, float) - plane_rows(x, distance_m) @ prior.mean
    power, turn = np.linalg.eigh(rows.T @ rows)
    power = np.maximum(power, 0)
    axes = root @ turn
    pull = turn.T @ (rows.T @ apart)
    variance = noise[:, None] ** 2
    shrunk = 1 / (1 + power / variance)  # [J, 3]: posterior variance on each axis
    mean = prior.mean + (shrunk * pull / variance) @ axes.T
    covariance = np.einsum('ai,ji,bi->jab', axes, shrunk, axes)
    misfit = (apart @ apart) / variance[:, 0] - (pull**2 * shrunk / variance**2).sum(axis=1)
    log_weight = log_weight - misfit / 2 + np.log(shrunk).sum(axis=1) / 2 - len(apart) * np.log(noise)
    weight = np.exp(log_weight - log_weight.max())
    return PlaneMixture(weight / weight.sum(), mean, covariance, noise)


def fit_prior(stations: Sequence[tuple], source: str = '') -> GroundPrior:
    """Returns the prior over the stations of a survey from five or more of its stations.

    stations: (x [n], y [n], distance_m [n]) of each station, n from 1. Hierarchical model, by EM: the mean of the
    survey is shrunk towards DEFAULT_PRIOR as far as surveys differ from each other, the variation between stations
    and the noise towards the default as if it were two stations. The covariance includes the uncertainty of the mean.
    Raises ValueError if fewer than five stations have points.
    """
    stations = [tuple(np.asarray(part, float) for part in station) for station in stations if len(station[0])]
    count = len(stations)
    if count < LEAST_STATIONS:
        raise ValueError(f'{count} stations have known points, a prior of your own requires {LEAST_STATIONS}')
    prior = GroundPrior(_MEAN, np.diag(_WITHIN**2), _NOISE, '', _LOG_NOISE_WITHIN)
    for _ in range(_ROUNDS):
        fits = [plane_posterior(prior, *station) for station in stations]
        mean, covariance, of_mean = _survey_planes(prior.covariance, fits)
        noise, spread, of_noise = _survey_noise(prior.noise_spread, fits)
        prior = GroundPrior(mean, covariance, noise, source or f'{count} stations of this survey', spread)
    return prior._replace(covariance=covariance + of_mean, noise_spread=float(np.hypot(spread, of_noise)))


def _survey_planes(covariance: np.ndarray, fits: list[PlaneMixture]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the survey's mean [3], the covariance [3, 3] of its stations, and that of the mean: a step of EM."""
    means, covariances = (np.array(part) for part in zip(*(fit.moments() for fit in fits), strict=True))
    of_survey, of_station = np.diag(1 / _BETWEEN**2), np.linalg.inv(covariance)
    of_mean = np.linalg.inv(of_survey + len(fits) * of_station)
    mean = of_mean @ (of_survey @ _MEAN + of_station @ means.sum(axis=0))
    apart = means - mean
    scatter = _WEIGHT * np.diag(_WITHIN**2) + covariances.sum(axis=0) + apart.T @ apart
    return mean, scatter / (_WEIGHT + len(fits)), of_mean


def _survey_noise(spread: float, fits: list[PlaneMixture]) -> tuple[float, float, float]:
    """Returns the survey's noise, the spread of its logarithm between stations, and that of the mean: a step of EM."""
    weight, logs = np.array([fit.weight for fit in fits]), np.log(fits[0].noise)
    of_mean = 1 / (_LOG_NOISE_BETWEEN**-2 + len(fits) * spread**-2)
    mean = of_mean * (_LOG_NOISE_BETWEEN**-2 * np.log(_NOISE) + spread**-2 * (weight @ logs).sum())
    scatter = _WEIGHT * _LOG_NOISE_WITHIN**2 + (weight @ (logs - mean) ** 2).sum()
    return float(np.exp(mean)), float(np.sqrt(scatter / (_WEIGHT + len(fits)))), float(np.sqrt(of_mean))
