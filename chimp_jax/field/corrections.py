"""A person's own distances in the place of estimates: corrections.csv, video_id,time,distance.

The file has the columns of a label table: `python -m data_prep.build --tables corrections.csv` makes training data
of it.
"""

import numpy as np
import pandas as pd

from chimp_jax.field.label_tables import keyed, named, read_label_table

CORRECTED = 'corrected'


def read_corrections(path) -> pd.DataFrame:
    """Rows of read_label_table; a table with no row yet is none. Raises ValueError as read_label_table does."""
    return read_label_table(path, may_be_empty=True)


def apply_corrections(rows: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """A copy of rows (distances.csv) where the corrected distances stand.

    Their distance_lower and distance_upper are empty, since a person's value has no prediction interval, and their
    status is 'corrected'. Raises ValueError that names corrections of targets which are not in rows.
    """
    asked, there = keyed(corrections).index, keyed(rows).index
    unknown = ~asked.isin(there)
    if unknown.any():
        places = [f'{c.row} ({c.video_id} at {c.time} s)' for c in corrections[unknown].itertuples()]
        raise ValueError(f'no such target: {named(places)}; video_id and time must be those of distances.csv')
    result = rows.copy()
    corrected = there.isin(asked)
    if corrected.any():
        new_m = pd.Series(corrections['distance'].to_numpy(float), asked).reindex(there[corrected])
        result.loc[corrected, 'distance'] = new_m.to_numpy()
        result.loc[corrected, ['distance_lower', 'distance_upper']] = np.nan
        result.loc[corrected, 'status'] = CORRECTED
    return result
