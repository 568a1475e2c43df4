"""The rows of distances.csv as the exports receive them, and numbers as text."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY, with_animal


def checked_rows(rows: pd.DataFrame, columns) -> pd.DataFrame:
    """Returns the rows of distances.csv with time as int and distance as float, sorted by KEY.

    columns: names of further columns that must exist. The animal is '' if the column is missing, as in older files.
    Raises ValueError with the row if a column is missing, a time is not a whole second, a distance is not a number,
    negative or infinite, or an animal has two rows in a second.
    """
    rows = with_animal(rows).fillna({'animal': ''})
    missing = [name for name in ('video_id', 'time', 'distance', *columns) if name not in rows]
    if missing:
        raise ValueError(f'distances.csv lacks the column {", ".join(missing)}; give the file as estimate wrote it')
    times = pd.to_numeric(rows['time'], errors='coerce').to_numpy(float)
    distances = pd.to_numeric(rows['distance'], errors='coerce').to_numpy(float)
    empty = rows['distance'].isna() | (rows['distance'].astype(str).str.strip() == '')
    faults = {
        'time is not a whole second, 0 or more': ~((times >= 0) & (times == np.floor(times)) & np.isfinite(times)),
        'distance is not a number': np.isnan(distances) & ~empty.to_numpy(),
        'distance is negative or infinite': (distances < 0) | np.isinf(distances),
        'animal has two rows': rows.duplicated(KEY).to_numpy(),
    }
    for fault, broken in faults.items():
        if broken.any():
            row = rows.iloc[int(np.argmax(broken))]
            raise ValueError(f'{place_of(row)}: the {fault} ({row["distance"]} m); correct it')
    checked = rows.assign(time=times.astype(np.int64), distance=distances)
    return checked.sort_values(KEY, kind='stable')


def place_of(row: Mapping) -> str:
    """Returns where a row of distances.csv is, for messages."""
    named = f', animal {row["animal"]}' if row['animal'] else ''
    return f'distances.csv, {row["video_id"]} at {row["time"]} s{named}'


def short_number(value: float, decimals: int) -> str:
    """Returns a rounded number without trailing zeros, '' for NaN: 12.0 -> '12', 4.256 -> '4.26' (2 decimals)."""
    if math.isnan(value):
        return ''
    text = f'{value:.{decimals}f}'
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return '0' if text == '-0' else text
