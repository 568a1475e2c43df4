"""Errors of the estimates on known distances."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from chimp_jax.commands import entry
from chimp_jax.field.evaluate import (
    band_errors,
    bias_warning,
    check_cutpoints,
    describe_bias,
    evaluate,
    join_truth,
    write_evaluation,
)
from chimp_jax.field.measured.reading import read_distances
from chimp_jax.field.measured.screen import screen_lines


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
    table = write_evaluation(distances, truth).table.set_index('scope')
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
        found = write_evaluation(distances, truth, [0, 4], tmp_path / 'out')
    table = found.table
    screen = capsys.readouterr().out
    assert '0 to 4 m' in screen and 'problem: no such clip or second: truth.csv:5 (c.mp4 at 0 s)' in screen
    assert found.unknown == ['truth.csv:5 (c.mp4 at 0 s)']  # b.mp4 has a row, and so it exists
    assert table['name'].tolist() == ['all', '0 to 4 m', 'camp'] and table['n'].tolist() == [1, 1, 1]
    assert table['bias'][0] == -1 and table['right_bin'][0] == 1  # 2 - 3
    content = json.loads((tmp_path / 'out' / 'evaluation.json').read_text())
    assert content['left_out'] == {
        'known, without a row': ['c.mp4 at 0 s'],
        'known, with a box elsewhere': [],
        'known, but no name or box tells which animal': [],
        'known, without an estimate': ['b.mp4 at 0 s'],
        'known, corrected by a person': ['a.mp4 at 2 s'],
        'known, used for the calibration': [],
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
    table = write_evaluation(distances, truth, [0, 9]).table.set_index(['scope', 'name'])
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


# Truth 1, 2 in the first bin (2 is its upper cutpoint), 3 in the second, 9 beyond both: errors 1.5, 0.7, -0.9, -3.5.
TRUE_M, ESTIMATE_M = [1.0, 2.0, 3.0, 9.0], [2.5, 2.7, 2.1, 5.5]


def test_the_errors_of_each_band_by_hand():
    bands = band_errors(ESTIMATE_M, TRUE_M, [0, 2, 4])
    assert [(band.name, band.n, band.width_m) for band in bands] == [
        ('0 to 2 m', 2, 2),
        ('2 to 4 m', 1, 2),
        ('above 4 m', 1, np.inf),
    ]
    assert [band.bias for band in bands] == pytest.approx([1.1, -0.9, -3.5])
    assert [band.mae for band in bands] == pytest.approx([1.1, 0.9, 3.5])
    told = describe_bias((band.name, band.bias) for band in bands)
    assert told == 'at 0 to 2 m 1.1 m too far, at 2 to 4 m 0.9 m too near, at above 4 m 3.5 m too near'
    assert describe_bias([('2 to 4 m', -0.04)]) == 'at 2 to 4 m right on average'


def test_a_warning_needs_a_bias_of_more_than_half_a_bin():
    # 1.1 m is more than half of 2 m, 0.9 m is not, and beyond the cutpoints there is no bin.
    text = bias_warning(band_errors(ESTIMATE_M, TRUE_M, [0, 2, 4]))
    assert text.startswith('the mean error is more than half of the bin at 0 to 2 m (+1.1 m in 2 rows): a density')
    assert bias_warning(band_errors(ESTIMATE_M, TRUE_M, [0, 4])) == ''  # errors 1.5, 0.7, -0.9: mean 0.43 of 4 m
    exactly_half = band_errors([3.0], [2.0], [1, 3])
    assert exactly_half[0].bias == exactly_half[0].width_m / 2 and bias_warning(exactly_half) == ''


def test_the_mean_bias_can_be_nil_while_the_bands_are_wrong():
    # An estimator that answers 5 m: near animals too far, far ones too near, as many of each.
    truth = np.array([1.0, 1.0, 9.0, 9.0])
    table = evaluate(joined(truth=truth, distance=np.full(4, 5.0)), [0, 2, 8, 10]).set_index('name')
    assert table.loc['all', 'bias'] == 0 and table.loc['0 to 2 m', 'bias'] == 4 and table.loc['8 to 10 m', 'bias'] == -4
    assert 'at 0 to 2 m' in bias_warning(band_errors(np.full(4, 5.0), truth, [0, 2, 8, 10]))


def test_the_screen_shows_bias_beside_the_error_of_each_band():
    table = evaluate(joined(truth=TRUE_M, distance=ESTIMATE_M, site=['camp'] * 4), [0, 2, 4])
    lines = screen_lines(table)
    # Errors 1.5, 0.7, -0.9, -3.5: MAE 6.6 / 4, bias -2.2 / 4.
    assert lines[0] == (
        '4 known distances. The estimates are wrong by 1.65 m on average (MAE). '
        'The mean error is 0.55 m too near (bias).'
    )
    assert lines[2].split('  ')[0] == 'true distance' and 'bias, m' in lines[2]
    assert lines[3].split() == '0 to 2 m 2 1.10 +1.10 too far 0 %'.split()
    assert lines[4].split() == '2 to 4 m 1 0.90 -0.90 too near 100 %'.split()
    assert lines[7].split()[0] == 'site' and lines[8].split()[:4] == ['camp', '4', '1.65', '-0.55']
    assert max(map(len, lines)) <= 120 and 'nan' not in '\n'.join(lines)


def test_distances_of_the_calibration_are_not_compared(tmp_path):
    rows = read_distances(
        write(tmp_path / 'd.csv', 'video_id,time,distance,status', 'a.mp4,0,2,ok', 'a.mp4,1,4,known distance')
    )
    truth = pd.DataFrame({'video_id': 'a.mp4', 'time': [0, 1], 'animal': '', 'distance': [3.0, 4.0], 'site': ''})
    truth['box'] = [(math.nan,) * 4] * 2
    compared, left_out, _ = join_truth(rows, truth)
    assert compared['time'].tolist() == [0] and left_out['known, used for the calibration'] == ['a.mp4 at 1 s']
    assert left_out['estimated, but not known'] == left_out['known, without an estimate'] == []


def test_the_command_tells_known_distances_of_no_clip_and_no_second(tmp_path, capsys):
    write(tmp_path / 'distances.csv', 'video_id,time,distance', 'a.mp4,0,2')
    write(tmp_path / 'clips.csv', 'video_id,site,duration_s', 'a.mp4,x,4.0')
    lines = ['a.mp4,0,3', 'a.mp4,5,3', 'a.mp4,6,3', 'A.mp4,0,3']  # 5 s: within a second of the end, as in training
    truth = str(write(tmp_path / 'truth.csv', 'video_id,time,distance', *lines))
    assert entry.main(['evaluate', str(tmp_path), '--truth', truth]) == 3
    assert 'truth.csv:4 (a.mp4 at 6 s); truth.csv:5 (A.mp4 at 0 s); correct' in capsys.readouterr().out
    write(tmp_path / 'truth.csv', 'video_id,time,distance', *lines[:2])
    assert entry.main(['evaluate', str(tmp_path), '--truth', truth]) == 0
    assert entry.main(['evaluate', str(tmp_path / 'none'), '--truth', truth]) == 1
    assert 'there is no folder' in capsys.readouterr().err


def test_the_command_tells_which_animals_were_not_detected(tmp_path, capsys):
    write(
        tmp_path / 'distances.csv',
        'video_id,time,animal,distance,bbox_x,bbox_y,bbox_width,bbox_height',
        'a.mp4,0,1,5,0.1,0.2,0.2,0.4',
        'a.mp4,0,2,9,0.6,0.2,0.2,0.4',
    )
    # One of the two animals of the second 0 is measured: that on the right. The animal at 1 s has no row.
    lines = ['a.mp4,0,8,0.6,0.2,0.8,0.6', 'a.mp4,1,12,,,,']
    truth = str(write(tmp_path / 'truth.csv', 'video_id,time,distance,x1,y1,x2,y2', *lines))
    assert entry.main(['evaluate', str(tmp_path), '--truth', truth, '--cutpoints', '0,10,20']) == 0
    screen = capsys.readouterr().out
    assert 'Not detected: 1 of 2 measured animals in their second.' in screen
    assert 'Matched with the estimates: 1 by box.' in screen
    content = json.loads((tmp_path / 'evaluation.json').read_text())
    assert content['table'][0]['bias'] == 1 and content['matched'] == {'by box': 1, 'without a row': 1}
    assert [(line['name'], line['n']) for line in content['table'][1:]] == [('several in view', 1), ('0 to 10 m', 1)]
    assert [(line['name'], line['share']) for line in content['detection']] == [
        ('all', 0.5),
        ('0 to 10 m', 0),
        ('10 to 20 m', 1),
    ]
    assert content['left_out']['estimated, but not known'] == ['a.mp4 at 0 s, animal 1']
    assert pd.read_csv(tmp_path / 'detection.csv')['not_detected'].tolist() == [1, 0, 1]


def test_names_of_the_table_are_those_of_the_estimates_only_if_they_agree(tmp_path, capsys):
    lines = ['a.mp4,0,bo,4', 'a.mp4,0,al,10', 'b.mp4,0,1,3', 'b.mp4,0,2,5']
    write(tmp_path / 'distances.csv', 'video_id,time,animal,distance', *lines)
    lines = ['a.mp4,0,al,9', 'a.mp4,0,bo,4', 'b.mp4,0,x,3', 'b.mp4,0,y,5']
    truth = str(write(tmp_path / 'truth.csv', 'video_id,time,animal,distance', *lines))
    assert entry.main(['evaluate', str(tmp_path), '--truth', truth]) == 3
    content = json.loads((tmp_path / 'evaluation.json').read_text())
    assert (content['table'][0]['n'], content['table'][0]['mae']) == (2, 0.5)  # 10 - 9 and 4 - 4
    # No name and no box tells which animal of b.mp4 is x. Its distances would agree in order, which proves nothing.
    assert content['matched'] == {'by name': 2, 'of several animals without names or boxes': 2}
    assert content['left_out']['known, but no name or box tells which animal'] == [
        'b.mp4 at 0 s, animal x',
        'b.mp4 at 0 s, animal y',
    ]
    told = capsys.readouterr().out
    assert 'Not detected' not in told  # without boxes nobody knows
    assert '2 known distances are left out, because no box or name' in told and 'names of these 2' in told
