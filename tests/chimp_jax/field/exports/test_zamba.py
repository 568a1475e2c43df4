"""The table of zamba, and the windows at the start of a clip, where zamba takes frames from its end."""

import math

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.exports.zamba import write_zamba
from data_prep.windows import window_seconds


def rows(*given):
    return pd.DataFrame(given, columns=['video_id', 'time', 'distance'])


def test_one_decimal_empty_where_unknown_sorted(tmp_path):
    given = rows(('b.mp4', 1, 3.0), ('b.mp4', 0, math.nan), ('=a/x, y.mp4', 12, 4.26))
    summary = write_zamba([given], tmp_path / 'z.csv')
    assert (tmp_path / 'z.csv').read_text() == 'filepath,time,distance\n"=a/x, y.mp4",12,4.3\nb.mp4,0,\nb.mp4,1,3.0\n'
    assert summary == {'rows': 3, 'with a distance': 2, 'empty': 1}


def test_durations_give_every_second_a_row(tmp_path):
    given = rows(('a.mp4', 1, 2.0), ('a.mp4', 1, 5.0)).assign(animal=['1', '2'])
    write_zamba([given], tmp_path / 'z.csv', {'a.mp4': 2.5, 'b.mp4': 1.0, 'c.mp4': math.nan, 'd.jpg': 0.0})
    assert (tmp_path / 'z.csv').read_text().splitlines()[1:] == [
        'a.mp4,0,',
        'a.mp4,1,2.0',
        'a.mp4,1,5.0',
        'a.mp4,2,',
        'b.mp4,0,',
        'd.jpg,0,',
    ]


def test_a_row_for_each_box_of_a_second(tmp_path):
    # zamba/models/depth_estimation/depth_manager.py: a row for each detection, and the model reads whole frames, so the
    # detections of one second have one distance.
    given = rows(('a.mp4', 0, 2.04), ('a.mp4', 1, math.nan), ('a.mp4', 2, 3.0))
    n_animals = {('a.mp4', 0): 3, ('a.mp4', 1): 2, ('b.mp4', 0): 2}
    assert write_zamba([given], tmp_path / 'z.csv', {'a.mp4': 3.0}, n_animals)['rows'] == 5
    assert (tmp_path / 'z.csv').read_text().splitlines()[1:] == [*['a.mp4,0,2.0'] * 3, 'a.mp4,1,', 'a.mp4,2,3.0']


def test_a_row_for_each_animal_is_not_repeated(tmp_path):
    given = rows(('a.mp4', 0, 2.0), ('a.mp4', 0, 5.0), ('a.mp4', 1, 3.0)).assign(animal=['2', '1', ''])
    write_zamba([given], tmp_path / 'z.csv', n_animals={('a.mp4', 0): 2, ('a.mp4', 1): 2})
    # Second 1 has one distance for two boxes.
    assert (tmp_path / 'z.csv').read_text().splitlines()[1:] == ['a.mp4,0,5.0', 'a.mp4,0,2.0', *['a.mp4,1,3.0'] * 2]


def test_no_rows_write_a_header(tmp_path):
    assert write_zamba([rows()], tmp_path / 'z.csv') == {'rows': 0, 'with a distance': 0, 'empty': 0}
    assert (tmp_path / 'z.csv').read_text() == 'filepath,time,distance\n'


@pytest.mark.parametrize(
    ('match', 'given'),
    [
        ('a.mp4 at 0 s: the distance is negative or infinite', ('a.mp4', 0, -0.5)),
        ('a.mp4 at 0 s: the distance is negative or infinite', ('a.mp4', 0, math.inf)),
        ('a.mp4 at 0 s: the distance is not a number', ('a.mp4', 0, '3 m')),
        ('a.mp4 at nan s: the time is not a whole second', ('a.mp4', math.nan, 1.0)),
    ],
)
def test_bad_rows_are_refused(tmp_path, match, given):
    with pytest.raises(ValueError, match=match):
        write_zamba([rows(given)], tmp_path / 'z.csv')
    assert not (tmp_path / 'z.csv').exists()


def test_pieces_give_the_file_of_the_whole_table(tmp_path):
    # Clips without rows: before the first piece, within a piece, between two pieces, after the last piece.
    given = rows(('b', 0, 1.0), ('d', 1, 2.0), ('f', 0, 3.0))
    durations = dict.fromkeys('abcdefg', 2.0)
    counts = write_zamba([given], tmp_path / 'whole.csv', durations)
    assert write_zamba([given[:2], given[2:]], tmp_path / 'pieces.csv', durations) == counts
    lines = ['a,0,', 'a,1,', 'b,0,1.0', 'b,1,', 'c,0,', 'c,1,', 'd,0,', 'd,1,2.0', 'e,0,', 'e,1,', 'f,0,3.0', 'f,1,']
    for name in ('whole.csv', 'pieces.csv'):
        assert (tmp_path / name).read_text().splitlines()[1:] == [*lines, 'g,0,', 'g,1,']


def test_at_the_start_the_first_second_repeats_where_zamba_takes_the_end_of_the_clip():
    seconds = np.arange(60)
    for target, ours, zambas in ((0, [0, 0, 0, 1, 2], [58, 59, 0, 1, 2]), (1, [0, 0, 1, 2, 3], [59, 0, 1, 2, 3])):
        assert window_seconds([target], 5, 1, 0, 59).tolist() == [ours]
        # zamba indexes its array of frames with target - 2 ... target + 2: an index below 0 counts from the end.
        assert seconds[np.arange(target - 2, target + 3)].tolist() == zambas
