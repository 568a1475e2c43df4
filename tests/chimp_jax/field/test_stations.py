"""The deployments table, and the station of a clip."""

import math

import pandas as pd
import pytest

from chimp_jax.field.stations import read_deployments, stations_of


def write(path, *lines, encoding='utf-8'):
    path.write_bytes(('\n'.join(lines) + '\n').encode(encoding))
    return path


def test_a_table_with_everything(tmp_path):
    table = read_deployments(
        write(
            tmp_path / 'd.csv',
            'station,folder,region,area_km2,active_seconds,start,end,latitude,longitude,notes',
            'A,park\\a/,north,12.5,3600,,,6.1,-7.2,wet',
            'B,,south,3,,2024-03-01T08:00:00+02:00,2024-03-02T08:00:00+02:00,,,',
        )
    )
    # From 8:00 to 8:00 of the next day: 24 * 3600 s.
    assert table['active_seconds'].tolist() == [3600, 86400]
    assert table['folder'].tolist() == ['park/a', '']
    assert table['area_km2'].tolist() == [12.5, 3]
    assert table['latitude'].iloc[0] == 6.1 and math.isnan(table['latitude'].iloc[1])
    assert table['row'].tolist() == [f'{tmp_path / "d.csv"}:{line}' for line in (2, 3)]


def test_names_of_stations_and_folders_in_other_spellings(tmp_path):
    lines = ['station,folder', 'For\xeat 1,', ' old  ridge ,', 'B,.\\park\\cre\u0301te\\', 'C,./']
    table = read_deployments(write(tmp_path / 'd.csv', *lines[:4]))
    assert table['station'].tolist() == ['For\xeat 1', 'old ridge', 'B'] and table['folder'][2] == 'park/cr\xe9te'
    clips = ['For\u0065\u0302t 1/x.mp4', 'old ridge /x.mp4', 'park/cr\xe9te/x.mp4', 'park/cre\u0301te/y.mp4']
    assert stations_of(clips, table).tolist() == ['For\xeat 1', 'old ridge', 'B', 'B']
    assert stations_of(clips[:2]).tolist() == ['For\xeat 1', 'old ridge']
    assert read_deployments(write(tmp_path / 'd.csv', lines[0], lines[4]))['folder'].tolist() == ['.']
    with pytest.raises(ValueError, match='d.csv:3: line 2 has the station .* too'):
        read_deployments(write(tmp_path / 'd.csv', 'station', 'ridge', 'ridge\xa0'))


def test_an_area_with_a_thousands_separator_is_refused(tmp_path):
    for cell in ('"1,250"', '"12,5"'):
        with pytest.raises(
            ValueError, match='d.csv:2: area_km2 .* is not a number; write a number without a thousands'
        ):
            read_deployments(write(tmp_path / 'd.csv', 'station,area_km2', f'A,{cell}'))
    with pytest.raises(ValueError, match='d.csv:2: active_seconds .864,000. may be 864000 or 864'):
        read_deployments(write(tmp_path / 'd.csv', 'station;active_seconds', 'A;864,000'))
    path = write(tmp_path / 'd.csv', 'Station;Active_Seconds;area_km2', 'A;864,125;12,5')
    assert read_deployments(path)['active_seconds'].tolist() == [864.125]


def test_an_hour_of_summer_time_counts_by_the_zones(tmp_path):
    lines = 'station,start,end', 'A,2024-03-31T00:00:00+01:00,2024-03-31T04:00:00+02:00'
    assert read_deployments(write(tmp_path / 'd.csv', *lines))['active_seconds'].tolist() == [3 * 3600]


def test_semicolons_decimal_commas_and_a_byte_order_mark_are_understood(tmp_path):
    path = write(tmp_path / 'd.csv', '\ufeffstation;area_km2;active_seconds', 'A;12,5;3600')
    assert read_deployments(path)[['station', 'area_km2']].values.tolist() == [['A', 12.5]]


def test_tabs_separate_too(tmp_path):
    path = write(tmp_path / 'd.csv', 'station\tfolder\tarea_km2', '007\tNA\t12,5')
    assert read_deployments(path)[['station', 'folder', 'area_km2']].values.tolist() == [['007', 'NA', 12.5]]


