"""Folds by clip and by site, fixed by a seed and kept in a file.

The original groups its folds by clip only, so 98 % of its rows have their site in another fold too (Ivanov 2021,
section 2). Report the error for both kinds of folds.
"""

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import Names
from data_prep.files import write_whole
from data_prep.inputs.tables import check_unique, counts_of, read_table
from data_prep.published_folds import group_k_fold

COLUMNS = ('video_id', 'clip_fold', 'site_fold')
PUBLISHED = 'published_fold'  # the original's folds; files of version 0.1 lack this column
_DISTANCE_BINS = 5  # fifths of the labels


def make_folds(rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """Returns COLUMNS and PUBLISHED, one row per clip, sorted by video_id, from labels (video_id, distance_m, site).

    The column `burst`, if there is one, names the first photo of a burst: its photos count as one clip here.

    clip_fold: clips are dealt so that all folds hold about the same number of labels. site_fold: sites are dealt so
    that all folds hold about the same number of labels of each fifth of the distances. A clip without a site counts as
    a site of its own. No fold is empty, unless there are fewer sites than folds. published_fold: as in the original
    (published_folds.py).
    Raises ValueError if there are fewer clips than folds.
    """
    clip = _clip_keys(rows)
    n_clips = len(set(clip))
    if not n_clips:
        raise ValueError('no label can be used, so there are no folds; correct the labels')
    if n_folds < 2 or n_clips < n_folds:
        raise ValueError(f'{n_clips} clips cannot make {n_folds} folds; choose another --n_folds')
    site = _site_keys(rows)
    rank = rows['distance_m'].rank(pct=True).to_numpy()  # in (0, 1], equal distances share one
    distance_bin = np.minimum((rank * _DISTANCE_BINS).astype(int), _DISTANCE_BINS - 1)
    folds = pd.DataFrame(
        {
            'video_id': rows['video_id'].to_numpy(str),
            'clip_fold': _deal(clip, np.zeros(len(rows), int), n_folds, seed),
            'site_fold': _deal(site, distance_bin, n_folds, seed),
            'published_fold': group_k_fold(clip, n_folds),
        }
    )
    return folds.drop_duplicates('video_id').sort_values('video_id', ignore_index=True)


def read_or_make_folds(path, rows: pd.DataFrame, n_folds: int, seed: int = 0) -> pd.DataFrame:
    """Returns the folds in the file `path`. If the file is missing, makes and writes them.

    If the file spells clips otherwise than the rows, writes it again with the names of the rows.
    Raises ValueError if the file has other clips or another number of folds.
    """
    path = epath.Path(path)
    if not path.exists():
        folds = make_folds(rows, n_folds, seed)
        write_whole(path, folds.to_csv(index=False))
        return folds
    found = read_fold_table(path)
    folds = found.assign(video_id=found['video_id'].map(Names(rows['video_id']).video_id_of))
    check_unique(folds, ['video_id'], path)
    different = set(folds['video_id']) ^ set(rows['video_id'])
    if different:
        raise ValueError(
            f'{path} and the labels differ in {len(different)} clips, '
            f'{min(different)!r} among them; delete the file and run again to make new folds'
        )
    n_found = folds['clip_fold'].max() + 1
    if n_found != n_folds or folds['site_fold'].max() >= n_folds:
        raise ValueError(f'{path} has {n_found} folds, not {n_folds}; delete the file or give --n_folds={n_found}')
    if not folds.equals(found):
        write_whole(path, folds.to_csv(index=False))
    return folds


def fold_balance(rows: pd.DataFrame, folds: pd.DataFrame, n_folds: int) -> dict[str, list[dict[str, int]]]:
    """Returns {'clip': [{'sites': n, 'clips': n, 'labels': n} of each fold], 'site': the same}.

    rows: as for make_folds. A clip without a site counts as a site of its own.
    """
    merged = rows.assign(own_site=_site_keys(rows)).merge(folds, on='video_id')
    counted = {'sites': ('own_site', 'nunique'), 'clips': ('video_id', 'nunique'), 'labels': ('video_id', 'size')}
    return {
        kind: merged.groupby(f'{kind}_fold').agg(**counted).reindex(range(n_folds), fill_value=0).to_dict('records')
        for kind in ('clip', 'site')
    }


def balance_lines(balance: dict[str, list[dict[str, int]]]) -> list[str]:
    """Returns fold_balance in words, and a note if site folds are empty."""
    lines = []
    for kind, folds in balance.items():
        texts = ', '.join(f'{fold["labels"]} ({fold["sites"]})' for fold in folds)
        lines.append(f'labels (sites) in each {kind} fold: {texts}')
    filled = sum(fold['clips'] > 0 for fold in balance['site'])
    if filled < len(balance['site']):
        lines.append(
            f'note: {filled} sites cannot fill {len(balance["site"])} folds by site; {few_sites_remedy(filled)}'
        )
    return lines


def few_sites_remedy(n_sites: int) -> str:
    """Returns what to do if there are fewer sites than folds."""
    fewer = f'train with --config.data.n_folds={n_sites}, ' if n_sites > 1 else 'label clips of more sites, '
    return f'{fewer}or train with --config.data.folds=clip'


def read_fold_table(path) -> pd.DataFrame:
    """Returns COLUMNS and, if the file has it, PUBLISHED, one row per clip.

    Raises ValueError if a column is missing, a clip has two rows, or a fold is not a whole number.
    """
    table = read_table(path, COLUMNS)
    check_unique(table, ['video_id'], path)
    names = [*COLUMNS, *([PUBLISHED] if PUBLISHED in table else [])]
    folds = {name: counts_of(table, name, path) for name in names[1:]}
    return table[names].astype({'video_id': str}).assign(**folds).reset_index(drop=True)


def _site_keys(rows: pd.DataFrame) -> np.ndarray:
    """Returns the site of each row; the prefixes keep a site and a clip of the same name apart."""
    return np.array([f's {s}' if s else f'c {c}' for s, c in zip(rows['site'], _clip_keys(rows), strict=True)])


def _clip_keys(rows: pd.DataFrame) -> np.ndarray:
    return rows['burst' if 'burst' in rows else 'video_id'].to_numpy(str)


def _deal(group: np.ndarray, stratum: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each row, int [n]. Each group, largest first, goes where it evens out the strata most.

    The number of rows counts as one more stratum. Without it, groups that share no stratum would all go to one fold.
    """
    names, group_index = np.unique(group, return_inverse=True)
    counts = np.zeros((len(names), stratum.max() + 2))
    np.add.at(counts, (group_index, stratum), 1)
    counts[:, -1] = counts.sum(axis=1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    in_fold = np.zeros((n_folds, counts.shape[1]))
    empty = np.ones(n_folds, bool)
    fold_of_group = np.empty(len(names), int)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = shuffled[np.argsort(-counts[shuffled, -1], kind='stable')]
    for n_before, index in enumerate(order):
        # Adding x to a fold that holds y raises the sum of squares by 2xy + x^2: the least growth evens out most.
        growth = in_fold @ shares[index]
        if len(order) - n_before <= empty.sum():
            growth = np.where(empty, growth, np.inf)  # each remaining group is needed for an empty fold
        fold = fold_of_group[index] = np.argmin(growth)
        in_fold[fold] += shares[index]
        empty[fold] = False
    return fold_of_group[group_index]
