"""Tables in: targets and sites. Bad rows are refused with file, line number and reason.

The tables are the challenge's: labels (video_id, time, distance), the submission format (the same,
distance a placeholder) and metadata (video_id, park, site_id and more).
"""

import io
import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

TABLES = {  # split -> its targets, its metadata
    'train': ('train_labels.csv', 'train_metadata.csv'),
    'test': ('submission_format.csv', 'test_metadata.csv'),
}

CLIP_SUFFIXES = frozenset('.mp4 .avi .asf .mov .mkv .m4v .wmv .mpg .mpeg .ts'.split())

_FIRST_LINE = 2  # line 1 of a file is its header
_LONGEST_CLIP_S = 1_000_000  # beyond it a time is a slip of the pen


class Problem(NamedTuple):
    """A clip or a row that could not be used: one row of problems.csv."""

    video_id: str
    row: str  # 'file:line', '' where it is about the clip
    stage: str
    reason: str


class Targets(NamedTuple):
    """The targets of one table."""

    # video_id, time_s (int; NA: every second), distance_m (NaN), site, park (''), in file order
    rows: pd.DataFrame
    problems: list[Problem]
    notes: list[str]


class _Refused(Exception):
    pass


def read_targets(table, metadata=None, with_distance: bool = True) -> Targets:
    """Targets of a labels table (or, with_distance=False, of a submission format, whose distances
    are ignored).

    metadata: a table with a park and site of each clip, or None; the labels' own columns serve
    where it is None. Raises ValueError where a file cannot be read as a table or lacks a column.
    """
    table = epath.Path(table)
    texts = _read_table(table, ['video_id', 'time', *(['distance'] if with_distance else [])])
    rows, problems, notes = _good_rows(texts, table.name, with_distance)
    if metadata is None:
        places = _places(texts)
    else:
        places = _places(_read_table(epath.Path(metadata), ['video_id']))
    for name in ('site', 'park'):
        rows[name] = [places.get(video_id, {}).get(name, '') for video_id in rows['video_id']]
    return Targets(rows, problems, notes)


def read_tables(folder) -> dict[str, Targets]:
    """{split: Targets} of the TABLES in `folder`. Raises ValueError where none of them is there."""
    folder = epath.Path(folder)
    targets = {
        split: read_targets(
            folder / table,
            folder / metadata if (folder / metadata).exists() else None,
            split == 'train',
        )
        for split, (table, metadata) in TABLES.items()
        if (folder / table).exists()
    }
    if not targets:
        raise ValueError(f'{folder} holds none of {", ".join(table for table, _ in TABLES.values())}')
    if len(targets) == 2:
        both = set(targets['train'].rows['video_id']) & set(targets['test'].rows['video_id'])
        reason = 'stands in train_labels.csv too; a clip is for training or for testing'
        targets['test'] = _refuse_clips(targets['test'], dict.fromkeys(both, reason), 'labels')
    return targets


def find_clips(targets: Targets, clip_folders: list[Path]) -> Targets:
    """Targets without those of the clips that are not in each of the folders."""
    absent = {
        video_id: [str(folder) for folder in clip_folders if not (folder / video_id).is_file()]
        for video_id in targets.rows['video_id'].unique()
    }
    reasons = {video_id: f'no such file in {" and ".join(folders)}' for video_id, folders in absent.items() if folders}
    return _refuse_clips(targets, reasons, 'find')


def list_clips(folder: Path) -> dict[str, Targets]:
    """Every clip below a folder, as the split `test`, with no times: each of its seconds is to become a target.

    Raises ValueError where there is no clip.
    """
    found = sorted(path for path in folder.rglob('*') if path.suffix.lower() in CLIP_SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f'{folder} holds no clip ({" ".join(sorted(CLIP_SUFFIXES))})')
    rows = pd.DataFrame({'video_id': [path.relative_to(folder).as_posix() for path in found]})
    return {'test': Targets(rows.assign(time_s=pd.NA, distance_m=np.nan, site='', park=''), [], [])}


def _refuse_clips(targets: Targets, reasons: dict[str, str], stage: str) -> Targets:
    """Targets without the clips {video_id: reason}, each of which becomes a problem."""
    problems = [Problem(video_id, '', stage, reason) for video_id, reason in reasons.items()]
    kept = targets.rows[~targets.rows['video_id'].isin(list(reasons))].reset_index(drop=True)
    return Targets(kept, targets.problems + problems, targets.notes)


def _read_table(path: epath.Path, columns: list[str]) -> pd.DataFrame:
    """All cells as text, the index the line number."""
    try:
        text = path.read_bytes().decode('utf-8-sig')
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (OSError, ValueError) as error:  # pandas' errors on broken tables are ValueErrors
        raise ValueError(f'{path}: {" ".join(str(error).split())}') from error
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
            _check_path(video_id)
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
        }
    )
    return rows, problems, notes


def _check_path(video_id: str) -> None:
    if not video_id:
        raise _Refused('the video_id is empty')
    if '\0' in video_id or '\n' in video_id:
        raise _Refused(f'the video_id {video_id!r} is no file name')
    windows = PureWindowsPath(video_id)  # it takes both kinds of slashes
    if PurePosixPath(video_id).is_absolute() or windows.drive or windows.root:
        raise _Refused(f'the video_id {video_id!r} is an absolute path; give it relative to the clips folder')
    if '..' in windows.parts:
        raise _Refused(f'the video_id {video_id!r} climbs out of the clips folder')


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
