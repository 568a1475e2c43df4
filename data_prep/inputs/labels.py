"""Tables of targets and boxes. A bad row is refused with its file, line and reason.

Reads the challenge's tables: labels (video_id, time, distance), the submission format (the same columns, distance a
placeholder) and metadata (video_id, time, x1, y1, x2, y2, probability, park, site_id). Also reads one CSV with columns
of these names. A column `animal` tells the animals of one second apart.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import NO_CLIPS, Archive, Names, is_photo, path_fault
from data_prep.inputs.cells import is_clock, number, seconds
from data_prep.inputs.columns.animal import Fault, read_names, split_by_animal
from data_prep.inputs.columns.boxes import CORNERS, NO_BOX, PROBABILITY, TableBox, match_boxes, read_boxes
from data_prep.inputs.columns.sites import read_clip_places
from data_prep.inputs.tables import LONGEST_CLIP_S, read_table

TABLES = {  # split -> its targets, its metadata
    'train': ('train_labels.csv', 'train_metadata.csv'),
    'test': ('submission_format.csv', 'test_metadata.csv'),
}

_COLUMNS = ('video_id', 'filepath', 'time', 'distance', *CORNERS, PROBABILITY, 'site', 'site_id', 'park', 'animal')


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
    animal: str  # '' if unknown
    reason: str


class Targets(NamedTuple):
    """The targets of one split, one per row: no two have the same clip, second and animal.

    Columns of rows: video_id; time_s, int, NA if every second is a target; animal, its name, '' if unknown; distance_m,
    NaN if unknown; box, (x1, y1, x2, y2) in 0..1 of width and height from the upper left, NaN if unknown; site and
    park, '' if unknown; row, the place in the table: 'file:line'.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    notes: list[str]
    lost: tuple[LostTarget, ...] = ()
    empty: tuple[tuple[str, int], ...] = ()  # (video_id, second) that a person looked at, without an animal
    boxes: tuple[TableBox, ...] = ()  # of the tables, also those of other seconds and clips

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

    def with_more(self, problems: list[Problem], notes: list[str]) -> 'Targets':
        return self._replace(problems=self.problems + problems, notes=self.notes + notes)

    def _without(self, refused, reasons: Iterable[str], problems: list[Problem]) -> 'Targets':
        rows = self.rows[refused]
        keys = zip(rows['video_id'], rows['time_s'], rows['animal'], reasons, strict=True)
        lost = tuple(LostTarget(key[0], int(key[1]), *key[2:]) for key in keys if pd.notna(key[1]))
        return self._replace(
            rows=self.rows[~refused].reset_index(drop=True),
            problems=self.problems + problems,
            lost=self.lost + lost,
        )


def read_targets(
    table, metadata=None, with_distance: bool = True, names: Names | Archive = NO_CLIPS, animals_are_named: bool = False
) -> Targets:
    """Returns the targets of a table.

    A row whose column `animal` says no is no target. metadata: table with the boxes, park and site of each clip; if
    None, the columns of `table` are used. A box that cannot be used is a problem, and its target stays.
    with_distance: False for a submission format or other wanted targets, whose distances are ignored.
    names: the clips that exist, which the table may spell otherwise. animals_are_named: 1 in the column `animal` is a
    name, whatever the other cells are.
    Raises ValueError if a file cannot be read as a table, lacks a column, or names two sites in one row.
    """
    table = epath.Path(table)
    texts = _read(table, ['video_id', 'time', *(['distance'] if with_distance else [])], names)
    named = read_names(texts, table.name, animals_are_named)
    watched = split_by_animal(texts, named.names, _second)
    rows, problems, notes = _good_rows(watched.seen, table.name, with_distance, names)
    problems += _problems(table.name, 'labels', named.faults + watched.faults)
    notes += named.notes
    about, file = texts, table.name
    if metadata is not None:
        about, file = _read(epath.Path(metadata), ['video_id'], names), epath.Path(metadata).name
        named = read_names(about, file)
        problems += _problems(file, 'boxes', named.faults)
        notes += named.notes
    boxes, bad_boxes = read_boxes(about, named.names, _second, file)
    problems += _problems(file, 'boxes', bad_boxes)
    rows['box'] = match_boxes(list(zip(rows['video_id'], rows['time_s'], rows['animal'], strict=True)), boxes)
    places = read_clip_places(about, file)
    for name in ('site', 'park'):
        rows[name] = [getattr(places, name).get(video_id, '') for video_id in rows['video_id']]
    targets = Targets(rows, problems, notes + places.notes, empty=watched.empty, boxes=boxes)
    return targets.without_clips(places.faults, 'labels')


