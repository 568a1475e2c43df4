"""Weights against a slow search, hand-made and published values, grids and linear programmes of another form."""

import json
import math

import numpy as np
import pytest
from scipy import optimize

from bench import ensemble as bench
from chimp_jax.ensemble import weights as ensemble_weights
from configs.recipes import PUBLISHED


def literal_greedy(oof, target):
    """Follows section 8 literally with Python floats: [rows][models] -> effective weights."""
    n_rows, n_models = len(target), len(oof[0])

    def score(prediction):
        return math.fsum(abs(a - b) for a, b in zip(prediction, target, strict=True)) / n_rows

    columns = [[row[model] for row in oof] for model in range(n_models)]
    order = sorted(range(n_models), key=lambda model: score(columns[model]))
    mixed, best = columns[order[0]], score(columns[order[0]])
    weights = {order[0]: 1.0}
    for model in order[1:]:
        chosen = 1.0
        for step in range(112):
            c = step * 0.01
            trial = score([c * a + (1 - c) * b for a, b in zip(mixed, columns[model], strict=True)])
            if trial < best:
                best, chosen = trial, c
        mixed = [chosen * a + (1 - chosen) * b for a, b in zip(mixed, columns[model], strict=True)]
        weights = {index: weight * chosen for index, weight in weights.items()}
        weights[model] = 1 - chosen
    return [weights[model] for model in range(n_models)]


@pytest.mark.parametrize('seed', range(6))
def test_greedy_equals_the_literal_search(seed):
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 25, 60)
    bias = rng.normal(0, 1, 5)
    oof = target[:, None] + bias + rng.normal(0, [1, 2, 1.5, 3, 0.8], (60, 5))
    got = ensemble_weights.greedy_weights(oof, target)
    np.testing.assert_allclose(got, literal_greedy(oof.tolist(), target.tolist()), atol=1e-12)
    assert np.count_nonzero(got) > 1


def test_greedy_on_whole_numbers_with_ties():
    # Whole metres, as in one park: many equal scores, and models 1 and 2 tie exactly (MAE 1).
    target = np.array([4.0, 8.0, 12.0, 16.0])
    oof = np.array([[8, 12, 16, 20], [5, 9, 13, 17], [3, 9, 11, 17]], float).T
    order, _ = ensemble_weights.greedy_chain(oof, target)
    assert order == [1, 2, 0]
    got = ensemble_weights.greedy_weights(oof, target)
    np.testing.assert_allclose(got, literal_greedy(oof.tolist(), target.tolist()), atol=1e-12)
    # In reverse order of the columns, the tie goes to the former model 2.
    assert ensemble_weights.greedy_chain(oof[:, ::-1], target)[0] == [0, 1, 2]
    # Many equal models, because every sort is stable for short lists.
    many = np.tile(oof[:, :2], 50)
    assert ensemble_weights.greedy_chain(many, target)[0] == [*range(1, 100, 2), *range(0, 100, 2)]


def test_greedy_two_models_by_hand():
    # Errors of the better one +1, +1; of the other -3, -3. c * 1 - (1 - c) * 3 = 0 at c = 0.75.
    target = np.array([5.0, 9.0])
    oof = np.array([[2.0, 6.0], [6.0, 10.0]])
    weights = ensemble_weights.greedy_weights(oof, target)
    np.testing.assert_allclose(weights, [0.25, 0.75])
    np.testing.assert_allclose(oof @ weights, [5.0, 9.0])


def test_greedy_keeps_one_if_nothing_is_strictly_better():
    # The best model is perfect: the next one gets c = 1, so weight 0.
    target = np.array([5.0, 9.0, 2.0])
    oof = np.stack([target + 1, target, target - 2], axis=1)
    assert ensemble_weights.greedy_chain(oof, target) == ([1, 0, 2], [1.0, 1.0])
    assert ensemble_weights.greedy_weights(oof, target).tolist() == [0.0, 1.0, 0.0]
    # Two models predict 0 everywhere: every c has the same score to the last bit, so no c is better.
    assert ensemble_weights.greedy_weights(np.zeros((3, 2)), target).tolist() == [1.0, 0.0]


