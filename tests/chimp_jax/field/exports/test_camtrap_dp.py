"""Distances in a copy of the user's Camtrap DP package."""

import pandas as pd
import pytest
from make_packages import DEPLOYMENTS, MEDIA, OBSERVATIONS, URL, package, read, row, rows

from chimp_jax.field.exports import camtrap_dp, formats
from chimp_jax.field.exports.camtrap.check import check_package
from chimp_jax.field.exports.camtrap.media_match import media_of_clips
from chimp_jax.field.exports.camtrap.observations import tags_of, tags_text
from chimp_jax.field.exports.camtrap.package import read_package, schema_names
from chimp_jax.field.exports.camtrap_dp import check_merge, merge_camtrap_dp


def test_a_distance_becomes_an_observation(tmp_path):
    mine = package(tmp_path / 'mine')
    box = {'bbox_x': 0.7, 'bbox_y': 0.2, 'bbox_width': 0.1, 'bbox_height': 0.3, 'angle': 16.1021}
    given = rows(
        row('site 2/b.mp4', 1, 12.0, status='corrected'),
        row('site_1/a.mp4', 4, 3.25, distance_lower=2.5, distance_upper=4.125, flags='dark wide_spread', **box),
        row('site_1/a.mp4', 5, None),
    )
    summary = merge_camtrap_dp([given], mine, tmp_path / 'out', '2024-05-01T00:00:00Z')
    assert summary == {
        'observations added': 2,
        'kept': 1,
        'replaced': 0,
        'left out': {'no distance': 1},
        'several species': 0,
        'clips not in media.csv': [],
        'clips matched by their name alone': [],
        'faults of datapackage.json': [],
        'changes of datapackage.json': [],
    }
    table = read(tmp_path / 'out' / 'observations.csv')
    assert [name for name in table.columns if name != 'mine'] == schema_names('observations')
    assert table['mine'].tolist() == ['a, b', '', '']
    theirs, b, a = table.to_dict('records')
    assert {k: v for k, v in theirs.items() if v} == read(mine / 'observations.csv').iloc[0][
        lambda s: s != ''
    ].to_dict()
    # 23:59:58 and 4 s. The row names no animal, so the observation has no individualID and no count.
    expected = {
        'observationID': 'chimp_jax-m1-4',
        'deploymentID': 'd1',
        'mediaID': 'm1',
        'eventStart': '2024-03-03T00:00:02Z',
        'eventEnd': '2024-03-03T00:00:02Z',
        'observationLevel': 'media',
        'observationType': 'animal',
        'individualPositionRadius': '3.25',
        'individualPositionAngle': '16.1',
        'bboxX': '0.7',
        'bboxY': '0.2',
        'bboxWidth': '0.1',
        'bboxHeight': '0.3',
        'classificationMethod': 'machine',
        'classificationTimestamp': '2024-05-01T00:00:00Z',
        'observationTags': 'distanceLower:2.5 | distanceUpper:4.125 | distanceMethod:chimp_jax | '
        'distanceFlags:dark wide_spread',
    }
    assert a.pop('classifiedBy').startswith('chimp_jax ')
    assert {k: v for k, v in a.items() if v} == expected
    assert b['eventStart'] == '2024-03-03T10:00:01+02:00'  # the zone of the medium is kept
    assert (b['mediaID'], b['classificationMethod']) == ('m2', 'human')
    assert (b['individualPositionAngle'], b['observationTags']) == ('', 'distanceMethod:person')
    check_package(read_package(tmp_path / 'out'))


def test_the_rest_of_the_package_is_kept_to_the_byte(tmp_path):
    mine = package(tmp_path / 'mine', media=b'\xef\xbb\xbf' + MEDIA.replace('\n', '\r\n').encode())
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    for name, data in before.items():
        assert (mine / name).read_bytes() == data
        assert name == 'observations.csv' or (tmp_path / 'out' / name).read_bytes() == data


