"""Reads the folder of `chimp-distance estimate` for the page: tables and JSON, checked."""

import datetime
import json
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND, with_animal
from chimp_jax.field.calibration.station_file import StationsFile, read_stations
from chimp_jax.field.corrections import name_animals, read_corrections
from chimp_jax.field.page.choice import Key, Second
from chimp_jax.field.status import (
    CLIPS,
    CORRECTED,
    CORRECTIONS,
    DISTANCES,
    KNOWN,
    OPTIONS,
    STATIONS,
    SUMMARY,
    TRACKS,
    animal_rows,
)
from data_prep.archive import Names
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

TRACK_NUMBERS = ('start_s', 'end_s', 'nearest_distance_m', 'speed', 'speed_lower', 'speed_upper')
NUMBERS = ('distance', 'distance_lower', 'distance_upper', 'spread', 'members')
_REMEDY = 'run the same chimp-distance estimate command again to write it'


class Estimates(NamedTuple):
    """The content of the folder.

    rows: the animals of distances.csv, sorted by KEY: time is int, the other numbers are float (NaN if empty), the rest
    is text; animal is '' if a row is about its second as a whole. clips: clips.csv, one row per clip; gamma is 'True'
    if the clip was gamma-corrected. tracks: tracks.csv, with TRACK_NUMBERS; None if there is no such file.
    """

    rows: pd.DataFrame
    clips: pd.DataFrame
    summary: dict
    options: dict
    corrections: dict[Key, str]  # row -> the distance as a person typed it
    measured: dict[Second, float]  # second -> metres, of the seconds with the status KNOWN
    date: datetime.date  # when distances.csv was written
    stations: StationsFile | None  # None if there is no stations.json
    tracks: pd.DataFrame | None

    @property
    def by_animal(self) -> bool:
        """Whether a row is about one of the animals of its second."""
        return bool((self.rows['animal'] != '').any())


def read_estimates(folder) -> Estimates:
    """Reads the folder. Raises ValueError, in one line, if a file is missing or damaged."""
    folder = epath.Path(folder)
    distances = folder / DISTANCES
    if not distances.exists():
        raise ValueError(f'{folder} has no {DISTANCES}; write it with: chimp-distance estimate ... --out {folder}')
    whole = _read_rows(distances)
    rows = animal_rows(whole).reset_index(drop=True)
    return Estimates(
        rows=rows,
        clips=_read_clips(folder / CLIPS),
        summary=_read_json(folder / SUMMARY),
        options=_read_json(folder / OPTIONS),
        corrections=_corrected(rows) | _typed(folder / CORRECTIONS, rows),
        measured=_measured(whole),
        date=datetime.datetime.fromtimestamp(distances.stat().mtime, datetime.UTC).date(),
        stations=read_stations(folder / STATIONS) if (folder / STATIONS).exists() else None,
        tracks=_read_tracks(folder / TRACKS) if (folder / TRACKS).exists() else None,
    )


def _read_rows(path: epath.Path) -> pd.DataFrame:
    numbers = (*NUMBERS, *BOX)
    rows = with_animal(read_table(path, required=(*SECOND, *numbers, 'flags', 'status'), numbers=numbers))
    for name in numbers:
        rows[name] = numbers_of(rows, name, path)
    rows['time'] = seconds_of(rows, path)
    check_unique(rows, KEY if (rows['animal'] != '').any() else SECOND, path)
    return rows.sort_values(KEY, ignore_index=True)


def _read_clips(path: epath.Path) -> pd.DataFrame:
    if not path.exists():
        raise ValueError(f'{path} is missing; {_REMEDY}')
    columns = ('video_id', 'status', 'reason', 'duration_s', 'site')
    clips = read_table(path, required=columns, numbers=('duration_s',))
    clips['duration_s'] = numbers_of(clips, 'duration_s', path)
    check_unique(clips, ['video_id'], path)
    return clips if 'gamma' in clips else clips.assign(gamma='')


def _read_tracks(path: epath.Path) -> pd.DataFrame:
    tracks = read_table(path, required=('video_id', 'animal', *TRACK_NUMBERS), numbers=TRACK_NUMBERS)
    for name in TRACK_NUMBERS:
        tracks[name] = numbers_of(tracks, name, path)
    check_unique(tracks, ['video_id', 'animal'], path)
    return tracks


def _corrected(rows: pd.DataFrame) -> dict[Key, str]:
    """Returns the corrections that estimate has already applied."""
    known = rows[(rows['status'] == CORRECTED) & rows['distance'].notna()]
    return {(row.video_id, row.time, row.animal): f'{row.distance:g}' for row in known.itertuples()}


def _measured(rows: pd.DataFrame) -> dict[Second, float]:
    known = rows[(rows['status'] == KNOWN) & rows['distance'].notna()]
    return {(row.video_id, row.time): row.distance for row in known.itertuples()}


def _typed(path: epath.Path, rows: pd.DataFrame) -> dict[Key, str]:
    """Returns the corrections of corrections.csv, which may be newer than distances.csv."""
    if not path.exists():
        return {}
    table = name_animals(read_corrections(path, Names(rows['video_id'])), rows)
    return {(row.video_id, row.time, row.animal): f'{row.distance:g}' for row in table.itertuples()}


def _read_json(path: epath.Path) -> dict:
    if not path.exists():
        raise ValueError(f'{path} is missing; {_REMEDY}')
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}); {_REMEDY}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold names and values, not {type(content).__name__}; {_REMEDY}')
    return content
