"""A person's corrections: the table, and its effect on the estimates."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.corrections import apply_corrections, check_corrections, read_corrections
from data_prep.archive import NO_CLIPS, Names
from data_prep.inputs.labels import read_tables

ROWS = pd.DataFrame(
    {
        'video_id': ['a.mp4', 'a.mp4', 'b/c.mp4'],
        'time': [0, 2, 2],
        'distance': [3.0, 4.0, np.nan],
        'distance_lower': [2.0, 3.0, np.nan],
        'distance_upper': [5.0, 6.0, np.nan],
        'spread': [0.1, 0.2, np.nan],
        'status': ['ok', 'ok', 'past the end of the clip'],
    }
)


def write(path, *lines):
    path.write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    return path


def test_a_persons_value_replaces_the_estimate(tmp_path):
    corrections = read_corrections(write(tmp_path / 'corrections.csv', 'b/c.mp4,2,7.5', 'a.mp4,2,0'), NO_CLIPS)
    result = apply_corrections(ROWS, corrections)
    assert result['distance'].tolist() == [3, 0, 7.5]
    assert result['status'].tolist() == ['ok', 'corrected', 'corrected']
    np.testing.assert_array_equal(result['distance_lower'], [2, np.nan, np.nan])
    np.testing.assert_array_equal(result['distance_upper'], [5, np.nan, np.nan])
    np.testing.assert_array_equal(result['spread'], ROWS['spread'])
    assert ROWS['status'].tolist()[1] == 'ok'  # the rows given are left as they are


def test_no_corrections_yet(tmp_path):
    pd.testing.assert_frame_equal(
        apply_corrections(ROWS, read_corrections(write(tmp_path / 'corrections.csv'), NO_CLIPS)), ROWS
    )


def test_semicolons_blank_rows_fractions_and_clock_times(tmp_path):
    path = tmp_path / 'corrections.csv'
    path.write_text('video_id;time;distance\r\n.\\a.mp4;0,5;7,25\r\n;;\r\nb\\c.mp4;0:02;8\r\n')
    corrections = read_corrections(path, Names(ROWS['video_id']))
    assert corrections[['video_id', 'time', 'distance']].to_numpy().tolist() == [['a.mp4', 0, 7.25], ['b/c.mp4', 2, 8]]
    assert apply_corrections(ROWS, corrections)['distance'].tolist() == [7.25, 4, 8]
    path.write_text('video_id,time,distance\na.mp4,0,\n')
    with pytest.raises(ValueError, match=r'corrections\.csv:2: the distance is empty; write it, or remove the row'):
        read_corrections(path, NO_CLIPS)


def test_letters_in_another_form(tmp_path):
    rows = ROWS.replace('a.mp4', 'e\u0301.mp4')
    corrections = read_corrections(write(tmp_path / 'c.csv', '\xe9.mp4,2,7'), Names(rows['video_id']))
    assert apply_corrections(rows, corrections)['distance'].tolist()[1] == 7


def test_unknown_targets_are_named(tmp_path):
    corrections = read_corrections(
        write(tmp_path / 'corrections.csv', 'a.mp4,0,1', 'A.mp4,2,7.5', 'a.mp4,1,3'), NO_CLIPS
    )
    with pytest.raises(ValueError, match=r'corrections\.csv:3 \(A\.mp4 at 2 s\); corrections\.csv:4 \(a\.mp4 at 1 s\)'):
        apply_corrections(ROWS, corrections)


def test_training_reads_the_file(tmp_path):
    path = write(tmp_path / 'corrections.csv', 'b/c.mp4,2,7.5')
    (split, targets), *others = read_tables(path).items()
    assert split == 'train' and not others and not targets.problems
    assert targets.rows[['video_id', 'time_s', 'distance_m']].to_numpy().tolist() == [['b/c.mp4', 2, 7.5]]


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    names = ['007', '7', 'NA', '1e5']
    rows = ROWS.iloc[[0, 0, 0, 0]].assign(video_id=names).reset_index(drop=True)
    corrections = read_corrections(write(tmp_path / 'corrections.csv', '007,0,1', 'NA,0,2', '1e5,0,4'), NO_CLIPS)
    assert corrections['video_id'].tolist() == ['007', 'NA', '1e5']
    assert apply_corrections(rows, corrections)['distance'].tolist() == [1, 3, 2, 4]


def test_a_correction_of_no_target_is_known_before_the_work(tmp_path):
    corrections = read_corrections(write(tmp_path / 'c.csv', 'a.mp4,2,5', 'a.mp4,3,5', 'x.mp4,2,5'), NO_CLIPS)
    check_corrections(corrections, {'a.mp4': {2, 3}, 'x.mp4': range(0, 9, 2)})
    message = r'no such target: c\.csv:3 \(a\.mp4 at 3 s\); c\.csv:4 \(x\.mp4 at 2 s\); copy'
    with pytest.raises(ValueError, match=message):
        check_corrections(corrections, {'a.mp4': range(0, 9, 2)})


OF_ANIMALS = pd.DataFrame(
    {
        'video_id': ['a.mp4', 'a.mp4', 'a.mp4', 'b.mp4'],
        'time': [0, 0, 2, 2],
        'animal': ['1', '2', '1', ''],
        'distance': [3.0, 4.0, 5.0, 6.0],
        'distance_lower': 1.0,
        'distance_upper': 9.0,
        'status': 'ok',
    }
)


def named(path, *lines):
    path.write_text('\n'.join(['video_id,time,animal,distance', *lines]) + '\n')
    return path


@pytest.mark.parametrize(
    ('lines', 'distance'),
    [
        (['a.mp4,0,2,7'], [3, 7, 5, 6]),
        (['a.mp4,0,1,7'], [7, 4, 5, 6]),  # a label table with nothing but 1 means yes by it
        (['a.mp4,0,1,7', 'b.mp4,2,,8'], [7, 4, 5, 8]),
        (['a.mp4,0,1,7', 'a.mp4,0,2,8', 'a.mp4,2,,9', 'b.mp4,2,,1'], [7, 8, 9, 1]),
    ],
)
def test_a_correction_is_of_its_animal(tmp_path, lines, distance):
    corrections = read_corrections(named(tmp_path / 'c.csv', *lines), NO_CLIPS)
    result = apply_corrections(OF_ANIMALS, corrections)
    assert result['distance'].tolist() == distance
    changed = [new != old for new, old in zip(distance, [3, 4, 5, 6], strict=True)]
    assert (result['status'] == 'corrected').tolist() == changed
    assert result['distance_lower'].isna().tolist() == changed


def test_the_only_animal_of_a_second_needs_no_name(tmp_path):
    corrections = read_corrections(write(tmp_path / 'c.csv', 'a.mp4,2,8'), NO_CLIPS)
    assert apply_corrections(OF_ANIMALS, corrections)['distance'].tolist() == [3, 4, 8, 6]


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            ['a.mp4,0,,7'],
            r'c\.csv:2 \(a\.mp4 at 0 s\) has the animals 1, 2; write into a column animal which one you mean',
        ),
        (['a.mp4,0,3,7'], r'no such target: c\.csv:2 \(a\.mp4 at 0 s, animal 3\); copy video_id, time and animal from'),
        (['b.mp4,2,1,7'], r'no such target: c\.csv:2 \(b\.mp4 at 2 s, animal 1\); copy video_id, time and animal from'),
        (['a.mp4,2,1,7', 'a.mp4,2,,8'], r'a second distance for one row: c\.csv:3 \(a\.mp4 at 2 s, animal 1\); remove'),
        (
            ['a.mp4,2,1,7', 'a.mp4,0,no,8'],
            r'c\.csv:3: the row tells that there is no animal; write its name, or remove',
        ),
    ],
)
def test_unclear_corrections_are_refused(tmp_path, lines, message):
    path = named(tmp_path / 'c.csv', *lines)
    with pytest.raises(ValueError, match=message) as caught:
        apply_corrections(OF_ANIMALS, read_corrections(path, NO_CLIPS))
    assert '\n' not in str(caught.value)


def test_unclear_corrections_are_known_before_the_work(tmp_path):
    planned, animals = {'a.mp4': {0, 2, 4}, 'b.mp4': {2}}, OF_ANIMALS[:3]
    good = read_corrections(named(tmp_path / 'c.csv', 'a.mp4,0,2,7', 'a.mp4,2,,8', 'b.mp4,2,,9'), NO_CLIPS)
    check_corrections(good, planned, animals)
    for line, message in (
        ('a.mp4,0,,7', 'has the animals 1, 2'),
        ('a.mp4,4,1,7', r'no such target: c\.csv:2 \(a\.mp4 at 4 s, animal 1\)'),  # a second without a box
        ('a.mp4,5,1,7', r'no such target: c\.csv:2 \(a\.mp4 at 5 s, animal 1\)'),
    ):
        bad = read_corrections(named(tmp_path / 'c.csv', line), NO_CLIPS)
        with pytest.raises(ValueError, match=message):
            check_corrections(bad, planned, animals)
    with pytest.raises(ValueError, match='no such target'):  # without a detector no animal has a name
        check_corrections(read_corrections(named(tmp_path / 'c.csv', 'a.mp4,0,1,7'), NO_CLIPS), planned)
