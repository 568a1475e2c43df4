"""Replaces the names of clips, sites, parks and animals in the tables of members, the same in all tables.

Distances, seconds and boxes stay. The new names are numbered in a random order, so that their order tells nothing.
"""

import json
import random
from collections.abc import Iterable

import pandas as pd

NOT_TOLD = 'not_told'
_NAMED = {'video_id': 'clip', 'site': 'site', 'park': 'park', 'animal': 'animal'}  # column: the new names begin so


class NewNames:
    """New names for the values of the columns in _NAMED. An empty name stays empty."""

    def __init__(self, tables: Iterable[pd.DataFrame]):
        tables = list(tables)
        shuffle = random.SystemRandom().shuffle
        self._new: dict[str, dict[str, str]] = {}
        for column, kind in _NAMED.items():
            names = sorted({name for table in tables if column in table for name in table[column]} - {''})
            shuffle(names)
            width = len(str(len(names)))
            self._new[column] = {name: f'{kind}_{i:0{width}d}' for i, name in enumerate(names, 1)} | {'': ''}

    def applied_to(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns the table with the new names, sorted by them: the order of the rows told the old ones."""
        named = [column for column in _NAMED if column in table]
        renamed = table.assign(**{column: table[column].map(self._new[column]) for column in named})
        order = [column for column in ('video_id', 'time', 'animal') if column in renamed]
        keys = renamed[order].assign(time=pd.to_numeric(renamed['time'])) if 'time' in order else renamed[order]
        return renamed.loc[keys.sort_values(order, kind='stable').index]


def anonymous_config(text: str) -> str:
    """Returns the content of a config.json without paths, which may tell places and persons."""
    config = json.loads(text)
    for name in ('records', 'unlabelled', 'teacher'):
        if config['data'].get(name):
            config['data'][name] = NOT_TOLD
    return json.dumps(_without_paths(config), indent=2) + '\n'


def _without_paths(value):
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    is_path = isinstance(value, str) and ('/' in value or '\\' in value or value.endswith('.csv'))
    return NOT_TOLD if is_path else value
