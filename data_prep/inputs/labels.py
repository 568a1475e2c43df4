"""Tables in: targets, boxes and sites. Bad rows are refused with file, line number and reason.

The challenge's tables: labels (video_id, time, distance), the submission format (the same, distance a placeholder) and
metadata (video_id, time, x1, y1, x2, y2, park, site_id); or one CSV with columns of these names.
"""

import io
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import path_fault

TABLES = {  # split -> its targets, its metadata
    'train': ('train_labels.csv', 'train_metadata.csv'),
    'test': ('submission_format.csv', 'test_metadata.csv'),
}
NO_BOX = (math.nan,) * 4

_FIRST_LINE = 2  # line 1 of a file is its header
_LONGEST_CLIP_S = 1_000_000  # beyond it a time is a slip of the pen


class Problem(NamedTuple):
    """A clip or a row that could not be used: one row of problems.csv."""

    video_id: str
    row: str  # 'file:line', '' where it is about the clip
    stage: str
    reason: str


class LostTarget(NamedTuple):
    """A target that will be in no record."""

    video_id: str
    time_s: int
    reason: str


class Targets(NamedTuple):
    """The targets of one split, one row each.

    video_id; time_s, int, NA for every second; distance_m, NaN where unknown; box, (x1, y1, x2, y2) in 0..1 of width
    and height from the upper left, NaN where unknown; site and park, '' where unknown; row, where it stands:
    'file:line'.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    notes: list[str]
    lost: tuple[LostTarget, ...] = ()

    def without_clips(self, reasons: dict[str, str], stage: str) -> 'Targets':
        """Without the clips {video_id: reason}, each of which becomes a problem, at its first row."""
        refused = self.rows['video_id'].isin(list(reasons))
        places = self.rows[refused].groupby('video_id')['row'].agg(['first', 'size'])
        problems = [
            Problem(video_id, row, stage, reasons[video_id] + (f' ({n} rows)' if n > 1 else ''))
            for video_id, row, n in places.itertuples()
        ]
        return self._without(refused, self.rows.loc[refused, 'video_id'].map(reasons), problems)

    def without_rows(self, reasons: dict[int, str], stage: str) -> 'Targets':
        """Without the rows {index: reason}, each of which becomes a problem."""
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


class _Refused(Exception):
    pass


def read_targets(table, metadata=None, with_distance: bool = True) -> Targets:
    """Targets of a table; with_distance=False of a submission format, whose distances are ignored.

    metadata: a table with boxes, park and site of each clip, or None; the table's own columns serve where it is None.
    Raises ValueError where a file cannot be read as a table or lacks a column.
    """
    table = epath.Path(table)
    texts = _read_table(table, ['video_id', 'time', *(['distance'] if with_distance else [])])
    rows, problems, notes = _good_rows(texts, table.name, with_distance)
    about = texts if metadata is None else _read_table(epath.Path(metadata), ['video_id'])
    boxes, bad_boxes = _boxes(about)
    if bad_boxes:
        name = table.name if metadata is None else epath.Path(metadata).name
        notes.append(f'{name}: boxes passed over in {len(bad_boxes)} rows, first in line {bad_boxes[0]}')
    rows['box'] = [boxes.get(key, NO_BOX) for key in zip(rows['video_id'], rows['time_s'], strict=True)]
    places = _places(about)
    for name in ('site', 'park'):
        rows[name] = [places.get(video_id, {}).get(name, '') for video_id in rows['video_id']]
    return Targets(rows, problems, notes)


def read_tables(path) -> dict[str, Targets]:
    """{split: Targets} of the TABLES in a folder, or of one CSV: `train` where it has distances, else `test`.

    Raises ValueError where there is no table.
    """
    path = epath.Path(path)
    if not path.is_dir():
        with_distance = 'distance' in _read_table(path, ['video_id', 'time'])
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
        reason = 'stands in train_labels.csv too; a clip is for training or for testing'
        targets['test'] = targets['test'].without_clips(dict.fromkeys(sorted(both), reason), 'labels')
    return targets


def every_second(video_ids: list[str]) -> Targets:
    """Clips with no times: their seconds are to become targets."""
    rows = pd.DataFrame({'video_id': np.array(video_ids, object)})
    return Targets(rows.assign(time_s=pd.NA, distance_m=np.nan, box=None, site='', park='', row=''), [], [])


def _read_table(path: epath.Path, columns: list[str]) -> pd.DataFrame:
    """All cells as text, the index the line number. A semicolon may separate, as in half of Europe's spreadsheets."""
    try:
        text = path.read_bytes().decode('utf-8-sig')
        header = text.partition('\n')[0]
        semicolons = ';' in header and ',' not in header
        table = pd.read_csv(
            io.StringIO(text), sep=';' if semicolons else ',', dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 (byte {error.start}); save it as "CSV UTF-8"') from None
    except (OSError, ValueError) as error:  # pandas' errors on broken tables are ValueErrors
        raise ValueError(f'{path}: {" ".join(str(error).split())}') from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells for an index: all columns shift
        raise ValueError(f'{path}: its rows have more cells than its header; is a comma the decimal point in them?')
    if semicolons:  # and a comma is the decimal point
        numbers = table.columns.intersection(['time', 'distance', *_BOX])
        table[numbers] = table[numbers].apply(lambda column: column.str.replace(',', '.'))
    if 'video_id' not in table and 'filepath' in table:
        table = table.rename(columns={'filepath': 'video_id'})
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f'{path} lacks the column {", ".join(missing)}; it has {", ".join(table.columns)}')
    table.index += _FIRST_LINE
    return table[(table != '').any(axis=1)]


