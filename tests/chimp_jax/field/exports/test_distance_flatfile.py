"""Flat files of the R package Distance, and the errors of hand-made ones."""

import math

import pandas as pd
import pytest

from chimp_jax.field.exports.distance_flatfile import check_snapshot, write_distance
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful
from chimp_jax.field.exports.flatfile_check import check_flatfile
from chimp_jax.field.exports.snapshots import find_snapshots
from data_prep.inputs.looked_at import detector_looks, table_looks


def rows(*given):
    """(video_id, time, distance) with the interval distance -1, +1."""
    table = pd.DataFrame(given, columns=['video_id', 'time', 'distance'])
    distance = table['distance'].astype(float)
    return table.assign(distance=distance, distance_lower=distance - 1, distance_upper=distance + 1)


def deployments(**changes):
    table = {
        'station': ['A', 'B', 'C'],
        'region': ['north', 'north', 'south'],
        'area_km2': [12.5, 12.5, 3.0],
        'active_seconds': [86400.0, 3601.0, 7200.0],
        'row': ['d.csv:2', 'd.csv:3', 'd.csv:4'],
    }
    return pd.DataFrame({**table, **changes})


def snapshots(table, interval_s=2):
    """Each row of the table is an animal; each clip is 60 s long; the folder of a clip is its station."""
    seconds = table.groupby('video_id')['time'].agg(list).to_dict()
    site = pd.Series({name: name.partition('/')[0] for name in seconds}, dtype=object)
    looked_at = {name: table_looks(times, [], last_s=59) for name, times in seconds.items()}
    keys = set(zip(table['video_id'], table['time'], strict=True))
    return find_snapshots(looked_at, dict.fromkeys(seconds, 59.9), keys, site, interval_s)


GIVEN = rows(
    ('C/z.mp4', 0, 9.9), ('A/x.mp4', 2, 3.25), ('A/x.mp4', 0, 1.0), ('A/x.mp4', 1, 7.0), ('A/x.mp4', 4, math.nan)
)
SNAPSHOTS = snapshots(GIVEN)


def read(folder):
    return pd.read_csv(folder / 'distance_flatfile.csv', dtype=str, keep_default_na=False)


def test_columns_and_numbers_by_hand(tmp_path):
    summary = write_distance([GIVEN], SNAPSHOTS, deployments(), 2, 42, tmp_path)
    table = read(tmp_path)
    assert list(table) == [
        'Region.Label', 'Area', 'Sample.Label', 'Effort', 'distance', 'object', 'multiplier',
        'video_id', 'time', 'distance_lower', 'distance_upper',
    ]  # fmt: skip
    # A: 86400 s / 2 s; B, where nothing was seen, keeps a row: 3601 / 2; C: 7200 / 2. 42 / 360 = 0.1166667.
    assert table.values.tolist() == [
        ['north', '12.5', 'A', '43200', '1', '1', '0.1166667', 'A/x.mp4', '0', '0', '2'],
        ['north', '12.5', 'A', '43200', '3.25', '2', '0.1166667', 'A/x.mp4', '2', '2.25', '4.25'],
        ['north', '12.5', 'B', '1800.5', '', '', '0.1166667', '', '', '', ''],
        ['south', '3', 'C', '3600', '9.9', '3', '0.1166667', 'C/z.mp4', '0', '8.9', '10.9'],
    ]
    counts = {'observations': 3, 'stations': 3, 'stations without any': 1, 'regions': 2}
    assert summary['left out'] == {'between snapshot moments': 1, 'no distance': 1}
    assert {name: summary[name] for name in counts} == counts and summary['stations not looked at'] == []
    # Two clips of 30 moments each.
    assert summary['moments'] == {
        'with an animal': 4, 'empty': 56, 'not looked at': 0, 'clips not looked at': 0,
        'clips with unknown length': 0, 'with several animals': 0,
    }  # fmt: skip
    assert check_flatfile(tmp_path / 'distance_flatfile.csv') == counts


def test_bins_and_a_station_that_truncation_empties(tmp_path):
    given = rows(*(('A/x.mp4', t, d) for t, d in enumerate((0.5, 1, 2.5, 4, 8, 8.1))), ('C/z.mp4', 0, 20))
    summary = write_distance([given], snapshots(given, 1), deployments(), 1, 42, tmp_path, [1, 2.5, 4, 8, 15], 8)
    table = read(tmp_path)
    # [1, 2.5] (2.5, 4] (4, 8], as R's cut(include.lowest = TRUE).
    # 0.5 is too near, 8.1 and 20 too far; C keeps an empty row.
    assert table[['distance', 'distbegin', 'distend']].values.tolist() == [
        ['1', '1', '2.5'], ['2.5', '1', '2.5'], ['4', '2.5', '4'], ['8', '4', '8'], [''] * 3, [''] * 3
    ]  # fmt: skip
    assert table['Sample.Label'].tolist() == ['A', 'A', 'A', 'A', 'B', 'C']
    assert summary['left out'] == {'nearer than the first cutpoint': 1, 'beyond the truncation': 2}
    assert check_flatfile(tmp_path / 'distance_flatfile.csv', [1, 2.5, 4, 8])['stations without any'] == 2


