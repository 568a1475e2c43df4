"""Which second is asked next: what it never does, and what it does first."""

import numpy as np
import pytest

from chimp_jax.field.label.candidates import Candidates, as_answered
from chimp_jax.field.label.choose import LEAST_APART_S, next_targets

NAN = np.nan


def candidates(rows, **columns) -> Candidates:
    """rows: (clip, second); the station is the part before the slash."""
    n = len(rows)
    given = {
        'clip': np.array([clip for clip, _ in rows], object),
        'station': np.array([clip.split('/')[0] for clip, _ in rows], object),
        'second': np.array([second for _, second in rows], int),
        'animal': np.full(n, '', object),
    }
    for name in ('estimate_m', 'spread_m', 'x', 'y', 'confidence'):
        given[name] = np.full(n, NAN)
    return Candidates(**(given | {name: np.asarray(values) for name, values in columns.items()}))


def survey(seed=0, n_stations=3, n_clips=4, seconds=20) -> Candidates:
    random = np.random.default_rng(seed)
    rows = [(f's{s}/c{c}', t) for s in range(n_stations) for c in range(n_clips) for t in range(seconds)]
    places = {name: random.random(len(rows)) for name in ('x', 'y', 'confidence')}
    return candidates(rows, estimate_m=random.uniform(1, 12, len(rows)), **places)


def keys(given, indices):
    return [(given.clip[i], int(given.second[i])) for i in indices]


def asked_in_turn(given, n):
    """One second at a time, each answered with its estimate."""
    answers = []
    for _ in range(n):
        i = int(next_targets(given, as_answered(answers), 1)[0])
        answers.append((given.clip[i], int(given.second[i]), given.animal[i], 4.0))
    return [(clip, second) for clip, second, _, _ in answers]


def test_the_same_answers_give_the_same_choice_alone_and_together():
    given = survey()
    together = keys(given, next_targets(given, as_answered([]), 5))
    assert together == keys(given, next_targets(given, as_answered([]), 5)) == asked_in_turn(given, 5)
    # The choice depends on where distances were measured, and not on the distances.
    first = given.clip[0], 3, ''
    ways = [next_targets(given, as_answered([(*first, metres)]), 4).tolist() for metres in (1.0, 9.0)]
    assert ways[0] == ways[1]


def test_never_two_near_seconds_of_a_clip_and_each_second_once():
    given = survey(n_stations=1, n_clips=3)
    chosen = keys(given, next_targets(given, as_answered([]), 9))  # three seconds of 20 are always possible
    for i, (clip, second) in enumerate(chosen):
        assert all(other != clip or abs(second - t) >= LEAST_APART_S for other, t in chosen[:i])
    # When no other second is left, near ones come, and in the end all.
    every = keys(given, next_targets(given, as_answered([]), 100))
    assert len(every) == len(set(every)) == 60


def test_all_stations_are_asked_first_and_then_other_clips():
    given = survey(n_stations=4)
    given = given._replace(confidence=np.full(len(given.clip), NAN))
    clips = [clip for clip, _ in asked_in_turn(given, 12)]
    assert {clip.split('/')[0] for clip in clips[:6]} == {'s0', 's1', 's2', 's3'}
    assert len(set(clips)) >= 11


def test_without_estimates_and_boxes_seconds_spread_over_stations_and_clips():
    rows = [(f's{s}/c{c}', t) for s in range(2) for c in range(3) for t in range(0, 40, 10)]
    chosen = asked_in_turn(candidates(rows), 6)
    assert len({clip for clip, _ in chosen}) == 6
    assert [clip.split('/')[0] for clip, _ in chosen[:2]] in (['s0', 's1'], ['s1', 's0'])


def test_an_answer_without_a_distance_is_not_repeated_and_teaches_nothing():
    rows = [('s/a', 0), ('s/a', 2), ('s/b', 0), ('s/b', 30)]
    given = candidates(rows, estimate_m=[5.0] * 4, x=[0.5] * 4, y=[0.8] * 4)
    skipped = as_answered([('s/a', 0, '', NAN)])
    order = keys(given, next_targets(given, skipped, 4))
    assert order[-1] == ('s/a', 2) and ('s/a', 0) not in order and len(order) == 3
    whole = survey(n_stations=1)
    first = next_targets(whole, as_answered([]), 1)[0]
    key = whole.clip[first], int(whole.second[first]), ''
    without, with_distance = (next_targets(whole, as_answered([(*key, metres)]), 1)[0] for metres in (NAN, 4.0))
    assert without != with_distance  # the best place is still unmeasured, so a second like it is next
    assert abs(whole.estimate_m[without] - whole.estimate_m[first]) < abs(
        whole.estimate_m[with_distance] - whole.estimate_m[first]
    )


def test_a_measured_second_that_is_no_candidate_counts_at_the_nearest_one():
    given = candidates([('s/a', 0), ('s/a', 10), ('s/b', 0), ('s/b', 10)], estimate_m=[5.0] * 4)
    chosen = keys(given, next_targets(given, as_answered([('s/a', 2, 'x', 3.0), ('elsewhere', 0, '', 1.0)]), 1))
    assert chosen[0][0] == 's/b'
    assert len(next_targets(given, as_answered([('s/a', 2, 'x', 3.0)]), 9)) == 4


def test_distances_of_a_station_are_covered():
    """80 seconds at 2 m and 20 at 10 m, in clips of their own: the first three answers cover both distances."""
    rows = [(f's/c{i}', 0) for i in range(100)]
    given = candidates(rows, estimate_m=[2.0] * 80 + [10.0] * 20, x=[0.5] * 100, y=[0.9] * 80 + [0.6] * 20)
    metres = given.estimate_m[next_targets(given, as_answered([]), 3)]
    assert {2.0, 10.0} == set(metres)


def test_a_doubtful_box_comes_later_and_animals_are_candidates_of_their_own():
    rows = [('s/a', 0), ('s/b', 0)]
    given = candidates(rows, estimate_m=[5.0, 5.0], x=[0.5] * 2, y=[0.8] * 2, confidence=[0.3, 0.9])
    assert keys(given, next_targets(given, as_answered([]), 2)) == [('s/b', 0), ('s/a', 0)]
    two = candidates([('s/a', 0), ('s/a', 0)], animal=np.array(['1', '2'], object))
    assert two.animal[next_targets(two, as_answered([('s/a', 0, '1', 4.0)]), 3)].tolist() == ['2']


@pytest.mark.parametrize('n', [0, 3])
def test_nothing_to_ask(n):
    assert next_targets(candidates([]), as_answered([]), n).tolist() == []
    given = candidates([('s/a', 0)])
    assert next_targets(given, as_answered([('s/a', 0, '', 2.0)]), n).tolist() == []
