"""Reads the folder of `chimp-distance estimate` for the page: tables and JSON, checked."""

import datetime
import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND, with_animal
from chimp_jax.field.calibration.station_file import StationsFile, read_stations
from chimp_jax.field.corrections import name_animals, read_corrections
from chimp_jax.field.page.choice import RANKED, Key, Second
from chimp_jax.field.page.overview import COUNTED, Overview
from chimp_jax.field.rows.read import LIST, Pieces, StoredRows, open_rows
from chimp_jax.field.status import (
    CLIPS,
    CORRECTED,
    CORRECTIONS,
    DISTANCES,
    DISTANCES_NAME,
    KNOWN,
    OPTIONS,
    STATIONS,
    SUMMARY,
    TRACKS,
    TRACKS_NAME,
    animal_rows,
)
from data_prep.archive import Names
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

TRACK_NUMBERS = ('start_s', 'end_s', 'nearest_distance_m', 'speed', 'speed_lower', 'speed_upper')
NUMBERS = ('distance', 'distance_lower', 'distance_upper', 'spread', 'members')
_REMEDY = 'run the same chimp-distance estimate command again to write it'


class Estimates(NamedTuple):
    """The content of the folder.

    animals: all animals of distances.csv in pieces, with the columns RANKED. overview: of all rows. rows: the animals
    that the page shows, sorted by KEY: all, or, if the result is in parts, those of some clips (see shown_clips). Their
    time is int, the other numbers are float (NaN if empty), the rest is text; animal is '' if a row is about its second
    as a whole. clips: clips.csv, one row per clip; gamma is 'True' if the clip was gamma-corrected. tracks: tracks.csv,
    with TRACK_NUMBERS, of the clips of rows; None if there is no such file.
    """

    folder: epath.Path
    animals: Iterable[pd.DataFrame]
    overview: Overview
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
        return self.overview.by_animal


def read_estimates(folder) -> Estimates:
    """Reads the folder. Raises ValueError, in one line, if a file is missing or damaged."""
    folder = epath.Path(folder)
    stored, file = open_rows(folder, DISTANCES_NAME), folder / DISTANCES
    if stored is None:
        if not file.exists():
            raise ValueError(f'{folder} has no {DISTANCES}; write it with: chimp-distance estimate ... --out {folder}')
        pieces = [_read_rows(file)]
        rows = animal_rows(pieces[0]).reset_index(drop=True)
        animals = [rows]
    else:
        pieces = stored.pieces(COUNTED)
        animals = Pieces(lambda: map(animal_rows, stored.pieces(RANKED)))
        rows, file = stored.of_clips([], [*KEY, *NUMBERS, *BOX, 'flags', 'status']), stored.folder / LIST
    overview = Overview(pieces)
    return Estimates(
        folder=folder,
        animals=animals,
        overview=overview,
        rows=rows,
        clips=_read_clips(folder / CLIPS),
        summary=_read_json(folder / SUMMARY),
        options=_read_json(folder / OPTIONS),
        corrections=_corrected(overview.given) | _typed(folder / CORRECTIONS, overview.names, stored, rows),
        measured=_measured(overview.given),
        date=datetime.datetime.fromtimestamp(file.stat().mtime, datetime.UTC).date(),
        stations=read_stations(folder / STATIONS) if (folder / STATIONS).exists() else None,
        tracks=_read_tracks(folder / TRACKS) if stored is None and (folder / TRACKS).exists() else None,
    )


def shown_clips(estimates: Estimates, video_ids: Collection[str]) -> Estimates:
    """Returns the estimates with the rows and the tracks of these clips, or of all clips if the result is no parts."""
    stored = open_rows(estimates.folder, DISTANCES_NAME)
    if stored is None:
        return estimates
    rows = animal_rows(stored.of_clips(video_ids, list(estimates.rows.columns))).reset_index(drop=True)
    tracks, file = open_rows(estimates.folder, TRACKS_NAME), estimates.folder / TRACKS
    if tracks is not None:
        return estimates._replace(rows=rows, tracks=tracks.of_clips(video_ids, ['video_id', 'animal', *TRACK_NUMBERS]))
    return estimates._replace(rows=rows, tracks=_read_tracks(file) if file.exists() else None)


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


def _corrected(given: pd.DataFrame) -> dict[Key, str]:
    """Returns the corrections that estimate has already applied."""
    known = given[given['status'] == CORRECTED]
    return {(row.video_id, row.time, row.animal): f'{row.distance:g}' for row in known.itertuples()}


def _measured(given: pd.DataFrame) -> dict[Second, float]:
    known = given[given['status'] == KNOWN]
    return {(row.video_id, row.time): row.distance for row in known.itertuples()}


def _typed(path: epath.Path, names: Collection[str], stored: StoredRows | None, rows: pd.DataFrame) -> dict[Key, str]:
    """Returns the corrections of corrections.csv, which may be newer than distances.csv.

    names: of the clips with an animal. rows: all animals, if the result is not stored in parts.
    """
    if not path.exists():
        return {}
    typed = read_corrections(path, Names(names))
    if stored is not None:
        rows = animal_rows(stored.of_clips(typed['video_id'], [*KEY, 'status']))
    table = name_animals(typed, rows)
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
