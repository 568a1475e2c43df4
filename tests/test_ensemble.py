"""Greedy weights, joins and written predictions against slow, hand-made and published values."""

import math

import numpy as np
import pandas as pd
import pytest

from chimp_jax import ensemble, ensemble_weights


def literal_greedy(oof, target):
    """Section 8 word by word in Python floats: [rows][models] -> effective weights."""
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
    got = ensemble.greedy_weights(oof, target)
    np.testing.assert_allclose(got, literal_greedy(oof.tolist(), target.tolist()), atol=1e-12)
    assert np.count_nonzero(got) > 1


def test_greedy_on_whole_numbers_with_ties():
    # Whole metres, as in one park: many equal scores, and models 1 and 2 tie exactly (MAE 1).
    target = np.array([4.0, 8.0, 12.0, 16.0])
    oof = np.array([[8, 12, 16, 20], [5, 9, 13, 17], [3, 9, 11, 17]], float).T
    order, _ = ensemble.greedy_chain(oof, target)
    assert order == [1, 2, 0]
    got = ensemble.greedy_weights(oof, target)
    np.testing.assert_allclose(got, literal_greedy(oof.tolist(), target.tolist()), atol=1e-12)
    # Columns the other way round: the tie now goes to what was model 2.
    assert ensemble.greedy_chain(oof[:, ::-1], target)[0] == [0, 1, 2]
    # Many equal models: short lists are sorted stably by any method, long ones are not.
    many = np.tile(oof[:, :2], 50)
    assert ensemble.greedy_chain(many, target)[0] == [*range(1, 100, 2), *range(0, 100, 2)]


def test_greedy_two_models_by_hand():
    # Errors of the better one +1, +1; of the other -3, -3. c * 1 - (1 - c) * 3 = 0 at c = 0.75.
    target = np.array([5.0, 9.0])
    oof = np.array([[2.0, 6.0], [6.0, 10.0]])
    weights = ensemble.greedy_weights(oof, target)
    np.testing.assert_allclose(weights, [0.25, 0.75])
    np.testing.assert_allclose(ensemble.combine(oof, weights), [5.0, 9.0])


def test_greedy_keeps_one_where_nothing_is_strictly_better():
    # The best model is perfect: the next one gets c = 1, so weight 0.
    target = np.array([5.0, 9.0, 2.0])
    oof = np.stack([target + 1, target, target - 2], axis=1)
    assert ensemble.greedy_chain(oof, target) == ([1, 0, 2], [1.0, 1.0])
    assert ensemble.greedy_weights(oof, target).tolist() == [0.0, 1.0, 0.0]
    # Two models that both say 0: every c scores the same to the last bit, so none is better.
    assert ensemble.greedy_weights(np.zeros((3, 2)), target).tolist() == [1.0, 0.0]


def test_greedy_reaches_past_one():
    # Errors +1 and +3: |c + 3 (1 - c)| is least at c = 1.5, and the grid ends at 1.11.
    target = np.array([5.0, 9.0])
    weights = ensemble.greedy_weights(np.stack([target + 1, target + 3], axis=1), target)
    np.testing.assert_allclose(weights, [1.11, -0.11])
    assert len(ensemble_weights.GREEDY_COEFFICIENTS) == 112


def test_first_of_several_minima(monkeypatch):
    # Errors (+1, -3) and (-3, +1): |4c - 3| + |1 - 4c| is 2 for all c in [1/4, 3/4]. Quarters are
    # exact in floats, so this plateau is flat to the last bit and its first c must win.
    monkeypatch.setattr(ensemble_weights, 'GREEDY_COEFFICIENTS', np.array([0, 0.25, 0.5, 0.75, 1]))
    oof = np.array([[9.0, 5.0], [5.0, 9.0]])
    assert ensemble.greedy_weights(oof, [8.0, 8.0]).tolist() == [0.25, 0.75]


def test_one_model_has_all_the_weight():
    assert ensemble.greedy_weights([[1.0], [2.0]], [1.0, 4.0]).tolist() == [1.0]


def test_published_chain_gives_the_published_weights():
    order = [10, 9, 11, 5, 8, 7, 2, 0, 6, 1, 3, 4]
    coefficients = [0.58, 0.72, 0.83, 0.81, 0.89, 0.87, 0.98, 0.88, 1.03, 1.07, 1.1]
    # In the order of the table of section 2: 1526, 2141, 1552, 1744, 1749, 1815,
    # 0019, 1639, 1642, 1645, 1648, 1847.
    published = [
        0.0213, -0.0353, 0.1359, -0.0770, -0.1000, 0.1115,
        0.1455, 0.1001, 0.1538, 0.1646, 0.2273, 0.1524,
    ]  # fmt: skip
    weights = ensemble.chain_weights(order, coefficients)
    np.testing.assert_allclose(weights, published, atol=5e-5)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize('order, coefficients', [([0, 0], [0.5]), ([0, 1], []), ([0, 2], [0.5])])
def test_chain_that_is_none_is_refused(order, coefficients):
    with pytest.raises(ValueError, match='a chain of n models'):
        ensemble.chain_weights(order, coefficients)


