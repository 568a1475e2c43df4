"""Tracks of boxes, on cases made by hand."""

import numpy as np
import pytest

from chimp_jax.animals.tracks import boxes_at, follow, iou


def box(x, y=0.5, width=0.1, height=0.2):
    """A box by its middle."""
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def names_of(rows):
    """follow on rows (time_s, box, confidence[, name])."""
    columns = list(zip(*[(*row, '')[:4] for row in rows], strict=True))
    return follow(np.array(columns[0]), np.array(columns[1]), np.array(columns[2]), columns[3])


def walk(times_s, start, velocity, confidence=0.9, **shape):
    return [(t, box(start + velocity * t, **shape), confidence) for t in times_s]


HALVES = np.arange(0, 8.1, 0.5)


def test_iou_by_hand():
    # Unit squares, the second half a side to the right: 0.5 / 1.5. The third touches.
    squares = np.array([[0, 0, 1, 1], [0.5, 0, 1.5, 1], [1, 0, 2, 1]], float)
    np.testing.assert_allclose(iou(squares[:1], squares), [[1, 1 / 3, 0]])


@pytest.mark.parametrize('step_s', [0.04, 0.25, 0.5, 1.0])
def test_two_animals_of_one_size_cross(step_s):
    times_s = np.arange(0, 8.1, step_s)
    first, second = walk(times_s, 0.1, 0.1), walk(times_s, 0.9, -0.1, y=0.52)
    names = names_of(first + second)
    assert set(names[: len(times_s)]) == {'1'} and set(names[len(times_s) :]) == {'2'}


@pytest.mark.parametrize(('hidden_s', 'tracks'), [(1.5, {'1'}), (3.0, {'1', '2'})])
def test_an_animal_behind_a_trunk_keeps_its_name_for_2_seconds(hidden_s, tracks):
    times_s = [t for t in HALVES if not 3 < t < 3 + hidden_s]
    assert set(names_of(walk(times_s, 0.1, 0.08))) == tracks


def test_boxes_that_do_not_overlap_are_joined():
    # 0.15 of the picture in 2 s: one and a half widths.
    assert names_of(walk([0, 2, 4, 6], 0.2, 0.075)) == ['1'] * 4


def test_photos_every_3_seconds_are_joined():
    assert names_of(walk([0, 3, 6, 9], 0.5, 0.003)) == ['1'] * 4


def test_weak_boxes_join_tracks_and_start_none():
    # Before and after the strong box; not 2.5 s before, nor at another place.
    rows = [
        (0.0, box(0.2), 0.2),
        (2.0, box(0.2), 0.2),
        (2.5, box(0.2), 0.9),
        (3.0, box(0.2), 0.1),
        (3.0, box(0.8), 0.2),
    ]
    assert names_of([row for row in rows if row[0]]) == ['1', '1', '1', '']
    assert names_of([row for row in rows if row[0] != 2.0]) == ['', '1', '1', '']


def test_a_track_does_not_take_the_weak_boxes_of_another_animal():
    # The first animal leaves where a second one, never found with confidence, stands.
    first, second = walk(HALVES[:8], 0.1, 0.1), walk(HALVES, 0.5, 0.0, confidence=0.2)
    assert names_of(first + second) == ['1'] * 8 + [''] * len(HALVES)


def test_a_strong_box_goes_before_a_weak_one():
    rows = [(0.0, box(0.5), 0.9), (0.5, box(0.5), 0.2), (0.5, box(0.53), 0.6)]
    assert names_of(rows) == ['1', '', '1']


def test_a_box_of_one_frame_is_a_track():
    assert names_of(walk(HALVES, 0.2, 0.0) + [(2.0, box(0.8), 0.5)])[-1] == '2'


def test_repeated_boxes_start_one_track():
    # 0.02 of 0.1 to the right: IoU 0.08 / 0.12 = 0.67, above the limit of 0.45.
    rows = [(t, box(0.5 + shift), 0.9 - shift) for t in (0.0, 0.5, 1.0) for shift in (0, 0.02)]
    assert names_of(rows) == ['1', ''] * 3


def test_a_repeated_box_does_not_carry_a_lost_track_away():
    # The second animal is last seen at 0.25. The first one has two boxes at 1 s: IoU 0.09 / 0.11 = 0.82.
    rows = [
        (0.0, box(0.4), 0.9),
        (0.0, box(0.25), 0.9),
        (0.5, box(0.4), 0.9),
        (1.0, box(0.4), 0.9),
        (1.0, box(0.39), 0.8),
    ]
    assert names_of(rows) == ['2', '1', '2', '2', '']


