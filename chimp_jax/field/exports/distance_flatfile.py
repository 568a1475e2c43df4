"""Writes flat files of the R package Distance (Miller et al. 2019), for distance sampling with camera traps.

Howe et al. (2017): a camera is a point transect that is visited every t seconds while it is active. At each visit, a
*snapshot moment*, the distances of all animals in view are taken. Effort is the number of moments.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.field.bins import bin_of
from chimp_jax.field.exports.distance_script import distance_script
from chimp_jax.field.exports.flatfile_check import check_flatfile, checked_bins
from chimp_jax.field.exports.observed import Observed, observe
from chimp_jax.field.exports.rows import checked_rows, short_number
from chimp_jax.field.exports.snapshots import Snapshots, photos_of
from data_prep.files import write_whole
from data_prep.inputs.tables import csv_text

FLATFILE, SCRIPT = 'distance_flatfile.csv', 'distance.R'
_LEAST_THETA_DEG = 6.0  # no camera trap sees less, and no view in radians is more (a full circle is 6.28)
_COVARIATES = ('video_id', 'time', 'distance_lower', 'distance_upper')


def write_distance(
    rows: pd.DataFrame,
    snapshots: Snapshots,
    deployments: pd.DataFrame,
    snapshot_s: int,
    theta_deg: float,
    out_dir,
    cutpoints=None,
    truncation: float | None = None,
    partial_effort: bool = False,
    boxes: pd.DataFrame | None = None,
) -> dict:
    """Writes distance_flatfile.csv and distance.R into out_dir.

    rows: distances.csv. snapshots: the moments of all clips; an observation is an animal at a moment. deployments:
    the table of stations.read_deployments. snapshot_s: seconds between snapshot moments, counted from the start of each
    clip. theta_deg: the camera's angle of view. cutpoints [K]: metres, ascending; they add distbegin and distend, with
    bins (begin, end]. truncation: metres; with cutpoints it must be one of them. partial_effort: the effort of a
    station is the share of it that was looked at, see station_efforts. boxes: video_id, time_s, animal of the boxes of
    tracks; they tell which animals are in view at a moment, see observe.
    Returns the counts of the rows written, of the rows left out by reason, of the moments, and of several labels.
    Raises ValueError for user errors that the package would report later or not at all: see docs/exports.md.
    """
    check_snapshot(snapshot_s)
    check_theta(theta_deg)
    cutpoints, truncation = checked_bins(cutpoints, truncation)
    places = station_efforts(deployments, snapshots, snapshot_s, partial_effort)
    rows = checked_rows(rows, _COVARIATES)
    single = photos_of(rows['video_id'])
    observed = observe(snapshots.seen(), rows[~single], boxes)
    kept, left_out = _kept(observed, cutpoints, truncation)
    left_out |= {'photos': int(single.sum())} if single.any() else {}
    header, lines = _lines(kept, places, theta_deg, cutpoints)
    table = pd.DataFrame(lines, columns=header, index=range(2, len(lines) + 2), dtype=object)
    counts = check_flatfile(table, cutpoints, truncation, name=FLATFILE)
    out_dir = epath.Path(out_dir)
    write_whole(out_dir / FLATFILE, csv_text(header, lines))
    write_whole(out_dir / SCRIPT, distance_script(FLATFILE, theta_deg, cutpoints, truncation))
    kinds = kept['label'].replace('', 'animal').value_counts().to_dict() if 'label' in kept else {}
    not_watched = sorted(set(deployments['station']) - set(places))
    return {
        **counts,
        'left out': left_out,
        'moments': snapshots.counts() | {'with several animals': observed.n_shared},
        'kinds of animal': kinds if len(kinds) > 1 else {},
        'stations not looked at': not_watched,
    }


def check_snapshot(snapshot_s, every_s: int = 1) -> None:
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


def station_efforts(
    deployments: pd.DataFrame, snapshots: Snapshots, snapshot_s: int, partial_effort: bool = False
) -> dict[str, tuple]:
    """Returns {station: (region, area in square km, effort in moments)} in the order of the table.

    The effort is the number of active moments. With partial_effort it is multiplied by the share of the moments in the
    station's clips that somebody looked at. Those moments are a sample of the clips, and they have that share of the
    animals; the moments outside of clips count as sampled alike. A station of which no moment was looked at is left
    out. Raises ValueError with the row of the table if it is not valid, or with a clip whose station it lacks.
    """
    share = snapshots.share_looked_at() if partial_effort else pd.Series(dtype=float)
    places = {
        station: (region, area, active_s / snapshot_s * share.get(station, 1))
        for station, (region, area, active_s) in check_stations(deployments).items()
    }
    _check_clips(places, snapshots)
    watched = {station: about for station, about in places.items() if about[2]}
    if not watched:
        raise ValueError('no snapshot moment of any station was looked at; run the detector on the clips')
    return watched


def check_stations(deployments: pd.DataFrame) -> dict[str, tuple]:
    """Returns {station: (region, area in square km, active seconds)} in the order of the table.

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
        places[station] = region, area, row['active_seconds']
    return places


def _check_clips(places: Mapping[str, tuple], snapshots: Snapshots) -> None:
    first = snapshots.moments.drop_duplicates('station')
    stations = dict(zip(first['station'], first['video_id'], strict=True))
    unknown = sorted(set(stations) - set(places))
    if unknown:
        raise ValueError(
            f'the station {unknown[0]!r} of {stations[unknown[0]]} is not in the deployments table; add a row for it, '
            'with active_seconds'
        )


def _kept(observed: Observed, cutpoints, truncation) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the observations with a distance in the bins, and {reason: how many rows or animals were left out}."""
    rows = observed.rows
    distance = rows['distance'].to_numpy(float)
    known = ~np.isnan(distance)
    first = cutpoints[0] if cutpoints else 0
    last = cutpoints[-1] if cutpoints else math.inf if truncation is None else truncation
    # The last bin includes its end, the first bin its start, like R's cut(include.lowest = TRUE).
    near, far = known & (distance < first), known & (distance > last)
    left_out = observed.unused | {
        'no distance': int((~known).sum()),
        'nearer than the first cutpoint': int(near.sum()),
        'beyond the truncation': int(far.sum()),
    }
    return rows[known & ~near & ~far], {reason: n for reason, n in left_out.items() if n}


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