def test_no_rows_keep_every_station(tmp_path):
    counts = write_distance([GIVEN[:0]], snapshots(GIVEN[:0]), deployments(), 2, 42, tmp_path)
    assert counts['stations without any'] == 3
    assert read(tmp_path)['distance'].tolist() == ['', '', '']


def test_no_region_is_one_region(tmp_path):
    write_distance([GIVEN], SNAPSHOTS, deployments(region='', area_km2=5.0), 2, 42, tmp_path)
    assert set(read(tmp_path)['Region.Label']) == {'all'}


@pytest.mark.parametrize(
    ('match', 'options'),
    [
        ('truncation 16 m is beyond the last cutpoint 15 m', {'cutpoints': [0, 5, 15], 'truncation': 16}),
        ('truncation 7 m is inside a bin', {'cutpoints': [0, 5, 15], 'truncation': 7}),
        ('truncation nan is not a distance', {'truncation': math.nan}),
        ('cutpoints 0, 5, 5 are not ascending', {'cutpoints': [0, 5, 5]}),
        ('cutpoints -1, 5 do not make bins', {'cutpoints': [-1, 5]}),
        ('cutpoints 5 do not make bins', {'cutpoints': [5]}),
        ('snapshot interval 0.5 s is not a whole', {'snapshot_s': 0.5}),
        ('snapshot interval 0 s is not a whole', {'snapshot_s': 0}),
        ('theta 0 is not an angle', {'theta_deg': 0}),
        ('give degrees; 0.733 rad are 42 degrees', {'theta_deg': 0.733}),
        ('theta 361 is not an angle', {'theta_deg': 361}),
        ('theta nan is not an angle', {'theta_deg': math.nan}),
        ('station .C. of C/z.mp4 is not in the deployments', {'deployments': deployments()[:2]}),
        ('d.csv:3: .*A. has two rows', {'deployments': deployments(station=['A', 'A', 'C'])}),
        ('d.csv:2: area_km2 is missing', {'deployments': deployments(area_km2=math.nan)}),
        ('d.csv:3: active_seconds is missing', {'deployments': deployments(active_seconds=[1, math.nan, 1])}),
        (
            'd.csv:3: .*north. has 2 square km, but 1 in d.csv:2',
            {'deployments': deployments(area_km2=[1.0, 2.0, 3.0])},
        ),
        ('A/x.mp4 at 0 s: the distance is negative', {'pieces': [GIVEN.assign(distance=[1, 1, -1, 1, 1])]}),
        ('lacks the column distance_lower', {'pieces': [GIVEN.drop(columns='distance_lower')]}),
    ],
)
def test_user_errors_are_refused_by_name(tmp_path, match, options):
    good = {'pieces': [GIVEN], 'deployments': deployments(), 'snapshot_s': 2, 'theta_deg': 42}
    with pytest.raises(ValueError, match=match):
        write_distance(snapshots=SNAPSHOTS, out_dir=tmp_path / 'out', **{**good, **options})
    assert not (tmp_path / 'out').exists()


def test_a_snapshot_interval_that_is_no_multiple_of_the_targets_is_refused():
    with pytest.raises(ValueError, match='distances are 3 s apart'):
        check_snapshot(2, every_s=3)


def test_an_observation_is_a_moment_with_an_animal_not_a_row(tmp_path):
    # The detector's frames are at 0, 1.97 and 3.94 s, and 0.5 s: an animal in the second 2 that is not there at 2 s.
    given = rows(('A/x.mp4', 0, 1.0), ('A/x.mp4', 1, 2.0), ('A/x.mp4', 4, 4.0))
    looked_at = {'A/x.mp4': detector_looks([0, 0.5, 1.97, 3.94, 4.5], [0.5, 1.97, 4.5])}
    keys = set(zip(given['video_id'], given['time'], strict=True))
    found = find_snapshots(looked_at, {'A/x.mp4': 5.0}, keys, pd.Series({'A/x.mp4': 'A'}), 2)
    summary = write_distance([given], found, deployments(), 2, 42, tmp_path)
    assert read(tmp_path)[['Sample.Label', 'distance', 'time']].values.tolist() == [
        ['A', '2', '1'], ['B', '', ''], ['C', '', '']
    ]  # fmt: skip
    assert summary['left out'] == {'between snapshot moments': 2}


HEADER = 'Region.Label,Area,Sample.Label,Effort,distance,object,distbegin,distend'
ROWS = ['n,10,A,100,1.5,1,0,2', 'n,10,A,100,3,2,2,4', 'n,10,B,50,,,,']


def test_na_as_r_writes_it_is_an_empty_cell(tmp_path):
    (tmp_path / 'f.csv').write_text('\n'.join([HEADER, *ROWS[:2], 'n,10,B,50,NA,NA,NA,NA']) + '\n')
    assert check_flatfile(tmp_path / 'f.csv')['stations without any'] == 1