def test_greedy_reaches_past_one():
    # Errors +1 and +3: |c + 3 (1 - c)| is least at c = 1.5, and the grid ends at 1.11.
    target = np.array([5.0, 9.0])
    weights = ensemble_weights.greedy_weights(np.stack([target + 1, target + 3], axis=1), target)
    np.testing.assert_allclose(weights, [1.11, -0.11])
    assert len(ensemble_weights.GREEDY_COEFFICIENTS) == 112


def test_first_of_several_minima(monkeypatch):
    # Errors (+1, -3) and (-3, +1): |4c - 3| + |1 - 4c| is 2 for all c in [1/4, 3/4]. Floats represent quarters exactly,
    # so all these c have the same score to the last bit, and the first one must win.
    monkeypatch.setattr(ensemble_weights, 'GREEDY_COEFFICIENTS', np.array([0, 0.25, 0.5, 0.75, 1]))
    oof = np.array([[9.0, 5.0], [5.0, 9.0]])
    assert ensemble_weights.greedy_weights(oof, [8.0, 8.0]).tolist() == [0.25, 0.75]


def test_one_model_has_all_the_weight():
    assert ensemble_weights.greedy_weights([[1.0], [2.0]], [1.0, 4.0]).tolist() == [1.0]


def test_published_chain_gives_the_published_weights():
    order = [10, 9, 11, 5, 8, 7, 2, 0, 6, 1, 3, 4]
    coefficients = [0.58, 0.72, 0.83, 0.81, 0.89, 0.87, 0.98, 0.88, 1.03, 1.07, 1.1]
    # In the order of the table of section 2: 1526, 2141, 1552, 1744, 1749, 1815,
    # 0019, 1639, 1642, 1645, 1648, 1847.
    published = [
        0.0213, -0.0353, 0.1359, -0.0770, -0.1000, 0.1115,
        0.1455, 0.1001, 0.1538, 0.1646, 0.2273, 0.1524,
    ]  # fmt: skip
    weights = ensemble_weights.chain_weights(order, coefficients)
    np.testing.assert_allclose(weights, published, atol=5e-5)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize('order, coefficients', [([0, 0], [0.5]), ([0, 1], []), ([0, 2], [0.5])])
def test_an_invalid_chain_is_refused(order, coefficients):
    with pytest.raises(ValueError, match='a chain of n models'):
        ensemble_weights.chain_weights(order, coefficients)


def test_greedy_refuses_nan_and_wrong_shapes():
    with pytest.raises(ValueError, match='finite'):
        ensemble_weights.greedy_weights([[1.0, np.nan]], [1.0])
    with pytest.raises(ValueError, match='equal, non-empty'):
        ensemble_weights.greedy_weights([[1.0, 2.0]], [1.0, 2.0])


def test_published_weights_by_model_id():
    # Printed in sections 2 and 8 under the time in each run's name: 1648 is full-a4p50-f7s1, 1749 down-a1p80-f7s1 …
    printed = {
        'full-a4p50-f7s1': 0.2273,
        'full-a2p50-f7s1': 0.1646,
        'full-a1p50-f9s1': 0.1538,
        'full-a4p50-f7s2': 0.1524,
        'down-a4p50-f7s2': 0.1455,
        'down-a2p50-f7s1': 0.1359,
        'down-a4p50-f7s1': 0.1115,
        'full-a1p50-f7s1': 0.1001,
        'down-a1p50-f7s1': 0.0213,
        'down-a1p50-f9s1': -0.0353,
        'down-a2p80-f7s1': -0.0770,
        'down-a1p80-f7s1': -0.1000,
    }
    recipes = [*sorted(printed), 'full-a2p80-f9s1']
    weights = ensemble_weights.published_weights(recipes)
    np.testing.assert_allclose(weights[:-1], [printed[recipe] for recipe in recipes[:-1]], atol=5e-5)
    assert weights[-1] == 0 and weights.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match='need the recipe down-a1p50-f9s1, full-a4p50-f7s2; train it'):
        ensemble_weights.published_weights(set(PUBLISHED) - {'down-a1p50-f9s1', 'full-a4p50-f7s2'})


def noisy(seed, n_rows, n_models):
    rng = np.random.default_rng(seed)
    target = rng.choice([1.0, 2.5, 5.0, 8.0, 20.0], n_rows)
    return target[:, None] * rng.uniform(0.8, 1.1, n_models) + rng.normal(0, 2, (n_rows, n_models)), target


