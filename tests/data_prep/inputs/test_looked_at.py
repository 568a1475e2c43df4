"""What is known about snapshot moments: by hand, and by passages of animals whose number of moments is known."""

import math

import numpy as np
import pytest

from data_prep.inputs.looked_at import (
    ANIMAL,
    EMPTY,
    NOT_LOOKED,
    OWN_SECONDS,
    animals_by_second,
    detector_looks,
    snapshot_moments,
    stated_frames,
    table_looks,
)

LETTERS = {ANIMAL: 'A', EMPTY: '.', NOT_LOOKED: '?'}


def states(looked, end_s, interval_s):
    return ''.join(LETTERS[state] for state in snapshot_moments(looked, end_s, interval_s).states)


def every(step_s, end_s):
    return np.arange(0, end_s + 1e-9, step_s)


@pytest.mark.parametrize(
    'interval_s, expected',
    [
        # Moments 0 to 6; frames at 0, 2, 4, 6 with animals at 2 and 4.
        (1, '.?A?A?.'),
        (2, '.AA.'),
        (3, '.?.'),  # the frames at 2 and 4 are both 1 s away from the moment 3
        (4, '.A'),
        (6, '..'),
        (7, '.'),
    ],
)
def test_frames_every_2_seconds(interval_s, expected):
    assert states(detector_looks(every(2, 6), [2, 4, 4]), 6.9, interval_s) == expected


def test_frames_that_a_detector_rounded_to_whole_frames():
    # MegaDetector turns 2 s at 29.97 frames per second into int(59.94) = 59 frames. The frame nearest to the moment 2 k
    # has the number 59 k, at 1.9686 k s: 0.031 k s before the moment, 0.44 s at the end.
    times_s = np.arange(0, 827, 59) / 29.97
    moments = snapshot_moments(detector_looks(times_s, times_s), 899 / 29.97, 2)
    assert moments.times_s.tolist() == list(range(0, 29, 2))  # the last frame is at 29.997 s, before the moment 30
    assert set(moments.states) == {ANIMAL}
    assert moments.seconds.tolist() == [0, *range(1, 28, 2)]  # 1.97, 3.94, ... rounded down
    for interval_s in (1, 3):
        assert NOT_LOOKED in snapshot_moments(detector_looks(times_s, times_s), 899 / 29.97, interval_s).states


@pytest.mark.parametrize('rate', [30, 29.97, 14.985, 12.5, 10, 25])
@pytest.mark.parametrize('interval_s', [1, 2, 3, 5])
def test_a_detector_that_keeps_pace_looks_at_every_moment_whatever_the_length_of_the_clip(rate, interval_s):
    for n_frames in (1, 17, 450, 899, 1801, 3601, 5011):
        frames = np.arange(0, n_frames, int(interval_s * rate)) / rate
        end_s = (n_frames - 1) / rate
        # Each frame has another number of animals, so a frame that stands for two moments would show.
        looked = detector_looks(frames, np.repeat(frames, np.arange(1, len(frames) + 1)))
        moments = snapshot_moments(looked, end_s, interval_s)
        assert set(moments.states) == {ANIMAL} and moments.times_s[-1] <= end_s < moments.times_s[-1] + interval_s
        assert len(set(moments.n_animals)) == len(moments.n_animals)


def test_the_frame_at_the_moment_counts_not_another_of_its_second():
    three = every(1 / 3, 5)
    assert states(detector_looks(three, [2 + 1 / 3, 2 + 2 / 3, 3]), 5.2, 2) == '...'
    assert states(detector_looks(three, [2.0]), 5.2, 2) == '.A.'


def test_a_gap_in_the_frames_was_not_looked_at():
    with_gap = np.delete(every(1, 10), [4, 5])  # the detector failed at 4 and 5 s
    assert states(detector_looks(with_gap, [6]), 10, 2) == '..?A..'
    assert states(detector_looks(every(2, 6), []), 15, 2) == '....????'  # the detector stopped at 6 s
    assert states(detector_looks([4], [4]), 9, 2) == '??A??'  # the best frame of a clip alone


def test_nobody_or_nobody_knows_where():
    assert states(None, 4, 2) == '???'
    assert states(detector_looks([], []), 4, 2) == '???'
    unknown = detector_looks(None, [0, 2])
    assert not unknown.is_known and states(unknown, 4, 2) == '???'
    assert detector_looks([0.0], []).step_s == math.inf


def test_animals_of_one_frame_are_counted():
    looked = detector_looks([0, 0.5, 1, 2], [0.5, 0, 0.5, 2])
    assert looked.times_s.tolist() == [0, 0.5, 1, 2] and looked.n_animals.tolist() == [1, 2, 0, 1]
    assert animals_by_second(looked) == {0: 2, 2: 1}
    assert snapshot_moments(looked, 2, 2).n_animals.tolist() == [1, 1]


def test_a_row_of_a_table_stands_for_its_own_second():
    listed = table_looks([4], [5])
    assert listed.step_s == OWN_SECONDS
    assert states(listed, 9.9, 5) == '?.' and states(listed, 9.9, 4) == '?A?' and states(listed, 9.9, 1) == '????A.????'
    # 4 is an animal and 5 was not listed: the second 4 says nothing about the moment 5.
    assert states(table_looks([4], []), 9.9, 5) == '??'
    assert states(table_looks([4], [], last_s=9), 9.9, 2) == '..A..'


def test_two_animals_in_a_second_of_a_table_are_two():
    assert animals_by_second(table_looks([4, 7, 4], [5])) == {4: 2, 7: 1}


def test_the_frames_of_a_stated_step():
    assert stated_frames(2, 29.97, 130, {59}) == [0, 59, 118]
    assert stated_frames(2, 29.97, 130, {60}) == [0, 60, 120]  # another detector rounds up
    assert stated_frames(0.01, 30, 3, {1, 2}) == [0, 1, 2]
    with pytest.raises(ValueError, match='frame 61 has an animal, but a detector that looks every 2 s at 30 frames'):
        stated_frames(2, 30, 130, {60, 61})


def moments_by_second(looked, end_s, interval_s):
    """The count of version 0.1: moments in whose second an animal is anywhere."""
    seconds = set(animals_by_second(looked))
    return sum(second in seconds for second in range(0, math.floor(end_s) + 1, interval_s))


@pytest.mark.parametrize('passage_s, by_second', [(2, 1.333), (5, 1.133)])
def test_passages_of_a_known_length_have_a_known_number_of_moments(passage_s, by_second):
    """An animal that is in view for d seconds, from any moment on, is in view at d / t moments on average."""
    interval_s, frames_s = 2, every(1 / 3, 60)
    starts_s = 20 + np.arange(0, interval_s, 0.005) + 0.001
    found = second_found = 0
    for start_s in starts_s:
        looked = detector_looks(frames_s, frames_s[(frames_s >= start_s) & (frames_s < start_s + passage_s)])
        found += (snapshot_moments(looked, 60, interval_s).states == ANIMAL).sum()
        second_found += moments_by_second(looked, 60, interval_s)
    expected = len(starts_s) * passage_s / interval_s
    assert found / expected == pytest.approx(1, abs=0.005)
    assert second_found / expected == pytest.approx(by_second, abs=0.01)  # what the frame at the moment avoids
