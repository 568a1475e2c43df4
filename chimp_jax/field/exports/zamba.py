"""The table that zamba's `depth` command writes: filepath, time, distance; what reads that reads this."""

import math
from collections.abc import Mapping

import pandas as pd
from etils import epath

from chimp_jax.field.exports.rows import checked_rows, csv_text, number, read_table
from data_prep.files import write_whole


def write_zamba(rows: pd.DataFrame, path, durations_s: Mapping[str, float] | None = None) -> dict:
    """Writes the CSV; a distance has one decimal and is empty where none is known, as zamba writes it.

    durations_s: {video_id: seconds that the clip lasts}. zamba has a row for every second of a clip; with durations
    the seconds that were no targets get theirs, with an empty distance. Without, or where a duration is NaN, only
    targets have rows.
    Returns {'rows': n, 'with a distance': n, 'empty': n}. Raises ValueError as checked_rows.
    """
    rows = checked_rows(rows, ())
    lines = [
        (video_id, int(t), d) for video_id, t, d in zip(rows['video_id'], rows['time'], rows['distance'], strict=True)
    ]
    known = {(video_id, t) for video_id, t, _ in lines}
    for video_id, duration_s in (durations_s or {}).items():
        seconds = range(math.ceil(duration_s)) if math.isfinite(duration_s) else ()
        lines += [(video_id, t, math.nan) for t in seconds if (video_id, t) not in known]
    lines.sort(key=lambda line: line[:2])
    cells = [(video_id, t, '' if math.isnan(d) else f'{d:.1f}') for video_id, t, d in lines]
    write_whole(epath.Path(path), csv_text(('filepath', 'time', 'distance'), cells))
    return check_zamba(path)


def check_zamba(path) -> dict:
    """Counts as write_zamba. Raises ValueError with file and row where the table is not what zamba would write."""
    texts = read_table(path, ('filepath', 'time', 'distance'))
    for line, cells in zip(texts.index, texts.to_dict('records'), strict=True):
        if not cells['filepath']:
            raise ValueError(f'{path}:{line}: filepath is empty; name the clip')
        if number(cells['time'], f'{path}:{line}', 'time', 0) % 1:
            raise ValueError(f'{path}:{line}: time {cells["time"]} is no whole second; round it down')
        if cells['distance']:
            number(cells['distance'], f'{path}:{line}', 'distance', 0)
    empty = int((texts['distance'] == '').sum())
    return {'rows': len(texts), 'with a distance': len(texts) - empty, 'empty': empty}
