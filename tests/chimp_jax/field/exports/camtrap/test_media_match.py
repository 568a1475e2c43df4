"""Which medium a clip is: by paths, by deployment and name, or by the user's table."""

import pandas as pd
import pytest

from chimp_jax.field.exports.camtrap.media_match import media_of_clips, read_media_table


def media(*rows):
    """media.csv with mediaIDs m2, m3, ... for its lines. rows: (deploymentID, filePath, fileName, fileMediatype)."""
    lines = range(2, 2 + len(rows))
    table = pd.DataFrame(list(rows), index=lines, columns=['deploymentID', 'filePath', 'fileName', 'fileMediatype'])
    return table.assign(mediaID=[f'm{line}' for line in lines], timestamp='2024-03-02T10:00:00Z')


def agouti(deployment, name, kind='video/mp4'):
    return (deployment, f'https://multimedia.agouti.eu/assets/{deployment}-{name}/file', name, kind)


def found(video_ids, table, deployments=(), media_table=None):
    known, unknown = media_of_clips(video_ids, table, 'media.csv', deployments, media_table)
    assert sorted([*known, *unknown]) == sorted(video_ids)
    return {name: about['mediaID'] for name, about in known.items()}


@pytest.mark.parametrize(
    ('video_id', 'names', 'expected'),
    [
        ('a/IMG_0001.MP4', ['IMG_0001.MP4', 'IMG_0002.MP4'], 'm2'),
        ('a/100MEDIA/IMG_0001.MP4', ['20221209135711-IMG_0001.MP4', '20221209135811-IMG_0002.MP4'], 'm2'),
        ('survey/a/IMG_0001.mp4', ['20221209135711_IMG_0001.MP4'], 'm2'),  # upper and lower case
        ('a/IMG_0001.AVI', ['20221209135711-IMG_0001.mp4'], 'm2'),  # the platform made another kind of video
        ('a/IMG_0001.MP4', ['IMG_0001.JPG', 'IMG_0001.mov'], 'm3'),  # of which the photo is another medium
        ('a/IMG_0001.MP4', ['20221209135711IMG_0001.MP4', 'IMG_00010.MP4', 'XIMG_0001.MP4'], None),  # without a mark
        ('a/1.MP4', ['IMG_0001.MP4', 'IMG-21.MP4'], None),
        ('b/IMG_0001.MP4', ['20221209135711-IMG_0001.MP4', 'IMG_0001.MP4'], None),  # b is another deployment
        ('IMG_0001.MP4', ['20221209135711-IMG_0001.MP4'], None),  # no folder tells the deployment
        ('Caf\u0065\u0301/IMG_1.MP4', [], 'm2'),
    ],
)
def test_names_on_the_card_and_names_of_the_platform(video_id, names, expected):
    rows = [agouti('a', name, 'image/jpeg' if name.endswith('JPG') else 'video/mp4') for name in names]
    table = media(*(rows or [agouti('Caf\xe9', '2022-IMG_1.MP4')]))
    assert found([video_id], table, ['a', 'b']) == ({video_id: expected} if expected else {})


def test_the_same_name_at_two_deployments():
    table = media(agouti('a', 'IMG_0001.mp4'), agouti('b', 'IMG_0001.mp4'))
    assert found(['a/IMG_0001.mp4', 'b/IMG_0001.mp4'], table) == {'a/IMG_0001.mp4': 'm2', 'b/IMG_0001.mp4': 'm3'}


def test_the_path_of_the_medium_counts_before_its_name():
    table = media(('a', 'media/north/x.mp4', 'x.mp4', 'video/mp4'), ('a', 'media/south/x.mp4', 'x.mp4', 'video/mp4'))
    assert found(['south/x.mp4'], table) == {'south/x.mp4': 'm3'}
    # Shared folders decide, whatever else has the name of a deployment.
    assert found(['south/x.mp4'], table, ['south']) == {'south/x.mp4': 'm3'}


