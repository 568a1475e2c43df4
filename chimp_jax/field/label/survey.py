"""What there is to label: the clips, their stations, the seconds to ask for, the boxes, and the ground."""

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND, with_animal
from chimp_jax.field import status
from chimp_jax.field.calibration.grounds import clip_order
from chimp_jax.field.calibration.station_file import MeasuredPoint, StationsFile, read_stations
from chimp_jax.field.label.candidates import Candidates
from chimp_jax.field.measured.reading import read_clips_beside
from chimp_jax.field.rows.read import open_rows
from chimp_jax.stations.ground_plane import foot_points
from data_prep.archive import Archive, is_photo
from data_prep.inputs.headers import Copies, Header, read_headers
from data_prep.inputs.tables import numbers_of, read_table, seconds_of

MOST_CANDIDATES = 20_000  # more do not help a person who labels a few hundred
_SPREAD = 'spread'


@dataclasses.dataclass(frozen=True)
class LabelClip:
    """A clip that can be shown."""

    number: int  # by which the page names the clip
    video_id: str
    path: str
    station: str  # '' if unknown
    camera: str  # the station; after a move of its camera another name
    last_s: int  # the last whole second


@dataclasses.dataclass(frozen=True)
class AnimalBox:
    """A box of an animal in a second."""

    animal: str  # the name of its track, '' if unknown
    corners: tuple[float, float, float, float]  # x1, y1, x2, y2 in shares of the picture

    def foot(self) -> tuple[float, float] | None:
        """Returns x and y of the foot point, None if the feet are cut off by the edge of the picture."""
        x, y, cut = foot_points([self.corners])
        return None if cut[0] else (float(x[0]), float(y[0]))


@dataclasses.dataclass(frozen=True)
class LabelSurvey:
    """Everything that the page needs to know before the first answer."""

    clips: tuple[LabelClip, ...]
    candidates: Candidates
    boxes: Mapping[tuple[str, int], Sequence[AnimalBox]]
    only_candidates: bool  # answers belong to these seconds alone: the estimates have no others
    sites: Mapping[str, str]  # station of each clip of the folder by video_id, also of clips that are not asked
    points: tuple[MeasuredPoint, ...] = ()  # known points of the estimates' stations

    def clip_of(self, video_id: str) -> LabelClip | None:
        return self.by_name.get(video_id)

    def seconds_of(self, video_id: str) -> list[int]:
        """Returns the seconds of a clip that can be asked, ascending."""
        return sorted(set(self.candidates.second[self.candidates.clip == video_id].tolist()))

    @functools.cached_property
    def by_name(self) -> dict[str, LabelClip]:
        return {clip.video_id: clip for clip in self.clips}


def survey_clips(archive: Archive, site: pd.Series, workers: int) -> tuple[LabelSurvey, dict[str, str]]:
    """Returns a survey in which any second of any clip can be asked, and {video_id: why a clip cannot be opened}.

    site: station of each clip by video_id.
    """
    names = sorted(site.index, key=clip_order)
    wanted = {name: (Copies(None, archive.find(name)), 0) for name in names if not is_photo(name)}
    headers = read_headers(wanted, workers)
    problems = {name: header for name, header in headers.items() if isinstance(header, str)}
    last_s = {name: _last_second(headers[name]) for name in wanted if name not in problems}
    last_s |= {name: 0 for name in names if is_photo(name)}
    clips = _clips(archive, site, last_s, {})
    step_s = max(1, math.ceil(sum(clip.last_s + 1 for clip in clips) / MOST_CANDIDATES))
    seconds = [(clip, second) for clip in clips for second in range(0, clip.last_s + 1, step_s)]
    missing = np.full(len(seconds), np.nan)
    candidates = Candidates(
        clip=np.array([clip.video_id for clip, _ in seconds], object),
        station=np.array([clip.camera for clip, _ in seconds], object),
        second=np.array([second for _, second in seconds], int),
        animal=np.full(len(seconds), '', object),
        estimate_m=missing,
        spread_m=missing,
        x=missing,
        y=missing,
        confidence=missing,
    )
    return LabelSurvey(clips, candidates, {}, False, site.to_dict()), problems