def test_again_gives_the_same_bytes_and_replaces_only_ours(tmp_path):
    merge_camtrap_dp([rows()], package(tmp_path / 'mine'), tmp_path / 'a')
    merge_camtrap_dp([rows()], tmp_path / 'mine', tmp_path / 'b')
    first = (tmp_path / 'a' / 'observations.csv').read_bytes()
    assert (tmp_path / 'b' / 'observations.csv').read_bytes() == first
    summary = merge_camtrap_dp([rows()], tmp_path / 'a', tmp_path / 'c')
    assert (summary['replaced'], summary['kept']) == (1, 1)
    assert (tmp_path / 'c' / 'observations.csv').read_bytes() == first
    merge_camtrap_dp([rows(row('site_1/a.mp4', 9, 2.0))], tmp_path / 'a', tmp_path / 'd')
    assert read(tmp_path / 'd' / 'observations.csv')['observationID'].tolist() == ['o1', 'chimp_jax-m1-9']


def test_names_stay_text(tmp_path):
    mine = package(tmp_path / 'mine', media=MEDIA.replace('m1,', '007,').replace('m2,', '1e5,'))
    given = rows(row('site_1/a.mp4', 4, 3.5), row('site 2/b.mp4', 0, 2.0))
    merge_camtrap_dp([given], mine, tmp_path / 'out')
    ids = read(tmp_path / 'out' / 'observations.csv')['observationID'].tolist()
    assert ids == ['o1', 'chimp_jax-1e5-0', 'chimp_jax-007-4']


def test_a_package_without_observations_gains_them(tmp_path):
    header = OBSERVATIONS.splitlines()[0] + '\n'
    summary = merge_camtrap_dp([rows()], package(tmp_path / 'mine', observations=header), tmp_path / 'out')
    assert (summary['observations added'], summary['kept']) == (1, 0)
    assert read(tmp_path / 'out' / 'observations.csv')['observationID'].tolist() == ['chimp_jax-m1-4']


def test_no_rows_keep_the_package(tmp_path):
    summary = merge_camtrap_dp([rows().iloc[:0]], package(tmp_path / 'mine'), tmp_path / 'out')
    assert (summary['observations added'], summary['kept']) == (0, 1)


def test_clips_that_the_package_lacks_are_counted_and_named(tmp_path):
    given = rows(row('site_1/a.mp4', 4, 3.5), row('=cmd.mp4', 0, 1.0))
    summary = merge_camtrap_dp([given], package(tmp_path / 'mine'), tmp_path / 'out')
    assert summary['clips not in media.csv'] == ['=cmd.mp4']
    assert summary['left out'] == {'clip not in media.csv': 1}


def test_tags_may_contain_the_marks_of_their_syntax():
    tags = {'a': 'x | y:z', 'b': '100 % %7C', 'c': ''}
    assert tags_text(tags) == 'a:x %7C y%3Az | b:100 %25 %257C'
    assert tags_of(tags_text(tags)) == {'a': 'x | y:z', 'b': '100 % %7C'}
    assert tags_of('free text | k:v') == {'k': 'v'}


def refused(tmp_path, match, given=None, **changes):
    with pytest.raises(ValueError, match=match):
        merge_camtrap_dp([rows() if given is None else given], package(tmp_path / 'mine', **changes), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('match', 'changes'),
    [
        ('observations.csv:2: .*observationType', {'observations': OBSERVATIONS.replace('animal', 'ape')}),
        ('observations.csv:3: .*unique', {'observations': OBSERVATIONS + OBSERVATIONS.splitlines()[1] + '\n'}),
        ('observations.csv:2: .*deployments', {'observations': OBSERVATIONS.replace('o1,d1', 'o1,d9')}),
        ('media.csv:2: .*filePath', {'media': MEDIA.replace('media/site_1', '/media/site_1')}),
        ('media.csv:2: .*filePath', {'media': MEDIA.replace('media/site_1', 'media/../site_1')}),
        ('media.csv:2: .*is not a time with a time zone', {'media': MEDIA.replace('58Z', '58')}),
        ('deployments.csv:2: .*latitude', {'deployments': DEPLOYMENTS.replace('6.1', '96.1')}),
        ('media.csv lacks the column filePath', {'media': MEDIA.replace('filePath', 'path')}),
        ('media.csv is not separated by commas', {'media': MEDIA.replace(',', ';')}),
        ('media.csv is not separated by commas', {'media': MEDIA.replace(',', '\t')}),
        ('media.csv:2 has 7 cells, the header has 6', {'media': MEDIA.replace('mp4,false', 'mp4,x,false')}),
        ('media.csv is not UTF-8', {'media': MEDIA.replace('site_1', 'caf\xe9').encode('latin-1')}),
        ('observations.csv is empty', {'observations': ''}),
        (
            'observations.csv:2: the observationID .* rename',
            {'observations': OBSERVATIONS.replace('o1', 'chimp_jax-m1-4')},
        ),
        ('profile .* is not Camtrap DP 1.0', {'profile': URL.replace('1.0.2', '0.6')}),
        ('lacks the resource deployments', {'resources': []}),
        ('fits 2 media', {'media': MEDIA + 'm3,d1,2024-03-02T23:59:58Z,x/site_1/a.mp4,false,video/mp4\n'}),
    ],
)
def test_faults_of_the_package_are_named(tmp_path, match, changes):
    refused(tmp_path, match, **changes)


