"""The one reader of CSV tables, whoever made them: a person, a spreadsheet or this project."""

import csv
import io
import math

import numpy as np
import pandas as pd
from etils import epath

LONGEST_CLIP_S = 1_000_000  # a later time is a typing error


def read_table(path, required=(), numbers=()) -> pd.DataFrame:
    """Reads a CSV table. All cells are text, so `007`, `NA` and `1e5` stay names; the index is the line of each row.

    Commas, semicolons or tabs separate the cells. A first line `sep=;` names the separator. A comma in a cell of the
    columns `numbers` is the decimal point, unless commas separate the cells. Empty lines are skipped. Blanks around
    column names are removed.
    required: names of columns that must exist.
    Raises ValueError, in one line with file and row, if the file cannot be read, is not UTF-8, has no header, has a
    column twice, lacks a column, or has a row with another number of cells than the header.
    """
    path = epath.Path(path)
    separator, lines, rows = _cells(path, _text(path))
    if not rows:
        raise ValueError(f'{path} is empty; write a line of column names first')
    names = [name.strip() for name in rows[0]]
    while names and not names[-1] and len(names) > 1:  # a spreadsheet's empty columns
        names.pop()
    _check_names(path, names, required)
    cells = [_fitted(path, line, row, len(names)) for line, row in zip(lines[1:], rows[1:], strict=True)]
    table = pd.DataFrame(cells, index=lines[1:], columns=names, dtype=object)
    if separator != ',':
        for name in set(numbers) & set(names):
            table[name] = table[name].str.replace(',', '.')
    return table


def number(text: str, place: str, name: str, at_least: float = -math.inf, at_most: float = math.inf) -> float:
    """Returns the number in a cell. Raises ValueError with its place ('file:line') if it is none or out of bounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = 'without a thousands separator, with a decimal point' if ',' in text else 'with a decimal point'
        raise ValueError(f'{place}: {name} {text!r} is not a number; write a number {hint}')
    if not at_least <= value <= at_most:
        bounds = f'at least {at_least:g}' if at_most == math.inf else f'from {at_least:g} to {at_most:g}'
        raise ValueError(f'{place}: {name} {text} is out of bounds; it must be {bounds}')
    return value


def numbers_of(table: pd.DataFrame, name: str, path) -> pd.Series:
    """Returns a column of read_table as float64, NaN for empty cells and `nan`. Raises ValueError with file and row."""
    texts = table[name].str.strip()
    values = pd.to_numeric(texts.where(texts != '', 'nan'), errors='coerce').astype(float)
    wrong = (values.isna() & ~texts.str.lower().isin(['', 'nan'])) | np.isinf(values)
    if wrong.any():
        line = table.index[int(np.argmax(wrong))]
        raise ValueError(f'{path}:{line}: {name} {table.loc[line, name]!r} is not a number; correct it')
    return values


def seconds_of(table: pd.DataFrame, path, name: str = 'time') -> pd.Series:
    """Returns a column of whole seconds, 0 or more, as int64. Raises ValueError with file and row."""
    values = pd.to_numeric(table[name], errors='coerce').astype(float)
    wrong = ~((values.mod(1) == 0) & values.between(0, LONGEST_CLIP_S))
    if wrong.any():
        line = table.index[int(np.argmax(wrong))]
        raise ValueError(f'{path}:{line}: {name} {table.loc[line, name]!r} is not a whole second, 0 or more')
    return values.astype(np.int64)


def check_unique(table: pd.DataFrame, key: list[str], path) -> None:
    """Raises ValueError with file and row if two rows have the same key."""
    again = table.duplicated(key)
    if again.any():
        line = table.index[int(np.argmax(again))]
        values = ', '.join(repr(value) if isinstance(value, str) else str(value) for value in table.loc[line, key])
        raise ValueError(f'{path}:{line}: a second row for {values}; remove one')


def csv_text(header, rows) -> str:
    """Returns a CSV table as text: commas, line feeds, quotes only where they are needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _text(path: epath.Path) -> str:
    try:
        return path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 (byte {error.start}); save it as "CSV UTF-8"') from None
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror or error}); give the path of a CSV file') from None


def _cells(path: epath.Path, text: str) -> tuple[str, list[int], list[list[str]]]:
    """Returns the separator, the line on which each row ends, and the rows, without empty ones."""
    first = text.lstrip('\r\n').splitlines()[:1]
    named = first and first[0].strip().lower().startswith('sep=') and len(first[0].strip()) <= len('sep=') + 1
    header = text.lstrip('\r\n').splitlines()[1:2] if named else first
    separator = first[0].strip()[len('sep=') :] if named else _separator(header[0] if header else '')
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator or '\t', strict=True)
    lines, rows = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append(reader.line_num)
                rows.append(row)
    except csv.Error as error:
        raise ValueError(f'{path}:{reader.line_num}: {error}; correct the quotes there') from None
    return separator, lines[bool(named) :], rows[bool(named) :]


def _separator(header: str) -> str:
    return next((mark for mark in (';', '\t') if mark in header and ',' not in header), ',')


def _check_names(path: epath.Path, names: list[str], required) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f'{path} has the column {repeated[0]!r} twice; rename or delete one')
    missing = [name for name in required if name not in names]
    if missing:
        raise ValueError(f'{path} lacks the column {", ".join(missing)}; it has {", ".join(names)}')


def _fitted(path: epath.Path, line: int, row: list[str], n_columns: int) -> list[str]:
    while len(row) > n_columns and not row[-1].strip():
        row = row[:-1]
    if len(row) != n_columns:
        raise ValueError(
            f'{path}:{line} has {len(row)} cells, the header has {n_columns}; '
            'put quotes around a cell that contains the separator'
        )
    return row
