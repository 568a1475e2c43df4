"""Combinations of recipes by name: fitted, applied, saved as JSON, or refused."""

import json

import numpy as np
import pandas as pd
import pytest

from chimp_jax.ensemble.combination import METHODS, NEEDS_OOF, Combination, combine, fit, load_or_fit
from chimp_jax.ensemble.prediction_tables import KEY
from configs.recipes import PUBLISHED

ROWS = pd.MultiIndex.from_tuples([('a.avi', 9, ''), ('a.avi', 10, ''), ('b.mp4', 0, ''), ('b.mp4', 2, '')], names=KEY)
LABELS = pd.Series([5.0, 9.0, 2.0, 4.0], ROWS)
# The errors of `one` are -1, those of `two` +3: weights 3/4 and 1/4 cancel them.
OOF = pd.DataFrame({'one': LABELS - 1, 'two': LABELS + 3})


def table(values, columns):
    return pd.DataFrame(values, columns=columns)


def test_each_method_by_hand():
    rows = table([[1.0, 5.0, 3.5], [2.0, 2.0, 20.0]], ['one', 'two', 'three'])
    assert fit('mean', rows.columns).apply(rows).tolist() == pytest.approx([9.5 / 3, 8.0])
    assert fit('median', rows.columns).apply(rows).tolist() == [3.5, 2.0]
    assert fit('median', ['one', 'two']).apply(rows[['two', 'one']]).tolist() == [3.0, 2.0]
    for method in NEEDS_OOF:
        combination = fit(method, ['two', 'one'], OOF, LABELS)
        assert combination.recipes == ('one', 'two')
        np.testing.assert_allclose(combination.weights, [0.75, 0.25])
        np.testing.assert_allclose(combination.apply(OOF), LABELS)
        np.testing.assert_allclose(combination.apply(table([[8.0, 4.0]], ['two', 'one'])), [5.0])


def test_published_by_hand():
    # All recipes but one predict 10 m. Printed weights: 0.2273 for full-a4p50-f7s1, -0.1000 for down-a1p80-f7s1.
    rows = pd.DataFrame(10.0, range(2), PUBLISHED)
    rows.loc[0, 'full-a4p50-f7s1'] = 20.0
    rows.loc[1, 'down-a1p80-f7s1'] = 20.0
    distance = fit('published', PUBLISHED[::-1]).apply(rows)
    np.testing.assert_allclose(distance, [12.273, 9.0], atol=5e-4)
    with pytest.raises(ValueError, match='published weights need the recipe full-a4p50-f7s2; train it'):
        fit('published', PUBLISHED[:-1])


def test_distances_are_clamped_after_the_sum():
    combination = Combination('greedy', ('a', 'b'), (1.1, -0.1))
    # 1.1 - 2 = -0.9 becomes 0; -2 * 1.1 + 3 = 0.8 would be 3 if each recipe were clamped.
    rows = table([[1.0, 20.0], [-2.0, -30.0]], ['a', 'b'])
    np.testing.assert_allclose(combination.apply(rows), [0.0, 0.8])


def test_the_order_of_rows_and_recipes_changes_nothing():
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([[f'{i}.avi' for i in range(20)], range(3), ['']], names=KEY)
    labels = pd.Series(rng.choice([1.0, 2.0, 5.0, 9.0], len(index)), index)
    # Two recipes are copies, so ties must always be broken in the same way.
    oof = pd.DataFrame({name: labels + rng.normal(0, 2, len(index)) for name in 'cab'})
    oof = oof.assign(d=oof['a'], e=oof['b'])
    shuffled = oof.sample(frac=1, random_state=1)[list('edcab')]
    for method in METHODS[:4]:
        expected = fit(method, list(oof), oof, labels)
        assert fit(method, list('bdace'), shuffled, labels.sample(frac=1, random_state=2)) == expected
        np.testing.assert_array_equal(expected.apply(shuffled), expected.apply(oof.loc[shuffled.index]))


def test_oof_and_labels_that_do_not_match_are_refused_by_name():
    for method in NEEDS_OOF:
        with pytest.raises(ValueError, match=f'^{method} weights are fitted on OOF .* missing: train all folds'):
            fit(method, ['one', 'two'])
    for oof, labels, message in (
        (OOF, LABELS.iloc[:3], r'only the labels have rows for b.mp4 at 2 s \(1 in all\)'),
        (OOF.iloc[1:], LABELS, 'only the labels have rows for a.avi at 9 s'),
        (pd.concat([OOF, OOF.iloc[:1]]), LABELS, 'OOF predictions have more than one row for a.avi at 9 s'),
        (OOF, pd.concat([LABELS, LABELS.iloc[2:]]), 'labels have more than one row for b.mp4 at 0 s'),
        (OOF.assign(two=np.nan), LABELS, 'must be finite'),
        (OOF[['one']], LABELS, "'two' of the members is not in the OOF predictions"),
        (OOF.assign(more=1.0), LABELS, "'more' of the OOF predictions is not in the members"),
    ):
        with pytest.raises(ValueError, match=message):
            fit('simplex', ['one', 'two'], oof, labels)
    with pytest.raises(ValueError, match="'best' is not one of greedy, simplex"):
        fit('best', ['one'])
    with pytest.raises(ValueError, match="'one' appears more than once"):
        fit('mean', ['one', 'one'])
    with pytest.raises(ValueError, match='no recipe'):
        fit('mean', [])


