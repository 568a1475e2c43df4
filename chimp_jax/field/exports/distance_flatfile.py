"""Writes flat files of the R package Distance (Miller et al. 2019), for distance sampling with camera traps.

Howe et al. (2017): a camera is a point transect that is visited every t seconds while it is active. At each visit, a
*snapshot moment*, the distances of all animals in view are taken. Effort is the number of moments.
"""

import itertools
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from etils import epath

from chimp_jax.field.exports.completeness import Completeness
from chimp_jax.field.exports.distance_script import REDRAWS, distance_script
from chimp_jax.field.exports.flatfile_check import FlatFileCheck, checked_bins
from chimp_jax.field.exports.observed import SeenInPieces
from chimp_jax.field.exports.redrawn import RedrawLines, Redraws
from chimp_jax.field.exports.rows import checked_rows, short_number
from chimp_jax.field.exports.snapshots import Snapshots, photos_of
from chimp_jax.field.exports.station_lines import StationLines
from data_prep.files import unfinished_file, write_whole
from data_prep.inputs.tables import csv_text

FLATFILE, SCRIPT = 'distance_flatfile.csv', 'distance.R'
MOST_OUTSIDE = 0.02  # share of the estimates beyond the out-of-fold ones; a larger one makes the redraws doubtful
_LEAST_THETA_DEG = 6.0  # no camera trap sees less, and no view in radians is more (a full circle is 6.28)
_ABOUT, _BINS = ('Region.Label', 'Area', 'Sample.Label', 'Effort', 'distance'), ('distbegin', 'distend')
_COVARIATES = ('video_id', 'time', 'distance_lower', 'distance_upper')


def write_distance(
    pieces: Iterable[pd.DataFrame],
    snapshots: Snapshots,
    deployments: pd.DataFrame,
    snapshot_s: int,
    theta_deg: float,
    out_dir,
    cutpoints=None,
    truncation: float | None = None,
    partial_effort: bool = False,
    boxes: pd.DataFrame | None = None,
    redraws: Redraws | None = None,
    completeness: Completeness | None = None,
) -> dict:
    """Writes distance_flatfile.csv and distance.R into out_dir, and a flat file for each redraw of the true distances.

    pieces: the rows of distances.csv, sorted by clip, each clip in one piece. snapshots: the moments of all clips; an
    observation is an animal at a moment. deployments: the table of stations.read_deployments. snapshot_s: seconds
    between snapshot moments, counted from the start of each clip. theta_deg: the camera's angle of view. cutpoints [K]:
    metres, ascending; they add distbegin and distend, with bins (begin, end]. truncation: metres; with cutpoints it
    must be one of them. partial_effort: the effort of a station is the share of it that was looked at, see
    station_efforts. boxes: video_id, time_s, animal of the boxes of tracks; they tell which animals are in view at a
    moment, see observe. redraws: None: no redraws; those of an earlier run are deleted.
    completeness: of the detector; the script then fits it beside the detection function.
    Returns the counts of the rows written, of the rows left out by reason, of the moments, and of several labels.
    Raises ValueError for user errors that the package would report later or not at all: see docs/exports.md.
    """
    check_snapshot(snapshot_s)
    check_theta(theta_deg)
    cutpoints, truncation = checked_bins(cutpoints, truncation)
    places = station_efforts(deployments, snapshots, snapshot_s, partial_effort)
    out_dir = epath.Path(out_dir)
    with tempfile.TemporaryDirectory() as scratch:
        lines, redrawn = (kind(scratch, cutpoints, truncation) for kind in (StationLines, RedrawLines))
        takers = [lines, redrawn] if redraws else [lines]
        n_photos, n_shared = _observe(pieces, SeenInPieces(snapshots.seen(), boxes), takers)
        counts = _write_table(out_dir / FLATFILE, places, lines, theta_deg)
        _write_redraws(out_dir / REDRAWS, places, redrawn, theta_deg, redraws)
    write_whole(out_dir / SCRIPT, distance_script(FLATFILE, theta_deg, cutpoints, truncation, completeness))
    left_out = {reason: n for reason, n in lines.left_out.items() if n} | ({'photos': n_photos} if n_photos else {})
    return {
        **counts,
        'left out': left_out,
        'moments': snapshots.counts() | {'with several animals': n_shared},
        'kinds of animal': dict(lines.kinds.most_common()) if len(lines.kinds) > 1 else {},
        'stations not looked at': sorted(set(deployments['station']) - set(places)),
        **({'completeness': completeness.columns()} if completeness else {}),
    } | (_about_redraws(redraws, redrawn) if redraws else {})


