"""Measures an alternative to the intervals of chimp_jax/field on the demo: python -m bench.demo_alternatives [demo]

Two-sided signed residuals instead of symmetric ones, on 8 folds of training sites and on the unseen sites. Takes 10
seconds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bench.demo_field import read_sites, read_test
from chimp_jax.ensemble.combination import combine
from chimp_jax.ensemble.distances import clamp_distance
from chimp_jax.ensemble.weights import greedy_weights
from chimp_jax.field.intervals import comparable_spread, fit_intervals, site_weights, weighted_quantile
from chimp_jax.members import find_members, read_oof

COVERAGE = 0.9


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'demo')
    site_of = read_sites(folder)
    recipes, labels = read_oof(find_members(folder / 'runs'))
    weights = greedy_weights(recipes.to_numpy(), labels.to_numpy())
    oof = recipes.index.to_frame(index=False).assign(truth=labels.to_numpy(), spread=comparable_spread(recipes))
    oof['distance'] = clamp_distance(combine(recipes.to_numpy(), weights))
    test, members = read_test(folder, recipes.columns, weights)
    test['spread'] = comparable_spread(members)
    for rows in (oof, test):
        rows['site'] = rows['video_id'].map(site_of)
    for two_sided in (False, True):
        name = 'two-sided' if two_sided else 'symmetric'
        sites = np.random.default_rng(0).permutation(oof['site'].unique())
        left_out = [oof['site'].isin(sites[k::8]) for k in range(8)]
        by_fold = pd.concat([covered(oof[~part], oof[part], two_sided) for part in left_out])
        unseen = covered(oof, test, two_sided)
        for what, found in (('training sites left out', by_fold), ('unseen sites', unseen)):
            print(f'{name}, {what}: coverage {found["covered"].mean():.3f}, mean width {found["width"].mean():.2f} m')


def covered(train: pd.DataFrame, rows: pd.DataFrame, two_sided: bool) -> pd.DataFrame:
    """Returns whether intervals fitted on `train` cover each row, and their widths."""
    fit = fit_intervals(train['distance'], train['truth'], train['spread'], train['site'], COVERAGE)
    below_m = above_m = fit.quantile
    if two_sided:
        scale_m = fit._scale(train['distance'].to_numpy(), train['spread'].to_numpy())
        score = (train['truth'] - train['distance']).to_numpy() / scale_m
        weight, level = site_weights(train['site'].to_numpy(str)), 1 - (1 - COVERAGE) / 2
        below_m, above_m = (max(weighted_quantile(s, weight, level), 0) for s in (-score, score))
    scale_m = fit._scale(rows['distance'].to_numpy(), rows['spread'].to_numpy())
    lower, upper = np.maximum(rows['distance'] - below_m * scale_m, 0), rows['distance'] + above_m * scale_m
    return pd.DataFrame({'covered': (lower <= rows['truth']) & (rows['truth'] <= upper), 'width': upper - lower})


if __name__ == '__main__':
    main()
