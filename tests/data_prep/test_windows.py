"""Windows by hand: every expected list is written out from section 3 of the published method."""

import numpy as np
import pytest

from data_prep import windows


def seconds(time_s, n_frames, step_s, last_s):
    return windows.window_seconds([time_s], n_frames, step_s, 0, last_s)[0].tolist()


def test_middle_of_a_clip():
    assert seconds(20, 7, 1, 59) == [17, 18, 19, 20, 21, 22, 23]
    assert seconds(20, 9, 1, 59) == [16, 17, 18, 19, 20, 21, 22, 23, 24]
    assert seconds(20, 7, 2, 59) == [14, 16, 18, 20, 22, 24, 26]


def test_the_edge_frame_repeats():
    assert seconds(0, 7, 1, 59) == [0, 0, 0, 0, 1, 2, 3]
    assert seconds(1, 7, 1, 59) == [0, 0, 0, 1, 2, 3, 4]
    assert seconds(58, 9, 1, 59) == [54, 55, 56, 57, 58, 59, 59, 59, 59]
    assert seconds(1, 7, 2, 59) == [0, 0, 0, 1, 3, 5, 7]


def test_label_past_the_end_shows_the_last_frame():
    assert seconds(60, 7, 1, 59) == [57, 58, 59, 59, 59, 59, 59]
    assert seconds(75, 7, 1, 59) == [59] * 7


def test_an_even_window_has_no_middle():
    with pytest.raises(ValueError, match='odd'):
        seconds(5, 8, 1, 59)


def test_stored_seconds_cover_both_steps():
    # +-5 at step 1: 15..25; +-10 at step 2 adds the even seconds 10, 12, 14, 26, 28, 30.
    assert windows.stored_seconds([20], 59) == [10, 12, 14, *range(15, 26), 26, 28, 30]
    # Clamped at both ends of a clip of 4 s: nothing outside 0..3.
    assert windows.stored_seconds([0], 3) == [0, 1, 2, 3]
    assert windows.stored_seconds([], 59) == []


def test_one_window_an_example_is_the_published_window_with_its_repeats():
    plan = windows.plan_examples(np.arange(10), np.array([8, 0]), 7, 1)
    np.testing.assert_array_equal(plan.frame, [[0, 0, 0, 0, 1, 2, 3], [5, 6, 7, 8, 9, 9, 9]])
    np.testing.assert_array_equal(plan.window, [[range(7)], [range(7)]])
    np.testing.assert_array_equal(plan.target, [[1], [0]])  # ascending in time: the second label comes first


def test_neighbours_share_frames():
    # Stored seconds 0..20 without 3, so positions and seconds differ. Targets 10 and 12 require 7..15: nine frames.
    times = np.array([0, 1, 2, *range(4, 21)])
    plan = windows.plan_examples(times, np.array([10, 12, 17]), 7, 1, 2, 9)
    assert times[plan.frame[0]].tolist() == list(range(7, 16))
    assert plan.window[0].tolist() == [list(range(0, 7)), list(range(2, 9))]
    assert plan.target.tolist() == [[0, 1], [2, -1]]
    assert times[plan.frame[1]].tolist() == [
        14,
        15,
        16,
        17,
        18,
        19,
        20,
        20,
        20,
    ]  # padded with the last frame
    assert plan.window[1].tolist() == [list(range(7))] * 2


def test_targets_too_far_apart_do_not_share():
    plan = windows.plan_examples(np.arange(60), np.array([10, 20, 22]), 7, 1, 2, 9)
    assert plan.target.tolist() == [[0, -1], [1, 2]]


@pytest.mark.parametrize('n_frames,step_s', [(7, 1), (9, 1), (7, 2)])
@pytest.mark.parametrize('k,s', [(1, None), (2, 13), (5, 30)])
def test_every_target_once_with_its_own_window(n_frames, step_s, k, s):
    rng = np.random.default_rng(k)
    targets = rng.permutation(60)[:23]
    stored = np.array(windows.stored_seconds(targets, 59))
    plan = windows.plan_examples(stored, targets, n_frames, step_s, k, s)
    used = plan.target[plan.target >= 0]
    assert sorted(used) == list(range(23))
    for frame, window, target in zip(plan.frame, plan.window, plan.target, strict=True):
        for places, row in zip(window, target, strict=True):
            if row >= 0:
                expected = [
                    min(max(int(targets[row]) + j * step_s, stored[0]), stored[-1])
                    for j in range(-(n_frames // 2), n_frames // 2 + 1)
                ]
                assert stored[frame[places]].tolist() == expected


def test_a_record_that_lacks_a_second_is_named():
    with pytest.raises(ValueError, match=r'lacks the seconds \[5\]'):
        windows.plan_examples(np.array([0, 1, 2, 3, 4, 6, 7, 8]), np.array([4]), 7, 1)


def test_no_targets_no_examples():
    plan = windows.plan_examples(np.arange(5), np.array([], np.int32), 7, 1, 3, 9)
    assert plan.frame.shape == (0, 9) and plan.window.shape == (0, 3, 7) and plan.target.shape == (0, 3)


def test_positions_are_among_the_stored_seconds_and_a_missing_one_is_named():
    stored = np.array([2, 3, 4, 6, 8])  # target 4 at step 2 requires 0, 2, 4, 6, 8: clamped to the first, 2
    assert windows.window_positions(stored, [4], 5, 2).tolist() == [[0, 0, 2, 3, 4]]
    with pytest.raises(ValueError, match=r'lacks the seconds \[5\]'):
        windows.window_positions(stored, [4], 3, 1)
