"""Weights of recipes: the published greedy search, the published weights, and the best convex weights.

Source: Ivanov 2021, section 8. All distances are in metres.
"""

from collections.abc import Sequence

import numpy as np
import scipy

from chimp_jax.configs.recipes import PUBLISHED, PUBLISHED_CHAIN
from chimp_jax.ensemble.distances import mae

GREEDY_COEFFICIENTS = np.arange(0, 1.11, 0.01)  # 112 floats: rounding includes 1.11, as published

_GAP = 1e-6  # largest gap between the two sides of the linear programme, as a part of the total error


def _checked(oof_m: np.ndarray, target_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns columns [n_models, n_rows] and targets [n_rows] as floats. Raises ValueError if one is not finite."""
    columns, target_m = np.ascontiguousarray(np.asarray(oof_m, float).T), np.asarray(target_m, float)
    if columns.ndim != 2 or not len(columns):
        raise ValueError(f'OOF predictions must be [n_rows, n_models], got {np.shape(oof_m)}')
    if not (np.isfinite(columns).all() and np.isfinite(target_m).all()):
        raise ValueError('OOF predictions and targets must be finite; drop rows without a distance')
    return columns, target_m


def greedy_chain(oof_m: np.ndarray, target_m: np.ndarray) -> tuple[list[int], list[float]]:
    """Runs the published greedy pairwise search: sorts models by OOF MAE and mixes in one after the other.

    oof_m: [n_rows, n_models]; target_m: [n_rows]. Returns the order (n_models indices) and the coefficients
    (n_models - 1). Each step computes prediction = c * prediction + (1 - c) * next model. Its c is the first minimum
    over GREEDY_COEFFICIENTS if that is strictly better than all steps before, else 1. Models of equal MAE keep the
    order of their columns.
    """
    columns, target_m = _checked(oof_m, target_m)
    scores = [mae(column, target_m) for column in columns]
    order = [int(index) for index in np.argsort(scores, kind='stable')]
    mixed, best = columns[order[0]], scores[order[0]]
    coefficients = []
    for model in order[1:]:
        trials = [mae(c * mixed + (1 - c) * columns[model], target_m) for c in GREEDY_COEFFICIENTS]
        first_minimum = int(np.argmin(trials))
        coefficient = 1.0
        if trials[first_minimum] < best:
            best, coefficient = trials[first_minimum], float(GREEDY_COEFFICIENTS[first_minimum])
        mixed = coefficient * mixed + (1 - coefficient) * columns[model]
        coefficients.append(coefficient)
    return order, coefficients


def chain_weights(order: Sequence[int], coefficients: Sequence[float]) -> np.ndarray:
    """Returns the effective weight of each model in a chain: [n_models], sum 1, some may be negative."""
    if sorted(order) != list(range(len(order))) or len(coefficients) != len(order) - 1:
        raise ValueError(
            f'a chain of n models needs each of 0..n-1 once and n - 1 coefficients; got order '
            f'{list(order)} and {len(coefficients)} coefficients'
        )
    weights = np.zeros(len(order))
    weights[order[0]] = 1.0
    for model, coefficient in zip(order[1:], coefficients, strict=True):
        weights *= coefficient
        weights[model] = 1 - coefficient
    return weights


def greedy_weights(oof_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """Returns the weights [n_models] of the greedy pairwise search on OOF predictions [n_rows, n_models]."""
    return chain_weights(*greedy_chain(oof_m, target_m))


def published_weights(recipes: Sequence[str]) -> np.ndarray:
    """Returns the weights of the published ensemble by model ID: [n_recipes], 0 for recipes that it does not contain.

    Raises ValueError with the missing recipes: the ensemble needs all twelve.
    """
    published = [recipe for recipe, _ in PUBLISHED_CHAIN]
    missing = [recipe for recipe in PUBLISHED if recipe not in recipes]
    if missing:
        raise ValueError(
            f'the published weights need the recipe {", ".join(missing)}; train it, or choose other weights: '
            'greedy, simplex, mean or median'
        )
    coefficients = [coefficient for _, coefficient in PUBLISHED_CHAIN[1:]]
    named = dict(zip(published, chain_weights(range(len(published)), coefficients), strict=True))
    return np.array([named.get(recipe, 0.0) for recipe in recipes])


def simplex_weights(oof_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """Returns the weights w >= 0 of sum 1 that minimise the MAE of oof_m @ w.

    Shapes: [n_rows, n_models], [n_rows] -> [n_models]. The solution is exact, by linear programming (HiGHS). The
    program is the dual, which has one constraint for each model and no slack variables:
        maximise s - target . d   subject to   s <= (oof.T d)[model] for each model, and -1 <= d[row] <= 1
    Its constraints' multipliers are w. If several w are best, the function returns one of them.
    """
    columns, target_m = _checked(oof_m, target_m)
    n_models, n_rows = columns.shape
    if target_m.shape != (n_rows,) or not n_rows:
        raise ValueError(f'{n_rows} rows of OOF predictions need as many targets, at least one; got {target_m.shape}')
    solution = scipy.optimize.linprog(
        np.append(target_m, -1.0),
        A_ub=np.hstack([-columns, np.ones((n_models, 1))]),
        b_ub=np.zeros(n_models),
        bounds=[(-1, 1)] * n_rows + [(None, None)],
        method='highs',
    )
    if solution.status != 0:
        raise ValueError(f'the simplex weights were not found: {solution.message}; choose greedy, mean or median')
    weights = np.maximum(-solution.ineqlin.marginals, 0)
    weights /= weights.sum()
    # The primal and the dual bound each other: if both totals are equal, no weights are better.
    total = np.abs(weights @ columns - target_m).sum()
    if abs(total + solution.fun) > _GAP * max(total, 1):
        raise ValueError(
            f'the simplex weights were not found: their total error is {total} m, and {-solution.fun} m is possible; '
            'choose greedy, mean or median'
        )
    return weights