def read_tables(path, names: Names | Archive = NO_CLIPS, with_distance: bool = True) -> dict[str, Targets]:
    """Returns {split: Targets} of a folder with TABLES, or of one CSV.

    A CSV is the split `train` if a row has a distance, else `test`. with_distance: False ignores the distances.
    Raises ValueError if there is no table.
    """
    path = epath.Path(path)
    if not path.is_dir():
        cells = _read(path, ['video_id', 'time'], names).get('distance', pd.Series(dtype=object))
        labelled = with_distance and any(cells.str.strip())
        return {'train' if labelled else 'test': read_targets(path, None, labelled, names)}
    targets = {
        split: read_targets(
            path / table,
            path / metadata if (path / metadata).exists() else None,
            with_distance and split == 'train',
            names,
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
    return Targets(rows.assign(time_s=pd.NA, animal='', distance_m=np.nan, box=None, site='', park='', row=''), [], [])


def with_seconds_of_photos(targets: Targets) -> Targets:
    """Returns targets of every_second in which a photo has its one second, 0."""
    is_single = [is_photo(name) for name in targets.rows['video_id']]
    times_s = np.array([0 if single else pd.NA for single in is_single], object)
    boxes = [NO_BOX if single else None for single in is_single]
    return targets._replace(rows=targets.rows.assign(time_s=times_s, box=boxes))


def _read(path: epath.Path, required: list[str], names: Names | Archive) -> pd.DataFrame:
    numbers = ('time', 'distance', *CORNERS, PROBABILITY)
    texts = read_table(path, required, numbers, renamed={'filepath': 'video_id'}, any_case=_COLUMNS)
    meant = {name: names.video_id_of(name) for name in texts['video_id'].unique()}
    return texts.assign(video_id=texts['video_id'].map(meant))


def _good_rows(texts: pd.DataFrame, file: str, with_distance: bool, names: Names | Archive):
    """Returns the usable rows, one per clip, second and animal, the problems of the other rows, and notes."""
    problems: list[Problem] = []
    floored, repeated, clocks = [], [], []
    first: dict[tuple[str, int, str], tuple[int, float]] = {}  # (clip, second, animal) -> line, distance
    texts = texts if with_distance else texts.assign(distance='')
    for line, video_id, time, animal, distance in texts[['video_id', 'time', 'animal', 'distance']].itertuples():
        try:
            if video_id not in names and (fault := path_fault(video_id)):
                raise ValueError(fault)
            time_s = _second(time)
            if with_distance and not distance.strip():
                raise ValueError('the distance is empty; write it, or remove the row')
            distance_m = number(distance, '', 'the distance', 0) if with_distance else math.nan
            key = video_id, math.floor(time_s), animal
            line_before, distance_before = first.setdefault(key, (line, distance_m))
            if line_before != line and with_distance and distance_m != distance_before:
                whose = f'{animal!r} in ' if animal else ''
                raise ValueError(
                    f'{whose}second {key[1]} is at {distance_m:g} m here, at {distance_before:g} m in line '
                    f'{line_before}; remove one row'
                )
        except ValueError as refusal:
            problems.append(Problem(video_id, f'{file}:{line}', 'labels', str(refusal)))
            continue
        if is_clock(time):
            clocks.append((line, f'{time.strip()} is second {key[1]}'))
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
    if clocks:
        line, example = clocks[0]
        notes.append(f'{file}: times read as hours, minutes and seconds in {len(clocks)} rows; line {line}: {example}')
    rows = pd.DataFrame(
        {
            'video_id': np.array([video_id for video_id, _, _ in first], object),
            'time_s': np.array([time_s for _, time_s, _ in first], np.int64),
            'animal': np.array([animal for _, _, animal in first], object),
            'distance_m': np.array([distance_m for _, distance_m in first.values()], np.float64),
            'row': [f'{file}:{line}' for line, _ in first.values()],
        }
    )
    return rows, problems, notes


def _second(text: str) -> float:
    return seconds(text, '', 'the time', LONGEST_CLIP_S)


def _problems(file: str, stage: str, faults: Iterable[Fault]) -> list[Problem]:
    return [Problem(video_id, f'{file}:{line}', stage, reason) for video_id, line, reason in faults]
