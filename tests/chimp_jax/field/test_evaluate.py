"""Errors of the estimates on known distances."""

import json

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.evaluate import check_cutpoints, evaluate, read_distances, write_evaluation


def joined(**columns):
    empty = {name: [np.nan] * len(columns['truth']) for name in ('distance_lower', 'distance_upper')}
    return pd.DataFrame({**empty, 'site': '', **columns})


def write(path, *lines):
    path.write_text('\n'.join(lines) + '\n')
    return path


def test_errors_by_hand():
    table = evaluate(joined(truth=[1.0, 3.0, 9.0], distance=[2.0, 3.0, 5.0], site=['x', 'x', 'y']), [0, 2, 4])
    table = table.set_index(['scope', 'name'])
    # Errors 1, 0, -4: mean absolute 5 / 3, mean -1, squares 17 / 3.
    total = table.loc['all', 'all']
    assert total[['n', 'mae', 'rmse', 'bias']].tolist() == pytest.approx([3, 5 / 3, (17 / 3) ** 0.5, -1])
    assert table.loc['band']['bias'].to_dict() == {'0 to 2 m': 1, '2 to 4 m': 0, 'above 4 m': -4}
    assert table.loc['site']['mae'].to_dict() == {'x': 0.5, 'y': 4}
    assert np.isnan(total['coverage']) and np.isnan(total['width'])


def test_bins_hold_their_upper_cutpoint_as_pandas_cut_does():
    rng = np.random.default_rng(0)
    truth, estimate = rng.integers(0, 12, 300) / 2.0, rng.integers(0, 12, 300) / 2.0  # many on a cutpoint, some beyond
    edges = [0.5, 2, 4, 5]
    bins = [pd.cut(pd.Series(values), edges, include_lowest=True).cat.codes for values in (truth, estimate)]
    within = bins[0] >= 0
    found = evaluate(joined(truth=truth, distance=estimate), edges)
    assert found['right_bin'][0] == pytest.approx((bins[0] == bins[1])[within].mean())
    bands = found[found['scope'] == 'band'].set_index('name')['n'].to_dict()
    assert bands['below 0.5 m'] == (truth < 0.5).sum() and bands['above 5 m'] == (truth > 5).sum()
    assert [bands[name] for name in ('0.5 to 2 m', '2 to 4 m', '4 to 5 m')] == [(bins[0] == i).sum() for i in range(3)]


def test_coverage_counts_the_ends_and_the_rows_with_an_interval():
    table = evaluate(
        joined(
            truth=[1.0, 1.0, 1.0, 1.0],
            distance=[2.0, 2.0, 2.0, 2.0],
            distance_lower=[1.0, 1.5, 0.0, np.nan],
            distance_upper=[3.0, 3.0, 1.0, np.nan],
        )
    )
    assert table.loc[0, ['coverage', 'width']].tolist() == pytest.approx([2 / 3, (2 + 1.5 + 1) / 3])


def test_known_distances_in_another_spelling(tmp_path, capsys):
    distances = write(tmp_path / 'distances.csv', 'video_id,time,distance', 'e\u0301/a.mp4,5,4', 'b.mp4,0,1')
    truth = write(tmp_path / 'truth.csv', 'video_id;time;distance', '\xe9\\a.mp4;0:05,9;3,5', 'b.mp4;0;2')
    table = write_evaluation(distances, truth).set_index('scope')
    # Errors 0.5 and -1.
    assert table.loc['all', ['n', 'mae', 'bias']].tolist() == [2, 0.75, -0.25]
    capsys.readouterr()


