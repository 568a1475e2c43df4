"""The one reader of CSV tables, whether a person, a spreadsheet or this project wrote them."""

import collections
import csv
import io
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from etils import epath

from data_prep.inputs.cells import decimal_marks, is_clock, may_be_thousands, number, seconds
from data_prep.workers import memory

_WORKBOOKS = ('.xlsx', '.xls', '.xlsm', '.ods', '.numbers')
_BYTES_FOR_BYTE = 12  # of memory for a table: bytes, text, cells, and columns
LONGEST_CLIP_S = 1_000_000  # a later time is a typing mistake


def read_table(
    path,
    required=(),
    numbers=(),
    renamed: Mapping[str, str] | None = None,
    thousands=(),
    any_case=(),
    data: bytes | None = None,
) -> pd.DataFrame:
    """Reads a CSV table. All cells are text, so `007`, `NA` and `1e5` stay names. The index is the line of each row.

    Commas, semicolons or tabs separate the cells. A first line `sep=;` names the separator. If semicolons or tabs
    separate the cells, a comma in the columns `numbers` is the decimal point. Rows without any text are skipped.
    Blanks around column names are removed, and so are empty columns at the end.
    required: names of columns that must exist. renamed: {other name of a column: its name}; a column that has the name
    already takes precedence. thousands: the columns among `numbers` whose values may be 1000 or more. any_case: names
    of columns that may be in upper or lower case, so that a column `Site` is not overlooked. data: the content if it
    is not read from the file; `path` is then the name in messages.
    Raises ValueError, in one line with file and row, if the file cannot be read, is not UTF-8, has no header, has a
    column twice, lacks a column, has a row with another number of cells than the header, or has in `thousands` a mark
    that may be a decimal point or separate thousands.
    """
    path = epath.Path(path)
    separator, lines, rows = _cells(path, _text(path, data))
    if not rows:
        raise ValueError(f'{path} is empty; write a line of column names first')
    names = [name.strip() for name in rows[0]]
    while len(names) > 1 and not names[-1]:
        names.pop()
    for name in any_case:
        names = [name if found.casefold() == name.casefold() else found for found in names]
    for other, name in (renamed or {}).items():
        if name not in names:
            names = [name if found == other else found for found in names]
    _check_names(path, names, required)
    cells = [_fitted(path, line, row, len(names)) for line, row in zip(lines[1:], rows[1:], strict=True)]
    table = pd.DataFrame(cells, index=lines[1:], columns=names, dtype=object)
    numbers = [name for name in names if name in numbers]
    marks = decimal_marks(cell for name in numbers for cell in table[name])
    for name in numbers:
        if name in thousands:
            # In a comma-separated table, a comma in a cell is no decimal point and `number` refuses it.
            _check_marks(path, table[name], marks, '.' if separator == ',' else '.,')
        if separator != ',':
            table[name] = table[name].str.replace(',', '.')
    return table


def numbers_of(table: pd.DataFrame, name: str, path) -> pd.Series:
    """Returns a column of read_table as float64, NaN for empty cells and `nan`. Raises ValueError with file and row."""
    texts = table[name].str.strip()
    values = pd.to_numeric(texts.where(texts != '', 'nan'), errors='coerce').astype(float)
    wrong = (values.isna() & ~texts.str.lower().isin(['', 'nan'])) | np.isinf(values)
    if wrong.any():
        line = table.index[int(np.argmax(wrong))]
        number(table.loc[line, name], f'{path}:{line}', name)
        raise ValueError(f'{path}:{line}: {name} {table.loc[line, name]!r} is not a number; correct it')
    return values


def seconds_of(table: pd.DataFrame, path, name: str = 'time') -> pd.Series:
    """Returns a column of whole seconds, 0 or more, as int64. Raises ValueError with file and row.

    Reads `mm:ss` and `hh:mm:ss` too.
    """
    clock = table[name].map(is_clock).astype(bool)
    if clock.any():
        cells = [
            f'{seconds(cell, f"{path}:{line}", name):.9g}' if of_clock else cell
            for line, cell, of_clock in zip(table.index, table[name], clock, strict=True)
        ]
        table = table.assign(**{name: cells})
    return counts_of(table, name, path, f'a whole second from 0 to {LONGEST_CLIP_S}', LONGEST_CLIP_S)


