"""Writes flat files of the R package Distance (Miller et al. 2019), for distance sampling with camera traps.

Howe et al. (2017): a camera is a point transect that is visited every t seconds while it is active. At each visit, a
*snapshot moment*, the distances of all animals in view are taken. Effort is the number of moments.
"""

import math

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.field.bins import bin_of
from chimp_jax.field.exports.distance_script import distance_script
from chimp_jax.field.exports.flatfile_check import check_flatfile, checked_bins
from chimp_jax.field.exports.rows import checked_rows, short_number
from data_prep.files import write_whole
from data_prep.inputs.tables import csv_text

FLATFILE, SCRIPT = 'distance_flatfile.csv', 'distance.R'
_LEAST_THETA_DEG = 6.0  # no camera trap sees less, and no view in radians is more (a full circle is 6.28)
_COVARIATES = ('video_id', 'time', 'distance_lower', 'distance_upper')


def write_distance(
    rows: pd.DataFrame,
    stations: pd.Series,
    deployments: pd.DataFrame,
    snapshot_s: int,
    theta_deg: float,
    out_dir,
    cutpoints=None,
    truncation: float | None = None,
    every_s: int = 1,
) -> dict:
    """Writes distance_flatfile.csv and distance.R into out_dir.

    rows: distances.csv. stations: the station of each row (stations.stations_of). deployments: the table of
    stations.read_deployments. snapshot_s: seconds between snapshot moments, counted from the start of each clip.
    theta_deg: the camera's angle of view. cutpoints [K]: metres, ascending; they add distbegin and distend, with
    bins (begin, end]. truncation: metres; with cutpoints it must be one of them. every_s: seconds between targets.
    Returns the counts of the rows written, and of the rows left out by reason.
    Raises ValueError for user errors that the package would report later or not at all: see docs/exports.md.
    """
    check_snapshot(snapshot_s, every_s)
    check_theta(theta_deg)
    cutpoints, truncation = checked_bins(cutpoints, truncation)
    places = check_stations(deployments, snapshot_s)
    rows = rows.assign(station=np.asarray(stations, object))
    rows = checked_rows(rows, _COVARIATES)
    unknown = sorted(set(rows['station']) - set(places))
    if unknown:
        raise ValueError(
            f'the station {unknown[0]!r} of {rows.loc[rows["station"] == unknown[0], "video_id"].iloc[0]} is not in '
            'the deployments table; add a row for it, with active_seconds'
        )
    kept, left_out = _kept(rows, snapshot_s, cutpoints, truncation)
    header, lines = _lines(kept, places, theta_deg, cutpoints)
    table = pd.DataFrame(lines, columns=header, index=range(2, len(lines) + 2), dtype=object)
    counts = check_flatfile(table, cutpoints, truncation, name=FLATFILE)
    out_dir = epath.Path(out_dir)
    write_whole(out_dir / FLATFILE, csv_text(header, lines))
    write_whole(out_dir / SCRIPT, distance_script(FLATFILE, theta_deg, cutpoints, truncation))
    return {**counts, 'left out': left_out}


def check_snapshot(snapshot_s, every_s: int) -> None:
    """Raises ValueError if the snapshot moments are impossible. every_s: seconds between targets."""
    if not (math.isfinite(snapshot_s) and snapshot_s >= 1 and snapshot_s == int(snapshot_s)):
        raise ValueError(f'the snapshot interval {snapshot_s} s is not a whole number of seconds; give 1, 2, 3, ...')
    if snapshot_s % every_s:
        raise ValueError(
            f'the distances are {every_s} s apart, so some moments every {snapshot_s} s have no distance; '
            f'give a snapshot interval that is a multiple of {every_s}, or estimate every {snapshot_s} s'
        )