def test_greedy_refuses_nan_and_wrong_shapes():
    with pytest.raises(ValueError, match='finite'):
        ensemble.greedy_weights([[1.0, np.nan]], [1.0])
    with pytest.raises(ValueError, match='equal, non-empty'):
        ensemble.greedy_weights([[1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match='do not fit'):
        ensemble.combine(np.ones((3, 2)), np.ones(3))


def test_scores_by_hand():
    # Errors 0, -3, 4: MAE 7/3, RMSE sqrt(25/3).
    assert ensemble.mae([1, 2, 9], [1, 5, 5]) == pytest.approx(7 / 3)
    assert ensemble.rmse([1, 2, 9], [1, 5, 5]) == pytest.approx(math.sqrt(25 / 3))
    with pytest.raises(ValueError, match=r'\(2, 1\) predictions and \(2,\) targets'):
        ensemble.mae(np.ones((2, 1)), np.ones(2))


def test_rounding_ties_to_the_lower():
    levels = [8.0, 0.0, 0.5, 9.0, 10.0, 0.5]
    values = [-3.0, 0.25, 0.2501, 4.25, 4.26, 8.5, 8.6, 9.5, 40.0]
    expected = [0.0, 0.0, 0.5, 0.5, 8.0, 8.0, 9.0, 9.0, 10.0]
    assert ensemble.round_to_training(values, levels).tolist() == expected
    with pytest.raises(ValueError, match='finite'):
        ensemble.round_to_training([np.nan], levels)
    with pytest.raises(ValueError, match='at least one'):
        ensemble.round_to_training([1.0], [])


def test_clamp():
    assert ensemble.clamp_distance(np.array([-0.5, 0.0, 3.5])).tolist() == [0.0, 0.0, 3.5]


ROWS = [('b.mp4', 2, 1.5), ('a.avi', 10, 2.5), ('a.avi', 9, 3.5), ('b.mp4', 0, 4.5)]


def table(rows, shift=0.0):
    frame = pd.DataFrame(rows, columns=['video_id', 'time', 'distance'])
    return frame.assign(distance=frame['distance'] + shift)


def test_join_ignores_the_order_of_rows():
    joined = ensemble.join_predictions({'one': table(ROWS), 'two': table(ROWS[::-1], shift=10)})
    assert joined.index.names == ['video_id', 'time']
    assert joined.index.tolist() == [('a.avi', 9), ('a.avi', 10), ('b.mp4', 0), ('b.mp4', 2)]
    assert joined['one'].tolist() == [3.5, 2.5, 4.5, 1.5]
    assert joined['two'].tolist() == [13.5, 12.5, 14.5, 11.5]
    again = ensemble.join_predictions({'one': table(ROWS[2:] + ROWS[:2]), 'two': table(ROWS, 10)})
    pd.testing.assert_frame_equal(joined, again)


@pytest.mark.parametrize(
    'rows, message',
    [
        (ROWS + [('a.avi', 9, 3.5)], 'two: more than one row for a.avi at 9 s'),
        (ROWS[:3] + [('b.mp4', 0, np.nan)], 'two: no finite distance for b.mp4 at 0 s'),
        (ROWS[:3] + [('b.mp4', 0, np.inf)], 'two: no finite distance for b.mp4 at 0 s'),
        (ROWS[:3], 'two: no prediction for b.mp4 at 0 s'),
        (ROWS + [('c.mp4', 1, 1.0)], 'one: no prediction for c.mp4 at 1 s'),
    ],
)
def test_join_refuses_by_name_and_key(rows, message):
    with pytest.raises(ValueError, match=message):
        ensemble.join_predictions({'one': table(ROWS), 'two': table(rows)})


def test_join_refuses_a_table_without_its_columns():
    with pytest.raises(ValueError, match="one: no column 'time'"):
        ensemble.join_predictions({'one': table(ROWS).drop(columns='time')})
    with pytest.raises(ValueError, match='no predictions'):
        ensemble.join_predictions({})


def test_written_in_the_order_of_the_submission_format(tmp_path):
    asked = table([ROWS[2], ROWS[0], ROWS[1]]).assign(distance=1.0)
    path = tmp_path / 'new' / 'predictions.csv'
    ensemble.write_predictions(path, table(ROWS), asked)
    assert path.read_text() == 'video_id,time,distance\na.avi,9,3.5\nb.mp4,2,1.5\na.avi,10,2.5\n'
    assert [entry.name for entry in path.parent.iterdir()] == ['predictions.csv']


def test_refused_predictions_leave_the_old_file(tmp_path):
    path = tmp_path / 'predictions.csv'
    path.write_text('old')
    with pytest.raises(ValueError, match=r'no prediction for b.mp4 at 0 s \(1 in all\)'):
        ensemble.write_predictions(path, table(ROWS[:3]), table(ROWS))
    with pytest.raises(ValueError, match="submission_format: no column 'video_id'"):
        ensemble.write_predictions(path, table(ROWS), pd.DataFrame({'time': [1]}))
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]
