"""Tables of targets, boxes and sites. A bad row is refused with its file, line and reason.

Reads the challenge's tables: labels (video_id, time, distance), the submission format (the same columns, distance a
placeholder) and metadata (video_id, time, x1, y1, x2, y2, park, site_id). Also reads one CSV with columns of these
names.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import path_fault
from data_prep.inputs.animal_column import split_by_animal
from data_prep.inputs.tables import LONGEST_CLIP_S, number, read_table

TABLES = {  # split -> its targets, its metadata
    'train': ('train_labels.csv', 'train_metadata.csv'),
    'test': ('submission_format.csv', 'test_metadata.csv'),
}
NO_BOX = (math.nan,) * 4

_BOX = ('x1', 'y1', 'x2', 'y2')


class Problem(NamedTuple):
    """A clip or a row that cannot be used: one row of problems.csv."""

    video_id: str
    row: str  # 'file:line', '' if the problem concerns the whole clip
    stage: str
    reason: str


class LostTarget(NamedTuple):
    """A target that no record contains."""

    video_id: str
    time_s: int
    reason: str


class Targets(NamedTuple):
    """The targets of one split, one per row.

    Columns of rows: video_id; time_s, int, NA if every second is a target; distance_m, NaN if unknown; box,
    (x1, y1, x2, y2) in 0..1 of width and height from the upper left, NaN if unknown; site and park, '' if unknown;
    row, the place in the table: 'file:line'.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    notes: list[str]
    lost: tuple[LostTarget, ...] = ()
    empty: tuple[tuple[str, int], ...] = ()  # (video_id, second) that a person looked at, without an animal

    def without_clips(self, reasons: dict[str, str], stage: str) -> 'Targets':
        """Returns the targets without the clips {video_id: reason}. Each clip becomes a problem at its first row."""
        refused = self.rows['video_id'].isin(list(reasons))
        places = self.rows[refused].groupby('video_id')['row'].agg(['first', 'size'])
        problems = [
            Problem(video_id, row, stage, reasons[video_id] + (f' ({n} rows)' if n > 1 else ''))
            for video_id, row, n in places.itertuples()
        ]
        return self._without(refused, self.rows.loc[refused, 'video_id'].map(reasons), problems)

    def without_rows(self, reasons: dict[int, str], stage: str) -> 'Targets':
        """Returns the targets without the rows {index: reason}. Each row becomes a problem."""
        problems = [Problem(*self.rows.loc[i, ['video_id', 'row']], stage, reason) for i, reason in reasons.items()]
        return self._without(self.rows.index.isin(list(reasons)), list(reasons.values()), problems)

    def _without(self, refused, reasons: Iterable[str], problems: list[Problem]) -> 'Targets':
        rows = self.rows[refused]
        keys = zip(rows['video_id'], rows['time_s'], reasons, strict=True)
        lost = tuple(LostTarget(video_id, int(time_s), reason) for video_id, time_s, reason in keys if pd.notna(time_s))
        return self._replace(
            rows=self.rows[~refused].reset_index(drop=True),
            problems=self.problems + problems,
            lost=self.lost + lost,
        )


def read_targets(table, metadata=None, with_distance: bool = True) -> Targets:
    """Returns the targets of a table.

    A row whose column `animal` says no is no target. metadata: table with the boxes, park and site of each clip; if
    None, the columns of `table` are used.
    with_distance: False for a submission format, whose distances are ignored.
    Raises ValueError if a file cannot be read as a table or lacks a column.
    """
    table = epath.Path(table)
    texts = _read(table, ['video_id', 'time', *(['distance'] if with_distance else [])])
    watched = split_by_animal(texts, _second)
    rows, problems, notes = _good_rows(watched.seen, table.name, with_distance)
    problems += [Problem(name, f'{table.name}:{line}', 'labels', reason) for name, line, reason in watched.faults]
    about = texts if metadata is None else _read(epath.Path(metadata), ['video_id'])
    boxes, bad_boxes = _boxes(about)
    if bad_boxes:
        name = table.name if metadata is None else epath.Path(metadata).name
        notes.append(f'{name}: boxes ignored in {len(bad_boxes)} rows, first in line {bad_boxes[0]}')
    rows['box'] = [boxes.get(key, NO_BOX) for key in zip(rows['video_id'], rows['time_s'], strict=True)]
    places = _places(about)
    for name in ('site', 'park'):
        rows[name] = [places.get(video_id, {}).get(name, '') for video_id in rows['video_id']]
    return Targets(rows, problems, notes, empty=watched.empty)


