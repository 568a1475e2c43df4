"""Tables of the exports: CSV files of the user's, and the rows of distances that are handed over.

Every refusal is one line that names the file, the row and what to do.
"""

import csv
import io
import math

import numpy as np
import pandas as pd
from etils import epath


def read_table(path, columns=(), semicolons: bool = False) -> pd.DataFrame:
    """A CSV file, all cells as text; the index is the line of the file on which a row ends. Empty lines are skipped.

    columns: names that must be there. semicolons: whether they may separate, with commas as the decimal point, as
    spreadsheets of half of Europe write.
    Raises ValueError where the file is missing, empty, not UTF-8, not a table, separated otherwise, or lacks a column.
    """
    path = epath.Path(path)
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 (byte {error.start}); save it as "CSV UTF-8"') from None
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror or error}); give the path of the CSV file') from None
    header = text.partition('\n')[0]
    separator = next((mark for mark in (';', '\t') if mark in header and ',' not in header), ',')
    if separator != ',' and not (semicolons and separator == ';'):
        named = {';': 'semicolons', '\t': 'tabs'}[separator]
        raise ValueError(f'{path} is separated by {named}; save it with commas')
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, strict=True)
    lines, cells = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append(reader.line_num)
                cells.append(row)
    except csv.Error as error:
        raise ValueError(f'{path}:{reader.line_num}: {error}; mend the quotes there or write the file anew') from None
    if not cells:
        raise ValueError(f'{path} is empty; it needs a line of column names')
    names = [name.strip() for name in cells[0]]
    _check_names(path, names, columns)
    for line, row in zip(lines[1:], cells[1:], strict=True):
        if len(row) != len(names):
            raise ValueError(
                f'{path}:{line} has {len(row)} cells, the header {len(names)}; quote cells that hold a comma'
            )
    return pd.DataFrame(cells[1:], index=lines[1:], columns=names, dtype=object)


def _check_names(path, names: list[str], columns) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f'{path} has the column {repeated[0]!r} twice; rename or delete one')
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f'{path} lacks the column {", ".join(missing)}; it has {", ".join(names)}')


def number(text: str, place: str, name: str, at_least: float = -math.inf, at_most: float = math.inf) -> float:
    """The number in a cell. Raises ValueError with its place ('file:line') where it is none, or out of bounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{place}: {name} {text!r} is not a number; write one, with a point before decimals')
    if not at_least <= value <= at_most:
        bounds = f'at least {at_least:g}' if at_most == math.inf else f'from {at_least:g} to {at_most:g}'
        raise ValueError(f'{place}: {name} {text} is out of bounds; it must be {bounds}')
    return value


def checked_rows(rows: pd.DataFrame, columns) -> pd.DataFrame:
    """The rows of distances.csv with times as int and distances as float, sorted by (video_id, time).

    Raises ValueError with the row where a column is missing, a time is no whole second, or a distance is negative or
    infinite.
    """
    missing = [name for name in ('video_id', 'time', 'distance', *columns) if name not in rows]
    if missing:
        raise ValueError(f'the rows of distances lack the column {", ".join(missing)}; give distances.csv as written')
    times = pd.to_numeric(rows['time'], errors='coerce').to_numpy(float)
    distances = pd.to_numeric(rows['distance'], errors='coerce').to_numpy(float)
    empty = rows['distance'].isna() | (rows['distance'].astype(str).str.strip() == '')
    faults = {
        'time is no whole second from 0 on': ~((times >= 0) & (times == np.floor(times)) & np.isfinite(times)),
        'distance is no number': np.isnan(distances) & ~empty.to_numpy(),
        'distance is negative or infinite': (distances < 0) | np.isinf(distances),
    }
    for fault, where in faults.items():
        if where.any():
            row = rows.iloc[int(np.argmax(where))]
            raise ValueError(
                f'distances.csv, {row["video_id"]} at {row["time"]} s: the {fault} ({row["distance"]} m); mend it'
            )
    checked = rows.assign(time=times.astype(np.int64), distance=distances)
    return checked.sort_values(['video_id', 'time'], kind='stable')


def csv_text(header, rows) -> str:
    """A CSV file as text: commas, line feeds, quotes only where they are needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def short_number(value: float, decimals: int) -> str:
    """A number for a cell: rounded, without needless zeros; '' for NaN. 12.0 -> '12', 4.256 -> '4.26'."""
    if math.isnan(value):
        return ''
    text = f'{value:.{decimals}f}'
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return '0' if text == '-0' else text