def survey_estimates(archive: Archive, site: pd.Series, folder) -> LabelSurvey:
    """Returns a survey of the seconds in a result folder of `estimate`.

    Raises ValueError if the folder has no estimates of clips in the archive.
    """
    folder = epath.Path(folder)
    rows = _estimated_rows(folder)
    if rows.empty:
        raise ValueError(
            f'{folder} has no second with an animal; leave --detect, --detections and --estimates out to measure any '
            'second of the clips'
        )
    rows = rows[rows['video_id'].isin(site.index) & (rows['status'] != status.KNOWN)]
    if rows.empty:
        raise ValueError(
            f'{folder} has no estimate for a clip of this folder; give the clips and the --out folder of one '
            'chimp-distance estimate command'
        )
    rows = rows.iloc[:: max(1, math.ceil(len(rows) / MOST_CANDIDATES))].reset_index(drop=True)
    lengths = _durations(folder)
    last_s = {
        name: max(second, lengths.get(name, 0)) for name, second in rows.groupby('video_id')['time'].max().items()
    }
    stations = read_stations(folder / status.STATIONS) if (folder / status.STATIONS).exists() else None
    clips = _clips(archive, site, last_s, _cameras(stations))
    camera = {clip.video_id: clip.camera for clip in clips}
    x1, y1, width, height = rows[BOX].to_numpy(float).T
    corners = np.clip(np.stack([x1, y1, x1 + width, y1 + height], axis=1), 0, 1)
    x, y, cut = foot_points(corners)
    boxes: dict[tuple[str, int], list[AnimalBox]] = defaultdict(list)
    for name, second, animal, box in zip(*(rows[key] for key in KEY), corners.tolist(), strict=True):
        if not math.isnan(box[0]):
            boxes[name, int(second)].append(AnimalBox(animal, tuple(box)))
    candidates = Candidates(
        clip=rows['video_id'].to_numpy(object),
        station=rows['video_id'].map(camera).to_numpy(object),
        second=rows['time'].to_numpy(int),
        animal=rows['animal'].to_numpy(object),
        estimate_m=rows['distance'].to_numpy(float),
        spread_m=rows[_SPREAD].to_numpy(float),
        x=np.where(cut, np.nan, x),
        y=np.where(cut, np.nan, y),
        confidence=_confidences(folder, rows),
    )
    epochs = [epoch for station in (stations.stations if stations else ()) for epoch in station.epochs]
    points = tuple(point for epoch in epochs for point in epoch.known)
    return LabelSurvey(clips, candidates, dict(boxes), True, site.to_dict(), points)


def _estimated_rows(folder: epath.Path) -> pd.DataFrame:
    stored = open_rows(folder, status.DISTANCES_NAME)
    if stored is not None:
        columns = [*KEY, 'distance', _SPREAD, *BOX, 'status']
        step = max(1, math.ceil(stored.n_rows / MOST_CANDIDATES))
        parts = [piece.iloc[::step] for piece in stored.pieces(columns)]
        rows = pd.concat(parts, ignore_index=True)
    elif (folder / status.DISTANCES).exists():
        rows = _read_rows(folder / status.DISTANCES)
    else:
        raise ValueError(f'{folder} has no {status.DISTANCES}; give the --out folder of chimp-distance estimate')
    return rows.reindex(columns=[*KEY, 'distance', _SPREAD, *BOX, 'status']).fillna({'animal': '', 'status': ''})


def _read_rows(path: epath.Path) -> pd.DataFrame:
    numbers = ['distance', _SPREAD, *BOX]
    table = with_animal(read_table(path, [*SECOND, 'distance'], numbers=['time', *numbers]))
    found = {name: numbers_of(table, name, path) for name in numbers if name in table}
    return table.assign(time=seconds_of(table, path), **found)


def _confidences(folder: epath.Path, rows: pd.DataFrame) -> np.ndarray:
    """Returns the confidence of the best box of each row by boxes.csv, NaN if unknown."""
    path = folder / status.BOXES
    if not path.exists():
        return np.full(len(rows), np.nan)
    numbers = ['time_s', 'confidence']
    table = with_animal(read_table(path, ['video_id', *numbers], numbers))
    time = np.floor(numbers_of(table, 'time_s', path)).astype(int)
    best = table.assign(time=time, confidence=numbers_of(table, 'confidence', path)).groupby(KEY)['confidence'].max()
    return best.reindex(pd.MultiIndex.from_frame(rows[KEY])).to_numpy(float)


def _durations(folder: epath.Path) -> dict[str, int]:
    """Returns {video_id: the last whole second} by clips.csv."""
    clips = read_clips_beside(folder / status.DISTANCES)
    seconds = pd.to_numeric(clips['duration_s'], errors='coerce').dropna()
    return {name: max(0, math.ceil(duration) - 1) for name, duration in seconds.items()}


def _last_second(header: Header) -> int:
    return max(0, math.ceil(header.end_s) - 1) if math.isfinite(header.end_s) else 0


def _cameras(stations: StationsFile | None) -> dict[str, str]:
    """Returns {video_id: name of the station, with the number of the move of its camera from the first on}."""
    return {
        name: station.station if not number else f'{station.station}#{number}'
        for station in (stations.stations if stations else ())
        for number, epoch in enumerate(station.epochs)
        for name in epoch.clips
    }


def _clips(
    archive: Archive, site: pd.Series, last_s: Mapping[str, int], camera: Mapping[str, str]
) -> tuple[LabelClip, ...]:
    names = sorted(last_s, key=clip_order)
    return tuple(
        LabelClip(number, name, archive.find(name), site[name], camera.get(name, site[name]), int(last_s[name]))
        for number, name in enumerate(names)
    )
