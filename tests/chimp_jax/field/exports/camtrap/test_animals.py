"""Animals and their tracks in a Camtrap DP package, by hand."""

import json
from pathlib import Path

import frictionless
import pandas as pd
import pytest
from make_packages import MEDIA, OBSERVATIONS, package, read, row, rows

from chimp_jax.field.exports.camtrap.check import check_package, descriptor_faults
from chimp_jax.field.exports.camtrap.media_match import media_of_clips
from chimp_jax.field.exports.camtrap.observations import Followed, tags_of
from chimp_jax.field.exports.camtrap.package import read_package
from chimp_jax.field.exports.camtrap_dp import merge_camtrap_dp
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful

OFFICIAL = Path(__file__).resolve().parents[6] / 'shared' / 'data' / 'camtrap_dp_1.0.2'
HEADER = OBSERVATIONS.splitlines()[0] + '\n'
A, B = 'site_1/a.mp4', 'site 2/b.mp4'
# a.mp4 is m1, from 23:59:58 on; b.mp4 is m2, from 10:00:00+02:00 on. Both have an animal 1.
GIVEN = [
    row(A, 4, 3.5, animal='1', angle=-8.256, bbox_x=0.1, bbox_y=0.2, bbox_width=0.2, bbox_height=0.3),
    row(A, 4, 8.0, animal='2', angle=12.0),
    row(A, 5, 3.0, animal='1', angle=-4.0),
    row(A, 6, None, animal='1', angle=-2.0),
    row(B, 0, None, animal='1', angle=5.0),
    row(B, 1, 6.5, animal='1', angle=7.0),
]
TRACKS = {
    (A, '1'): Followed(0.51249, 0.4, 0.66, 1.5),
    (A, '2'): Followed(float('nan'), half_angle_deg=1.5),
    (B, '1'): Followed(0.0, 0.0, 0.1),
}


def merged(tmp_path, given=GIVEN, observations=HEADER, media=MEDIA, **options):
    mine = package(tmp_path / 'mine', observations=observations, media=media)
    counts = merge_camtrap_dp([rows(*given)], mine, tmp_path / 'out', tracks=TRACKS, **options)
    made = read_package(tmp_path / 'out')
    check_package(made)
    assert descriptor_faults(made) == []
    return counts, read(tmp_path / 'out' / 'observations.csv')


@pytest.fixture(scope='module')
def with_tracks(tmp_path_factory):
    return merged(tmp_path_factory.mktemp('tracks'), track_events=True, coverage=0.95)


def test_an_observation_for_each_animal_and_second(tmp_path):
    counts, table = merged(tmp_path)
    names = ['observationID', 'eventStart', 'individualID', 'individualPositionRadius', 'individualPositionAngle']
    assert table[[*names, 'individualSpeed', 'count']].values.tolist() == [
        ['chimp_jax-m2-1/1', '2024-03-03T10:00:01+02:00', 'chimp_jax-m2/1', '6.5', '7', '0', '1'],
        ['chimp_jax-m1-4/1', '2024-03-03T00:00:02Z', 'chimp_jax-m1/1', '3.5', '-8.26', '0.512', '1'],
        ['chimp_jax-m1-4/2', '2024-03-03T00:00:02Z', 'chimp_jax-m1/2', '8', '12', '', '1'],
        ['chimp_jax-m1-5/1', '2024-03-03T00:00:03Z', 'chimp_jax-m1/1', '3', '-4', '0.512', '1'],
    ]
    assert set(table['observationLevel']) == {'media'} and table['bboxX'].tolist() == ['', '0.1', '', '']
    assert counts['observations added'] == 4 and counts['left out'] == {'no distance': 2}
    assert 'events added' not in counts


def test_intervals_are_tags_that_name_their_coverage(with_tracks):
    _, table = with_tracks
    tags = {key: tags_of(text) for key, text in zip(table['observationID'], table['observationTags'], strict=True)}
    # The angle of animal 1 is -8.256 degrees in its first second, and -4 in the next one.
    speed = {'speedLower': '0.4', 'speedUpper': '0.66'}
    rest = {'intervalCoverage': '0.95', 'distanceMethod': 'chimp_jax'}
    first = speed | {'angleLower': '-9.76', 'angleUpper': '-6.76'} | rest
    assert tags['chimp_jax-m1-4/1'] == tags['chimp_jax-m1/1/event'] == first
    assert tags['chimp_jax-m1-5/1'] == speed | {'angleLower': '-5.5', 'angleUpper': '-2.5'} | rest
    assert tags['chimp_jax-m1-4/2'] == {'angleLower': '10.5', 'angleUpper': '13.5'} | rest  # no speed
    assert tags['chimp_jax-m2-1/1'] == {'speedLower': '0', 'speedUpper': '0.1'} | rest  # no interval of the angle


