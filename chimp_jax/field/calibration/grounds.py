"""The ground of each station: fitted to its known points, anew after each move of the camera."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.field.calibration.known_points import STAGE
from chimp_jax.field.calibration.station_file import (
    CameraEpoch,
    CameraStation,
    MeasuredPoint,
    PriorOrigin,
    StationsFile,
)
from chimp_jax.stations import ground_plane
from chimp_jax.stations.ground_plane import Ground
from chimp_jax.stations.ground_prior import DEFAULT_PRIOR, LEAST_STATIONS, GroundPrior, fit_prior
from chimp_jax.stations.point_checks import PointChecks, check_points
from data_prep.inputs.labels import Problem


class CameraClips(NamedTuple):
    """The clips of a station between two moves of its camera."""

    station: str
    epoch: int  # from 0
    clips: tuple[str, ...]  # in order


class FittedGround(NamedTuple):
    """The ground of a station between two moves of its camera, and its known points."""

    camera: CameraClips
    ground: Ground
    points: pd.DataFrame  # known points: video_id, time, distance, x, y, row
    checks: PointChecks

    @property
    def fits(self) -> bool:
        """Whether the known points, if there are any, fit a plane."""
        return not self.checks.notes and not self.checks.is_off.any()

    def notes(self) -> list[str]:
        """Returns what does not fit, each with the row of the table of known distances."""
        points = zip(self.points['row'], self.checks.point_notes, strict=True)
        return [*self.checks.notes, *(f'{row}: {note}' for row, note in points if note)]


class Grounds(NamedTuple):
    prior: GroundPrior
    n_stations: int  # of the prior, 0: the bundled one
    fitted: list[FittedGround]

    def of_station(self, name: str) -> list[FittedGround]:
        return [one for one in self.fitted if one.camera.station == name]

    def of_clip(self) -> dict[str, FittedGround]:
        return {clip: one for one in self.fitted for clip in one.camera.clips}


def clip_order(video_id: str) -> list:
    """Returns a sort key by which IMG_2 comes before IMG_10: cameras number their clips."""
    return [(0, int(part), '') if part.isdigit() else (1, 0, part) for part in re.split(r'(\d+)', video_id)]


def camera_clips(station: pd.Series, epoch: Mapping[str, int]) -> list[CameraClips]:
    """Returns the clips of each station and epoch.

    station: of each clip, indexed by video_id. epoch: {video_id: number}; a clip without one belongs to epoch 0.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    for video_id in sorted(station.index, key=clip_order):
        groups.setdefault((station[video_id], epoch.get(video_id, 0)), []).append(video_id)
    return [CameraClips(*key, tuple(clips)) for key, clips in sorted(groups.items())]


def fit_grounds(cameras: Sequence[CameraClips], points: pd.DataFrame) -> Grounds:
    """Fits the ground of each station and epoch. points: video_id, time, distance, x, y, row; x and y in shares.

    The prior is that of the user's stations if LEAST_STATIONS of them have known points, else the bundled one.
    """
    parts = [points[points['video_id'].isin(camera.clips)].reset_index(drop=True) for camera in cameras]
    arrays = [tuple(part[name].to_numpy(float) for name in ('x', 'y', 'distance')) for part in parts]
    measured = [values for values in arrays if len(values[0])]
    own = len(measured) >= LEAST_STATIONS
    prior = fit_prior(measured) if own else DEFAULT_PRIOR
    fitted = [
        FittedGround(camera, ground_plane.fit_ground(prior, *values), part, check_points(prior, *values))
        for camera, part, values in zip(cameras, parts, arrays, strict=True)
    ]
    return Grounds(prior, len(measured) if own else 0, fitted)


