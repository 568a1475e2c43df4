"""The column `animal` of a table: whether an animal is there, or its name.

A row without an animal was looked at, and is no target.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from data_prep.inputs.cells import NO_NAME, tidy

Fault = tuple[str, int, str]  # video_id, line, reason: a row that cannot be used

_WORDS = dict.fromkeys(('yes', 'y', '1', 'true'), True) | dict.fromkeys(('no', 'n', '0', 'false'), False)
_PRESENCE = frozenset(('yes', 'true'))  # no names of animals
_ABSENT = frozenset(('no', 'n', 'false'))  # among names
_AMBIGUOUS = 'none'
_MOST_NAMED = 3  # in a note


class NamedRows(NamedTuple):
    """What the column `animal` tells of each row."""

    names: pd.Series  # by line: the name, '' if unknown, None if there is no animal; without the rows in faults
    faults: list[Fault]
    notes: list[str]  # how the column was read


class WatchedRows(NamedTuple):
    """The rows of a table by what a person saw."""

    seen: pd.DataFrame  # the rows with an animal, its name in the column `animal`, '' if unknown
    empty: tuple[tuple[str, int], ...]  # (video_id, second) without an animal, each once
    faults: list[Fault]


def read_names(texts: pd.DataFrame, file: str, only_names: bool = False) -> NamedRows:
    """Returns the animal of each row of a table (video_id and maybe animal, as text; the index is the line).

    The column means yes or no if all its cells are yes or no, y or n, 1 or 0, true or false (or empty, which is a
    fault), or if one of them is yes or true. Otherwise its cells are names: 0 and 1 too, beside others such as 2. Then
    no, n and false still mean that there is no animal, and an empty cell or NA an animal without a name. A column of
    empty cells counts as none. file: its name in notes. only_names: the cells are names in any case.
    """
    unnamed = pd.Series('', index=texts.index, dtype=object)
    words = texts['animal'].str.strip().str.lower() if 'animal' in texts else unnamed
    if words.eq('').all():
        return NamedRows(unnamed, [], [f'{file}: the column animal is empty'] if 'animal' in texts else [])
    of_presence = words.isin([*_WORDS, '']).all() or words.isin(_PRESENCE).any()
    of_presence = of_presence and not only_names
    cells = zip(texts.index, texts['video_id'], texts['animal'], words, strict=True)
    names, faults = {}, []
    for line, video_id, cell, word in cells:
        if of_presence and word not in _WORDS:
            faults.append((video_id, line, f'animal {cell!r} is neither yes nor no; write one of them'))
        elif of_presence:
            names[line] = '' if _WORDS[word] else None
        elif word == _AMBIGUOUS:
            reason = f'animal {cell!r} may mean no animal or no name; write no, or leave the cell empty'
            faults.append((video_id, line, reason))
        else:
            names[line] = None if word in _ABSENT else '' if word in NO_NAME else tidy(cell)
    return NamedRows(
        pd.Series(names, dtype=object), faults, [] if of_presence else [_note(file, Counter(names.values()))]
    )


def split_by_animal(texts: pd.DataFrame, names: pd.Series, second_of: Callable[[str], float]) -> WatchedRows:
    """Returns the rows of a table (video_id, time, animal as text; the index is the line) by their column `animal`.

    names: of read_names. second_of: returns the seconds of a time; raises ValueError if the time is not valid.
    """
    with_animal = names[names.notna()]
    seen = texts.loc[with_animal.index].assign(animal=with_animal)
    faults: list[Fault] = []
    lines_seen = {_key(row, second_of): row.Index for row in seen.itertuples()}
    empty: dict[tuple[str, int], None] = {}
    for row in texts.loc[names.index[names.isna()]].itertuples():
        try:
            key = row.video_id, math.floor(second_of(row.time))
        except ValueError as fault:
            faults.append((row.video_id, row.Index, str(fault)))
            continue
        if key in lines_seen:
            line = lines_seen[key]
            numbers = '; if 0 and 1 are names of animals, write other names' if row.animal.strip() == '0' else ''
            faults.append(
                (*key[:1], row.Index, f'second {key[1]} has an animal in line {line}; remove one row{numbers}')
            )
        else:
            empty[key] = None
    return WatchedRows(seen, tuple(empty), faults)


def _note(file: str, rows_of: Counter) -> str:
    named = sorted(name for name in rows_of if name)
    others = ', ...' if len(named) > _MOST_NAMED else ''
    absent = f'; {rows_of[None]} rows tell that there is no animal' if rows_of[None] else ''
    return (
        f'{file}: the column animal is read as names of animals, {len(named)} different ones: '
        f'{", ".join(named[:_MOST_NAMED])}{others}{absent}'
    )


def _key(row, second_of: Callable[[str], float]) -> tuple[str, int | None]:
    try:
        return row.video_id, math.floor(second_of(row.time))
    except ValueError:
        return row.video_id, None  # the reader of targets refuses the row
