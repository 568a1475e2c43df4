"""Flags for rows that a person should check."""

import math

import pytest

from chimp_jax.field.flags import Training, flag_rows, training_limits


def test_each_flag():
    training = Training(1.0, 15.0, 2.0)
    found = flag_rows(
        training,
        estimate_m=[0.9, 1.0, 15.0, 15.1, 5.0, math.nan],
        overexposed=[False, True, False, True, False, False],
        brightness=[100, 19.9, 20, 0, math.nan, 5],
        spread_m=[0, 2.0, 2.1, 3, math.nan, math.nan],
    )
    assert found == [
        'outside_training',
        'overexposed dark',
        'wide_spread',
        'outside_training overexposed dark wide_spread',
        '',
        'dark',
    ]


def test_limits_of_training():
    # The 95th percentile of 0..100 is 95.
    assert training_limits([3.0, 0.5, 25.0], range(101)) == Training(0.5, 25.0, 95.0)
    assert training_limits([3.0]) == Training(3.0, 3.0, None)
    assert training_limits([]) == Training(None, None, None)


def test_unknown_values_are_never_flagged():
    assert flag_rows(Training(None, None, None), [99.0], [False], [math.nan], [9.0]) == ['']
    assert flag_rows(Training(1.0, 2.0, 0.1), [1.5], [False], [99.0]) == ['']
    assert flag_rows(Training(1.0, 2.0, None), [], [], []) == []


def test_lengths_must_agree():
    with pytest.raises(ValueError, match='dark'):
        flag_rows(Training(1.0, 2.0, None), [1.0, 2.0], [False, False], [1.0])