def total_error(oof, weights, target):
    return np.abs(oof @ weights - target).sum()


def test_simplex_by_hand():
    # Errors -1, -1, -1 and +3, +3, +1: with weight w of the first |3 - 4w| * 2 + |1 - 2w| is least at w = 3/4, where
    # it is 1/2; at the other kink, 1/2, it is 2.
    target = np.array([5.0, 9.0, 2.0])
    oof = np.stack([target - 1, target + [3, 3, 1]], axis=1)
    np.testing.assert_allclose(ensemble_weights.simplex_weights(oof, target), [0.75, 0.25], atol=1e-9)
    # If all models err to the same side, the nearest has all the weight.
    oof = np.stack([target + 2, target + 1, target + 4], axis=1)
    np.testing.assert_allclose(ensemble_weights.simplex_weights(oof, target), [0, 1, 0], atol=1e-9)
    assert ensemble_weights.simplex_weights(oof[:, :1], target).tolist() == [1.0]


@pytest.mark.parametrize('seed', range(3))
def test_no_grid_point_beats_simplex_and_the_nearest_is_close(seed):
    oof, target = noisy(seed, 80, 3)
    weights = ensemble_weights.simplex_weights(oof, target)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1, abs=1e-12)
    steps = np.linspace(0, 1, 101)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9])
    errors = np.abs(grid @ oof.T - target).sum(axis=1)
    best = total_error(oof, weights, target)
    assert best <= errors.min() + 1e-9
    # Half a step of each weight changes the sum of errors by at most this.
    assert errors.min() <= best + 0.01 * np.abs(oof - oof.mean(axis=1, keepdims=True)).sum()


@pytest.mark.parametrize('seed', range(3))
def test_simplex_equals_the_primal_programme(seed):
    # The textbook form: minimise sum(u + v) subject to oof w + u - v = target, all >= 0, and w adds up to 1.
    n_rows, n_models = 40, 6
    oof, target = noisy(seed, n_rows, n_models)
    equalities = np.vstack([np.hstack([oof, np.eye(n_rows), -np.eye(n_rows)]), [1] * n_models + [0] * 2 * n_rows])
    primal = optimize.linprog([0] * n_models + [1] * 2 * n_rows, A_eq=equalities, b_eq=[*target, 1], method='highs')
    weights = ensemble_weights.simplex_weights(oof, target)
    assert total_error(oof, weights, target) == pytest.approx(primal.fun, rel=1e-9)
    np.testing.assert_allclose(weights, primal.x[:n_models], atol=1e-7)
    assert np.count_nonzero(weights > 1e-9) > 1


def test_simplex_with_equal_models_and_many_rows_of_one_value():
    # Whole metres and two models that appear twice: several weights are best, with the same error.
    oof, target = np.round(noisy(0, 60, 3)[0]), noisy(0, 60, 3)[1]
    once = total_error(oof, ensemble_weights.simplex_weights(oof, target), target)
    twice = np.hstack([oof, oof[:, :2]])
    weights = ensemble_weights.simplex_weights(twice, target)
    assert total_error(twice, weights, target) == pytest.approx(once, rel=1e-9)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()


def test_simplex_refuses_what_it_cannot_fit():
    with pytest.raises(ValueError, match='finite'):
        ensemble_weights.simplex_weights([[1.0, np.inf]], [1.0])
    with pytest.raises(ValueError, match=r'as many targets, at least one; got \(2,\)'):
        ensemble_weights.simplex_weights([[1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match='n_rows, n_models'):
        ensemble_weights.simplex_weights([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match='at least one'):
        ensemble_weights.simplex_weights(np.zeros((0, 2)), [])


def test_the_bench_prints_what_it_measured(capsys):
    bench.main(['--rows', '200', '--models', '3'])
    rows = json.loads(capsys.readouterr().out)
    assert [(row['method'], row['rows'], row['models']) for row in rows] == [('greedy', 200, 3), ('simplex', 200, 3)]
    oof, target = bench.make_predictions(200, 3)
    single = np.abs(oof - target[:, None]).mean(axis=0).min()
    assert all(0 < row['mae_m'] < single and row['seconds'] >= 0 for row in rows)
