"""Which distances of a station to measure next: those that are expected to lower the errors of the others most.

The errors at a station are the Gaussian process of correction.py. Its posterior variance at a target does not depend on
the distances that were measured, only on where they were measured. So the error that remains after one more measured
distance is known before anybody measures it (Cohn et al. 1996, "Active learning with statistical models"). The gain of
a candidate is the fall of the standard deviation in metres, summed over the targets that are not measured.

Besides the process, errors of one clip resemble each other, the more the nearer the seconds. Where members disagree,
this shared error is as large as their spread.

`python -m bench.choice_of_labels FOLDER` compares the choice with random choices.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from chimp_jax.stations.correction import ASSUMED_ERRORS, ErrorModel, error_covariance, error_scale

# The error that the seconds of a clip share, in units of g, and its fall with time. From the products of the
# errors of pairs of rows, less what ErrorModel expects, at the sites of the challenge that do not test the choice:
# 0.022 at 1 to 5 s, 0.015 at 6 to 30 s, 0.003 later.
CLIP_SD = 0.15
_CLIP_S = 40.0
_LEAST_NOISE = 0.3  # share of the noise of ErrorModel that is left when the clip's part is taken out


class StationTargets(NamedTuple):
    """The targets of one station, arrays [n]."""

    estimate_m: np.ndarray  # NaN if unknown
    foot: np.ndarray  # [n, 2] column and row in shares of the picture, NaN if unknown
    clip: np.ndarray
    second: np.ndarray
    spread_m: np.ndarray  # standard deviation between the members, NaN if unknown


def label_gains(
    targets: StationTargets, measured, candidates, others, model: ErrorModel = ASSUMED_ERRORS
) -> np.ndarray:
    """Returns how far the errors of `others` fall, in metres and summed, if one candidate [c] is measured.

    measured, candidates, others: indices into the targets. measured: those with a known distance.
    """
    known, asked, other = (_rows(targets, indices, model) for indices in (measured, candidates, others))
    between = _covariance(other, asked, model)
    variance, other_variance = _own(asked, model), _own(other, model)
    if len(known.u):
        covariance = _covariance(known, known, model)
        np.fill_diagonal(covariance, _own(known, model) + known.noise)
        root = np.linalg.cholesky(covariance)
        to_asked, to_other = (
            solve_triangular(root, _covariance(known, rows, model), lower=True) for rows in (asked, other)
        )
        between = between - to_other.T @ to_asked
        variance = variance - np.square(to_asked).sum(axis=0)
        other_variance = other_variance - np.square(to_other).sum(axis=0)
    fall = between**2 / (np.maximum(variance, 0) + asked.noise)
    before = np.maximum(other_variance, 0) + other.noise
    after = np.maximum(before[:, None] - fall, 0)
    metres = np.exp(other.u)  # of a unit of g
    return metres @ (np.sqrt(before)[:, None] - np.sqrt(after))


class _Rows(NamedTuple):
    u: np.ndarray  # g of the estimate
    foot: np.ndarray
    clip: np.ndarray
    second: np.ndarray
    shared: np.ndarray  # standard deviation of the error that the clip shares
    noise: np.ndarray  # variance


def _rows(targets: StationTargets, indices, model: ErrorModel) -> _Rows:
    indices = np.asarray(indices, int)
    estimate_m, foot, clip, second, spread_m = (np.asarray(values)[indices] for values in targets)
    u = error_scale(np.where(np.isnan(estimate_m), model.centre_m, estimate_m))
    shared = np.fmax(spread_m / np.exp(u), CLIP_SD)
    noise = max(model.noise**2 - CLIP_SD**2, _LEAST_NOISE * model.noise**2)
    return _Rows(u, foot, clip, second.astype(float), shared, np.full(len(u), noise))


def _covariance(a: _Rows, b: _Rows, model: ErrorModel) -> np.ndarray:
    """Returns the covariance [a, b] of the errors, without noise."""
    of_station = error_covariance(model, a.u[:, None], a.foot[:, None], b.u, b.foot)
    near = np.exp(-np.abs(a.second[:, None] - b.second) / _CLIP_S) * (a.clip[:, None] == b.clip)
    return of_station + a.shared[:, None] * b.shared * near


def _own(rows: _Rows, model: ErrorModel) -> np.ndarray:
    """Returns the variance [n] of the errors, without noise."""
    centre = error_scale(model.centre_m)
    return model.constant**2 + model.slope**2 * (rows.u - centre) ** 2 + model.smooth**2 + rows.shared**2
