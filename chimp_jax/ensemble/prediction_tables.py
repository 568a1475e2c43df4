"""Tables of predictions, read, joined on (video_id, time) and written: nothing is ever matched by position."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

KEY = ['video_id', 'time']
BOX = ['bbox_x', 'bbox_y', 'bbox_width', 'bbox_height']  # 0..1 of the picture

_LONGEST_CLIP_S = 1_000_000  # beyond it a time is a slip of the pen


def read_cells(path: epath.PathLike, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns of a CSV, and any more, all as text: a clip may be called 007 or NA.

    Raises ValueError with the file if it is not UTF-8, not a table or lacks a column.
    """
    try:
        text = epath.Path(path).read_bytes().decode('utf-8-sig')
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 (byte {error.start}); save it as "CSV UTF-8"') from None
    except ValueError as error:  # pandas' errors on broken tables are ValueErrors
        raise ValueError(f'{path}: {" ".join(str(error).split())}') from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells for row labels
        raise ValueError(f'{path}: its rows have more cells than its header')
    _require_columns(table, str(path), columns)
    return table


def read_predictions(path: epath.PathLike, columns: Sequence[str]) -> pd.DataFrame:
    """video_id (text), time (whole seconds) and the named columns of numbers (NaN where there is none) of a CSV.

    Raises ValueError with the file, and the line where there is one, if it is no table with these columns, or has a
    time that is no whole second.
    """
    table = read_cells(path, [*KEY, *columns])
    numbers = table[['time', *columns]].apply(pd.to_numeric, errors='coerce')
    wrong = np.flatnonzero(~((numbers['time'].mod(1) == 0) & numbers['time'].between(0, _LONGEST_CLIP_S)))
    if wrong.size:
        clip, time_s = table.iloc[wrong[0]][KEY]
        raise ValueError(f'{path}, line {wrong[0] + 2}: {time_s!r} is no time in whole seconds ({clip!r})')
    return table[['video_id']].join(numbers.astype({'time': np.int64}))


def _keyed(frame: pd.DataFrame, name: str) -> pd.Series:
    """(video_id, time) -> distance of one table; refuses what cannot be joined on keys."""
    _require_columns(frame, name, [*KEY, 'distance'])
    series = frame.set_index(KEY)['distance']
    duplicated = series.index.duplicated()
    if duplicated.any():
        raise ValueError(f'{name}: more than one row for {first_key(series.index[duplicated])}')
    not_finite = ~np.isfinite(series.to_numpy(float))
    if not_finite.any():
        raise ValueError(f'{name}: no finite distance for {first_key(series.index[not_finite])}')
    return series


def _require_columns(frame: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(f'{name}: no column {absent[0]!r}; need {", ".join(columns)}')


def first_key(index: pd.MultiIndex) -> str:
    """The first (video_id, time) of an index, and how many there are: for messages."""
    video_id, time_s = index[0]
    return f'{video_id} at {time_s} s ({len(index)} in all)'


def join_predictions(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Join tables video_id, time, distance, e.g. one a recipe, or one a fold of a recipe.

    Returns one column a table, index (video_id, time), sorted: the order of the rows of the tables
    does not matter. ValueError names the table and the first key for a key that is doubled, has no
    finite distance, or is missing from one table and not from another.
    """
    if not frames:
        raise ValueError('no predictions to join')
    series = {name: _keyed(frame, name) for name, frame in frames.items()}
    joined = pd.concat(series, axis=1).sort_index()
    for name, column in joined.items():
        if column.isna().any():
            raise ValueError(
                f'{name}: no prediction for {first_key(joined.index[column.isna()])}, which other '
                'tables have: predict it again'
            )
    return joined


def recipe_means(members: pd.DataFrame) -> pd.DataFrame:
    """[rows, recipe/fold_k] -> [rows, recipes]: the mean over the folds that say something of a row."""
    return members.T.groupby(lambda name: name.rsplit('/', 1)[0]).mean().T
