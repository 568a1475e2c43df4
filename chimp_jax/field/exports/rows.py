"""The rows of distances.csv as the exports receive them, and numbers as text."""

import math

import numpy as np
import pandas as pd


def checked_rows(rows: pd.DataFrame, columns) -> pd.DataFrame:
    """Returns the rows of distances.csv with time as int and distance as float, sorted by (video_id, time).

    columns: names of further columns that must exist.
    Raises ValueError with the row if a column is missing, a time is not a whole second, or a distance is not a number,
    negative or infinite.
    """
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
    }
    for fault, broken in faults.items():
        if broken.any():
            row = rows.iloc[int(np.argmax(broken))]
            raise ValueError(
                f'distances.csv, {row["video_id"]} at {row["time"]} s: the {fault} ({row["distance"]} m); correct it'
            )
    checked = rows.assign(time=times.astype(np.int64), distance=distances)
    return checked.sort_values(['video_id', 'time'], kind='stable')


def short_number(value: float, decimals: int) -> str:
    """Returns a rounded number without trailing zeros, '' for NaN: 12.0 -> '12', 4.256 -> '4.26' (2 decimals)."""
    if math.isnan(value):
        return ''
    text = f'{value:.{decimals}f}'
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return '0' if text == '-0' else text
