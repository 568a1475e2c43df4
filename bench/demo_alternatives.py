"""Measures alternatives to the methods of chimp_jax/field on the demo: python -m bench.demo_alternatives [demo]

Intervals: two-sided signed residuals instead of symmetric ones, on 8 folds of training sites and on the unseen sites.
Corrections of a site: a factor alone and a power law instead of a line. All corrections use the same leave-one-out
rule. Takes 10 seconds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bench.demo_field import DRAWS, LABELS, read_sites, read_test
from chimp_jax.ensemble.combination import combine
from chimp_jax.ensemble.distances import clamp_distance
from chimp_jax.ensemble.weights import greedy_weights
from chimp_jax.field.calibration import calibrate
from chimp_jax.field.calibration.calibrate import LEAST_GAIN, SiteEffects, site_effects
from chimp_jax.field.intervals import comparable_spread, fit_intervals, site_weights, weighted_quantile
from chimp_jax.members import find_members, read_oof

COVERAGE = 0.9
LEAST_M = 0.5  # nearer distances have logarithms that vary too much


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
    for name, fit in correctors(oof).items():
        for what, rows in (('OOF', oof), ('unseen sites', test)):
            without_m, with_m = corrected_mae(rows, fit)
            print(f'{name}, {what}: MAE {without_m:.3f} m without, {with_m:.3f} m with')


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


def correctors(oof: pd.DataFrame) -> dict:
    """Returns functions by name. Each fits (estimate [n], known [n]) and returns a function that corrects distances."""
    line = site_effects(oof['distance'], oof['truth'], oof['site'])
    # An offset of logarithms is a factor, a slope a power. The shift keeps them above 0, which the functions require.
    logs = site_effects(_log(oof['distance']), _log(oof['truth']), oof['site'])
    factor = SiteEffects(logs.centre_m, logs.noise_m, logs.offset_m, 1e-6)

    def on_line(effects, log):
        def fit(estimate_m, known_m):
            change, back = (_log, _distance) if log else (np.asarray, np.asarray)
            a, b = calibrate._posterior(change(estimate_m), change(known_m), effects)
            return lambda distance_m: back(calibrate._correct(change(distance_m), a, b, effects.centre_m))

        return fit

    return {
        'line (in use)': on_line(line, False),
        'power law': on_line(logs, True),
        'factor alone': on_line(factor, True),
    }


def _log(distance_m) -> np.ndarray:
    return np.log(np.maximum(np.asarray(distance_m, float), LEAST_M) / LEAST_M)


def _distance(log_m) -> np.ndarray:
    return LEAST_M * np.exp(log_m)


def corrected_mae(rows: pd.DataFrame, fit) -> tuple[float, float]:
    """Returns the MAE of a site's other rows without and with a correction fitted on LABELS rows, over DRAWS."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(DRAWS):
        for _, part in rows.groupby('site'):
            e, y = part[['distance', 'truth']].to_numpy()[rng.permutation(len(part))].T
            known, true = e[:LABELS], y[:LABELS]
            others = ~np.eye(LABELS, dtype=bool)
            left_out = [fit(known[o], true[o])(known[i : i + 1])[0] for i, o in enumerate(others)]
            without_m, with_m = np.abs(known - true).mean(), np.abs(left_out - true).mean()
            applied = without_m - with_m > LEAST_GAIN * without_m
            corrected = fit(known, true)(e[LABELS:]) if applied else e[LABELS:]
            errors.append(np.stack([e[LABELS:], corrected]) - y[LABELS:])
    return tuple(np.abs(np.concatenate(errors, axis=1)).mean(axis=1).tolist())


if __name__ == '__main__':
    main()