def counts_of(table: pd.DataFrame, name: str, path, what='a whole number, 0 or more', at_most=2**53) -> pd.Series:
    """Returns a column of whole numbers, 0 or more, as int64. Raises ValueError with file and row."""
    values = pd.to_numeric(table[name], errors='coerce').astype(float)
    wrong = ~((values.mod(1) == 0) & values.between(0, at_most))
    if wrong.any():
        line = table.index[int(np.argmax(wrong))]
        raise ValueError(f'{path}:{line}: {name} {table.loc[line, name]!r} is not {what}; correct it')
    return values.astype(np.int64)


def check_unique(table: pd.DataFrame, key: list[str], path) -> None:
    """Raises ValueError with file and row if two rows have the same key."""
    again = table.duplicated(key)
    if again.any():
        line = table.index[int(np.argmax(again))]
        given = [value for value in table.loc[line, key] if value != '']
        values = ', '.join(repr(value) if isinstance(value, str) else str(value) for value in given)
        raise ValueError(f'{path}:{line}: a second row for {values}; remove one')


def csv_text(header, rows) -> str:
    """Returns a CSV table as text: commas, line feeds, quotes only where they are needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _check_marks(path: epath.Path, column: pd.Series, marks: set[str], possible: str) -> None:
    for line, cell in column.items():
        if may_be_thousands(cell, marks) and any(mark in cell for mark in possible):
            whole, decimals = re.split('[.,]', cell.strip())
            raise ValueError(
                f'{path}:{line}: {column.name} {cell!r} may be {whole}{decimals} or {float(f"{whole}.{decimals}"):g}; '
                'write it without a thousands separator'
            )


def _text(path: epath.Path, data: bytes | None) -> str:
    if path.suffix.lower() in _WORKBOOKS:
        raise ValueError(f'{path} is a workbook, not a table; save its sheet as "CSV UTF-8" and give that file')
    try:
        if data is None and path.stat().length > (most := memory.limit_bytes() // _BYTES_FOR_BYTE):
            raise ValueError(
                f'{path} has {path.stat().length / 1e6:.0f} MB, more than the {most / 1e6:.0f} MB that fit in memory; '
                'split it, or give more with --memory'
            )
        text = (path.read_bytes() if data is None else data).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 (byte {error.start}); save it as "CSV UTF-8"') from None
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror or error}); give the path of a CSV file') from None
    if '\0' in text:  # UTF-16 without its mark
        raise ValueError(f'{path} is not UTF-8 (byte {text.index(chr(0))}); save it as "CSV UTF-8"')
    return text


def _cells(path: epath.Path, text: str) -> tuple[str, list[int], list[list[str]]]:
    """Returns the separator, the line on which each row begins, and the rows, without empty ones."""
    above, named, header = re.match(r'((?:[\r\n]*sep=([;,|\t]?)[ ]*(?=[\r\n]))?[\r\n]*)([^\r\n]*)', text, re.I).groups()
    n_above = len(above.splitlines())
    separator = named or _separator(header)
    reader = csv.reader(io.StringIO(text[len(above) :], newline=''), delimiter=separator, strict=True)
    lines, rows, line = [], [], n_above + 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append(line)
                rows.append(row)
            line = n_above + reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f'{path}:{n_above + reader.line_num}: {error}; correct the quotes there') from None
    return separator, lines, rows


def _separator(header: str) -> str:
    """Returns the mark that separates the cells of a header line: commas take precedence."""
    return next((mark for mark in (';', '\t') if mark in header and ',' not in header), ',')


def _check_names(path: epath.Path, names: list[str], required) -> None:
    repeated = [name for name, n in collections.Counter(names).items() if n > 1]
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
