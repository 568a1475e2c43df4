"""Corrects the estimates of a site by a few known distances there, if that helps. Pure NumPy, SciPy, pandas.

The errors of one site resemble each other: its camera height, lens or species differ. The correction of a site, with
the estimate d and the middle c of the training distances: d' = d + offset + slope * (d - c), at least 0. A scale factor
of the camera is the case offset = slope * c. Known distances are few, so both coefficients are shrunk towards 0: they
are the posterior mean of a linear mixed model (Laird & Ware 1982). Its variances between and within sites are fitted to
the members' OOF rows by maximum likelihood. On the demo, a line lowered the error more than a power law, and a factor
alone raised the error at unseen sites (`python -m bench.demo_alternatives`).

The known rows of one clip resemble each other more than other rows of the site, and the model does not know this. Take
known distances from several clips.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from chimp_jax.field.label_tables import keyed, named

OF_TARGETS = {'time_s': 'time', 'distance_m': 'distance'}  # columns of targets -> of tables of distances
LEAST_ROWS = 5  # at a site; leave-one-out needs them
LEAST_GAIN = 0.02  # share of the leave-one-out MAE that a correction must save
_LEAST_SITES = 5  # to estimate the spread between sites
_LEAST_FACTOR = 0.1  # of 1 + slope: a correction never reverses the order of distances


@dataclasses.dataclass(frozen=True)
class SiteEffects:
    """How much sites differ: standard deviations of the mixed model, and the centre c of the distances."""

    centre_m: float
    noise_m: float  # of the rows around the line of their site
    offset_m: float  # of the sites' offsets
    slope: float  # of the sites' slopes


# Assumed if there are no OOF rows: errors of 2 m per row, sites that differ by 1 m and by a fifth of the distance.
ASSUMED_EFFECTS = SiteEffects(centre_m=6.0, noise_m=2.0, offset_m=1.0, slope=0.2)


@dataclasses.dataclass(frozen=True)
class SiteCalibration:
    """The correction of one site. The MAE is leave-one-out, in metres: each row with the fit on the other rows."""

    n: int
    mae_without_m: float
    mae_with_m: float | None  # None if there are fewer than LEAST_ROWS rows
    offset_m: float
    slope: float
    applied: bool
    reason: str  # why it is not applied, '' if it is


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The corrections of the sites. Made by fit_calibration."""

    centre_m: float
    sites: dict[str, SiteCalibration]

    def apply(self, distance_m, site) -> np.ndarray:
        """distance_m [n], site [n] -> corrected [n], metres, >= 0, NaN if the distance is NaN.

        The same map applies to estimates and to both ends of their intervals, so their order is kept. The distances of
        sites without an applied correction do not change.
        """
        distance_m = np.asarray(distance_m, float)
        site = np.asarray(site, str)
        if site.shape != distance_m.shape:
            raise ValueError(f'give one site for each of {distance_m.shape} distances, not {site.shape}')
        corrected_m = distance_m.copy()
        for name, one in self.sites.items():
            if one.applied:
                here = site == name
                corrected_m[here] = _correct(distance_m[here], one.offset_m, one.slope, self.centre_m)
        return corrected_m

    def table(self) -> pd.DataFrame:
        """Returns a row for each site: site and the fields of SiteCalibration."""
        fields = [field.name for field in dataclasses.fields(SiteCalibration)]
        return pd.DataFrame(
            [{'site': s, **dataclasses.asdict(one)} for s, one in self.sites.items()], None, ['site', *fields]
        )


def check_known(site: pd.Series, file: str) -> None:
    """Raises ValueError if a site has fewer than LEAST_ROWS known distances.

    site: of each row of the table of known distances. file: the name of the table in messages.
    """
    names, counts = np.unique(site.to_numpy(str), return_counts=True)
    few = [f'{name} has {n}' for name, n in zip(names, counts, strict=True) if n < LEAST_ROWS]
    if few:
        raise ValueError(
            f'{file}: too few known distances ({named(few)}, {LEAST_ROWS} are needed); measure more, or remove the '
            'rows of these sites'
        )


