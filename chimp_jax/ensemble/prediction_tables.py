"""Reads tables of predictions and joins them on (video_id, time, animal). Nothing is matched by position."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_prep.inputs.tables import numbers_of, read_table, seconds_of

# animal: the name of a track or of a labelled animal; empty for the second as a whole
KEY = ['video_id', 'time', 'animal']
SECOND = KEY[:2]
BOX = ['bbox_x', 'bbox_y', 'bbox_width', 'bbox_height']  # 0..1 of the picture


def read_predictions(path, columns: Sequence[str], data: bytes | None = None) -> pd.DataFrame:
    """Reads KEY (texts; time in whole seconds) and the named columns (float64, NaN if empty) of a CSV table.

    A table without the column animal has the animal ''. The index is the line of each row. data: the content if it is
    not read from the file; `path` is then the name in messages. Raises ValueError, with file and line, if the table
    cannot be read, lacks a column, or has a time that is not a whole second or another cell that is not a number.
    """
    table = with_animal(read_table(path, required=[*SECOND, *columns], numbers=['time', *columns], data=data))
    texts = table[['video_id', 'animal']].astype(str)
    read = texts.assign(time=seconds_of(table, path))[KEY]
    return read.assign(**{name: numbers_of(table, name, path) for name in columns})


def with_animal(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows with the column animal: '' if a table of whole seconds lacks it."""
    return rows if 'animal' in rows else rows.assign(animal='')


def without_empty_animal(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows without the column animal if no row names an animal: then a table is one of whole seconds."""
    return rows if (rows['animal'] != '').any() else rows.drop(columns='animal')


def _keyed(frame: pd.DataFrame, name: str) -> pd.Series:
    """Returns the distances of one table by KEY. Raises ValueError if they cannot be joined."""
    missing = [column for column in [*SECOND, 'distance'] if column not in frame.columns]
    if missing:
        raise ValueError(f'{name} lacks the column {missing[0]}; it needs {", ".join([*SECOND, "distance"])}')
    series = with_animal(frame).set_index(KEY)['distance']
    duplicated = series.index.duplicated()
    if duplicated.any():
        raise ValueError(f'{name}: more than one row for {first_key(series.index[duplicated])}; remove the others')
    not_finite = ~np.isfinite(series.to_numpy(float))
    if not_finite.any():
        raise ValueError(f'{name}: no finite distance for {first_key(series.index[not_finite])}; predict it again')
    return series


def first_key(index: pd.MultiIndex) -> str:
    """Returns the first key of an index with the levels KEY, and the number of keys, for messages."""
    video_id, time_s, animal = index[0]
    named = f', animal {animal}' if animal else ''
    return f'{video_id} at {time_s} s{named} ({len(index)} in all)'


def join_predictions(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Joins tables of KEY and distance: one table for each recipe, or for each fold of a recipe.

    Returns one column for each table, indexed by KEY and sorted. The order of the rows in the tables does
    not matter. Raises ValueError, with the table and the first key, if a key is duplicated, has no finite distance, or
    is missing from one of the tables.
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
    """[rows, recipe/fold_k] -> [rows, recipes]: the mean over the folds that have a prediction for the row."""
    return members.T.groupby(lambda name: name.rsplit('/', 1)[0]).mean().T
