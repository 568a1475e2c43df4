"""The completeness of a detector: the share of the animals in view that it finds, by distance.

The table is the user's own, with the columns distance (m), completeness (0..1) and, if known, animals (the number of
measured animals of each share), or the file detection.csv of `chimp-distance evaluate`.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_prep.inputs.tables import numbers_of, read_table

_NUMBERS = ('distance', 'completeness', 'animals', 'share', 'seconds')
_BAND = re.compile(r'([\d.e+]+) to ([\d.e+]+) m')  # of bins.bin_names


class Completeness(NamedTuple):
    """The table, [n] each, ascending in distance. Linear between the rows, and constant beyond them."""

    distance_m: np.ndarray
    share: np.ndarray
    animals: np.ndarray | None  # measured animals of each share, None if unknown

    def columns(self) -> dict[str, list[float]]:
        """Returns the columns of the table by the names that users give."""
        known = {'distance': self.distance_m, 'completeness': self.share, 'animals': self.animals}
        return {name: values.tolist() for name, values in known.items() if values is not None}

    def at(self, distance_m) -> np.ndarray:
        """Returns the share at distances in metres."""
        return np.interp(distance_m, self.distance_m, self.share)


def read_completeness(path) -> Completeness:
    """Reads the table. Raises ValueError in one line with file and row if it cannot be used."""
    table = read_table(path, numbers=_NUMBERS)
    if {'scope', 'name', 'share', 'seconds'} <= set(table.columns):
        table = _of_bands(table, path)
    else:
        table = read_table(path, ['distance', 'completeness'], _NUMBERS)
    for name in _NUMBERS[:3]:
        if name in table:
            table[name] = numbers_of(table, name, path)
    if table.empty:
        raise ValueError(f'{path} has no row; write a distance and the share of the animals there that is found')
    _refuse(path, ~(table['distance'] >= 0), 'distance is missing or below 0; give metres')
    _refuse(
        path,
        ~((table['completeness'] > 0) & (table['completeness'] <= 1)),
        'completeness is not above 0 and up to 1; give a share (0.5, not 50), and end the survey before none is found',
    )
    if 'animals' in table:
        _refuse(path, ~(table['animals'] >= 1), 'animals is not a number of 1 or more; correct it or drop the column')
    table = table.sort_values('distance')
    _refuse(path, table['distance'].duplicated(), 'distance has a second row; keep one of them')
    animals = table['animals'].to_numpy(float) if 'animals' in table else None
    return Completeness(table['distance'].to_numpy(float), table['completeness'].to_numpy(float), animals)


def _of_bands(table: pd.DataFrame, path) -> pd.DataFrame:
    """Returns the bands of detection.csv: the middle of each, its share that was found, and its number of seconds."""
    bands = table[(table['scope'] == 'band') & table['name'].str.fullmatch(_BAND)]
    ends = bands['name'].str.extract(_BAND).astype(float)
    missed = numbers_of(bands, 'share', path)
    found = {'distance': ends.mean(axis=1), 'completeness': 1 - missed, 'animals': numbers_of(bands, 'seconds', path)}
    return pd.DataFrame(found, index=bands.index).astype(str)


def _refuse(path, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        raise ValueError(f'{path}:{wrong.idxmax()}: {what}')
