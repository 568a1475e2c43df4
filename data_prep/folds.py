"""Folds by clip and by site, fixed by a seed and kept in a file.

The original grouped its folds by clip only, so that 98 % of its rows had their site in another fold
too: report both (Ivanov 2021, section 2).
"""

import numpy as np
import pandas as pd
from etils import epath

from data_prep.files import write_whole

COLUMNS = ('video_id', 'clip_fold', 'site_fold')
_DISTANCE_BINS = 5  # fifths of the labels


def make_folds(rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """Rows of labels (video_id, distance_m, site) -> COLUMNS, one row a clip, sorted by video_id.

    clip_fold: clips dealt so that the folds hold equally many labels. site_fold: sites dealt so
    that the folds hold equally many labels of each fifth of the distances; a clip without a site
    counts as a site of its own. With fewer sites than folds some site folds stay empty. Raises
    ValueError where there are fewer clips than folds.
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
        }
    )
    return folds.drop_duplicates('video_id').sort_values('video_id', ignore_index=True)


def read_or_make_folds(path, rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """The folds in the file `path`, which is written where it is not there.

    Raises ValueError where the file is about other clips or another number of folds.
    """
    path = epath.Path(path)
    if not path.exists():
        folds = make_folds(rows, n_folds, seed)
        write_whole(path, folds.to_csv(index=False))
        return folds
    folds = read_fold_table(path)
    if len(folds) != folds['video_id'].nunique():
        raise ValueError(f'{path} has more than one row for a clip')
    different = set(folds['video_id']) ^ set(rows['video_id'])
    if different:
        raise ValueError(
            f'{path} and the labels differ in {len(different)} clips, '
            f'{min(different)!r} among them; remove the file to have it made anew'
        )
    n_found = folds['clip_fold'].max() + 1
    if n_found != n_folds or folds['site_fold'].max() >= n_folds:
        raise ValueError(f'{path} has {n_found} folds, not {n_folds}; remove the file or give --n_folds={n_found}')
    return folds


def read_fold_table(path) -> pd.DataFrame:
    """COLUMNS of the file. Raises ValueError where they are not there."""
    with epath.Path(path).open() as file:
        folds = pd.read_csv(file, dtype={'video_id': str}, keep_default_na=False)
    missing = [name for name in COLUMNS if name not in folds]
    if missing:
        raise ValueError(f'{path} lacks the column {", ".join(missing)}; it has {", ".join(folds.columns)}')
    return folds[list(COLUMNS)]


def _deal(group: np.ndarray, stratum: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold [n] int of each row: groups, largest first, go where they even out the strata most."""
    names, group_index = np.unique(group, return_inverse=True)
    counts = np.zeros((len(names), stratum.max() + 1))
    np.add.at(counts, (group_index, stratum), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    in_fold = np.zeros((n_folds, counts.shape[1]))
    fold_of_group = np.empty(len(names), int)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    for index in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind='stable')]:
        # Adding x to a fold that holds y raises the sum of squares by 2xy + x^2: the least growth
        # evens out most.
        fold_of_group[index] = np.argmin(in_fold @ shares[index])
        in_fold[fold_of_group[index]] += shares[index]
    return fold_of_group[group_index]
