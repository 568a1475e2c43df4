"""Writes the table of zamba's `depth` command: filepath, time, distance."""

import collections
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field.exports.rows import checked_rows
from data_prep.files import unfinished_file
from data_prep.inputs.tables import csv_text


def write_zamba(
    pieces: Iterable[pd.DataFrame],
    path,
    durations_s: Mapping[str, float] | None = None,
    n_animals: Mapping[tuple[str, int], int] | None = None,
) -> dict:
    """Writes the CSV. As in zamba, a distance has one decimal and is empty if it is unknown.

    pieces: the rows of distances.csv; if there are several, sorted by clip. durations_s: {video_id: length of the clip
    in seconds}. zamba writes a row for every second of a clip. With durations, a second that was not a target also has
    a row, with an empty distance; a photo lasts 0 s and has second 0. Without durations, or if a duration is NaN, only
    targets have rows. n_animals: {(video_id, second): boxes of animals there}. Like zamba, whose model has one distance
    for a frame, the table repeats a distance that names no animal for each box of its second.
    Returns {'rows': n, 'with a distance': n, 'empty': n}. Raises ValueError like checked_rows.
    """
    durations_s, counts = durations_s or {}, collections.Counter()
    others = collections.deque(sorted(durations_s))  # the clips that are still to come

    def others_before(end: str | None, with_end: bool = False) -> Iterator[str]:
        while others and (end is None or others[0] < end or (with_end and others[0] == end)):
            yield others.popleft()

    with unfinished_file(path) as unfinished, unfinished.open('w') as file:
        file.write(csv_text(('filepath', 'time', 'distance'), []))
        for piece in pieces:
            rows = checked_rows(piece, ())
            if rows.empty:
                continue
            first, last = rows['video_id'].iloc[[0, -1]]
            for name in others_before(first):
                _write_lines(file, _empty_lines([name], durations_s, ()), counts)
            _write_lines(file, _lines(rows, others_before(last, with_end=True), durations_s, n_animals or {}), counts)
        for name in others_before(None):
            _write_lines(file, _empty_lines([name], durations_s, ()), counts)
    return {'rows': counts['rows'], 'with a distance': counts['rows'] - counts['empty'], 'empty': counts['empty']}


def _lines(
    rows: pd.DataFrame,
    names: Iterable[str],
    durations_s: Mapping[str, float],
    n_animals: Mapping[tuple[str, int], int],
) -> list[tuple[str, int, float]]:
    """Returns the lines of rows, and of the other seconds of the clips `names`."""
    lines = [
        (video_id, int(t), d)
        for video_id, t, animal, d in zip(*(rows[name] for name in (*KEY, 'distance')), strict=True)
        for _ in range(1 if animal or math.isnan(d) else max(1, n_animals.get((video_id, int(t)), 1)))
    ]
    lines += _empty_lines(names, durations_s, {(video_id, t) for video_id, t, _ in lines})
    return sorted(lines, key=lambda line: line[:2])


def _empty_lines(
    names: Iterable[str], durations_s: Mapping[str, float], known: Collection[tuple[str, int]]
) -> list[tuple[str, int, float]]:
    return [
        (name, t, math.nan)
        for name in names
        if math.isfinite(durations_s[name])
        for t in range(max(1, math.ceil(durations_s[name])))
        if (name, t) not in known
    ]


def _write_lines(file, lines: Sequence[tuple[str, int, float]], counts: collections.Counter) -> None:
    """Writes lines and counts them."""
    cells = [(video_id, t, '' if math.isnan(d) else f'{d:.1f}') for video_id, t, d in lines]
    counts['rows'] += len(cells)
    counts['empty'] += sum(distance == '' for _, _, distance in cells)
    text = csv_text(cells[0], cells[1:]) if cells else ''
    file.write(text.encode(errors='backslashreplace').decode())
