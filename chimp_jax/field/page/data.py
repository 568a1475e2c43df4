"""Reads the folder of `chimp-distance estimate` for the page: tables and JSON, checked."""

import datetime
import json
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND, with_animal
from chimp_jax.field.calibration.station_file import StationsFile, read_stations
from chimp_jax.field.corrections import read_corrections
from chimp_jax.field.status import (
    CLIPS,
    CORRECTED,
    CORRECTIONS,
    DISTANCES,
    KNOWN,
    OPTIONS,
    STATIONS,
    SUMMARY,
    animal_rows,
)
from data_prep.archive import Names
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

NUMBERS = ('distance', 'distance_lower', 'distance_upper', 'spread', 'members')
_REMEDY = 'run the same chimp-distance estimate command again to write it'


class Estimates(NamedTuple):
    """The content of the folder.

    rows: the animals of distances.csv, sorted by (video_id, time): time is int, the other numbers are float (NaN if
    empty), the rest is text. clips: clips.csv, one row per clip; gamma is 'True' if the clip was
    gamma-corrected.
    """

    rows: pd.DataFrame
    clips: pd.DataFrame
    summary: dict
    options: dict
    corrections: dict[tuple[str, int], str]  # (video_id, time) -> the distance as a person typed it
    measured: dict[tuple[str, int], float]  # (video_id, time) -> metres, of the seconds with the status KNOWN
    date: datetime.date  # when distances.csv was written
    stations: StationsFile | None  # None if there is no stations.json


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
    )


def _read_rows(path: epath.Path) -> pd.DataFrame:
    numbers = (*NUMBERS, *BOX)
    rows = with_animal(read_table(path, required=(*SECOND, *numbers, 'flags', 'status'), numbers=numbers))
    for name in numbers:
        rows[name] = numbers_of(rows, name, path)
    rows['time'] = seconds_of(rows, path)
    check_unique(rows, KEY, path)
    return rows.sort_values(KEY, ignore_index=True)


def _read_clips(path: epath.Path) -> pd.DataFrame:
    if not path.exists():
        raise ValueError(f'{path} is missing; {_REMEDY}')
    columns = ('video_id', 'status', 'reason', 'duration_s', 'site')
    clips = read_table(path, required=columns, numbers=('duration_s',))
    clips['duration_s'] = numbers_of(clips, 'duration_s', path)
    check_unique(clips, ['video_id'], path)
    return clips if 'gamma' in clips else clips.assign(gamma='')


def _corrected(rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Returns the corrections that estimate has already applied."""
    known = rows[(rows['status'] == CORRECTED) & rows['distance'].notna()]
    return {(row.video_id, row.time): f'{row.distance:g}' for row in known.itertuples()}


def _measured(rows: pd.DataFrame) -> dict[tuple[str, int], float]:
    known = rows[(rows['status'] == KNOWN) & rows['distance'].notna()]
    return {(row.video_id, row.time): row.distance for row in known.itertuples()}


def _typed(path: epath.Path, rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Returns the corrections of corrections.csv, which may be newer than distances.csv."""
    if not path.exists():
        return {}
    table = read_corrections(path, Names(rows['video_id']))
    return {(row.video_id, row.time): f'{row.distance:g}' for row in table.itertuples()}


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