def test_deployments_of_camtrap_dp_serve(tmp_path):
    lines = (
        'deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd',
        'd1,A,6.1,-7.2,2024-03-01T08:00:00Z,2024-03-01T09:00:00Z',
    )
    table = read_deployments(write(tmp_path / 'd.csv', *lines))
    assert table[['station', 'active_seconds']].values.tolist() == [['d1', 3600]]


@pytest.mark.parametrize(
    ('match', 'lines'),
    [
        ('d.csv is empty', ['']),
        ('d.csv has no row', ['station']),
        ('lacks the column station', ['site', 'A']),
        ('has the column .folder. twice', ['station,folder,folder', 'A,a,b']),
        ('d.csv:3: line 2 has the station .A. too', ['station', 'A', 'A']),
        ('d.csv:3: the station has no name', ['station,folder', 'A,a', ' ,b']),
        ('d.csv:2 has 3 cells, the header has 2', ['station,folder', 'A,a,b']),
        ('d.csv:2: area_km2 .nan. is not a number', ['station,area_km2', 'A,nan']),
        ('d.csv:2: area_km2 -1 is out of bounds', ['station,area_km2', 'A,-1']),
        ('d.csv:2: latitude 91 is out of bounds', ['station,latitude', 'A,91']),
        (
            'd.csv:2: active_seconds .1 h. has a unit; write only the number of seconds',
            ['station,active_seconds', 'A,1 h'],
        ),
        ('d.csv:2: start .1.3.2024. is not an ISO 8601', ['station,start,end', 'A,1.3.2024,2024-03-02']),
        ('d.csv:2: only one of start and end is given', ['station,start,end', 'A,2024-03-01,']),
        ('d.csv:2: only one .* time zone', ['station,start,end', 'A,2024-03-01T00:00:00Z,2024-03-02']),
        ('d.csv:2: the end .* not after', ['station,start,end', 'A,2024-03-02,2024-03-02']),
        ('d.csv:2: the folder .* is not below', ['station,folder', 'A,../a']),
        ('d.csv:2: the folder .* is not below', ['station,folder', 'A,/a']),
        ('d.csv:2: the folder .* is not below', ['station,folder', 'A,C:\\a']),
        ('d.csv:2: .*quotes', ['station,folder', 'A,"a']),
        ('d.csv:2: area_km2 .12,5. is not a number', ['station,area_km2', 'A,"12,5"']),
    ],
)
def test_bad_tables_are_refused_by_row(tmp_path, match, lines):
    with pytest.raises(ValueError, match=match):
        read_deployments(write(tmp_path / 'd.csv', *lines))


def test_other_encodings_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match='not UTF-8 .byte 9.'):
        read_deployments(write(tmp_path / 'd.csv', 'station', 'T\xe9', encoding='latin-1'))
    with pytest.raises(ValueError, match='none.csv cannot be read'):
        read_deployments(tmp_path / 'none.csv')


def deployments(*named):
    return pd.DataFrame([{'station': station, 'folder': folder} for station, folder in named])


def test_without_a_table_the_folder_is_the_station():
    video_ids = pd.Series(['a/b/x.mp4', 'y.mp4', '=a/z.mp4'], index=[7, 8, 9])
    stations = stations_of(video_ids)
    assert stations.tolist() == ['a/b', '', '=a'] and stations.index.tolist() == [7, 8, 9]


def test_a_station_is_found_by_its_folder_or_by_its_name_at_any_depth():
    table = deployments(('A', 'card 7'), ('B', ''), ('C', 'park/c'))
    clips = ['card 7/x.mp4', 'B/x.mp4', 'park/B/100MEDIA/x.mp4', 'park/c/deep/x.mp4']
    assert stations_of(clips, table).tolist() == ['A', 'B', 'B', 'C']


def test_a_point_is_the_clips_folder_itself():
    assert stations_of(['x.mp4', 'a/y.mp4'], deployments(('A', '.'))).tolist() == ['A', 'A']


def test_a_clip_of_no_station_or_of_two_is_refused_by_name():
    with pytest.raises(ValueError, match='^card 70/x.mp4: in no folder .* add the station'):
        stations_of(['card 70/x.mp4'], deployments(('A', 'card 7')))
    with pytest.raises(ValueError, match='^A/B/x.mp4 lies in the folders of 2 stations .A; B.'):
        stations_of(['A/B/x.mp4'], deployments(('A', ''), ('B', '')))
