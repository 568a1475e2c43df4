"""Chosen labels on simulated clips: what `estimate` makes of the labels of a station, and the comparison."""

import numpy as np
import pytest

from bench import choice_of_labels, choice_on_clips
from bench.box_corrections import Rows
from chimp_jax.field.intervals import fit_intervals
from chimp_jax.stations.correction import ASSUMED_ERRORS


def made(n_clips=16, per_clip=3) -> choice_on_clips.Survey:
    """Two stations: the estimates are 1.4 times too large at a, right at b; feet on the ground y = 0.45 + 1.4 m / r."""
    random, n = np.random.default_rng(0), 2 * n_clips * per_clip
    label_m = random.uniform(2, 10, n)
    site = np.repeat(['a', 'b'], n // 2)
    clip = np.repeat([f'{name}{i}' for name in 'ab' for i in range(n_clips)], per_clip)
    estimate_m = np.where(site == 'a', 1.4, 1.0) * label_m + random.normal(0, 0.1, n)
    foot = np.stack([random.uniform(0.2, 0.8, n), 0.45 + 1.4 / label_m], axis=1)
    rows = Rows(estimate_m, label_m, foot, site, clip, np.zeros(n, int))
    found = choice_of_labels.Found(
        rows, np.tile(np.arange(per_clip) * 6, 2 * n_clips), np.full(n, 0.9), np.full(n, 0.3)
    )
    intervals = fit_intervals(estimate_m, label_m, None, clip, 0.9)
    return choice_on_clips.Survey(found, ASSUMED_ERRORS, intervals)


def errors_m(survey, labelled) -> np.ndarray:
    rows = survey.found.rows
    error_m = np.abs(choice_on_clips.estimates_with(survey, np.array(labelled)) - rows.label_m)
    return np.array([error_m[rows.site == name].mean() for name in 'ab'])


def test_the_labels_of_a_station_correct_that_station():
    survey = made()
    rows = survey.found.rows
    before = [np.abs(rows.estimate_m - rows.label_m)[rows.site == name].mean() for name in 'ab']
    assert before[0] == pytest.approx(0.4 * rows.label_m[rows.site == 'a'].mean(), rel=0.02)
    of_a = errors_m(survey, range(0, 24, 3))
    assert of_a[0] < 0.3 * before[0] and of_a[1] == pytest.approx(before[1])


def test_chosen_and_random_labels_are_compared_on_both_measures(monkeypatch):
    monkeypatch.setattr(choice_on_clips, 'DRAWS', 1)
    monkeypatch.setattr(choice_on_clips, 'NUMBERS', (0, 6, 10))
    monkeypatch.setattr(choice_of_labels, 'NUMBERS', (0, 6, 10))
    result = choice_on_clips.summaries(choice_on_clips.station_errors(made()))
    assert set(result) == {'correction', 'estimate'}
    for of_way in result.values():
        for one in of_way.values():
            assert one['sites'] == 2 and one['random_m'][0] == one['chosen_m'][0]  # the same rows
            assert one['random_m'][-1] < 0.5 * one['random_m'][0] and one['chosen_m'][-1] < 0.5 * one['chosen_m'][0]