def test_rows_without_a_partner_are_named_and_counted(tmp_path, caplog, capsys):
    distances = write(
        tmp_path / 'distances.csv',
        'video_id,time,distance,distance_lower,distance_upper,status',
        'a.mp4,0,2,1,4,ok',
        'a.mp4,2,5,,,corrected',
        'b.mp4,0,,,,no frame',
        'b.mp4,2,7,3,9,ok',
    )
    write(tmp_path / 'clips.csv', 'video_id,site', 'a.mp4,camp')
    truth = write(tmp_path / 'truth.csv', 'video_id,time,distance', 'a.mp4,0,3', 'a.mp4,2,5', 'b.mp4,0,5', 'c.mp4,0,5')
    with caplog.at_level('INFO'):
        table = write_evaluation(distances, truth, [0, 4], tmp_path / 'out')
    assert 'bias' in capsys.readouterr().out
    assert table['name'].tolist() == ['all', '0 to 4 m', 'camp'] and table['n'].tolist() == [1, 1, 1]
    assert table['bias'][0] == -1 and table['right_bin'][0] == 1  # 2 - 3
    content = json.loads((tmp_path / 'out' / 'evaluation.json').read_text())
    assert content['left_out'] == {
        'known, without a row': ['c.mp4 at 0 s'],
        'known, without an estimate': ['b.mp4 at 0 s'],
        'known, corrected by a person': ['a.mp4 at 2 s'],
        'estimated, but not known': ['b.mp4 at 2 s'],
    }
    assert '1 known, without a row: c.mp4 at 0 s' in caplog.text
    assert len(pd.read_csv(tmp_path / 'out' / 'evaluation.csv')) == 3


def test_no_overlap(tmp_path):
    distances = write(tmp_path / 'd.csv', 'video_id,time,distance', 'a.mp4,0,2')
    truth = write(tmp_path / 't.csv', 'video_id,time,distance', 'x/a.mp4,0,2')
    with pytest.raises(ValueError, match='no known distance has an estimate .*x/a.mp4 at 0 s'):
        write_evaluation(distances, truth)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'', 'd.csv'),
        (b'video_id,time\na.mp4,0\n', 'lacks the column distance'),
        (b'video_id,time,distance\na.mp4,0,far\n', "d.csv:2: distance 'far' is not a number"),
        (b'video_id,time,distance\na.mp4,,1\n', "d.csv:2: time '' is not a whole second"),
        (b'video_id,time,distance\na.mp4,0,1\na.mp4,0,2\n', "d.csv:3: a second row for 'a.mp4', 0"),
        (b'video_id,time,distance\n\xff.mp4,0,1\n', 'd.csv is not UTF-8'),
        (b'video_id,time,distance\na.mp4,0,1,5\n', 'd.csv:2 has 4 cells, the header has 3'),
    ],
)
def test_bad_distances(tmp_path, text, message):
    (tmp_path / 'd.csv').write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_distances(tmp_path / 'd.csv')
    assert '\n' not in str(caught.value)
    with pytest.raises(ValueError, match='none.csv'):
        read_distances(tmp_path / 'none.csv')


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    names = ['007', '7', 'NA', '1e5', '100000']
    lines = [f'{name},0,{i}' for i, name in enumerate(names)]
    distances = write(tmp_path / 'distances.csv', 'video_id,time,distance', *lines)
    write(tmp_path / 'clips.csv', 'video_id,site', '007,NA', '7,01', 'NA,01', '1e5,01', '100000,1')
    # Errors of -1 m for the three clips that are known.
    truth = write(tmp_path / 'truth.csv', 'video_id,time,distance', '007,0,1', 'NA,0,3', '1e5,0,4')
    table = write_evaluation(distances, truth, [0, 9]).set_index(['scope', 'name'])
    assert table.loc['all', 'all'][['n', 'bias']].tolist() == [3, -1]
    assert table.loc['site']['n'].to_dict() == {'NA': 1, '01': 2}


def test_semicolons_and_decimal_commas(tmp_path):
    rows = read_distances(write(tmp_path / 'd.csv', 'video_id;time;distance;distance_lower', 'a.mp4;1;2,5;1,25'))
    assert rows[['distance', 'distance_lower']].values.tolist() == [[2.5, 1.25]]
    assert np.isnan(rows['distance_upper'][0]) and rows['status'].tolist() == ['']


@pytest.mark.parametrize('cutpoints', [[], [1], [0, 0], [2, 1], [-1, 2], [0, np.nan], [0, np.inf]])
def test_bad_cutpoints(cutpoints):
    with pytest.raises(ValueError, match='rising distances'):
        check_cutpoints(cutpoints)
