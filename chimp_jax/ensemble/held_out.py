"""Errors of each way to combine recipes: on the OOF rows, and on sites that its weights were not fitted on."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.combination import Combination, fit
from chimp_jax.ensemble.distances import mae, rmse, round_distance
from data_prep.inputs.tables import read_table

GROUPS = 5  # groups of sites; weights are fitted on all groups but one and scored on that one
BAND_EDGES_M = (0, 2, 4, 6, 9, 13)  # true distance; a band contains its lower edge, the last one has no upper edge
FITTED, HELD_OUT = 'fitted rows', 'held-out groups'


class Places(NamedTuple):
    """Groups of sites, and parks, of the rows."""

    group: np.ndarray  # int [rows]: number of the group; at most GROUPS groups, each of whole sites
    park: np.ndarray  # text [rows], '' if unknown
    note: str  # one line about how the groups were made


def read_places(folder, labels: pd.Series) -> Places:
    """Returns groups of sites with about equally many rows, and the parks, of the labelled rows.

    folder: a recipe's folder, into which training writes clips.csv (video_id, site, park). A clip of unknown site is a
    site of its own. labels: metres, indexed by (video_id, time, animal). Raises ValueError if the file lacks a column.
    """
    path = epath.Path(folder) / 'clips.csv'
    clip = labels.index.get_level_values('video_id').to_numpy(str)
    site, park = np.full((2, len(clip)), '', object)
    if path.exists():
        clips = read_table(path, required=['video_id', 'site', 'park'])
        known = clips.drop_duplicates('video_id').set_index('video_id').reindex(clip)[['site', 'park']].fillna('')
        site, park = known['site'].to_numpy(object), known['park'].to_numpy(object)
    own = site == ''
    # The prefixes keep a clip and a site of the same name apart.
    sites = np.array([f'c {c}' if o else f's {s}' for c, s, o in zip(clip, site, own, strict=True)])
    n_sites = len(set(sites))
    n_groups = min(GROUPS, n_sites)
    if n_groups < 2:
        return Places(np.zeros(len(clip), int), park, 'all rows are of one site: no site can be held out')
    return Places(deal_sites(sites, n_groups), park, _note(path, own, clip, n_sites, n_groups))


def deal_sites(site: np.ndarray, n_groups: int) -> np.ndarray:
    """Deals whole sites to groups: site [rows] text -> group [rows] int.

    The largest site comes first (by name if equal) and goes to the smallest group.
    """
    names, row_site, counts = np.unique(site, return_inverse=True, return_counts=True)
    group = np.empty(len(names), int)
    n_rows = np.zeros(n_groups, int)
    for index in np.argsort(-counts, kind='stable'):
        group[index] = np.argmin(n_rows)
        n_rows[group[index]] += counts[index]
    return group[row_site]


def _note(path: epath.Path, own: np.ndarray, clip: np.ndarray, n_sites: int, n_groups: int) -> str:
    if not path.exists():
        return f'{path} is missing: sites and parks are unknown, so the {n_groups} groups are of clips'
    if own.all():
        return f'{path} names no site, so the {n_groups} groups are of clips'
    if own.any():
        return f'{n_groups} groups of {n_sites} sites, which include {len(set(clip[own]))} clips of unknown site'
    return f'{n_groups} groups of {n_sites} sites'


def predict_held_out(method: str, oof: pd.DataFrame, labels: pd.Series, group: np.ndarray) -> np.ndarray:
    """Predicts each row by a combination fitted on the rows of the other groups: -> [rows], metres."""
    distance = np.full(len(oof), np.nan)
    for held_out in np.unique(group):
        theirs = group == held_out
        distance[theirs] = fit(method, list(oof), oof[~theirs], labels[~theirs]).apply(oof[theirs])
    return distance


def _round_held_out(distance_m: np.ndarray, rounding: str | float, labels: pd.Series, group: np.ndarray) -> np.ndarray:
    """Rounds the distances of each group. Its training distances are the labels of the other groups."""
    rounded = np.empty(len(distance_m))
    for held_out in np.unique(group):
        theirs = group == held_out
        rounded[theirs] = round_distance(distance_m[theirs], rounding, labels[~theirs].to_numpy())
    return rounded


def score_methods(
    combinations: dict[str, Combination],
    oof: pd.DataFrame,
    labels: pd.Series,
    places: Places,
    rounding: str | float = 'train',
) -> pd.DataFrame:
    """Returns the errors of each recipe alone and of each combination. The combinations were fitted on all these rows.

    The table has a row for each method or recipe, each scored_on (FITTED, HELD_OUT), each rounding ('none' and the
    given one) and each part of the rows. Its columns: method, scored_on, rounding, by ('all', 'distance', 'park'),
    part, rows (int), mae_m, rmse_m. If all rows are in one group, there are no HELD_OUT rows.
    """
    band = distance_band(labels.to_numpy(float))
    scored = []
    recipes = {recipe: Combination('mean', (recipe,), (1.0,)) for recipe in oof}
    for name, combination in (recipes | combinations).items():
        fitted = combination.apply(oof[list(combination.recipes)])
        variants = [(FITTED, 'none', fitted), (FITTED, rounding, round_distance(fitted, rounding, labels.to_numpy()))]
        if np.ptp(places.group):
            held_out = fitted if name in recipes else predict_held_out(combination.method, oof, labels, places.group)
            rounded = _round_held_out(held_out, rounding, labels, places.group)
            variants += [(HELD_OUT, 'none', held_out), (HELD_OUT, rounding, rounded)]
        for scored_on, how, distance in variants:
            for by, part, rows in _parts(band, places.park):
                target = labels.to_numpy(float)[rows]
                errors = mae(distance[rows], target), rmse(distance[rows], target)
                scored.append((name, scored_on, str(how), by, part, int(rows.sum()), *errors))
    columns = ['method', 'scored_on', 'rounding', 'by', 'part', 'rows', 'mae_m', 'rmse_m']
    return pd.DataFrame(scored, columns=columns)


def distance_band(distance_m: np.ndarray) -> np.ndarray:
    """Returns the band of each distance, '0-2', '2-4', … '13+': [n] metres -> [n] text."""
    names = [f'{low}-{high}' for low, high in zip(BAND_EDGES_M, BAND_EDGES_M[1:], strict=False)]
    names.append(f'{BAND_EDGES_M[-1]}+')
    return np.array(names, object)[np.searchsorted(BAND_EDGES_M[1:], distance_m, side='right')]


def _parts(band: np.ndarray, park: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    yield 'all', '', np.ones(len(band), bool)
    for name in sorted(set(band), key=lambda name: int(name.rstrip('+').split('-')[0])):
        yield 'distance', name, band == name
    for name in sorted(set(park) - {''}):
        yield 'park', name, park == name


def to_text(scores: pd.DataFrame, notes: Sequence[str]) -> str:
    """Formats the table of score_methods for a terminal. Errors by part use the held-out rows if there are any."""
    every = scores[scores['by'] == 'all']
    rounding = next((how for how in every['rounding'] if how != 'none'), 'none')
    table = pd.DataFrame(index=pd.Index(every['method'].unique(), name='metres'))
    for scored_on in (FITTED, HELD_OUT):
        for how, columns in (('none', ('mae_m', 'rmse_m')), (rounding, ('mae_m',))):
            chosen = every[(every['scored_on'] == scored_on) & (every['rounding'] == how)].set_index('method')
            for column in columns if len(chosen) else ():
                rounded = '' if how == 'none' else ', rounded'
                table[f'{column[:-2].upper()}{rounded}', scored_on] = chosen[column]
    table.columns = pd.MultiIndex.from_tuples([(scored_on, name) for name, scored_on in table.columns])
    paragraphs = [*notes, _aligned(table)]
    held_out = HELD_OUT if (scores['scored_on'] == HELD_OUT).any() else FITTED
    for by, heading in (('distance', 'true distance, metres'), ('park', 'park')):
        rows = scores[(scores['by'] == by) & (scores['scored_on'] == held_out) & (scores['rounding'] == 'none')]
        if len(rows):
            parts = rows['part'].unique()
            wide = rows.pivot(index='method', columns='part', values='mae_m').reindex(table.index)[parts]
            counts = rows.drop_duplicates('part').set_index('part')['rows']
            wide.columns = [f'{part} (n={counts[part]})' for part in parts]
            paragraphs.append(f'MAE by {heading} ({held_out}, not rounded)\n{_aligned(wide)}')
    return '\n\n'.join(['\n'.join(paragraphs[: len(notes)]), *paragraphs[len(notes) :]])


def _aligned(table: pd.DataFrame) -> str:
    return table.rename_axis(index=None).to_string(float_format='{:.3f}'.format)
