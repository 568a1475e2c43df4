"""Folds by clip and by site, fixed by a seed and kept in a file.

The original groups its folds by clip only, so 98 % of its rows have their site in another fold too (Ivanov 2021,
section 2). Report the error for both kinds of folds.
"""

import numpy as np
import pandas as pd
from etils import epath

from data_prep.files import write_whole
from data_prep.inputs.tables import check_unique, counts_of, read_table
from data_prep.published_folds import group_k_fold

COLUMNS = ('video_id', 'clip_fold', 'site_fold')
PUBLISHED = 'published_fold'  # the original's folds; files of version 0.1 lack this column
_DISTANCE_BINS = 5  # fifths of the labels


def make_folds(rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """Returns COLUMNS and PUBLISHED, one row per clip, sorted by video_id, from labels (video_id, distance_m, site).

    clip_fold: clips are dealt so that all folds hold about the same number of labels. site_fold: sites are dealt so
    that all folds hold about the same number of labels of each fifth of the distances. A clip without a site counts as
    a site of its own. If there are fewer sites than folds, some site folds stay empty. published_fold: as in the
    original (published_folds.py).
    Raises ValueError if there are fewer clips than folds.
    """
    n_clips = rows['video_id'].nunique()
    if n_folds < 2 or n_clips < n_folds:
        raise ValueError(f'{n_clips} clips cannot make {n_folds} folds; choose another --n_folds')
    clip = rows['video_id'].to_numpy(str)
    site = np.array([f's {s}' if s else f'c {c}' for s, c in zip(rows['site'], clip, strict=True)])
    rank = rows['distance_m'].rank(pct=True).to_numpy()  # in (0, 1], equal distances share one
    distance_bin = np.minimum((rank * _DISTANCE_BINS).astype(int), _DISTANCE_BINS - 1)
    folds = pd.DataFrame(
        {
            'video_id': clip,
            'clip_fold': _deal(clip, np.zeros(len(rows), int), n_folds, seed),
            'site_fold': _deal(site, distance_bin, n_folds, seed),
            'published_fold': group_k_fold(clip, n_folds),
        }
    )
    return folds.drop_duplicates('video_id').sort_values('video_id', ignore_index=True)


def read_or_make_folds(path, rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """Returns the folds in the file `path`. If the file is missing, makes and writes them.

    Raises ValueError if the file has other clips or another number of folds.
    """
    path = epath.Path(path)
    if not path.exists():
        folds = make_folds(rows, n_folds, seed)
        write_whole(path, folds.to_csv(index=False))
        return folds
    folds = read_fold_table(path)
    different = set(folds['video_id']) ^ set(rows['video_id'])
    if different:
        raise ValueError(
            f'{path} and the labels differ in {len(different)} clips, '
            f'{min(different)!r} among them; delete the file and run again to make new folds'
        )
    n_found = folds['clip_fold'].max() + 1
    if n_found != n_folds or folds['site_fold'].max() >= n_folds:
        raise ValueError(f'{path} has {n_found} folds, not {n_folds}; delete the file or give --n_folds={n_found}')
    return folds


def read_fold_table(path) -> pd.DataFrame:
    """Returns COLUMNS and, if the file has it, PUBLISHED, one row per clip.

    Raises ValueError if a column is missing, a clip has two rows, or a fold is not a whole number.
    """
    table = read_table(path, COLUMNS)
    check_unique(table, ['video_id'], path)
    names = [*COLUMNS, *([PUBLISHED] if PUBLISHED in table else [])]
    folds = {name: counts_of(table, name, path) for name in names[1:]}
    return table[names].astype({'video_id': str}).assign(**folds).reset_index(drop=True)


def _deal(group: np.ndarray, stratum: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each row, int [n]. Each group, largest first, goes where it evens out the strata most."""
    names, group_index = np.unique(group, return_inverse=True)
    counts = np.zeros((len(names), stratum.max() + 1))
    np.add.at(counts, (group_index, stratum), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    in_fold = np.zeros((n_folds, counts.shape[1]))
    fold_of_group = np.empty(len(names), int)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    for index in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind='stable')]:
        # Adding x to a fold that holds y raises the sum of squares by 2xy + x^2: the least growth evens out most.
        fold_of_group[index] = np.argmin(in_fold @ shares[index])
        in_fold[fold_of_group[index]] += shares[index]
    return fold_of_group[group_index]
