"""Errors, clamping and rounding by hand."""

import math

import numpy as np
import pytest

from chimp_jax.ensemble import distances


def test_scores_by_hand():
    # Errors 0, -3, 4: MAE 7/3, RMSE sqrt(25/3).
    assert distances.mae([1, 2, 9], [1, 5, 5]) == pytest.approx(7 / 3)
    assert distances.rmse([1, 2, 9], [1, 5, 5]) == pytest.approx(math.sqrt(25 / 3))
    with pytest.raises(ValueError, match=r'\(2, 1\) predictions and \(2,\) targets'):
        distances.mae(np.ones((2, 1)), np.ones(2))


def test_rounding_ties_to_the_lower():
    levels = [8.0, 0.0, 0.5, 9.0, 10.0, 0.5]
    values = [-3.0, 0.25, 0.2501, 4.25, 4.26, 8.5, 8.6, 9.5, 40.0]
    expected = [0.0, 0.0, 0.5, 0.5, 8.0, 8.0, 9.0, 9.0, 10.0]
    assert distances.round_to_training(values, levels).tolist() == expected
    with pytest.raises(ValueError, match='finite'):
        distances.round_to_training([np.nan], levels)
    with pytest.raises(ValueError, match='at least one'):
        distances.round_to_training([1.0], [])


def test_clamp():
    assert distances.clamp_distance(np.array([-0.5, 0.0, 3.5])).tolist() == [0.0, 0.0, 3.5]


def test_rounding_to_steps_sends_ties_to_the_lower():
    values = [0.25, 0.2501, 0.75, 1.0, 6.2, 6.25, 6.26]
    assert distances.round_to_step(values, 0.5).tolist() == [0.0, 0.5, 0.5, 1.0, 6.0, 6.0, 6.5]
    assert distances.round_to_step([0.5, 1.5, 2.5, 2.6], 1.0).tolist() == [0.0, 1.0, 2.0, 3.0]
    # 1.05 is 3.5 and 1.65 is 5.5 times 0.3 on paper; the first is more as a float.
    assert distances.round_to_step([1.05, 1.0501, 1.65, 0.8999], 0.3).tolist() == [0.9, 1.2, 1.5, 0.9]
    assert str(distances.round_to_step([0.1], 0.5)[0]) == '0.0'
    with pytest.raises(ValueError, match='finite'):
        distances.round_to_step([np.nan], 0.5)


def test_multiples_of_a_step_do_not_change():
    for step_m in (0.1, 0.25, 0.3, 0.7):
        multiples = np.round(np.arange(300) * step_m, 9)
        assert distances.round_to_step(multiples, step_m).tolist() == multiples.tolist()


@pytest.mark.parametrize('text, expected', [('none', 'none'), ('train', 'train'), ('0.5', 0.5), ('1', 1.0)])
def test_parsed_rounding(text, expected):
    assert distances.parse_rounding(text) == expected


@pytest.mark.parametrize('text', ['', '0', '-1', 'nan', 'inf', '1e400', '1e-320', 'Train', '0,5', '0.5m'])
def test_an_invalid_rounding_is_refused(text):
    with pytest.raises(ValueError, match=f'--round={text}: give none, train, or a step'):
        distances.parse_rounding(text)


def test_rounding_as_it_was_asked_for():
    assert distances.round_distance([1.3], 'none').tolist() == [1.3]
    assert distances.round_distance([1.3], 0.5).tolist() == [1.5]
    assert distances.round_distance([1.3], 'train', [1.0, 4.0]).tolist() == [1.0]
    with pytest.raises(ValueError, match='needs the training distances'):
        distances.round_distance([1.3], 'train')
    assert [distances.default_rounding(method) for method in ('greedy', 'published')] == ['none', 'train']
