"""Measures intervals and calibration on the demo's unseen sites: python -m bench.demo_field [demo]

Requires the files of `make demo`: members with OOF predictions, their predictions of the test sites, and the hidden
distances of the test sites. Prints the coverage and mean width of the intervals by distance band. Also prints the MAE
with and without a correction that is fitted on 10 labels of each site and evaluated on the site's other rows, over 20
draws of the labels. The correction gets no foot points. Takes a minute.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from chimp_jax.ensemble.combination import combine
from chimp_jax.ensemble.distances import clamp_distance
from chimp_jax.ensemble.prediction_tables import SECOND, join_predictions, read_predictions, recipe_means
from chimp_jax.ensemble.weights import greedy_weights
from chimp_jax.field import evaluate, flags, intervals
from chimp_jax.field.calibration import calibrate
from chimp_jax.members import find_members, read_oof
from chimp_jax.stations.correction import ErrorModel, fit_error_model
from data_prep.inputs.tables import read_table

COVERAGES = (0.5, 0.8, 0.9)
LABELS, DRAWS = 10, 20


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'demo')
    site_of = read_sites(folder)
    recipes, labels = read_oof(find_members(folder / 'runs'))
    label_m, site = labels.to_numpy(), recipes.index.get_level_values('video_id').map(site_of).to_numpy(str)
    weights = greedy_weights(recipes.to_numpy(), label_m)
    oof_m = clamp_distance(combine(recipes.to_numpy(), weights))
    oof_spread_m = intervals.comparable_spread(recipes)
    rows, members = read_test(folder, recipes.columns, weights)
    rows['site'] = rows['video_id'].map(site_of)
    spread_m = intervals.comparable_spread(members)
    for coverage in COVERAGES:
        fit = intervals.fit_intervals(oof_m, label_m, oof_spread_m, site, coverage)
        rows['distance_lower'], rows['distance_upper'] = fit.apply(rows['distance'], spread_m)
        table = evaluate.evaluate(rows)
        print(f'\nnominal coverage {coverage}, {fit.n_sites} sites: {fit}')
        print(table[table['scope'] != 'site'].round(3).to_string(index=False))
    limits = flags.training_limits(label_m, oof_spread_m)
    named = flags.flag_rows(limits, rows['distance'], [False] * len(rows), [np.nan] * len(rows), spread_m)
    print(f'\nflags: {pd.Series(named).value_counts().to_dict()}')
    no_feet = np.full((len(oof_m), 2), np.nan)
    model = fit_error_model(oof_m, label_m, no_feet, site, recipes.index.get_level_values('video_id'))
    print(f'{model}\ncalibration, {LABELS} labels a site, {DRAWS} draws:')
    print_calibration('test sites', rows, model)
    oof = pd.DataFrame({'distance': oof_m, 'truth': label_m, 'site': site})
    oof['distance_lower'], oof['distance_upper'] = fit.apply(oof_m, oof_spread_m)
    print_calibration('OOF', oof, model)


def read_sites(folder: Path) -> pd.Series:
    """Returns the site of each clip of the demo, by video_id."""
    return read_table(folder / 'data' / 'clips.csv', ['video_id', 'site']).set_index('video_id')['site']


def read_test(folder: Path, recipes, weights: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the test rows with their true distances, and predictions [rows, members] in the same order."""
    tables = {}
    for path in sorted((folder / 'predictions.csv.parts').glob('*/fold_*')):
        parts = [read_predictions(part, ['distance']) for part in sorted(path.glob('*.csv'))]
        tables[f'{path.parent.name}/{path.name}'] = pd.concat(parts)
    members = join_predictions(tables)
    distance_m = clamp_distance(combine(recipe_means(members)[list(recipes)].to_numpy(), weights))
    truth = read_predictions(folder / 'clips' / 'test_distances.csv', ['distance'])
    truth = truth.rename(columns={'distance': 'truth'})
    rows = members.index.to_frame(index=False).assign(distance=distance_m)
    return rows.merge(truth, on=SECOND, how='left', validate='1:1'), members


def print_calibration(what: str, rows: pd.DataFrame, model: ErrorModel) -> None:
    rng, outcomes = np.random.default_rng(0), []
    for draw in range(DRAWS):
        for site, part in rows.groupby('site'):
            shuffled = part.iloc[rng.permutation(len(part))]
            known, others = shuffled[:LABELS], shuffled[LABELS:]
            feet = np.full((len(part), 2), np.nan)
            fit = calibrate.fit_calibration(known['distance'], known['truth'], feet[: len(known)], known['site'], model)
            of_others = feet[: len(others)]
            corrected_m, lower, upper = (
                fit.apply(others[name], others['site'], of_others) for name in ('distance', *evaluate.BOUNDS)
            )
            outcomes.append(
                {
                    'draw': draw,
                    'n': len(others),
                    'without': (others['distance'] - others['truth']).abs().sum(),
                    'with': np.abs(corrected_m - others['truth']).sum(),
                    'covered': ((lower <= others['truth']) & (others['truth'] <= upper)).sum(),
                    'applied': fit.sites[site].applied,
                    'loo_without': fit.sites[site].mae_without_m,
                    'loo_with': fit.sites[site].mae_with_m,
                }
            )
    table = pd.DataFrame(outcomes)
    by_draw = table.groupby('draw')[['without', 'with', 'n', 'covered']].sum()
    mae = by_draw[['without', 'with']].div(by_draw['n'], axis=0)
    better = (mae['with'] < mae['without']).sum()
    print(
        f'{what}: MAE {mae["without"].mean():.3f} m without, {mae["with"].mean():.3f} m with; lower in {better} of '
        f'{DRAWS} draws; applied at {table["applied"].mean():.0%} of the sites; the corrected intervals cover '
        f'{by_draw["covered"].sum() / by_draw["n"].sum():.3f}'
    )
    for applied, part in table.groupby('applied'):
        sums = part[['without', 'with', 'n']].sum()
        print(
            f'  {"applied" if applied else "not applied"}: leave-one-out MAE {part["loo_without"].mean():.3f} -> '
            f'{part["loo_with"].mean():.3f} m, on the other rows {sums["without"] / sums["n"]:.3f} -> '
            f'{sums["with"] / sums["n"]:.3f} m'
        )


if __name__ == '__main__':
    main()