def test_an_observation_for_each_track_on_request(with_tracks):
    counts, table = with_tracks
    events = table[table['observationLevel'] == 'event'].set_index('observationID')
    # Animal 1 of a.mp4 is seen from 4 to 6 s, with a distance at 4 and 5 s; that of b.mp4 from 0 s, with one at 1 s.
    names = ['deploymentID', 'mediaID', 'eventStart', 'eventEnd', 'individualID', 'individualPositionRadius']
    assert events[[*names, 'individualPositionAngle', 'individualSpeed', 'count']].T.to_dict('list') == {
        'chimp_jax-m2/1/event': [
            'd2', '', '2024-03-03T10:00:00+02:00', '2024-03-03T10:00:01+02:00', 'chimp_jax-m2/1', '6.5', '7', '0', '1'
        ],
        'chimp_jax-m1/1/event': [
            'd1', '', '2024-03-03T00:00:02Z', '2024-03-03T00:00:04Z', 'chimp_jax-m1/1', '3.5', '-8.26', '0.512', '1'
        ],
        'chimp_jax-m1/2/event': [
            'd1', '', '2024-03-03T00:00:02Z', '2024-03-03T00:00:02Z', 'chimp_jax-m1/2', '8', '12', '', '1'
        ],
    }  # fmt: skip
    # eventID and individualID lead from a track to its seconds, as the R package camtraptor joins them.
    media = table[table['observationLevel'] == 'media']
    found = {key: part['eventStart'].iloc[0] for key, part in media.groupby(['eventID', 'individualID'])}
    assert found[('chimp_jax-m1/1', 'chimp_jax-m1/1')] == '2024-03-03T00:00:02Z' and len(found) == 3
    assert (counts['events added'], counts['events without a first distance'], counts['events beside yours']) == (
        3,
        1,
        0,
    )
    line = describe_export('camtrap-dp', counts, 'out')
    assert '3 observations of whole tracks added' in line
    assert '1 tracks have no distance in their first second' in line and not is_doubtful(counts)


def test_events_of_the_owner_stay_and_lend_their_id_and_their_species(tmp_path):
    owners = (
        f'{HEADER.strip()},eventID,scientificName,individualID\n'
        'o1,d1,,2024-03-02T23:59:58Z,2024-03-03T00:00:58Z,event,animal,2,"a, b",e1,Pan troglodytes,Bella\n'
    )
    counts, table = merged(tmp_path, observations=owners, track_events=True)
    mine = read(tmp_path / 'mine' / 'observations.csv')
    assert table.loc[0, mine.columns].tolist() == mine.iloc[0].tolist()
    of_m1 = table[table['individualID'].str.startswith('chimp_jax-m1')]
    assert set(of_m1['eventID']) == {'e1'} and set(of_m1['scientificName']) == {'Pan troglodytes'}
    assert counts['events beside yours'] == 2
    assert '2 tracks are in media of which you have event-based' in describe_export('camtrap-dp', counts, 'out')
    # Again, without the tracks: all rows of the earlier run are replaced, and the owner's one is kept.
    again = merge_camtrap_dp([rows(*GIVEN)], tmp_path / 'out', tmp_path / 'again')
    assert (again['kept'], again['replaced'], again['observations added']) == (1, 7, 4)


def test_a_package_of_media_alone_says_that_it_has_events(tmp_path):
    mine = package(tmp_path / 'mine', observations=HEADER)
    path = mine / 'datapackage.json'
    path.write_text(path.read_text().replace('"event"\n', '"media"\n').replace('"media",\n      "media"', '"media"'))
    assert json.loads(path.read_text())['project']['observationLevel'] == ['media']
    merge_camtrap_dp([rows(*GIVEN)], mine, tmp_path / 'out', track_events=True)
    made = json.loads((tmp_path / 'out' / 'datapackage.json').read_text())
    assert made['project']['observationLevel'] == ['media', 'event']


def test_a_track_whose_seconds_have_two_names_has_none(tmp_path):
    labels = ('duiker', 'duiker', 'bongo')
    given = [row(A, t, 3.0, animal='1', label=label) for t, label in enumerate(labels)]
    names = {'duiker': 'Philantomba monticola', 'bongo': 'Tragelaphus eurycerus'}
    for n, expected in ((2, 'Philantomba monticola'), (3, '')):
        (tmp_path / str(n)).mkdir()
        _, table = merged(tmp_path / str(n), given[:n], scientific_names=names, track_events=True)
        assert table['scientificName'].iloc[-1] == expected and table['observationLevel'].iloc[-1] == 'event'


