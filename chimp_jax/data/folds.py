"""The folds of cross-validation. A fold's number names the member that does not train on it."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from data_prep import published_folds
from data_prep.folds import few_sites_remedy, read_fold_table

KINDS = ('clip', 'site', 'published')  # 'published': the original's folds, by clip


class Fold(NamedTuple):
    """The training set and the validation set of one member. The validation clips' rows are its out-of-fold rows."""

    number: int
    training: frozenset[str]  # video_ids
    validation: frozenset[str]


def load_folds(records, kind: str, n_folds: int) -> list[Fold]:
    """Reads the folds from folds.csv beside the records. kind: 'clip', 'site' or 'published'.

    Raises ValueError if the file is missing, lacks the published folds, has another number of folds, or has empty folds
    by site, or if the published folds are not those of the original, because other clips are labelled.
    """
    path = epath.Path(records) / 'folds.csv'
    if kind not in KINDS:
        raise ValueError(f'data.folds is {", ".join(map(repr, KINDS))}, not {kind!r}')
    if not path.exists():
        raise ValueError(f'{path} is missing; make the data with: python -m data_prep.build --out {records}')
    whole = read_fold_table(path).set_index('video_id')
    if f'{kind}_fold' not in whole:
        raise ValueError(f'{path} has no column {kind}_fold; prepare the data in a new folder, or use data.folds=clip')
    table = whole[f'{kind}_fold'].astype(int)
    if kind == 'site' and table.nunique() < n_folds == whole['clip_fold'].nunique():
        raise ValueError(
            f'{path} has clips in {table.nunique()} of {n_folds} folds by site. If there are fewer sites than folds, '
            f'{few_sites_remedy(table.nunique())}; else delete the file and prepare the data again'
        )
    if table.nunique() != n_folds:
        raise ValueError(
            f'{path} has {table.nunique()} {kind} folds, the config has data.n_folds={n_folds}; '
            f'set --config.data.n_folds={table.nunique()}, or prepare the data again with --n_folds={n_folds}'
        )
    if kind == 'published' and not published_folds.are_published(table.to_dict()):
        raise ValueError(
            f"{path} does not hold the original's folds: they require labels of all {published_folds.N_CLIPS} clips of "
            "the challenge's train_labels.csv and --n_folds=5; use --config.data.folds=clip"
        )
    return [
        Fold(k, frozenset(table.index[table != k]), frozenset(table.index[table == k]))
        for k in sorted(table.unique().tolist())
    ]


def choose_folds(folds: list[Fold], numbers: Sequence[int] | None) -> list[Fold]:
    """Returns the folds with these numbers, all for None. Raises ValueError if there is no such fold."""
    chosen = [fold for fold in folds if numbers is None or fold.number in numbers]
    if numbers is not None and len(chosen) < len(set(numbers)):
        raise ValueError(f'--folds={",".join(map(str, sorted(numbers)))}: there are 0 to {len(folds) - 1}')
    return chosen


def folds_digest(folds: list[Fold]) -> str:
    """Returns the SHA-256 of the fold assignment, to recognise it later."""
    lines = sorted(f'{video_id}\t{fold.number}' for fold in folds for video_id in fold.validation)
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()
