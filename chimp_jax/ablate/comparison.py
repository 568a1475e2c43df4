"""The table of an ablation: the errors of each variant, and its difference from the base with an interval.

All variants are scored on the same out-of-fold rows. Distances below 0 are clamped first, as in predictions.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ablate.study import BASE, Study
from chimp_jax.ensemble.distances import clamp_distance
from chimp_jax.ensemble.held_out import distance_band
from chimp_jax.ensemble.paired import paired_difference
from chimp_jax.ensemble.prediction_tables import KEY, first_key, read_predictions
from chimp_jax.field.intervals import site_groups
from chimp_jax.field.out_of_fold import read_sites
from chimp_jax.members import find_members, read_oof
from data_prep.inputs.tables import numbers_of, read_table

ALL = 'all'  # the band of all rows
COLUMNS = ['variant', 'band', 'rows', 'sites', 'seeds', 'mae_m', 'rmse_m', 'bias_m', 'difference_m', 'lower_m']
COLUMNS += ['upper_m', 'verdict', 'epoch_s', 'member_s', 'memory_mb', 'note']
ONE_SEED = 'one seed: the interval leaves out how much seeds differ'
ONE_SITE = 'one site: the interval cannot be known'
NO_EFFECT = 'the predictions are those of the base: the change has no effect on these clips'


class Scored(NamedTuple):
    """Out-of-fold predictions of one variant: error [seeds, rows], metres, of the rows in `labels`, indexed by KEY."""

    error_m: np.ndarray
    labels: pd.Series


def read_scored(study: Study, name: str) -> Scored:
    """Reads a finished variant. Raises ValueError if its seeds differ in rows or labels."""
    tables = [_read_seed(study, name, seed) for seed in range(study.n_seeds)]
    labels = tables[0]['distance']
    for seed, table in enumerate(tables):
        _check_same(table['distance'], labels, f'seed {seed} of {name}', f'seed 0 of {name}')
    predictions = np.stack([table['prediction'].to_numpy(float) for table in tables])
    return Scored(clamp_distance(predictions) - labels.to_numpy(float), labels)


def _read_seed(study: Study, name: str, seed: int) -> pd.DataFrame:
    """Returns distance and prediction indexed by KEY, sorted."""
    if study.variant(name).tta:
        columns = ['distance', 'prediction']
        return read_predictions(study.folders(name)[seed] / 'oof.csv', columns).set_index(KEY)[columns].sort_index()
    members = [member for member in find_members(study.seed_folder(seed)) if member.recipe == name]
    predictions, labels = read_oof(members)
    return pd.DataFrame({'distance': labels, 'prediction': predictions[name]})


def _check_same(labels: pd.Series, expected: pd.Series, name: str, other: str) -> None:
    """Raises ValueError with the first key if rows or labels differ. oof.csv holds float32, so labels must be equal."""
    odd = labels.index.symmetric_difference(expected.index)
    if len(odd):
        raise ValueError(f'{name} and {other} are of other rows: {first_key(odd)}; prepare both from the same labels')
    differ = (labels != expected).to_numpy()
    if differ.any():
        raise ValueError(f'{name} and {other} have other labels: {first_key(labels.index[differ])}')


def sites_of(study: Study, labels: pd.Series) -> np.ndarray:
    """Returns the site of each row. A clip of unknown site is a site of its own."""
    video_id = labels.index.get_level_values('video_id')
    site = read_sites(study.folders(BASE)).reindex(video_id).fillna('')
    return site_groups(video_id, site)


def comparison_table(
    scored: Mapping[str, Scored], site: np.ndarray, costs: Mapping[str, tuple[float, float, float]]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the table with COLUMNS, a row for each variant and band, and {variant: why it cannot be compared}.

    scored: with BASE. site: of the base's rows. costs: seconds of an epoch, seconds of a member, MB; only in rows of
    all bands, where the verdict is, too.
    """
    base = scored[BASE]
    label_m = base.labels.to_numpy(float)
    bands = distance_band(label_m)
    order = sorted(set(bands), key=lambda name: int(name.rstrip('+').split('-')[0]))
    parts = {ALL: np.ones(len(label_m), bool)} | {band: bands == band for band in order}
    rows, refused = [], {}
    for name, found in scored.items():
        try:
            _check_same(found.labels, base.labels, name, BASE)
        except ValueError as error:
            refused[name] = str(error)
            continue
        for band, chosen in parts.items():
            row = _errors(found.error_m[:, chosen]) | {'sites': len(set(site[chosen]))}
            if name != BASE:
                row |= _difference(found.error_m[:, chosen], base.error_m[:, chosen], site[chosen])
            if band == ALL:
                row |= dict(zip(('epoch_s', 'member_s', 'memory_mb'), costs[name], strict=True))
            else:
                row.pop('verdict', None)  # so many verdicts would be wrong too often
            rows.append({'variant': name, 'band': band, **row})
    return pd.DataFrame(rows).reindex(columns=COLUMNS), refused


def _errors(error_m: np.ndarray) -> dict:
    """error_m [seeds, rows] -> their measures over all seeds and rows."""
    measures = {'mae_m': np.abs(error_m).mean(), 'rmse_m': np.sqrt(np.square(error_m).mean()), 'bias_m': error_m.mean()}
    return {'rows': error_m.shape[1], 'seeds': error_m.shape[0], **measures}


def _difference(error_m: np.ndarray, base_m: np.ndarray, site: np.ndarray) -> dict:
    found = paired_difference(np.abs(error_m) - np.abs(base_m), site)
    notes = [NO_EFFECT] * np.array_equal(error_m, base_m)
    notes += [ONE_SEED] * (len(error_m) == 1) + [ONE_SITE] * (len(set(site)) == 1)
    interval = {'difference_m': found.mean, 'lower_m': found.lower, 'upper_m': found.upper}
    return interval | {'verdict': found.verdict(), 'note': '; '.join(notes)}


def read_costs(study: Study, name: str) -> tuple[float, float, float]:
    """Returns the median seconds of an epoch, the mean seconds of a member, and the most memory, MB. NaN if unknown.

    The seconds are those of training and validation, without start and compilation of the program.
    """
    paths = [path for folder in study.folders(name) for path in folder.glob('fold_*/costs.csv')]
    tables = [read_table(path, ['epoch', 'seconds', 'memory_mb']) for path in paths]
    if not tables:
        return (np.nan, np.nan, np.nan)
    seconds = [numbers_of(table, 'seconds', path).to_numpy() for table, path in zip(tables, paths, strict=True)]
    memory = [numbers_of(table, 'memory_mb', path).max() for table, path in zip(tables, paths, strict=True)]
    epoch_s = float(np.median(np.concatenate(seconds)))
    # The first epoch of a process compiles the program: a typical epoch stands for each.
    return epoch_s, float(np.mean([epoch_s * len(one) for one in seconds])), float(max(memory))


def variant_line(row, base_mae_m: float, question: str) -> str:
    """Returns a variant's line: question, verdict, difference with its interval. row: of all bands in the table."""
    if row.variant == BASE:
        return f'{BASE}: MAE {row.mae_m:.3f} m'
    note = f' ({row.note})' if row.note else ''
    return (
        f'{row.variant}: {row.verdict}, {row.difference_m:+.3f} m ({row.lower_m:+.3f} to {row.upper_m:+.3f}) '
        f'from {base_mae_m:.3f} m{note}. {question}'
    )