def contradictions(cameras: Sequence[CameraClips], points: pd.DataFrame) -> list[Problem]:
    """Returns a problem for each known point that another one contradicts: one foot point, two distances."""
    problems = []
    for camera in cameras:
        part = points[points['video_id'].isin(camera.clips)]
        checks = check_points(DEFAULT_PRIOR, *(part[name].to_numpy(float) for name in ('x', 'y', 'distance')))
        for row, other, note in zip(part.itertuples(), checks.contradicts, checks.point_notes, strict=True):
            if other >= 0:
                reason = f'{note} (the other one is {part["row"].iloc[other]})'
                problems.append(Problem(row.video_id, row.row, STAGE, reason))
    return problems


def of_shifted_clips(points: pd.DataFrame, shifted: Collection[str]) -> list[Problem]:
    """Returns a problem for each known point of a clip whose picture is shifted. shifted: video_ids."""
    reason = (
        'the picture of the clip is shifted against all other clips of the station, so the camera may have been moved; '
        'measure the point in a clip before or after the move'
    )
    return [Problem(row.video_id, row.row, STAGE, reason) for row in points.itertuples() if row.video_id in shifted]


def without_problems(points: pd.DataFrame, problems: Sequence[Problem]) -> pd.DataFrame:
    """Returns the points whose rows are not among the problems."""
    lost = {problem.row for problem in problems}
    return points[~points['row'].isin(lost)].reset_index(drop=True)


def stations_file(
    grounds: Grounds, theta_deg: float | None, picture: Mapping[str, int], notes: Mapping[str, Sequence[str]]
) -> StationsFile:
    """Returns the content of stations.json.

    theta_deg: the camera's horizontal angle of view. picture: {video_id: a second of the clip that can be shown}.
    notes: {station: about its camera}.
    """
    by_station: dict[str, list[FittedGround]] = {}
    for one in grounds.fitted:
        by_station.setdefault(one.camera.station, []).append(one)
    stations = tuple(
        CameraStation(name, tuple(_epoch(one, picture) for one in fitted), tuple(notes.get(name, ())))
        for name, fitted in by_station.items()
    )
    return StationsFile(PriorOrigin(grounds.prior.source, grounds.n_stations), theta_deg, stations)


def summary_of(grounds: Grounds, notes: Mapping[str, Sequence[str]]) -> dict:
    """Returns the part `ground` of summary.json. notes: {station: about its camera}."""
    stations = [
        {
            'station': one.camera.station,
            'epoch': one.camera.epoch,
            'clips': len(one.camera.clips),
            'known': one.ground.n,
            'mae_m': _mae_m(one),
            'notes': one.notes(),
        }
        for one in grounds.fitted
    ]
    moves = [f'{station}: {note}' for station, told in notes.items() for note in told]
    prior = {'source': grounds.prior.source, 'n_stations': grounds.n_stations}
    return {'prior': prior, 'stations': stations, 'cameras': moves}


def _mae_m(one: FittedGround) -> float | None:
    """Returns the leave-one-out error of the known points in metres, None without any."""
    errors_m = np.abs(one.checks.estimate_m - one.points['distance'].to_numpy(float))
    return round(float(np.nanmean(errors_m)), 4) if np.isfinite(errors_m).any() else None


def _epoch(one: FittedGround, picture: Mapping[str, int]) -> CameraEpoch:
    with_points = [clip for clip in one.points['video_id'] if clip in picture]
    shown = next(iter([*with_points, *(clip for clip in one.camera.clips if clip in picture)]), one.camera.clips[0])
    known = tuple(
        MeasuredPoint(*row[:5], estimate=estimate, residual_sd=residual, off=bool(off), row=row[5])
        for row, estimate, residual, off in zip(
            one.points[['video_id', 'time', 'distance', 'x', 'y', 'row']].itertuples(index=False, name=None),
            one.checks.estimate_m,
            one.checks.residual_sd,
            one.checks.is_off,
            strict=True,
        )
    )
    return CameraEpoch(
        clips=one.camera.clips,
        picture=shown,
        second=picture.get(shown, 0),
        mean=one.ground.mean,
        covariance=one.ground.covariance,
        noise=one.ground.noise,
        n=one.ground.n,
        known=known,
        mae_m=_mae_m(one),
        notes=tuple(one.notes()),
    )