def test_ids_are_unique_whatever_the_names(tmp_path):
    # Joined with a plain mark, medium 'x-1' at second 2 is medium 'x' at second 1 with animal 2, and so on.
    names = ['x', 'x-1', 'x/1', 'x-1/2', 'x/1/event']
    lines = [f'{name},d1,2024-03-02T23:59:58Z,c{k}.mp4,false,video/mp4' for k, name in enumerate(names)]
    media = '\n'.join([MEDIA.splitlines()[0], *lines]) + '\n'
    animals = ['', '1', '2', '1-2', '1/2', 'event', '%2F']
    given = [row(f'c{k}.mp4', t, 2.0, animal=a) for k in range(5) for t in (1, 2, 12) for a in animals]
    _, table = merged(tmp_path, given, media=media, track_events=True)
    assert len(table) == 5 * 3 * 7 + 5 * 6 and table['observationID'].is_unique
    of_events = table[table['observationLevel'] == 'event']
    assert of_events['individualID'].is_unique


def test_the_official_example_with_tracks_fits_the_official_schemas(tmp_path):
    if not OFFICIAL.exists():
        pytest.skip(f'{OFFICIAL} is absent')
    media = read(OFFICIAL / 'example' / 'media.csv')
    names = [f'{d}/{name}' for d, name in zip(media['deploymentID'], media['fileName'], strict=True)]
    given = [row(name, 0, 3.5, animal=animal, angle=-90.0) for name in names for animal in ('1', '2')]
    tracks = {(name, '1'): Followed(0.75, 0.5, 1.125, 1.64) for name in names}
    out = tmp_path / 'out'
    counts = merge_camtrap_dp([rows(*given)], OFFICIAL / 'example', out, tracks=tracks, track_events=True, coverage=0.9)
    # 258 of the 423 media, which are photos, may have an animal; two animals each.
    assert (counts['observations added'], counts['events added'], counts['kept']) == (516, 516, 549)
    table = read(out / 'observations.csv')
    pd.testing.assert_frame_equal(table[:549], read(OFFICIAL / 'example' / 'observations.csv'))
    assert table['individualSpeed'][549:].value_counts().to_dict() == {'0.75': 516, '': 516}
    assert table['observationTags'][549:].str.contains('speedLower:0.5 | speedUpper:1.125', regex=False).sum() == 516
    resources = [
        frictionless.Resource.from_descriptor(
            {'name': t, 'path': f'{t}.csv', 'schema': json.loads((OFFICIAL / f'{t}-table-schema.json').read_text())},
            basepath=str(out),
        )
        for t in ('deployments', 'media', 'observations')
    ]
    assert frictionless.Package(resources=resources, basepath=str(out)).validate().valid
    # The owner has an event for each photo; a track of it has the eventID of the owner where there is one.
    events = table[549:][table['observationLevel'][549:] == 'event']
    assert counts['events beside yours'] > 0 and set(events['eventID']) & set(table['eventID'][:549])


PHOTOS = """mediaID,deploymentID,timestamp,filePath,filePublic,fileName,fileMediatype
p1,d1,2024-03-02T23:59:58Z,https://x.org/1,false,77-IMG_0001.jpeg,image/jpeg
v1,d1,2024-03-02T23:59:58Z,https://x.org/2,false,77-IMG_0002.MP4,video/mp4
p3,d1,2024-03-02T23:59:58Z,https://x.org/3,false,77-IMG_0003.JPG,image/jpeg
"""


@pytest.mark.parametrize(
    ('clip', 'medium'),
    [
        ('d1/IMG_0001.JPG', 'p1'),  # another suffix of a photo
        ('d1/IMG_0001.MP4', None),
        ('d1/IMG_0002.jpg', None),  # the video of the same number is another medium
        ('d1/IMG_0002.avi', 'v1'),
        ('d1/img_0003.jpg', 'p3'),
        ('d1/IMG_0003.png', 'p3'),
    ],
)
def test_a_photo_is_a_medium_of_type_image(tmp_path, clip, medium):
    found, _ = media_of_clips([clip], read(_written(tmp_path)).set_axis([2, 3, 4]), 'media.csv')
    assert found.get(clip, {}).get('mediaID') == medium


def test_photos_have_observations_and_keep_their_type(tmp_path):
    given = [row('d1/IMG_0003.jpg', 0, 4.0, animal='1'), row('d1/IMG_0003.jpg', 0, 9.0, animal='2')]
    _, table = merged(tmp_path, given, media=PHOTOS, track_events=True)
    assert table['mediaID'].tolist() == ['p3', 'p3', '', ''] and set(table['eventStart']) == {'2024-03-02T23:59:58Z'}
    assert (tmp_path / 'out' / 'media.csv').read_bytes() == (tmp_path / 'mine' / 'media.csv').read_bytes()


def _written(tmp_path):
    (tmp_path / 'media.csv').write_text(PHOTOS)
    return tmp_path / 'media.csv'