def read_tables(path) -> dict[str, Targets]:
    """Returns {split: Targets} of a folder with TABLES, or of one CSV.

    A CSV is the split `train` if it has distances, else `test`. Raises ValueError if there is no table.
    """
    path = epath.Path(path)
    if not path.is_dir():
        with_distance = 'distance' in _read(path, ['video_id', 'time'])
        return {'train' if with_distance else 'test': read_targets(path, None, with_distance)}
    targets = {
        split: read_targets(
            path / table,
            path / metadata if (path / metadata).exists() else None,
            split == 'train',
        )
        for split, (table, metadata) in TABLES.items()
        if (path / table).exists()
    }
    if not targets:
        raise ValueError(f'{path} holds none of {", ".join(table for table, _ in TABLES.values())}')
    if len(targets) == 2:
        both = set(targets['train'].rows['video_id']) & set(targets['test'].rows['video_id'])
        reason = 'is also in train_labels.csv; use a clip for training or for testing, not for both'
        targets['test'] = targets['test'].without_clips(dict.fromkeys(sorted(both), reason), 'labels')
    return targets


def every_second(video_ids: list[str]) -> Targets:
    """Returns targets of clips without times: all their seconds are targets."""
    rows = pd.DataFrame({'video_id': np.array(video_ids, object)})
    return Targets(rows.assign(time_s=pd.NA, distance_m=np.nan, box=None, site='', park='', row=''), [], [])


def _read(path: epath.Path, required: list[str]) -> pd.DataFrame:
    return read_table(path, required, numbers=('time', 'distance', *_BOX), renamed={'filepath': 'video_id'})


def _good_rows(texts: pd.DataFrame, file: str, with_distance: bool):
    """Returns the usable rows, one per clip and second, the problems of the other rows, and notes."""
    problems: list[Problem] = []
    floored, repeated = [], []
    first: dict[tuple[str, int], tuple[int, float]] = {}  # (clip, second) -> line, distance
    distances = texts['distance'] if with_distance else [''] * len(texts)
    for line, video_id, time, distance in zip(texts.index, texts['video_id'], texts['time'], distances, strict=True):
        try:
            if fault := path_fault(video_id):
                raise ValueError(fault)
            time_s = _second(time)
            distance_m = number(distance, '', 'the distance', 0) if with_distance else math.nan
            key = video_id, math.floor(time_s)
            line_before, distance_before = first.setdefault(key, (line, distance_m))
            if line_before != line and with_distance and distance_m != distance_before:
                raise ValueError(
                    f'second {key[1]} is at {distance_m:g} m here, at {distance_before:g} m in line {line_before}; '
                    'remove one row'
                )
        except ValueError as refusal:
            problems.append(Problem(video_id, f'{file}:{line}', 'labels', str(refusal)))
            continue
        if time_s != key[1]:
            floored.append(line)
        if line_before != line:
            repeated.append(line)
    notes = [
        f'{file}: {what} in {len(lines)} rows, first in line {lines[0]}'
        for what, lines in (
            ('times floored to the second', floored),
            ('repeated rows dropped', repeated),
        )
        if lines
    ]
    rows = pd.DataFrame(
        {
            'video_id': np.array([video_id for video_id, _ in first], object),
            'time_s': np.array([time_s for _, time_s in first], np.int64),
            'distance_m': np.array([distance_m for _, distance_m in first.values()], np.float64),
            'row': [f'{file}:{line}' for line, _ in first.values()],
        }
    )
    return rows, problems, notes


def _second(text: str) -> float:
    return number(text, '', 'the time', 0, LONGEST_CLIP_S)


def _boxes(texts: pd.DataFrame) -> tuple[dict[tuple[str, int], tuple[float, ...]], list[int]]:
    """Returns {(video_id, second): its first box}, and the lines with an invalid box."""
    boxes, bad = {}, []
    if not {'time', *_BOX} <= set(texts):
        return boxes, bad
    for line, video_id, time, *corners in texts[['video_id', 'time', *_BOX]].itertuples():
        if not any(corners):
            continue
        try:
            x1, y1, x2, y2 = box = tuple(number(text, '', 'box', 0, 1) for text in corners)
            second = math.floor(number(time, '', 'time', 0, LONGEST_CLIP_S))
        except ValueError:
            bad.append(line)
            continue
        if x1 < x2 and y1 < y2:
            boxes.setdefault((video_id, second), box)
        else:
            bad.append(line)
    return boxes, bad


def _places(texts: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Returns {video_id: {'site': ..., 'park': ...}}, the first values that are not empty."""
    places: dict[str, dict[str, str]] = {}
    for name, columns in (('site', ('site_id', 'site')), ('park', ('park',))):
        column = next((column for column in columns if column in texts), None)
        if column is None:
            continue
        for video_id, value in zip(texts['video_id'], texts[column], strict=True):
            if value:
                places.setdefault(video_id, {}).setdefault(name, value)
    return places
