"""Reads one cell of a table: a number, a time, a name. A cell that may mean two things is refused."""

import datetime
import math
import re
import unicodedata
from collections.abc import Iterable

NO_NAME = frozenset(['', '-', 'na', 'n/a', 'nan', 'null', 'none'])  # cells that tell that there is no site

_UNITS = {
    'distance': 'metres',
    'time': 'seconds',
    'active_seconds': 'seconds',
    'area_km2': 'square kilometres',
    'latitude': 'degrees',
    'longitude': 'degrees',
}
_NUMBER = r'\d+(?:[.,]\d+)?'
_RANGE = re.compile(rf'({_NUMBER})\s*(?:-|\u2013|\u2014|\.\.+|to)\s*({_NUMBER})\s*[a-z]*\.?', re.IGNORECASE)
_WITH_UNIT = re.compile(rf'[~<>≈+-]?\s*{_NUMBER}\s*[^\W\d_]+[.2²]?')
_DATE = re.compile(r'\d{1,2}[-. ][a-z]{3,4}\.?|[a-z]{3,4}\.?[-. ]\d{1,2}', re.IGNORECASE)
_CLOCK = re.compile(r'(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)(\s*am)?', re.IGNORECASE | re.ASCII)
_DECIMAL = re.compile(r'[+-]?\d*([.,])\d+(?:e[+-]?\d+)?', re.IGNORECASE | re.ASCII)
_GROUPED = re.compile(r'[1-9]\d{0,2}([.,])\d{3}', re.ASCII)
_DAY_S = 86400


def number(text: str, place: str, name: str, at_least: float = -math.inf, at_most: float = math.inf) -> float:
    """Returns the number in a cell. Raises ValueError if the cell holds no number or one out of bounds.

    place: 'file:line', which the message begins with, or '' if the caller adds it. name: of the column.
    """
    place = place and f'{place}: '
    try:
        value = math.nan if '_' in text else float(text)  # Python reads 1_000 as 1000
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{place}{name} {text!r} {_fault(text.strip(), name)}')
    if not at_least <= value <= at_most:
        bounds = f'at least {at_least:.9g}' if at_most == math.inf else f'from {at_least:.9g} to {at_most:.9g}'
        raise ValueError(f'{place}{name} {text} is out of bounds; it must be {bounds}')
    return value


def seconds(text: str, place: str, name: str, at_most: float = math.inf) -> float:
    """Returns the time in a cell, 0 or more: `12.5`, or `mm:ss` or `hh:mm:ss` with or without decimals.

    Also reads `12:00:05 AM`, as spreadsheets show 5 s. Raises ValueError as `number`, and for a fraction of a day,
    which spreadsheets make of a time.
    """
    if is_clock(text):
        return number(_clock_s(text.strip(), place and f'{place}: ', name), place, name, 0, at_most)
    value = number(text, place, name, 0, at_most)
    whole = round(value * _DAY_S)
    if 0 < value < 0.01 and whole and abs(value * _DAY_S - whole) < 0.01:
        made_of = datetime.timedelta(seconds=whole)
        raise ValueError(
            f'{place and f"{place}: "}{name} {text} is the fraction of a day that a spreadsheet makes of {made_of}; '
            'write seconds'
        )
    return value


def is_clock(text: str) -> bool:
    """Tells whether `seconds` reads a cell as hours, minutes and seconds."""
    return ':' in text


def decimal_marks(cells: Iterable[str]) -> set[str]:
    """Returns the marks, point or comma, that are certainly decimal marks in these cells."""
    found = (_DECIMAL.fullmatch(cell.strip()) for cell in cells if not _GROUPED.fullmatch(cell.strip()))
    return {decimal[1] for decimal in found if decimal}


def may_be_thousands(cell: str, marks: set[str]) -> bool:
    """Tells whether the mark in a number may separate thousands: `864,000` is 864 or 864000.

    marks: decimal_marks of the table. If they are this mark and no other one, the mark is a decimal mark here too.
    """
    grouped = _GROUPED.fullmatch(cell.strip())
    return grouped is not None and marks != {grouped[1]}


def tidy(text: str) -> str:
    """Returns the name in a cell with composed letters (NFC) and without blanks at its ends or repeated ones inside."""
    return ' '.join(unicodedata.normalize('NFC', text).split())


def site_name(text: str) -> str:
    """Returns the tidy name of a site, '' if the cell is one of NO_NAME, in upper or lower case."""
    name = tidy(text)
    return '' if name.lower() in NO_NAME else name


def _clock_s(text: str, place: str, name: str) -> str:
    """Returns the seconds of a time with colons, as text."""
    clock = _CLOCK.fullmatch(text)
    hours, minutes, rest, morning = clock.groups() if clock else (None, '0', '60', None)
    odd_hours = bool(morning) and not 1 <= int(hours or 0) <= 12
    if float(rest) >= 60 or (hours and int(minutes) >= 60) or odd_hours:
        raise ValueError(f'{place}{name} {text!r} is not a time in a clip; write seconds, mm:ss or hh:mm:ss')
    whole_hours = int(hours or 0) % 12 if morning else int(hours or 0)
    return repr(3600 * whole_hours + 60 * int(minutes) + float(rest))


def _fault(text: str, name: str) -> str:
    unit = _UNITS.get(name.rpartition(' ')[2])
    if found := _RANGE.fullmatch(text):
        low, high = (float(end.replace(',', '.')) for end in found.groups())
        return f'is a range; write one number: the measured one, or the middle of the range, {(low + high) / 2:g}'
    if _DATE.fullmatch(text):
        return 'looks like a date that a spreadsheet made of a range; write one number, such as the middle of the range'
    if unit and _WITH_UNIT.fullmatch(text):
        return f'has a unit; write only the number of {unit}'
    grouped = ',' in text or text.count('.') > 1
    hint = 'without a thousands separator, with a decimal point' if grouped else 'with a decimal point'
    return f'is not a number; write a number {hint}'
