"""The site and the park of each clip, from the columns of a table. A clip with two sites is refused."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from data_prep.inputs.cells import site_name

_COLUMNS = {'site': ('site', 'site_id'), 'park': ('park',)}  # what -> its columns


class ClipPlaces(NamedTuple):
    """Where the clips are. A clip without a site or park is not in the tables."""

    site: dict[str, str]  # by video_id
    park: dict[str, str]
    faults: dict[str, str]  # {video_id: why the clip cannot be used}
    notes: list[str]


def read_clip_places(texts: pd.DataFrame, file: str) -> ClipPlaces:
    """Returns the places in the columns site or site_id, and park, of a table with the column video_id.

    file: its name in messages. A clip that has two sites or two parks is a fault; its empty cells do not count.
    Raises ValueError with the row if site and site_id differ.
    """
    found, faults, notes = {}, {}, []
    for what, columns in _COLUMNS.items():
        place: dict[str, tuple[str, int]] = {}  # video_id -> name, line
        for line, video_id, name in zip(texts.index, texts['video_id'], _names(texts, file, columns), strict=True):
            known, line_before = place.setdefault(video_id, (name, line)) if name else (name, line)
            if known != name:
                faults[video_id] = (
                    f'the {what} is {name!r} in line {line} of {file}, {known!r} in line {line_before}; '
                    f'write one {what} for a clip'
                )
        found[what] = {video_id: name for video_id, (name, _) in place.items()}
        notes += _alike(found[what].values(), what, file)
    return ClipPlaces(found['site'], found['park'], faults, notes)


def _names(texts: pd.DataFrame, file: str, columns: tuple[str, ...]) -> list[str]:
    """Returns the name in each row, '' if no column has one."""
    names = [''] * len(texts)
    for column in columns:
        if column not in texts:
            continue
        for i, (line, text) in enumerate(texts[column].items()):
            name = site_name(text)
            if name and names[i] and name != names[i]:
                raise ValueError(
                    f'{file}:{line}: {columns[0]} is {names[i]!r}, but {column} is {name!r}; delete one of the columns'
                )
            names[i] = names[i] or name
    return names


def _alike(names: Iterable[str], what: str, file: str) -> list[str]:
    by_lower: dict[str, set[str]] = {}
    for name in names:
        by_lower.setdefault(name.casefold(), set()).add(name)
    return [
        f'{file}: the {what}s {", ".join(map(repr, sorted(spellings)))} differ only in upper and lower case, so they '
        f'count as {len(spellings)}; write one name if they are one place'
        for spellings in by_lower.values()
        if len(spellings) > 1
    ]