def test_names_do_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    rows = walk(HALVES, 0.1, 0.1) + walk(HALVES, 0.9, -0.1, y=0.55) + walk(HALVES[4:], 0.5, 0.01, y=0.2)
    rows = [(t, b, float(rng.uniform(0.1, 1))) for t, b, _ in rows]
    names = names_of(rows)
    assert {'1', '2', '3'} <= set(names)
    for _ in range(5):
        order = rng.permutation(len(rows))
        assert names_of([rows[k] for k in order]) == [names[k] for k in order]


def test_names_follow_time_and_then_position():
    rows = walk(HALVES, 0.8, 0.0) + walk(HALVES, 0.2, 0.0) + walk(HALVES[1:], 0.05, 0.0)
    names = names_of(rows)
    assert [names[0], names[len(HALVES)], names[-1]] == ['2', '1', '3']


def test_given_names_stay_and_are_not_used_again():
    # Found boxes join the named track (also those before its first label), and '1' is taken.
    found, label = walk(HALVES, 0.2, 0.01), (2.25, box(0.2225), 1.0, '1')
    assert names_of([*found, label, *walk(HALVES, 0.8, 0)]) == ['1'] * (len(HALVES) + 1) + ['2'] * len(HALVES)


def test_a_given_name_stays_where_boxes_say_otherwise():
    rows = [
        (0.0, box(0.2), 1.0, 'Ada'),
        (0.5, box(0.8), 1.0, 'Ada'),
        (0.5, box(0.2), 1.0, 'Bo'),
        (9.0, box(0.5), 1.0, 'Ada'),
    ]
    assert names_of(rows) == ['Ada', 'Ada', 'Bo', 'Ada']


def test_of_two_boxes_with_one_name_the_more_confident_keeps_it():
    assert names_of([(0.0, box(0.2), 0.5, 'Ada'), (0.0, box(0.8), 0.7, 'Ada')]) == ['', 'Ada']


def test_bad_boxes_belong_to_no_track():
    bad = [(0.0, [0.2, 0.2, 0.2, 0.4], 0.9), (0.0, [np.nan] * 4, 0.9), (0.0, box(0.5), 0.0), (np.nan, box(0.5), 0.9)]
    assert names_of([*bad, (0.0, box(0.5), 0.9)]) == [''] * 4 + ['1']
    assert follow([], [], []) == []


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match='differ in number'):
        follow([0.0], [box(0.5)], [0.9, 0.8])


def test_boxes_at_by_hand():
    time_s, boxes = np.array([5.0, 1.0, 3.0, 3.0]), np.array([box(0.8), box(0.2), box(0.6), box(0.9)])
    found = boxes_at(time_s, boxes, np.array([0.9, 0.5, 0.7, 0.6]), np.array([0.5, 1.5, 2.2, 4.0, 5.6, 0.4]))
    # 0.5 s: half a second before the first box. 1.5 and 2.2 s: one quarter and six tenths of the way from 1 s to 3 s,
    # to the more confident box. 4.0 s: half way to 5 s. 5.6 s and 0.4 s: too far outside.
    expected = [[*box(0.2), 0.5], [*box(0.3), 0.55], [*box(0.44), 0.62], [*box(0.7), 0.8], [0] * 5, [0] * 5]
    np.testing.assert_allclose(found, expected)


def test_boxes_at_takes_the_nearest_box_beside_a_long_gap():
    boxes = np.array([box(0.2), box(0.8)])
    found = boxes_at(np.array([0.0, 2.5]), boxes, np.array([0.9, 0.7]), np.array([0.0, 0.4, 2.1, 2.5, 2.6]))
    np.testing.assert_allclose(found[:, 4], [0.9, 0.9, 0.7, 0.7, 0.7])
    np.testing.assert_allclose(found[:, :4], boxes[[0, 0, 1, 1, 1]])


def test_boxes_at_is_0_in_a_longer_gap_and_without_boxes():
    boxes = np.array([box(0.2), box(0.3)])
    assert not boxes_at(np.array([0, 2.5]), boxes, np.ones(2), np.array([1.2])).any()
    assert boxes_at(np.zeros(0), np.zeros((0, 4)), np.zeros(0), np.array([1.0])).shape == (1, 5)