def _observe(
    pieces: Iterable[pd.DataFrame], seen: SeenInPieces, takers: Sequence[StationLines | RedrawLines]
) -> tuple[int, int]:
    """Adds the observations to the takers. Returns the number of rows that are photos, and of shared moments."""
    n_photos = n_shared = 0
    for piece in pieces:
        rows = checked_rows(piece, _COVARIATES)
        single = photos_of(rows['video_id'])
        n_photos += int(single.sum())
        observed = seen.observe(rows[~single])
        n_shared += observed.n_shared
        for taker in takers:
            taker.add(observed)
    others = seen.observe_others(rows[:0])
    for taker in takers:
        taker.add(others)
    return n_photos, n_shared + others.n_shared


def _write_redraws(
    folder: epath.Path, places: Mapping[str, tuple], lines: RedrawLines, theta_deg: float, redraws: Redraws | None
) -> None:
    folder.rmtree(missing_ok=True)  # distance.R reads all files of the folder
    if redraws:
        digits = len(str(redraws.number))
        for number, drawn in enumerate(lines.draw(redraws), 1):
            _write_table(folder / f'distance_flatfile_{number:0{digits}}.csv', places, drawn, theta_deg)


def _about_redraws(redraws: Redraws, lines: RedrawLines) -> dict:
    share = lines.share_outside(redraws)
    too_many = {'estimates unlike the out-of-fold rows': f'{share:.0%}'} if share > MOST_OUTSIDE else {}
    return {'redraws': redraws.number} | too_many


def _write_table(
    path: epath.Path, places: Mapping[str, tuple], lines: StationLines | RedrawLines, theta_deg: float
) -> dict:
    with unfinished_file(path) as unfinished, unfinished.open('w') as file:
        return _write_stations(file, path.name, places, lines, theta_deg)


def _write_stations(
    file, name: str, places: Mapping[str, tuple], lines: StationLines | RedrawLines, theta_deg: float
) -> dict:
    """Writes the observations by station and clip, and one row for each station without any. Returns the counts."""
    header = [*_ABOUT, *(_BINS if lines.cutpoints else ()), 'object', 'multiplier', *_COVARIATES]
    check = FlatFileCheck(name, lines.cutpoints, lines.truncation, bool(lines.cutpoints))
    n_ends, fraction = 3 if lines.cutpoints else 1, short_number(theta_deg / 360, 7)  # the distance and its bin
    file.write(csv_text(header, []))
    written = itertools.count(2)  # the line of the next row
    n = 0
    for station, (region, area, effort) in places.items():
        about = [region, short_number(area, 6), station, short_number(effort, 6)]
        rows = (
            [*about, *cells[:n_ends], str(number), fraction, *cells[n_ends:]]
            for number, cells in enumerate(lines.of_station(station), start=n + 1)
        )
        empty = [*about, *[''] * n_ends, '', fraction, *[''] * len(_COVARIATES)]
        first = next(rows, empty)
        for row in itertools.chain([first], rows):
            check.take(next(written), dict(zip(header, row, strict=True)))
            file.write(csv_text(row, []))
        n += check.detections.get(station, 0)
    return check.counts()


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