def check_theta(theta_deg: float) -> None:
    """Raises ValueError if an angle of view is impossible, or so small that it must be radians."""
    if not 0 < theta_deg <= 360:
        raise ValueError(f'theta {theta_deg} is not an angle of view; give degrees, above 0 and up to 360')
    if theta_deg < _LEAST_THETA_DEG:
        raise ValueError(
            f'theta {theta_deg:g} is too small for degrees: give degrees; {theta_deg:g} rad are '
            f'{math.degrees(theta_deg):.4g} degrees'
        )


def check_stations(deployments: pd.DataFrame, snapshot_s: int) -> dict[str, tuple]:
    """Returns {station: (region, area in square km, effort in moments)} in the order of the table.

    Raises ValueError with the row if a station has no area, no active time or two rows, or if the areas of a region
    differ.
    """
    places: dict[str, tuple] = {}
    areas: dict[str, tuple[float, str]] = {}
    for row in deployments.to_dict('records'):
        station, region, place = row['station'], row['region'] or 'all', row['row']
        if station in places:
            raise ValueError(f'{place}: the station {station!r} has two rows; write one row for each station')
        if not (math.isfinite(row['area_km2']) and row['area_km2'] > 0):
            raise ValueError(f'{place}: area_km2 is missing or 0; write the area of the region in square kilometres')
        if not (math.isfinite(row['active_seconds']) and row['active_seconds'] > 0):
            raise ValueError(f'{place}: active_seconds is missing or 0; write it, or start and end of the deployment')
        area, where = areas.setdefault(region, (row['area_km2'], place))
        if area != row['area_km2']:
            raise ValueError(
                f'{place}: the region {region!r} has {row["area_km2"]:g} square km, but {area:g} in {where}; '
                'write the area of the whole region in each row'
            )
        places[station] = region, area, row['active_seconds'] / snapshot_s
    return places


def _kept(rows: pd.DataFrame, snapshot_s: int, cutpoints, truncation) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the observations, and {reason: how many rows were left out}."""
    distance = rows['distance'].to_numpy()
    moment = rows['time'].to_numpy() % snapshot_s == 0
    known = ~np.isnan(distance)
    first = cutpoints[0] if cutpoints else 0
    last = cutpoints[-1] if cutpoints else math.inf if truncation is None else truncation
    # The last bin includes its end, the first bin its start, like R's cut(include.lowest = TRUE).
    near, far = known & (distance < first), known & (distance > last)
    left_out = {
        'between snapshot moments': int((~moment).sum()),
        'no distance': int((moment & ~known).sum()),
        'nearer than the first cutpoint': int((moment & near).sum()),
        'beyond the truncation': int((moment & far).sum()),
    }
    return rows[moment & known & ~near & ~far], {reason: n for reason, n in left_out.items() if n}


def _lines(rows: pd.DataFrame, places: dict[str, tuple], theta_deg: float, cutpoints):
    """Returns the header and the rows: observations by station and clip, one row for each station without any."""
    bins = ('distbegin', 'distend') if cutpoints else ()
    header = ['Region.Label', 'Area', 'Sample.Label', 'Effort', 'distance', *bins, 'object', 'multiplier', *_COVARIATES]
    of_station = dict(list(rows.groupby('station', sort=False)))
    fraction = short_number(theta_deg / 360, 7)
    lines, n = [], 0
    for station, (region, area, effort) in places.items():
        about = [region, short_number(area, 6), station, short_number(effort, 6)]
        if station not in of_station:
            lines.append([*about, '', *([''] * len(bins)), '', fraction, '', '', '', ''])
            continue
        for row in of_station[station].to_dict('records'):
            n += 1
            ends = _bin(row['distance'], cutpoints) if cutpoints else ()
            lower, upper = (short_number(float(row[name]), 3) for name in ('distance_lower', 'distance_upper'))
            seen = [row['video_id'], str(row['time']), lower, upper]
            lines.append([*about, short_number(row['distance'], 3), *ends, str(n), fraction, *seen])
    return header, lines


def _bin(distance_m: float, cutpoints: list[float]) -> tuple[str, str]:
    k = int(bin_of(distance_m, cutpoints))
    return short_number(cutpoints[k], 6), short_number(cutpoints[k + 1], 6)
