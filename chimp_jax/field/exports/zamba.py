"""Writes the table of zamba's `depth` command: filepath, time, distance."""

import math
from collections.abc import Mapping

import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field.exports.rows import checked_rows
from data_prep.files import write_whole
from data_prep.inputs.cells import number
from data_prep.inputs.tables import csv_text, read_table


def write_zamba(
    rows: pd.DataFrame,
    path,
    durations_s: Mapping[str, float] | None = None,
    n_animals: Mapping[tuple[str, int], int] | None = None,
) -> dict:
    """Writes the CSV. As in zamba, a distance has one decimal and is empty if it is unknown.

    durations_s: {video_id: length of the clip in seconds}. zamba writes a row for every second of a clip. With
    durations, a second that was not a target also has a row, with an empty distance; a photo lasts 0 s and has second
    0. Without durations, or if a duration is NaN, only targets have rows. n_animals: {(video_id, second): boxes of
    animals there}. Like zamba, whose model has one distance for a frame, the table repeats a distance that names no
    animal for each box of its second.
    Returns {'rows': n, 'with a distance': n, 'empty': n}. Raises ValueError like checked_rows.
    """
    rows = checked_rows(rows, ())
    n_animals = n_animals or {}
    lines = [
        (video_id, int(t), d)
        for video_id, t, animal, d in zip(*(rows[name] for name in (*KEY, 'distance')), strict=True)
        for _ in range(1 if animal or math.isnan(d) else max(1, n_animals.get((video_id, int(t)), 1)))
    ]
    known = {(video_id, t) for video_id, t, _ in lines}
    for video_id, duration_s in (durations_s or {}).items():
        seconds = range(max(1, math.ceil(duration_s))) if math.isfinite(duration_s) else ()
        lines += [(video_id, t, math.nan) for t in seconds if (video_id, t) not in known]
    lines.sort(key=lambda line: line[:2])
    cells = [(video_id, t, '' if math.isnan(d) else f'{d:.1f}') for video_id, t, d in lines]
    write_whole(path, csv_text(('filepath', 'time', 'distance'), cells))
    return check_zamba(path)


def check_zamba(path) -> dict:
    """Returns the counts of write_zamba. Raises ValueError with file and row if zamba would not write such a table."""
    texts = read_table(path, ('filepath', 'time', 'distance'))
    for line, cells in zip(texts.index, texts.to_dict('records'), strict=True):
        if not cells['filepath']:
            raise ValueError(f'{path}:{line}: filepath is empty; name the clip')
        if number(cells['time'], f'{path}:{line}', 'time', 0) % 1:
            raise ValueError(f'{path}:{line}: time {cells["time"]} is not a whole second; round it down')
        if cells['distance']:
            number(cells['distance'], f'{path}:{line}', 'distance', 0)
    empty = int((texts['distance'] == '').sum())
    return {'rows': len(texts), 'with a distance': len(texts) - empty, 'empty': empty}
