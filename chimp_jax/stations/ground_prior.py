"""What stations have in common: the prior over the ground planes of stations, and its fit to a survey's stations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEAST_STATIONS = 5  # with fewer stations of one's own, the default prior stays
# Known points, hand-clicked at poles: M. Rowcliffe and N. Chatterjee, camcal_validation, 20 stations of Hoge Veluwe.
# There b1 is 1.40 +- 0.17 m, b2 0.45 +- 0.05, b3 0.02 +- 0.05 and the scatter of y 0.02 of the picture's height.
_MEAN = np.array([1.40, 0.45, 0.02])
_NOISE = 0.02
# Another survey mounts another camera at another height and tilt. Planes fitted to the labels and boxes of 38 sites of
# the challenge (Moyen Bafing) have b1 0.66 +- 0.43 m, b2 0.67 +- 0.15, b3 -0.01 +- 0.17, and boxes scatter by 0.07.
# So stations of one survey differ by _WITHIN (between the figures of the two surveys), and surveys by _BETWEEN.
_WITHIN = np.array([0.25, 0.08, 0.08])
_BETWEEN = np.array([0.40, 0.13, 0.09])
_NOISE_SPREAD = 0.6  # sd of the logarithm of the noise between stations: e^(2 x 0.6) is 3.3
_WEIGHT = 2.0  # what the default says about the variation within a survey counts as many stations
_ROUNDS = 50  # of EM; the mean changes by less than 1e-4 after 30
_STEPS = np.linspace(-3, 3, 13)  # of the quadrature over the noise, in standard deviations of its logarithm


class GroundPrior(NamedTuple):
    """A Gaussian prior over (b1 in metres, b2, b3) of y = b2 + b3 (x - 0.5) + b1 / distance, and the noise of y.

    The logarithm of a station's noise is Gaussian, too: its median is `noise`, its standard deviation `noise_spread`.
    """

    mean: np.ndarray  # [3]
    covariance: np.ndarray  # [3, 3]
    noise: float  # standard deviation of y, a share of the picture's height
    source: str
    noise_spread: float = _NOISE_SPREAD


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
    noise = prior.noise * np.exp(prior.noise_spread * _STEPS) if prior.noise_spread else np.array([prior.noise])
    log_weight = -(_STEPS**2) / 2 if prior.noise_spread else np.zeros(1)
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
    default = DEFAULT_PRIOR
    precision = np.diag(1 / _BETWEEN**2)
    prior = default._replace(covariance=np.diag(_WITHIN**2))
    for _ in range(_ROUNDS):
        fits = [plane_posterior(prior, *station) for station in stations]
        means, covariances = (np.array(part) for part in zip(*(fit.moments() for fit in fits), strict=True))
        of_one = np.linalg.inv(prior.covariance)
        of_mean = np.linalg.inv(precision + count * of_one)
        mean = of_mean @ (precision @ default.mean + of_one @ means.sum(axis=0))
        apart = means - mean
        scatter = covariances.sum(axis=0) + apart.T @ apart
        within = (_WEIGHT * np.diag(_WITHIN**2) + scatter) / (_WEIGHT + count)
        logs = np.log(fits[0].noise)
        weights = np.array([fit.weight for fit in fits])
        centre = (_WEIGHT * np.log(default.noise) + (weights @ logs).sum()) / (_WEIGHT + count)
        about = (weights @ (logs - centre) ** 2).sum()
        spread = np.sqrt((_WEIGHT * default.noise_spread**2 + about) / (_WEIGHT + count))
        prior = GroundPrior(mean, within, float(np.exp(centre)), '', float(spread))
    return prior._replace(covariance=within + of_mean, source=source or f'{count} stations of this survey')