def match_known(rows: pd.DataFrame, known: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """rows (video_id, time, distance), known of read_label_table -> known rows with `estimate`, metres; notes.

    There is a note for each known row without an estimate, whose frame could not be decoded.
    """
    estimate_m = keyed(rows)['distance'].reindex(keyed(known).index)
    known = known.assign(estimate=estimate_m.to_numpy(float))
    lost = [
        f'{row.row}: {row.video_id} at {row.time} s has no estimate, so it does not help to calibrate'
        for row in known[known['estimate'].isna()].itertuples()
    ]
    return known.dropna(subset='estimate').reset_index(drop=True), lost


def site_effects(estimate_m, label_m, site) -> SiteEffects:
    """OOF rows estimate_m, label_m, site [n] -> how much sites differ; ASSUMED_EFFECTS with fewer than 5 sites."""
    estimate_m, label_m, site = _checked(estimate_m, label_m, site)
    names = np.unique(site)
    if len(names) < _LEAST_SITES:
        return ASSUMED_EFFECTS
    centre_m = float(np.median(label_m))
    sums = [_sums(estimate_m[site == name], label_m[site == name], centre_m) for name in names]
    noise_m = max(float(np.std(label_m - estimate_m)), 1e-3)
    start = np.log([noise_m, noise_m / 2, 0.2])
    found = minimize(_negative_log_likelihood, start, args=(sums,), method='Nelder-Mead')
    noise_m, offset_m, slope = np.exp(np.maximum(found.x, np.log(1e-3))).tolist()
    return SiteEffects(centre_m, noise_m, offset_m, slope)


def fit_calibration(estimate_m, known_m, site, effects: SiteEffects = ASSUMED_EFFECTS) -> Calibration:
    """estimate_m [n], known_m [n], site [n] of known rows -> a correction for each site.

    A correction is applied if the site has at least LEAST_ROWS rows and it lowers their leave-one-out MAE by more than
    the share LEAST_GAIN. Raises ValueError if a value is not a distance or a row has no site.
    """
    estimate_m, known_m, site = _checked(estimate_m, known_m, site)
    sites = {str(s): _fit_site(estimate_m[site == s], known_m[site == s], effects) for s in np.unique(site)}
    return Calibration(effects.centre_m, sites)


def _fit_site(estimate_m: np.ndarray, known_m: np.ndarray, effects: SiteEffects) -> SiteCalibration:
    n = len(known_m)
    without_m = float(np.abs(estimate_m - known_m).mean())
    if n < LEAST_ROWS:
        return SiteCalibration(n, without_m, None, 0.0, 0.0, False, f'{n} known distances, {LEAST_ROWS} are needed')
    errors_m = []
    for i in range(n):
        others = np.arange(n) != i
        line = _posterior(estimate_m[others], known_m[others], effects)
        errors_m.append(abs(float(_correct(estimate_m[i], *line, effects.centre_m)) - known_m[i]))
    with_m = float(np.mean(errors_m))
    applied = without_m - with_m > LEAST_GAIN * without_m
    reason = '' if applied else f'not applied, because it does not lower the leave-one-out error by {LEAST_GAIN:.0%}'
    return SiteCalibration(n, without_m, with_m, *_posterior(estimate_m, known_m, effects), bool(applied), reason)


def _posterior(estimate_m: np.ndarray, known_m: np.ndarray, effects: SiteEffects) -> tuple[float, float]:
    """Returns offset and slope: ridge regression of the residuals with the penalties (noise / spread) ** 2."""
    xx, xr, _, _ = _sums(estimate_m, known_m, effects.centre_m)
    ridge = (effects.noise_m / np.array([effects.offset_m, effects.slope])) ** 2
    offset_m, slope = np.linalg.solve(xx + np.diag(ridge), xr)
    return float(offset_m), float(max(slope, _LEAST_FACTOR - 1))


def _correct(distance_m, offset_m: float, slope: float, centre_m: float) -> np.ndarray:
    return np.maximum(distance_m + offset_m + slope * (distance_m - centre_m), 0)


def _sums(estimate_m, label_m, centre_m: float) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Returns X'X [2, 2], X'r [2], r'r and n, with the residuals r of a site and X = (1, estimate - centre)."""
    x = np.stack([np.ones_like(estimate_m), estimate_m - centre_m], axis=1)
    residual_m = label_m - estimate_m
    return x.T @ x, x.T @ residual_m, float(residual_m @ residual_m), len(residual_m)


def _negative_log_likelihood(log_deviations: np.ndarray, sums) -> float:
    """Returns it for residuals ~ N(0, noise^2 I + X diag(spread^2) X'), up to a constant; by Woodbury's identity."""
    noise, *spreads = np.exp(2 * np.maximum(log_deviations, np.log(1e-3)))
    total = 0.0
    for xx, xr, rr, n in sums:
        a = np.diag(1 / np.array(spreads)) + xx / noise
        fitted = xr @ np.linalg.solve(a, xr) / noise**2
        total += (n * np.log(noise) + np.log(spreads).sum() + np.linalg.slogdet(a)[1] + rr / noise - fitted) / 2
    return total


def _checked(estimate_m, label_m, site):
    estimate_m, label_m, site = np.asarray(estimate_m, float), np.asarray(label_m, float), np.asarray(site, str)
    if estimate_m.ndim != 1 or not estimate_m.shape == label_m.shape == site.shape or not estimate_m.size:
        raise ValueError(
            f'give as many estimates, distances and sites; got {estimate_m.shape}, {label_m.shape}, {site.shape}'
        )
    for name, values in (('estimate', estimate_m), ('known distance', label_m)):
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any():
            raise ValueError(f'{name} {values[bad][0]:g} m is not a distance ({np.count_nonzero(bad)} such rows)')
    if (site == '').any():
        raise ValueError(
            f'{np.count_nonzero(site == "")} known distances belong to clips without a site; give their site'
        )
    return estimate_m, label_m, site
