"""Folds of cross-validation, as members are trained on them."""

import hashlib
from typing import NamedTuple

import pandas as pd
from etils import epath


class Fold(NamedTuple):
    """What one member trains on and what it is judged by; the other clips' rows are its OOF rows."""

    number: int
    training: frozenset[str]  # video_ids
    validation: frozenset[str]


def load_folds(records, kind: str, n_folds: int) -> list[Fold]:
    """The folds of folds.csv beside the records; kind: 'clip' or 'site'. Raises ValueError where they do not fit."""
    path = epath.Path(records) / 'folds.csv'
    if kind not in ('clip', 'site'):
        raise ValueError(f"data.folds is 'clip' or 'site', not {kind!r}")
    if not path.exists():
        raise ValueError(f'{path} is missing; make the data with: python -m data_prep.build --out {records}')
    with path.open() as file:
        table = pd.read_csv(file).set_index('video_id')[f'{kind}_fold']
    if table.nunique() != n_folds:
        raise ValueError(f'{path} has {table.nunique()} {kind} folds, the config asks for data.n_folds={n_folds}')
    return [
        Fold(k, frozenset(table.index[table != k]), frozenset(table.index[table == k])) for k in sorted(table.unique())
    ]


def choose_folds(folds: list[Fold], numbers: list[int] | None) -> list[Fold]:
    """Those with these numbers, all for None. Raises ValueError where there is no such fold."""
    chosen = [fold for fold in folds if numbers is None or fold.number in numbers]
    if numbers is not None and len(chosen) < len(set(numbers)):
        raise ValueError(f'folds {sorted(numbers)} were asked for; there are 0 to {len(folds) - 1}')
    return chosen


def folds_digest(folds: list[Fold]) -> str:
    """Of which clip is in which fold: to know a member's folds again."""
    lines = sorted(f'{video_id}\t{fold.number}' for fold in folds for video_id in fold.validation)
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()
