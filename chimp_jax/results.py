"""The table of distances that people get: which targets, in which order, in which file; the rules of a submission."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble import KEY
from chimp_jax.workdir import write_whole
from data_prep.records import LOST

OK = 'ok'  # the status of a row with a distance; any other is the reason why there is none


def result_rows(distance: pd.Series, members: pd.DataFrame, recipes: pd.DataFrame) -> pd.DataFrame:
    """The ensemble's distance [rows], the members' [rows, members] and the recipes' [rows, recipes] -> one table.

    Columns video_id, time, distance, a column for each recipe, all metres; spread, the standard deviation over the
    members, NaN with one; members, their number; status.
    """
    n_members = members.notna().sum(axis=1)
    about = {'spread': members.std(axis=1, ddof=0).where(n_members > 1), 'members': n_members, 'status': OK}
    return distance.rename('distance').to_frame().join(recipes).assign(**about).reset_index()


def read_lost(records, split: str) -> pd.DataFrame:
    """(video_id, time, reason) of the targets of a split that are in no record; none where nothing is known of them."""
    path = epath.Path(records) / LOST
    if not path.exists():  # records of another maker
        return pd.DataFrame({'video_id': [], 'time': np.zeros(0, int), 'reason': []})
    with path.open() as file:
        table = pd.read_csv(file, keep_default_na=False)
    return table[table['split'] == split].drop(columns='split').reset_index(drop=True)


def with_lost(rows: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """Rows and, without a distance, the targets (video_id, time, reason) that could not be predicted; sorted by key."""
    new = lost.rename(columns={'reason': 'status'}).assign(members=0)
    new = new[~pd.MultiIndex.from_frame(new[KEY]).isin(pd.MultiIndex.from_frame(rows[KEY]))]
    table = pd.concat([rows, new.drop_duplicates(KEY)]) if len(new) else rows
    return table[rows.columns].sort_values(KEY, ignore_index=True)


def in_order(rows: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """The rows of `order` (video_id, time), in its order; without a distance where there is no prediction."""
    asked = pd.MultiIndex.from_frame(order[KEY])
    found = rows.set_index(KEY).reindex(asked)
    found['status'] = found['status'].fillna('not among the targets of the records')
    return found.fillna({'members': 0}).astype({'members': int}).reset_index()


def write_table(path, rows: pd.DataFrame) -> None:
    """CSV, or parquet where the name ends so; whole or not at all."""
    path = epath.Path(path)
    if path.suffix == '.parquet':
        content = io.BytesIO()
        rows.to_parquet(content, index=False)
        write_whole(path, content.getvalue())
    else:
        write_whole(path, rows.to_csv(index=False))


def read_order(path) -> pd.DataFrame:
    """A submission_format.csv. Raises ValueError, which names file and row, where it cannot be used."""
    path = epath.Path(path)
    try:
        table = pd.read_csv(io.BytesIO(path.read_bytes()), encoding='utf-8-sig', dtype={'video_id': str})
    except ValueError as error:  # pandas' errors on broken tables are ValueErrors
        raise ValueError(f'{path} cannot be read as a CSV: {" ".join(str(error).split())}') from None
    _check_keys(table, path, KEY)
    return table


def check_submission(path, order_path) -> int:
    """The number of rows of a valid submission: the columns and rows of the format in its order, finite, >= 0.

    Raises ValueError, which names file, line and fault, for the first rule that is broken.
    """
    order, path = read_order(order_path), epath.Path(path)
    table = read_order(path)
    if list(table.columns) != [*KEY, 'distance']:
        raise ValueError(f'{path} has the columns {", ".join(table.columns)}; a submission has {", ".join(KEY)}, distance')
    if len(table) != len(order):
        raise ValueError(f'{path} has {len(table)} rows, {order_path} has {len(order)}')
    rules = (
        ((table[KEY] != order[KEY]).any(axis=1), f'is not the row that {order_path} has there'),
        (~np.isfinite(pd.to_numeric(table['distance'], errors='coerce')), 'has no finite distance'),
        (pd.to_numeric(table['distance'], errors='coerce') < 0, 'has a distance below 0'),
    )
    for broken, fault in rules:
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            video_id, time_s = table.loc[row, KEY]
            raise ValueError(f'{path}:{row + 2}: {video_id} at {time_s} s {fault} ({broken.sum()} such rows)')
    return len(table)


def _check_keys(table: pd.DataFrame, path, columns: Sequence[str]) -> None:
    absent = [name for name in columns if name not in table]
    if absent:
        raise ValueError(f'{path} lacks the column {absent[0]}; it has {", ".join(map(str, table.columns))}')
    faults = (
        (table['video_id'].isna(), 'has no video_id'),
        (pd.to_numeric(table['time'], errors='coerce').isna(), 'has no number as its time'),
        (table.duplicated(list(KEY)), 'stands there for the second time'),
    )
    for broken, fault in faults:
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise ValueError(f'{path}:{row + 2}: {tuple(table.loc[row, list(KEY)])} {fault}')
