"""Corrects the estimates of a station by known distances there, if that helps.

The correction is that of chimp_jax/stations/correction.py. Each known row is estimated with the others left out; the
correction is applied if it lowers this error.

The known rows of one clip resemble each other more than other rows of the station, and the correction does not know
this. Take known distances from several clips.
"""

import dataclasses

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import SECOND, with_animal
from chimp_jax.field.label_tables import named
from chimp_jax.stations.correction import ASSUMED_ERRORS, Correction, ErrorModel, fit_correction

OF_TARGETS = {'time_s': 'time', 'distance_m': 'distance'}  # columns of targets -> of tables of distances
LEAST_ROWS = 5  # at a station; leave-one-out needs them
LEAST_GAIN = 0.02  # share of the leave-one-out MAE that a correction must save


@dataclasses.dataclass(frozen=True)
class SiteCalibration:
    """The correction of one station. The MAE is leave-one-out, in metres: each row with the fit on the other rows."""

    n: int
    mae_without_m: float
    mae_with_m: float | None  # None if there are fewer than LEAST_ROWS rows
    applied: bool
    reason: str  # why it is not applied, '' if it is


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The corrections of the stations. Made by fit_calibration."""

    sites: dict[str, SiteCalibration]
    corrections: dict[str, Correction]  # those that are applied
    left_out_m: np.ndarray  # [n] of the known rows: estimated with the row left out, uncorrected if that is not applied

    def apply(self, distance_m, site, foot) -> np.ndarray:
        """distance_m [n], site [n], foot [n, 2] -> corrected [n], metres, >= 0, NaN if the distance is NaN.

        foot: column and row as shares of the picture, NaN if unknown. With the same foot, the map keeps the order of
        distances, so it applies to estimates and to both ends of their intervals. The distances of stations without an
        applied correction do not change.
        """
        distance_m = np.asarray(distance_m, float)
        site, foot = np.asarray(site, str), np.asarray(foot, float)
        if site.shape != distance_m.shape:
            raise ValueError(f'give one site for each of {distance_m.shape} distances, not {site.shape}')
        corrected_m = distance_m.copy()
        for name, correction in self.corrections.items():
            here = site == name
            corrected_m[here] = correction.apply(distance_m[here], foot[here])
        return corrected_m

    def table(self) -> pd.DataFrame:
        """Returns a row for each station: site and the fields of SiteCalibration."""
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
    """rows (KEY, distance, x, y), known (video_id, time, distance, x, y, row) -> matched rows and notes.

    x, y: the foot point as shares of the picture, NaN if unknown. Returns the known rows with `animal` and `estimate`
    in metres; the foot points of rows fill missing ones. If a second has several animals, the known distance is of the
    animal nearest to its foot point. There is a note for each known row without an estimate.
    """
    by_second = dict(list(with_animal(rows).groupby(SECOND)))
    matched, notes = [], []
    for row in known.to_dict('records'):
        here = by_second.get((row['video_id'], row['time']), rows[:0])
        place = f'{row["row"]}: {row["video_id"]} at {row["time"]} s'
        found, reason = _nearest(here, row['x'], row['y'])
        if found is None:
            notes.append(f'{place} {reason}, so it does not help to calibrate')
            continue
        feet = {name: found[name] if np.isnan(row[name]) else row[name] for name in ('x', 'y')}
        matched.append(row | feet | {'animal': found['animal'], 'estimate': found['distance']})
    columns = dict.fromkeys([*known, 'animal', 'estimate'])
    return pd.DataFrame(matched, columns=list(columns)).astype(dict.fromkeys(('x', 'y', 'estimate'), float)), notes


def _nearest(rows: pd.DataFrame, x: float, y: float) -> tuple[pd.Series | None, str]:
    """Returns the row of a second (x, y, distance) that is nearest to a foot point, or why no row counts."""
    rows = rows[rows['distance'].notna()]
    if rows.empty:
        return None, 'has no estimate'
    if len(rows) == 1:
        return rows.iloc[0], ''
    apart = np.hypot(rows['x'].to_numpy(float) - x, rows['y'].to_numpy(float) - y)
    if not np.isfinite(apart).any():
        return None, f'shows {len(rows)} animals, and the row has no foot point x and y'
    return rows.iloc[int(np.nanargmin(apart))], ''


def fit_calibration(estimate_m, known_m, foot, site, model: ErrorModel = ASSUMED_ERRORS) -> Calibration:
    """estimate_m [n], known_m [n], foot [n, 2], site [n] of known rows -> a correction for each station.

    foot: column and row as shares of the picture, NaN if unknown. A correction is applied if the station has at least
    LEAST_ROWS rows and it lowers their leave-one-out MAE by more than the share LEAST_GAIN. Raises ValueError if a
    value is not a distance or a row has no site.
    """
    estimate_m, known_m, foot, site = _checked(estimate_m, known_m, foot, site)
    sites, corrections, left_out_m = {}, {}, estimate_m.copy()
    for name in np.unique(site):
        here = site == name
        one, out_m = _fit_site(estimate_m[here], known_m[here], foot[here], model)
        sites[str(name)] = one
        if one.applied:
            left_out_m[here] = out_m
            corrections[str(name)] = fit_correction(estimate_m[here], known_m[here], foot[here], model)
    return Calibration(sites, corrections, left_out_m)


def _fit_site(
    estimate_m: np.ndarray, known_m: np.ndarray, foot: np.ndarray, model: ErrorModel
) -> tuple[SiteCalibration, np.ndarray]:
    """Returns the calibration of one station, and each row as corrected by the others."""
    n = len(known_m)
    without_m = float(np.abs(estimate_m - known_m).mean())
    if n < LEAST_ROWS:
        return SiteCalibration(n, without_m, None, False, f'{n} known distances, {LEAST_ROWS} are needed'), estimate_m
    left_out_m = np.zeros(n)
    for i in range(n):
        others = np.arange(n) != i
        correction = fit_correction(estimate_m[others], known_m[others], foot[others], model)
        left_out_m[i] = correction.apply(estimate_m[i : i + 1], foot[i : i + 1])[0]
    with_m = float(np.abs(left_out_m - known_m).mean())
    applied = bool(without_m - with_m > LEAST_GAIN * without_m)
    reason = '' if applied else f'not applied, because it does not lower the leave-one-out error by {LEAST_GAIN:.0%}'
    return SiteCalibration(n, without_m, with_m, applied, reason), left_out_m


def _checked(estimate_m, known_m, foot, site):
    estimate_m, known_m, site = np.asarray(estimate_m, float), np.asarray(known_m, float), np.asarray(site, str)
    if estimate_m.ndim != 1 or not estimate_m.shape == known_m.shape == site.shape or not estimate_m.size:
        raise ValueError(
            f'give as many estimates, distances and sites; got {estimate_m.shape}, {known_m.shape}, {site.shape}'
        )
    for name, values in (('estimate', estimate_m), ('known distance', known_m)):
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any():
            raise ValueError(f'{name} {values[bad][0]:g} m is not a distance ({np.count_nonzero(bad)} such rows)')
    if (site == '').any():
        raise ValueError(
            f'{np.count_nonzero(site == "")} known distances belong to clips without a site; give their site'
        )
    return estimate_m, known_m, np.asarray(foot, float).reshape(-1, 2), site
