"""The table of distances that users get: its rows, their order, its file, and the rules of a submission."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY, SECOND, read_predictions, with_animal
from data_prep.archive import Names
from data_prep.files import write_whole
from data_prep.inputs.tables import check_unique, read_table, seconds_of
from data_prep.records import LOST

OK = 'ok'  # the status of a row with a distance; any other status is the reason why the distance is missing


def result_rows(distance: pd.Series, members: pd.DataFrame, recipes: pd.DataFrame) -> pd.DataFrame:
    """Returns one table of the distances of the ensemble [rows], the members [rows, members] and the recipes.

    Columns: KEY, distance, one for each recipe, all distances in metres; spread, the standard deviation
    over the members, NaN if there is one member; members, their number; status.
    """
    n_members = members.notna().sum(axis=1)
    status = np.where(distance.notna(), OK, 'not every recipe has a member that did not train on this clip')
    about = {'spread': members.std(axis=1, ddof=0).where(n_members > 1), 'members': n_members, 'status': status}
    return distance.rename('distance').to_frame().join(recipes).assign(**about).reset_index()


def read_lost(records, split: str) -> pd.DataFrame:
    """Returns KEY and reason of the targets of a split that no record contains.

    Returns no rows if the folder has no lost.csv, as records from elsewhere. Raises ValueError with file and row if the
    table cannot be read.
    """
    path = epath.Path(records) / LOST
    if not path.exists():
        return pd.DataFrame({'video_id': [], 'time': np.zeros(0, int), 'animal': [], 'reason': []})
    table = with_animal(read_table(path, required=['split', *SECOND, 'reason']))
    table = table.astype(str).assign(time=seconds_of(table, path))
    return table.loc[table['split'] == split, [*KEY, 'reason']].reset_index(drop=True)


def with_lost(rows: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """Adds the targets (KEY, reason) that could not be predicted, without a distance. Sorted by KEY."""
    new = lost.rename(columns={'reason': 'status'}).assign(members=0)
    new = new[~pd.MultiIndex.from_frame(new[KEY]).isin(pd.MultiIndex.from_frame(rows[KEY]))]
    table = pd.concat([rows, new.drop_duplicates(KEY)]) if len(new) else rows
    return table[rows.columns].sort_values(KEY, ignore_index=True)


def in_order(rows: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of `order` (KEY), in its order and with its names of the clips.

    A row without a prediction has no distance.
    """
    meant = order['video_id'].map(Names(rows['video_id']).video_id_of)
    found = rows.set_index(KEY).reindex(pd.MultiIndex.from_frame(order[KEY].assign(video_id=meant)))
    found.index = pd.MultiIndex.from_frame(order[KEY])
    found['status'] = found['status'].fillna('not among the targets of the records')
    return found.fillna({'members': 0}).astype({'members': int}).reset_index()


def write_table(path, rows: pd.DataFrame) -> None:
    """Writes a CSV file, or a parquet file if the name ends in .parquet. The file appears whole or not at all."""
    path = epath.Path(path)
    if path.suffix == '.parquet':
        content = io.BytesIO()
        rows.to_parquet(content, index=False)
        write_whole(path, content.getvalue())
    else:
        write_whole(path, rows.to_csv(index=False))


def read_order(path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a submission_format.csv: KEY and the named columns; the index is the line of each row.

    Raises ValueError with file and line if the table cannot be read or has a key twice.
    """
    table = read_predictions(path, columns)
    check_unique(table, KEY, path)
    return table


def check_submission(path, order_path) -> int:
    """Returns the number of rows of a valid submission.

    A valid submission has the columns video_id,time,distance, the rows of the format in the order of the format, and
    finite distances of 0 or more. Raises ValueError, with file, line and fault, for the first rule that is broken.
    """
    order, table = read_order(order_path), read_order(path, ['distance'])
    header = epath.Path(path).read_text().partition('\n')[0].strip()
    if header != ','.join([*SECOND, 'distance']):
        raise ValueError(f'{path} has the columns {header}; a submission has video_id,time,distance')
    if len(table) != len(order):
        raise ValueError(f'{path} has {len(table)} rows, {order_path} has {len(order)}')
    rules = (
        ((table[KEY].to_numpy() != order[KEY].to_numpy()).any(axis=1), f'is not the row at this place in {order_path}'),
        (~np.isfinite(table['distance'].to_numpy()), 'has no finite distance'),
        (table['distance'].to_numpy() < 0, 'has a distance below 0'),
    )
    for broken, fault in rules:
        if broken.any():
            line = table.index[np.argmax(broken)]
            video_id, time_s = table.loc[line, SECOND]
            raise ValueError(f'{path}:{line}: {video_id} at {time_s} s {fault} ({int(broken.sum())} such rows)')
    return len(table)
