"""What `chimp-distance estimate` left in a folder, read for the page: tables with checked columns and numbers."""

import datetime
import io
import json
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

NUMBERS = ('distance', 'distance_lower', 'distance_upper', 'spread', 'members')
BOX = ('bbox_x', 'bbox_y', 'bbox_width', 'bbox_height')
_ROW_COLUMNS = ('video_id', 'time', *NUMBERS, 'flags', 'status', *BOX)
_CLIP_COLUMNS = ('video_id', 'status', 'reason', 'duration_s', 'site')
_FIRST_LINE = 2  # line 1 of a file is its header


class Estimates(NamedTuple):
    """rows: a row for each target, time int, other numbers NaN and texts '' where there is none. clips: one a clip."""

    rows: pd.DataFrame
    clips: pd.DataFrame
    summary: dict
    options: dict
    corrections: dict[tuple[str, int], str]  # (video_id, time) -> the distance that a person typed
    date: datetime.date  # when distances.csv was written


def read_estimates(folder) -> Estimates:
    """Raises ValueError, one line, where a file of the folder is missing or damaged."""
    folder = epath.Path(folder)
    if not (folder / 'distances.csv').exists():
        raise ValueError(f'{folder} has no distances.csv; write it with: chimp-distance estimate ... --out {folder}')
    rows = _read_rows(folder / 'distances.csv')
    clips = _read_table(folder / 'clips.csv', _CLIP_COLUMNS)
    _refuse_duplicates(clips, ['video_id'], folder / 'clips.csv')
    clips['duration_s'] = _numbers(clips['duration_s'], folder / 'clips.csv')
    written = (folder / 'distances.csv').stat().mtime
    date = datetime.datetime.fromtimestamp(written, datetime.UTC).date()
    summary, options = _read_json(folder / 'summary.json'), _read_json(folder / 'options.json')
    return Estimates(rows, clips, summary, options, _read_corrections(folder / 'corrections.csv', rows), date)


def _read_rows(path: epath.Path) -> pd.DataFrame:
    rows = _read_table(path, _ROW_COLUMNS)
    for name in (*NUMBERS, *BOX):
        rows[name] = _numbers(rows[name], path)
    rows['time'] = _times(rows['time'], path)
    _refuse_duplicates(rows, ['video_id', 'time'], path)
    return rows.sort_values(['video_id', 'time'], ignore_index=True)


def _read_corrections(path: epath.Path, rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Those that are in force already, and those of the file, which may be newer."""
    known = rows[rows['status'] == 'corrected']
    corrections = {
        (row.video_id, row.time): f'{row.distance:g}' for row in known.itertuples() if not np.isnan(row.distance)
    }
    if not path.exists():
        return corrections
    table = _read_table(path, ('video_id', 'time', 'distance'))
    table['time'] = _times(table['time'], path)
    _numbers(table['distance'], path)
    return corrections | {(row.video_id, row.time): row.distance.strip() for row in table.itertuples()}


def _read_table(path: epath.Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """All columns as texts, '' where a cell is empty."""
    if not path.exists():
        raise ValueError(f'{path} is missing; the same chimp-distance estimate command writes it again')
    try:
        text = path.read_bytes().decode('utf-8-sig')
        table = pd.read_csv(io.StringIO(text, newline=''), dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f'{path} cannot be read as a table: {" ".join(str(error).split())}') from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f'{path} has no column {", ".join(missing)}; it has {", ".join(table.columns)}')
    return table


def _read_json(path: epath.Path) -> dict:
    if not path.exists():
        raise ValueError(f'{path} is missing; the same chimp-distance estimate command writes it again')
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path} is no JSON: {error}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} should hold names and values, not {type(content).__name__}')
    return content


def _numbers(texts: pd.Series, path: epath.Path) -> pd.Series:
    """NaN where the cell is empty or says nan."""
    values = pd.to_numeric(texts.replace('', 'nan'), errors='coerce').astype(float)
    bad = (values.isna() & ~texts.str.strip().str.lower().isin(['', 'nan'])) | np.isinf(values)
    _refuse(texts, bad, path, 'a number')
    return values


def _times(texts: pd.Series, path: epath.Path) -> pd.Series:
    values = pd.to_numeric(texts, errors='coerce')
    _refuse(texts, ~(values.between(0, 1e9) & (values % 1 == 0)), path, 'a whole second, 0 or more')
    return values.astype(int)


def _refuse(texts: pd.Series, bad: pd.Series, path: epath.Path, wanted: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f'{path}, row {row + _FIRST_LINE}: {texts.name} {texts.iloc[row]!r} is not {wanted}')


def _refuse_duplicates(table: pd.DataFrame, key: list[str], path: epath.Path) -> None:
    again = table.duplicated(key)
    if again.any():
        row = int(np.flatnonzero(again)[0])
        values = ', '.join(repr(value) for value in table.loc[[row], key].values.tolist()[0])
        raise ValueError(f'{path}, row {row + _FIRST_LINE}: {values} stands there twice; remove one')