def test_paths_that_leave_the_package_are_refused(tmp_path):
    for k, path in enumerate(('../secret.csv', '/etc/secret.csv', 'C:\\secret.csv')):
        resources = [
            {'name': n, 'path': path if n == 'media' else f'{n}.csv'} for n in ('deployments', 'media', 'observations')
        ]
        (tmp_path / str(k)).mkdir()
        refused(tmp_path / str(k), 'leaves the package', resources=resources)


def test_a_medium_for_two_clips_is_refused(tmp_path):
    given = rows(row('x/a.mp4', 0, 1.0), row('y/a.mp4', 0, 1.0))
    refused(tmp_path, 'fits the clips x/a.mp4 and y/a.mp4', given, media=MEDIA.replace('media/site_1/', ''))


def test_an_equal_path_goes_before_a_longer_one(tmp_path):
    media = MEDIA + 'm3,d1,2024-03-02T23:59:58Z,site_1/a.mp4,false,video/mp4\n'
    merge_camtrap_dp([rows()], package(tmp_path / 'mine', media=media), tmp_path / 'out')
    assert read(tmp_path / 'out' / 'observations.csv')['mediaID'].tolist() == ['', 'm3']


def test_the_file_name_is_used_if_the_path_is_an_address_without_it(tmp_path):
    media = MEDIA.replace('fileMediatype', 'fileMediatype,fileName').replace('video/mp4', 'video/mp4,a.mp4', 1)
    media = media.replace('video/mp4\n', 'video/mp4,\n').replace('media/site_1/a.mp4', 'https://x.org/77/file')
    merge_camtrap_dp([rows()], package(tmp_path / 'mine', media=media), tmp_path / 'out')
    assert read(tmp_path / 'out' / 'observations.csv')['mediaID'].tolist() == ['', 'm1']


def test_bad_rows_are_named(tmp_path):
    second = row('site_1/a.mp4', 4, 1.0, animal='2')
    for k, (match, given) in enumerate(
        [
            ('site_1/a.mp4 at 4 s: the distance is negative', rows(row('site_1/a.mp4', 4, -1.0))),
            ('site_1/a.mp4 at 4.5 s: the time is not a whole', rows(row('site_1/a.mp4', 4.5, 1.0))),
            ('lacks the column flags', rows().drop(columns='flags')),
            ('a.mp4 at 4 s, animal 2: the box 0.5, nan', rows(second | {'bbox_x': 0.5})),
            ('a.mp4 at 4 s, animal 2: the animal has two rows', rows(second, second)),
        ]
    ):
        (tmp_path / str(k)).mkdir()
        refused(tmp_path / str(k), match, given)


@pytest.mark.parametrize('theta_deg', [180, 360])
def test_an_angle_of_view_that_gives_no_angle_of_a_box_is_refused(tmp_path, theta_deg):
    survey = formats.Survey(package=str(package(tmp_path / 'mine')), theta_deg=theta_deg)
    with pytest.raises(ValueError, match=f'an angle of view of {theta_deg} degrees has no angles of boxes'):
        formats.check(['camtrap-dp'], survey)


