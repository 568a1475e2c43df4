"""The table of distances that people get: which targets, in which order, in which file; the rules of a submission."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY, read_predictions
from data_prep.files import write_whole
from data_prep.records import LOST

OK = 'ok'  # the status of a row with a distance; any other is the reason why there is none


def result_rows(distance: pd.Series, members: pd.DataFrame, recipes: pd.DataFrame) -> pd.DataFrame:
    """The ensemble's distance [rows], the members' [rows, members] and the recipes' [rows, recipes] -> one table.

    Columns video_id, time, distance, a column for each recipe, all metres; spread, the standard deviation over the
    members, NaN with one; members, their number; status.
    """
    n_members = members.notna().sum(axis=1)
    status = np.where(distance.notna(), OK, 'not every recipe has a member that did not train on this clip')
    about = {'spread': members.std(axis=1, ddof=0).where(n_members > 1), 'members': n_members, 'status': status}
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


def read_order(path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A submission_format.csv. Raises ValueError, which names file and line, where it cannot be used."""
    table = read_predictions(path, columns)
    again = np.flatnonzero(table.duplicated(KEY))
    if again.size:
        video_id, time_s = table.loc[again[0], KEY]
        raise ValueError(f'{path}, line {again[0] + 2}: {video_id} at {time_s} s stands there for the second time')
    return table


def check_submission(path, order_path) -> int:
    """The number of rows of a valid submission: the columns and rows of the format in its order, finite, >= 0.

    Raises ValueError, which names file, line and fault, for the first rule that is broken.
    """
    order, table = read_order(order_path), read_order(path, ['distance'])
    header = epath.Path(path).read_text().partition('\n')[0].strip()
    if header != ','.join([*KEY, 'distance']):
        raise ValueError(f'{path} has the columns {header}; a submission has video_id,time,distance')
    if len(table) != len(order):
        raise ValueError(f'{path} has {len(table)} rows, {order_path} has {len(order)}')
    rules = (
        ((table[KEY] != order[KEY]).any(axis=1), f'is not the row that {order_path} has there'),
        (~np.isfinite(table['distance']), 'has no finite distance'),
        (table['distance'] < 0, 'has a distance below 0'),
    )
    for broken, fault in rules:
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            video_id, time_s = table.loc[row, KEY]
            raise ValueError(
                f'{path}, line {row + 2}: {video_id} at {time_s} s {fault} ({int(broken.sum())} such rows)'
            )
    return len(table)