def _good_rows(texts: pd.DataFrame, file: str, with_distance: bool):
    problems: list[Problem] = []
    floored, repeated = [], []
    first: dict[tuple[str, int], tuple[int, float]] = {}  # (clip, second) -> line, distance
    distances = texts['distance'] if with_distance else [''] * len(texts)
    for line, video_id, time, distance in zip(texts.index, texts['video_id'], texts['time'], distances, strict=True):
        try:
            if fault := path_fault(video_id):
                raise _Refused(fault)
            time_s = _number(time, 'time', at_most=_LONGEST_CLIP_S)
            distance_m = _number(distance, 'distance') if with_distance else math.nan
            key = video_id, math.floor(time_s)
            line_before, distance_before = first.setdefault(key, (line, distance_m))
            if line_before != line and with_distance and distance_m != distance_before:
                raise _Refused(
                    f'second {key[1]} is at {distance_m:g} m here, at {distance_before:g} m in line {line_before}'
                )
        except _Refused as refusal:
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


def _number(text: str, column: str, at_most: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _Refused(f'the {column} {text!r} is not a number') from None
    if not math.isfinite(value):
        raise _Refused(f'the {column} {text!r} is not a finite number')
    if value < 0:
        raise _Refused(f'the {column} {text} is negative')
    if value > at_most:
        raise _Refused(f'the {column} {text} is above {at_most:g}')
    return value


_BOX = ('x1', 'y1', 'x2', 'y2')


def _boxes(texts: pd.DataFrame) -> tuple[dict[tuple[str, int], tuple[float, ...]], list[int]]:
    """{(video_id, second): box}, the first of each, and the lines whose box makes no sense."""
    boxes, bad = {}, []
    if not {'time', *_BOX} <= set(texts):
        return boxes, bad
    for line, video_id, time, *corners in texts[['video_id', 'time', *_BOX]].itertuples():
        if not any(corners):
            continue
        try:
            x1, y1, x2, y2 = box = tuple(_number(text, 'box', at_most=1) for text in corners)
            second = math.floor(_number(time, 'time', at_most=_LONGEST_CLIP_S))
        except _Refused:
            bad.append(line)
            continue
        if x1 < x2 and y1 < y2:
            boxes.setdefault((video_id, second), box)
        else:
            bad.append(line)
    return boxes, bad


def _places(texts: pd.DataFrame) -> dict[str, dict[str, str]]:
    """{video_id: {'site': ..., 'park': ...}}, the first that is not empty."""
    places: dict[str, dict[str, str]] = {}
    for name, columns in (('site', ('site_id', 'site')), ('park', ('park',))):
        column = next((column for column in columns if column in texts), None)
        if column is None:
            continue
        for video_id, value in zip(texts['video_id'], texts[column], strict=True):
            if value:
                places.setdefault(video_id, {}).setdefault(name, value)
    return places