def test_without_a_package_the_remedy_is_named(tmp_path):
    with pytest.raises(ValueError, match='needs your own package.*datapackage.json'):
        merge_camtrap_dp([rows()], None, tmp_path / 'out')
    with pytest.raises(ValueError, match='cannot be read; give the folder'):
        merge_camtrap_dp([rows()], tmp_path / 'none', tmp_path / 'out')


def test_the_users_folder_is_never_written_to(tmp_path):
    mine = package(tmp_path / 'mine')
    for out in (mine, mine / 'out', tmp_path):
        with pytest.raises(ValueError, match='overlaps your package'):
            merge_camtrap_dp([rows()], mine, out)


def test_the_own_schema_of_the_package_takes_precedence(tmp_path):
    names = ('deployments', 'media', 'observations')
    resources = [{'name': n, 'path': f'{n}.csv'} for n in names]
    resources[2]['schema'] = {
        'fields': [{'name': 'individualPositionRadius', 'type': 'number', 'constraints': {'maximum': 3}}]
    }
    refused(tmp_path, 'observations.csv:3: .*individualPositionRadius', resources=resources)


def test_an_offset_of_zero_is_written_as_the_medium_writes_it(tmp_path):
    mine = package(tmp_path / 'mine', media=MEDIA.replace('58Z', '58+00:00'))
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    assert read(tmp_path / 'out' / 'observations.csv')['eventStart'].iloc[1] == '2024-03-03T00:00:02+00:00'


def test_the_users_names_of_species(tmp_path):
    mine = package(tmp_path / 'mine')
    seen = rows(*(row('site_1/a.mp4', t, 3.5, label=label) for t, label in enumerate(('Duiker', '', 'bongo'))))
    survey = formats.Survey(package=str(mine), species={'duiker': 'Philantomba monticola', 'animal': 'Mammalia'})
    clips = pd.DataFrame({'video_id': ['site_1/a.mp4'], 'duration_s': [9.0], 'site': ['site_1']})
    formats.write('camtrap-dp', [seen], clips, survey, tmp_path, '2024-05-01T00:00:00Z')
    table = read(tmp_path / 'camtrap-dp' / 'observations.csv')
    assert table['scientificName'].tolist() == ['', 'Philantomba monticola', 'Mammalia', '']  # the first is the user's


def test_letters_of_a_path_in_another_form():
    columns = {'mediaID': 'm1', 'filePath': 'media/For\xeat/a.mp4', 'deploymentID': 'd', 'timestamp': ''}
    found, unknown = media_of_clips(['For\u0065\u0302t/a.mp4'], pd.DataFrame(columns, index=[2]), 'media.csv')
    assert found['For\u0065\u0302t/a.mp4']['mediaID'] == 'm1' and not unknown


@pytest.mark.parametrize(
    ('match', 'clips', 'fault'),
    [
        ('none of the clips', ['elsewhere/x.mp4'], {}),
        ('is not a time with a time zone', ['site_1/a.mp4'], {'media': MEDIA.replace('23:59:58Z', '23:59:58')}),
        ('deployments', ['site_1/a.mp4'], {'deployments': DEPLOYMENTS.replace('6.1', 'north')}),
    ],
)
def test_what_a_package_cannot_take_is_known_before_there_are_distances(tmp_path, match, clips, fault):
    mine = package(tmp_path / 'mine')
    check_merge(['site_1/a.mp4', 'site 2/b.mp4'], mine, tmp_path / 'out')
    check_merge([], mine, tmp_path / 'out')  # no clip has a target
    with pytest.raises(ValueError, match='overlaps your package'):
        check_merge(['site_1/a.mp4'], mine, mine / 'camtrap-dp')
    with pytest.raises(ValueError, match=match):
        check_merge(clips, package(tmp_path / 'other', **fault), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_result_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(camtrap_dp, 'MOST_ROWS', 1)
    mine, given = package(tmp_path / 'mine'), rows()
    with pytest.raises(ValueError, match='has more than 1 rows, .*; make a package for some of the deployments'):
        merge_camtrap_dp([given[:2], given[:2]], mine, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
