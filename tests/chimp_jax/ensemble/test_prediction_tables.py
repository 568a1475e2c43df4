"""Tables of predictions are read and joined, or refused by name."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.ensemble import prediction_tables

ROWS = [('b.mp4', 2, 1.5), ('a.avi', 10, 2.5), ('a.avi', 9, 3.5), ('b.mp4', 0, 4.5)]


def table(rows, shift=0.0):
    frame = pd.DataFrame(rows, columns=['video_id', 'time', 'distance'])
    return frame.assign(distance=frame['distance'] + shift)


def test_join_ignores_the_order_of_rows():
    joined = prediction_tables.join_predictions({'one': table(ROWS), 'two': table(ROWS[::-1], shift=10)})
    assert joined.index.names == ['video_id', 'time', 'animal']
    assert joined.index.tolist() == [('a.avi', 9, ''), ('a.avi', 10, ''), ('b.mp4', 0, ''), ('b.mp4', 2, '')]
    assert joined['one'].tolist() == [3.5, 2.5, 4.5, 1.5]
    assert joined['two'].tolist() == [13.5, 12.5, 14.5, 11.5]
    again = prediction_tables.join_predictions({'one': table(ROWS[2:] + ROWS[:2]), 'two': table(ROWS, 10)})
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
        prediction_tables.join_predictions({'one': table(ROWS), 'two': table(rows)})


def test_join_refuses_a_table_without_its_columns():
    with pytest.raises(ValueError, match='one lacks the column time; it needs video_id, time, distance'):
        prediction_tables.join_predictions({'one': table(ROWS).drop(columns='time')})
    with pytest.raises(ValueError, match='no predictions'):
        prediction_tables.join_predictions({})


def test_clips_keep_their_names_and_empty_cells_are_nan(tmp_path):
    path = tmp_path / 'oof.csv'
    path.write_text('\ufeffprediction,time,more,video_id\n1.5,3,x,007\n,4.0,,NA\n\n2,5,,1e5\n')
    read = prediction_tables.read_predictions(path, ['prediction'])
    assert list(read.columns) == ['video_id', 'time', 'animal', 'prediction'] and (read['animal'] == '').all()
    assert read['video_id'].tolist() == ['007', 'NA', '1e5'] and read['time'].tolist() == [3, 4, 5]
    assert read['time'].dtype == np.int64 and read.index.tolist() == [2, 3, 5]  # lines
    np.testing.assert_array_equal(read['prediction'], [1.5, np.nan, 2.0])


def test_a_spreadsheet_table_with_decimal_commas(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text('video_id;time;distance\n007;3;1,5\n')
    assert prediction_tables.read_predictions(path, ['distance']).values.tolist() == [['007', 3, '', 1.5]]


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'a.csv is empty; write a line of column names'),
        (b'\xff\xfe', 'a.csv is not UTF-8'),
        (b'video_id,time\na.avi,1\n', 'a.csv lacks the column distance'),
        (b'video_id,time,distance\na.avi,1,2\na.avi,1.5,2\n', "a.csv:3: time '1.5' is not a whole second"),
        (b'video_id,time,distance\na.avi,,2\n', "a.csv:2: time '' is not a whole second"),
        (b'video_id,time,distance\na.avi,inf,2\n', "a.csv:2: time 'inf' is not a whole second"),
        (b'video_id,time,distance\na.avi,1e300,2\n', "a.csv:2: time '1e300' is not a whole second"),
        (b'video_id,time,distance\na.avi,-1,2\n', "a.csv:2: time '-1' is not a whole second"),
        (b'video_id,time,distance\nx,a.avi,1,2\n', 'a.csv:2 has 4 cells, the header has 3'),
        (b'video_id,time,distance\na.avi,1,2\na.avi,2,3,4\n', 'a.csv:3 has 4 cells, the header has 3'),
        (b'video_id,time,distance\n"a.avi,1,2\n', 'a.csv:2: unexpected end of data; correct the quotes'),
        (b'video_id,time,distance\na.avi,1,2\n\nb.avi,1,two\n', "a.csv:4: distance 'two' is not a number"),
    ],
)
def test_a_broken_table_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / 'a.csv'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prediction_tables.read_predictions(path, ['distance'])