def test_predictions_that_do_not_fit_are_refused_by_name():
    combination = fit('median', ['one', 'two'])
    for rows, message in (
        (OOF[['one']], "'two' of the weights is not in the predictions"),
        (OOF.assign(three=1.0), "'three' of the predictions is not in the weights"),
        (OOF[['one', 'two', 'one']], "'one' appears more than once in the predictions"),
        (OOF.assign(two=[1.0, np.nan, 1.0, np.inf]), 'two: no finite distance for a.avi at 10'),
    ):
        with pytest.raises(ValueError, match=message):
            combination.apply(rows)
    with pytest.raises(ValueError, match='do not fit'):
        combine(np.ones((3, 2)), np.ones(3))


@pytest.mark.parametrize('method', METHODS)
def test_weights_come_back_from_json_to_the_last_bit(method, tmp_path):
    recipes = PUBLISHED if method == 'published' else ['two', 'one']
    combination = fit(method, recipes, OOF, LABELS)
    path = tmp_path / 'weights.json'
    path.write_text(combination.to_json())
    assert load_or_fit(str(path), recipes) == combination
    assert load_or_fit(method, recipes, OOF, LABELS) == combination


def test_a_weights_file_names_the_method_and_each_recipe():
    text = Combination('mean', ('a', 'b'), (0.5, 0.5)).to_json()
    assert json.loads(text) == {'method': 'mean', 'weights': {'a': 0.5, 'b': 0.5}}
    assert json.loads(fit('median', ['a']).to_json()) == {'method': 'median', 'weights': {'a': None}}


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'not a JSON file'),
        (b'\xff', 'not UTF-8'),
        (b'[' * 100_000, 'not a JSON file'),
        (b'[]', 'must hold'),
        (b'{"one": 0.5, "two": 0.5}', 'must hold'),
        (b'{"method": "mean", "weights": {"one": 1}, "more": 1}', 'must hold'),
        (b'{"method": "best", "weights": {"one": 1}}', "'best' is not one of"),
        (b'{"method": ["mean"], "weights": {"one": 1}}', 'is not one of'),
        (b'{"method": "mean", "weights": [1]}', 'a weight for each recipe'),
        (b'{"method": "mean", "weights": {}}', 'a weight for each recipe'),
        (b'{"method": "mean", "weights": {"one": NaN, "two": 1}}', 'NaN is not a number'),
        (b'{"method": "mean", "weights": {"one": -Infinity, "two": 1}}', '-Infinity is not a number'),
        (b'{"method": "mean", "weights": {"one": 1e999, "two": 1}}', "weight of 'one' is not a finite number"),
        (b'{"method": "mean", "weights": {"one": 1%s, "two": 1}}' % (b'0' * 400), "weight of 'one' is not a finite"),
        (b'{"method": "mean", "weights": {"one": 1%s, "two": 1}}' % (b'0' * 5000), 'not a JSON file'),
        (b'{"method": "mean", "weights": {"one": 0, "two": "1"}}', "weight of 'two' is not a finite number"),
        (b'{"method": "mean", "weights": {"one": 0, "two": true}}', "weight of 'two' is not a finite number"),
        (b'{"method": "mean", "weights": {"one": null, "two": 1}}', "weight of 'one' is not a finite number"),
        (b'{"method": "mean", "weights": {"one": {}, "two": 1}}', "weight of 'one' is not a finite number"),
        (
            b'{"method": "median", "weights": {"one": null, "two": 1}}',
            "'two' has a weight, but the median uses none",
        ),
        (b'{"method": "mean", "weights": {"one": 0.5, "two": 0.6}}', 'sum of the weights is 1.1; it must be 1'),
        (b'{"method": "mean", "weights": {"one": 0.5, "one": 0.5, "two": 0.5}}', "'one' appears twice"),
        (b'{"method": "mean", "weights": {"one": 1}}', "'two' of the members is not in .*weights.json"),
        (b'{"method": "mean", "weights": {"one": 1, "two": 0, "6": 0}}', "'6' of .*weights.json is not in the members"),
    ],
)
def test_a_hostile_file_of_weights_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / 'weights.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_or_fit(str(path), ['one', 'two'])
    assert 'weights.json' in str(error.value) and '\n' not in str(error.value)


def test_neither_a_method_nor_a_file(tmp_path):
    for text in ('gredy', str(tmp_path), str(tmp_path / 'gone.json'), ''):
        with pytest.raises(ValueError, match='is neither a file of weights nor one of greedy, simplex'):
            load_or_fit(text, ['one'])
