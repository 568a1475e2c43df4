"""Tables that a person types: video_id, time, distance. They are read as the labels of training are, but strictly.

A training table may have bad rows: thousands of others go on without them. Here each row was typed for a purpose.
"""

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY
from data_prep.inputs.labels import read_targets

_NAMED = 3  # rows that a message names


def read_label_table(path, may_be_empty: bool = False) -> pd.DataFrame:
    """CSV -> rows video_id (str), time (int, s), distance (float, m), site ('' where unknown), row ('file:line').

    Times are floored to the second, as in training. Raises ValueError in one line that names the rows: a cell that is
    no number, negative, NaN; a second with two rows; a path that leaves the clips folder; a table without rows.
    """
    path = epath.Path(path)
    targets = read_targets(path)
    bad = [f'{problem.row}: {problem.reason}' for problem in targets.problems]
    bad += [note for note in targets.notes if 'repeated rows' in note]
    if bad:
        raise ValueError(f'{path}: {named(bad)}; mend or remove them')
    rows = targets.rows.rename(columns={'time_s': 'time', 'distance_m': 'distance'})
    if rows.empty and not may_be_empty:
        raise ValueError(f'{path} has no row; it takes one for each known distance: video_id,time,distance')
    return rows[[*KEY, 'distance', 'site', 'row']]


def keyed(rows: pd.DataFrame) -> pd.DataFrame:
    """rows with their index (video_id, time)."""
    return rows.set_index(pd.MultiIndex.from_frame(rows[KEY]))


def named(texts: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(texts) - _NAMED
    return '; '.join(texts[:_NAMED]) + (f'; and {more} more' if more > 0 else '')