def test_a_hand_made_file_is_counted(tmp_path):
    (tmp_path / 'f.csv').write_text('\n'.join([HEADER, *ROWS]) + '\n')
    assert check_flatfile(tmp_path / 'f.csv', [0, 2, 4]) == {
        'observations': 2, 'stations': 2, 'stations without any': 1, 'regions': 1
    }  # fmt: skip


@pytest.mark.parametrize(('separator', 'point'), [(',', '.'), (';', ','), (';', '.'), ('\t', ',')])
def test_separators_and_decimal_marks_of_hand_made_files(tmp_path, separator, point):
    rows = [['n', f'1{point}5', '007', '100', f'2{point}25', '1', '2', f'2{point}5'], ['n', f'1{point}5', 'NA', '50']]
    lines = [HEADER.split(','), rows[0], [*rows[1], '', '', '', '']]
    (tmp_path / 'f.csv').write_text('\n'.join(separator.join(line) for line in lines))
    assert check_flatfile(tmp_path / 'f.csv', [2, 2.5]) == {
        'observations': 1, 'stations': 2, 'stations without any': 1, 'regions': 1
    }  # fmt: skip
    with pytest.raises(ValueError, match='distance 2.25 m is outside the cutpoints 3, 4'):
        check_flatfile(tmp_path / 'f.csv', [3, 4])


@pytest.mark.parametrize(
    ('match', 'lines', 'options'),
    [
        ('lacks the column object', [HEADER.replace('object', 'id'), *ROWS], {}),
        ('has distbegin only', [HEADER.replace('distend', 'end'), *ROWS], {}),
        ('f.csv:3: Effort of .A. is 99, but 100 in .*f.csv:2', [HEADER, ROWS[0], ROWS[1].replace('100', '99')], {}),
        ('f.csv:2: Effort is 0', [HEADER, ROWS[2].replace('50', '0')], {}),
        ('f.csv:2: Effort .. is not a number', [HEADER, ROWS[2].replace('50', '')], {}),
        ('f.csv:2: Area .NA. is not a number', [HEADER, ROWS[2].replace('10', 'NA')], {}),
        ('f.csv:3: Area of .n. is 11', [HEADER, ROWS[0], ROWS[2].replace('10', '11')], {}),
        ('f.csv:3: Sample.Label .A. is in the regions', [HEADER, ROWS[0], ROWS[1].replace('n', 's')], {}),
        ('f.csv:3: object 1 is already in', [HEADER, ROWS[0], ROWS[0]], {}),
        ('f.csv:2: object is empty', [HEADER, 'n,10,A,100,1.5,,0,2'], {}),
        ('f.csv:2: object is given without a distance', [HEADER, 'n,10,A,100,,1,,'], {}),
        (
            'f.csv:3: a row without a distance, but the station .A. has',
            [HEADER, ROWS[0], 'n,10,A,100,,,,'],
            {},
        ),
        ('f.csv:3: the station .B. has a row without', [HEADER, ROWS[2], 'n,10,B,50,1,1,0,2'], {}),
        ('f.csv:2: distbegin or distend is empty', [HEADER, 'n,10,A,100,1.5,1,0,'], {}),
        ('f.csv:2: distance 1.5 m is not in its bin', [HEADER, 'n,10,A,100,1.5,1,2,4'], {}),
        ('f.csv:2: distance -1 is out of bounds', [HEADER, 'n,10,A,100,-1,1,0,2'], {}),
        ('f.csv:3: distance 3 m is outside', [HEADER, *ROWS], {'cutpoints': [0, 2]}),
        ('f.csv:2: the bin 0 to 2 m is not a bin of', [HEADER, *ROWS], {'cutpoints': [0, 1, 4]}),
        ('f.csv:3: the bin ends at 4 m, beyond', [HEADER, *ROWS], {'truncation': 3}),
        ('truncation 5 m is beyond', [HEADER, *ROWS], {'cutpoints': [0, 2, 4], 'truncation': 5}),
        ('f.csv has no rows', [HEADER], {}),
        ('f.csv:3 has 9 cells, the header has 8', [HEADER, ROWS[0], ROWS[1] + ',5'], {}),
    ],
)
def test_known_errors_of_hand_made_files(tmp_path, match, lines, options):
    (tmp_path / 'f.csv').write_text('\n'.join(lines) + '\n')
    with pytest.raises(ValueError, match=match):
        check_flatfile(tmp_path / 'f.csv', **options)


def test_several_kinds_of_animal_are_told_and_doubtful(tmp_path):
    several = GIVEN.assign(label=['duiker', 'duiker', '', 'chimpanzee', 'duiker'])
    counts = write_distance([several], SNAPSHOTS, deployments(), 2, 42, tmp_path)
    assert counts['kinds of animal'] == {'duiker': 2, 'animal': 1} and is_doubtful(counts)
    line = describe_export('distance', counts, tmp_path)
    assert 'it counts several kinds as one (duiker 2, animal 1): run again for each kind with --animals' in line
    one = write_distance([GIVEN.assign(label='duiker')], SNAPSHOTS, deployments(), 2, 42, tmp_path)
    assert one['kinds of animal'] == {} and not is_doubtful(one)
