"""The table of results: clips keep their names, and a submission is accepted or refused with its line."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.ensemble import results
from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from data_prep.records import LOST

NAMES = ['007', 'NA', '1e5']  # names that a spreadsheet or pandas takes for numbers or a missing value


def result_table(names):
    """A table of results with one row for each clip, at second 3."""
    index = pd.MultiIndex.from_product([names, [3], ['']], names=KEY)
    members = pd.DataFrame({'one/fold_0': np.arange(1.0, len(names) + 1)}, index)
    return results.result_rows(members['one/fold_0'], members, members.rename(columns={'one/fold_0': 'one'}))


def test_clips_keep_their_names_in_lost_csv(tmp_path):
    (tmp_path / LOST).write_text(
        'split,video_id,time,reason\n'
        'test,007,5,no frame\ntrain,007,6,other split\ntest,NA,7,"cut, short"\ntest,1e5,8,\n'
    )
    lost = results.read_lost(tmp_path, 'test')
    assert lost.values.tolist() == [['007', 5, '', 'no frame'], ['NA', 7, '', 'cut, short'], ['1e5', 8, '', '']]
    assert list(lost.columns) == [*KEY, 'reason'] and lost['time'].dtype == np.int64
    table = results.with_lost(result_table(NAMES), lost)
    # The dtype of text decides about the bytes of a parquet file.
    pd.testing.assert_series_equal(table.dtypes, result_table(NAMES).dtypes)
    # Each clip has its own row at 3 s and a second one without a distance.
    assert (table['animal'] == '').all()
    assert table[SECOND].values.tolist() == [['007', 3], ['007', 5], ['1e5', 3], ['1e5', 8], ['NA', 3], ['NA', 7]]
    assert table['distance'].isna().tolist() == [False, True] * 3


def test_lost_csv_may_be_absent_or_empty_but_not_broken(tmp_path):
    assert results.read_lost(tmp_path, 'test').empty
    (tmp_path / LOST).write_text('split,video_id,time,reason\n')
    lost = results.read_lost(tmp_path, 'test')
    assert lost.empty
    pd.testing.assert_frame_equal(results.with_lost(result_table(['a']), lost), result_table(['a']))
    (tmp_path / LOST).write_text('split,video_id,time,reason\ntest,a,5,gone,extra\n')
    with pytest.raises(ValueError, match=f'{LOST}:2 has 5 cells, the header has 4'):
        results.read_lost(tmp_path, 'test')


def test_clips_keep_their_names_in_a_submission_format(tmp_path):
    (tmp_path / 'format.csv').write_text('video_id,time,distance\nNA,3,0\n1e5,3,0\n\n007,3,0\n100000,3,0\n')
    rows = results.in_order(result_table(NAMES), results.read_order(tmp_path / 'format.csv'))
    assert rows['video_id'].tolist() == ['NA', '1e5', '007', '100000']
    np.testing.assert_array_equal(rows['distance'], [2.0, 3.0, 1.0, np.nan])
    pd.testing.assert_series_equal(rows.dtypes, result_table(NAMES).dtypes)
    results.write_table(tmp_path / 'a.csv', rows.iloc[:3][[*SECOND, 'distance']])
    assert (tmp_path / 'a.csv').read_text() == 'video_id,time,distance\nNA,3,2.0\n1e5,3,3.0\n007,3,1.0\n'
    (tmp_path / 'format.csv').write_text('video_id,time,distance\nNA,3,0\n1e5,3,0\n\n007,3,0\n')
    assert results.check_submission(tmp_path / 'a.csv', tmp_path / 'format.csv') == 3
    (tmp_path / 'a.csv').write_text('video_id,time,distance\nNA,3,2.0\n1e5,3,3.0\n7,3,1.0\n')
    with pytest.raises(ValueError, match=r'a.csv:4: 7 at 3 s is not the row at this place in .*format.csv \(1 such'):
        results.check_submission(tmp_path / 'a.csv', tmp_path / 'format.csv')


def test_the_order_may_spell_clips_otherwise():
    rows = pd.DataFrame(
        {
            'video_id': ['b', 'e\u0301'],
            'time': [0, 3],
            'animal': '',
            'distance': [1.0, 2.0],
            'status': 'ok',
            'members': 2,
        }
    )
    order = pd.DataFrame({'video_id': ['\xe9', 'b', 'c'], 'time': [3, 0, 0], 'animal': ''})
    found = results.in_order(rows, order)
    assert found['video_id'].tolist() == ['\xe9', 'b', 'c'] and found['distance'].tolist()[:2] == [2, 1]
    assert found['status'].tolist() == ['ok', 'ok', 'not among the targets of the records']


@pytest.mark.parametrize(
    'text, fault',
    [
        ('video_id,time,distance\na,0,1\nb,1,2\n', None),
        ('video_id,time,distance\nb,1,2\na,0,1\n', 'a.csv:2: b at 1 s is not the row'),
        ('video_id,time,distance\na,0,1\n', '1 rows'),
        ('video_id,time,distance\na,0,1\nb,1,\n', 'a.csv:3: b at 1 s has no finite distance'),
        ('video_id,time,distance\na,0,inf\nb,1,2\n', "a.csv:2: distance 'inf' is not a number"),
        ('video_id,time,distance\na,0,-0.5\nb,1,2\n', 'a.csv:2: a at 0 s has a distance below 0'),
        ('video_id,distance,time\na,1,0\nb,2,1\n', 'a submission has video_id,time,distance'),
        ('video_id;time;distance\na;0;1\nb;1;2\n', 'a submission has video_id,time,distance'),
        ('video_id,time,distance\na,0,1\na,0,1\n', "a.csv:3: a second row for 'a', 0"),
    ],
)
def test_the_rules_of_a_submission(tmp_path, text, fault):
    (tmp_path / 'order.csv').write_text('video_id,time,distance\na,0,9\nb,1,9\n')
    (tmp_path / 'a.csv').write_text(text)
    if fault is None:
        assert results.check_submission(tmp_path / 'a.csv', tmp_path / 'order.csv') == 2
    else:
        with pytest.raises(ValueError, match=fault):
            results.check_submission(tmp_path / 'a.csv', tmp_path / 'order.csv')
