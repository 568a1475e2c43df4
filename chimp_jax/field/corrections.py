"""A person's corrections of the estimates: corrections.csv, video_id,time,distance.

The file is a table of labels too: `python -m data_prep.build --tables corrections.csv` turns it into training data.
"""

from collections.abc import Container, Mapping

import numpy as np
import pandas as pd

from chimp_jax.field.label_tables import keyed, named, read_label_table
from chimp_jax.field.status import CORRECTED
from data_prep.archive import Archive, Names

_NO_TARGET, _COPY = 'no such target', 'copy video_id and time from distances.csv'


def read_corrections(path, names: Names | Archive) -> pd.DataFrame:
    """Returns the rows of read_label_table; the table may be empty. names: the clips that exist.

    Raises ValueError as read_label_table does.
    """
    return read_label_table(path, names, may_be_empty=True)


def apply_corrections(rows: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Returns a copy of rows (distances.csv) with the corrected distances.

    A corrected row has the status 'corrected', and its distance_lower and distance_upper are empty: a person's distance
    has no prediction interval. Raises ValueError with the corrections whose target is not in rows.
    """
    asked, existing = keyed(corrections).index, keyed(rows).index
    unknown = ~asked.isin(existing)
    if unknown.any():
        places = [f'{c.row} ({c.video_id} at {c.time} s)' for c in corrections[unknown].itertuples()]
        raise ValueError(f'{_NO_TARGET}: {named(places)}; {_COPY}')
    result = rows.copy()
    corrected = existing.isin(asked)
    if corrected.any():
        new_m = pd.Series(corrections['distance'].to_numpy(float), asked).reindex(existing[corrected])
        result.loc[corrected, 'distance'] = new_m.to_numpy()
        result.loc[corrected, ['distance_lower', 'distance_upper']] = np.nan
        result.loc[corrected, 'status'] = CORRECTED
    return result


def check_corrections(corrections: pd.DataFrame, planned: Mapping[str, Container[int]]) -> None:
    """Raises ValueError with the corrections whose target is not planned. Runs before the clips are decoded.

    planned: {video_id: the seconds that get a row}.
    """
    lost = [
        f'{correction.row} ({correction.video_id} at {correction.time} s)'
        for correction in corrections.itertuples()
        if correction.time not in planned.get(correction.video_id, ())
    ]
    if lost:
        raise ValueError(f'{_NO_TARGET}: {named(lost)}; {_COPY}')