def test_the_deployment_decides_between_equal_paths():
    table = media(*((name, '100/x.mp4', 'x.mp4', 'video/mp4') for name in 'ab'))
    assert found(['b/100/x.mp4'], table) == {'b/100/x.mp4': 'm3'}


@pytest.mark.parametrize(
    ('video_ids', 'rows', 'match'),
    [
        (
            ['a/1/IMG_1.MP4', 'a/2/IMG_1.MP4'],
            [agouti('a', '20220101-IMG_1.MP4'), agouti('a', '20220201-IMG_1.MP4')],
            r'a/1/IMG_1.MP4 fits 2 media \(media.csv, lines 2, 3\) \(and 1 more clips .*--media_table',
        ),
        (
            ['a/1/IMG_1.MP4', 'a/2/IMG_1.MP4'],
            [agouti('a', '20220101-IMG_1.MP4')],
            'media.csv:2: the medium fits the clips a/1/IMG_1.MP4 and a/2/IMG_1.MP4.*--media_table',
        ),
        (
            ['x/IMG_1.MP4'],
            [agouti('a', 'IMG_1.MP4'), agouti('b', 'IMG_1.MP4')],
            'x/IMG_1.MP4 fits 2 media',
        ),
    ],
)
def test_what_is_not_certain_is_refused(video_ids, rows, match):
    with pytest.raises(ValueError, match=match):
        found(video_ids, media(*rows))


def table_of(tmp_path, text):
    (tmp_path / 'table.csv').write_text(text)
    return read_media_table(tmp_path / 'table.csv', ['a/1.mp4', 'a/2.mp4'], lambda name: name.replace('\\', '/'))


def test_a_table_alone_counts(tmp_path):
    table = table_of(tmp_path, 'video_id;mediaID;mine\na\\1.mp4; m3;x\n')
    rows = media(agouti('a', '1.mp4'), agouti('b', 'other.JPG', 'image/jpeg'), agouti('a', '2.mp4'))
    assert found(['a/1.mp4', 'a/2.mp4'], rows, media_table=table) == {'a/1.mp4': 'm3'}


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('video_id,medium\na/1.mp4,m2\n', 'lacks the column mediaID'),
        ('video_id,mediaID\na/1.mp4,m2\na/2.mp4,\n', 'table.csv:3: the mediaID is missing'),
        ('video_id,mediaID\na/1.mp4,NA\n', 'table.csv:2: the mediaID is missing'),
        ('video_id,mediaID\n,m2\n', 'table.csv:2: the video_id is missing'),
        ('video_id,mediaID\na/1.mp4,m2\nb/2.mp4,m3\n', "table.csv:3: the clip 'b/2.mp4' is not in the clips folder"),
        ('video_id,mediaID\na/1.mp4,m2\na/1.mp4,m3\n', "table.csv:3: a second row for 'a/1.mp4'"),
        ('video_id,mediaID\na/1.mp4,m2\na/2.mp4,m2\n', "table.csv:3: a second row for 'm2'"),
        ('video_id,mediaID\na/1.mp4,m2\na/2.mp4,m9\n', "table.csv:3: the mediaID 'm9' is not in media.csv"),
        ('video_id,mediaID\n', 'table.csv has no row'),
    ],
)
def test_faults_of_the_table_are_named(tmp_path, text, match):
    with pytest.raises(ValueError, match=match):
        found(['a/1.mp4'], media(agouti('a', '1.mp4')), media_table=table_of(tmp_path, text))


def test_clips_of_which_the_name_alone_fits_are_told():
    rows = [agouti('a', name) for name in ('x.mp4', 'y.mp4', 'z.mp4')]
    table = media(*rows, ('a', 'ridge/v.mp4', '', 'video/mp4'))
    known, _ = media_of_clips(['ridge/x.mp4', 'y.mp4', 'a/z.mp4', 'ridge/v.mp4'], table, 'media.csv')
    assert [name for name, about in known.items() if about['by_name']] == ['ridge/x.mp4']
