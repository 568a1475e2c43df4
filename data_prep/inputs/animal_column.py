"""The column `animal` of a table of targets: a row without an animal was looked at, and is no target."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

_WORDS = dict.fromkeys(('yes', 'y', '1', 'true'), True) | dict.fromkeys(('no', 'n', '0', 'false'), False)


class WatchedRows(NamedTuple):
    """The rows of a table by what a person saw."""

    seen: pd.DataFrame  # the rows with an animal; all rows of a table without the column
    empty: tuple[tuple[str, int], ...]  # (video_id, second) without an animal, each once
    faults: list[tuple[str, int, str]]  # (video_id, line, reason) of the rows that cannot be used


def split_by_animal(texts: pd.DataFrame, second_of: Callable[[str], float]) -> WatchedRows:
    """Returns the rows of a table (video_id, time, animal as text; the index is the line) by their column `animal`.

    animal: yes or no, y or n, 1 or 0, true or false. second_of: returns the seconds of a time; raises ValueError if the
    time is not valid.
    """
    if 'animal' not in texts:
        return WatchedRows(texts, (), [])
    words = texts['animal'].str.strip().str.lower()
    seen = texts[words.map(_WORDS).eq(True)]
    faults = [
        (row.video_id, row.Index, f'animal {row.animal!r} is neither yes nor no; write one of them')
        for row in texts[~words.isin(list(_WORDS))].itertuples()
    ]
    lines_seen = {_key(row, second_of): row.Index for row in seen.itertuples()}
    empty: dict[tuple[str, int], None] = {}
    for row in texts[words.map(_WORDS).eq(False)].itertuples():
        try:
            key = row.video_id, math.floor(second_of(row.time))
        except ValueError as fault:
            faults.append((row.video_id, row.Index, str(fault)))
            continue
        if key in lines_seen:
            line = lines_seen[key]
            faults.append((*key[:1], row.Index, f'second {key[1]} has an animal in line {line}; remove one row'))
        else:
            empty[key] = None
    return WatchedRows(seen, tuple(empty), faults)


def _key(row, second_of: Callable[[str], float]) -> tuple[str, int | None]:
    try:
        return row.video_id, math.floor(second_of(row.time))
    except ValueError:
        return row.video_id, None  # the reader of targets refuses the row
