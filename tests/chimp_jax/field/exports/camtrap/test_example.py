"""Distances in packages as their owners classify them, among them the official example."""

import json
from pathlib import Path

import frictionless
import pandas as pd
import pytest
from make_packages import MEDIA, OBSERVATIONS, package, read, row, rows

from chimp_jax.field.exports import formats
from chimp_jax.field.exports.camtrap.check import check_package
from chimp_jax.field.exports.camtrap.package import read_package
from chimp_jax.field.exports.camtrap_dp import merge_camtrap_dp
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful

OFFICIAL = Path(__file__).resolve().parents[6] / 'shared' / 'data' / 'camtrap_dp_1.0.2'
HEADER, EVENT = OBSERVATIONS.splitlines()


def observed(*cells):
    """observations.csv of (observationID, mediaID, observationType, scientificName) of the deployments of MEDIA."""
    deployment = {'m1': 'd1', 'm2': 'd2'}
    lines = [
        f'{name},{deployment[medium]},{medium},2024-03-02T23:59:58Z,2024-03-02T23:59:59Z,media,{kind},,,{species}'
        for name, medium, kind, species in cells
    ]
    return '\n'.join([f'{HEADER},scientificName', *lines]) + '\n'


def merged(tmp_path, observations, *given, **changes):
    mine = package(tmp_path / 'mine', observations=observations, **changes)
    counts = merge_camtrap_dp([rows(*given)], mine, tmp_path / 'out')
    check_package(read_package(tmp_path / 'out'))
    table = read(tmp_path / 'out' / 'observations.csv')
    return counts, table[table['observationID'].str.startswith('chimp_jax-')]


def test_the_official_example_keeps_every_class_and_validates(tmp_path):
    if not OFFICIAL.exists():
        pytest.skip(f'{OFFICIAL} is absent')
    media = read(OFFICIAL / 'example' / 'media.csv')
    cards = media['fileName'].str.partition('-')[2]  # 20200709093328-RCNX0001.JPG
    given = [row(f'{d}/100RECNX/{name}', 0, 3.5) for d, name in zip(media['deploymentID'], cards, strict=True)]
    counts = merge_camtrap_dp([rows(*given)], OFFICIAL / 'example', tmp_path / 'out')
    # The 423 media hold 112 blank, 33 human and 20 vehicle ones. 40 media have two species.
    assert (counts['observations added'], counts['kept']) == (258, 549)
    assert counts['left out'] == {'medium without an animal': 165}
    assert (counts['several species'], counts['clips not in media.csv']) == (40, [])
    table = read(tmp_path / 'out' / 'observations.csv')
    theirs = read(OFFICIAL / 'example' / 'observations.csv')
    ours = table[549:].set_index('mediaID')
    pd.testing.assert_frame_equal(table[:549], theirs)
    animals = theirs[(theirs['observationLevel'] == 'media') & (theirs['observationType'] == 'animal')]
    names = animals.groupby('mediaID')['scientificName'].agg(
        lambda found: found.iloc[0] if found.nunique() == 1 else ''
    )
    unknown = set(theirs.loc[theirs['observationType'] == 'unknown', 'mediaID']) - {''}
    assert ours['scientificName'].drop(list(unknown)).to_dict() == names.to_dict()
    assert set(ours['eventID'][ours['scientificName'] != '']) <= set(theirs['eventID'])
    tables = ('deployments', 'media', 'observations')
    resources = [
        frictionless.Resource.from_descriptor(
            {'name': t, 'path': f'{t}.csv', 'schema': json.loads((OFFICIAL / f'{t}-table-schema.json').read_text())},
            basepath=str(tmp_path / 'out'),
        )
        for t in tables
    ]
    assert frictionless.Package(resources=resources, basepath=str(tmp_path / 'out')).validate().valid


def test_media_that_the_owner_calls_human_or_blank_gain_no_animal(tmp_path):
    text = observed(('o1', 'm1', 'human', 'Homo sapiens'), ('o2', 'm2', 'animal', ''))
    given = row('site_1/a.mp4', 1, 2.0), row('site_1/a.mp4', 2, 2.5), row('site 2/b.mp4', 3, 4.0)
    counts, added = merged(tmp_path, text, *given)
    assert added['mediaID'].tolist() == ['m2']
    assert counts['left out'] == {'medium without an animal': 2}
    line = describe_export('camtrap-dp', counts, 'out')
    assert '1 observations added to your 2' in line
    assert '2 distances belong to media that you classified as human, vehicle or blank' in line
    assert not is_doubtful(counts)


def test_clips_without_a_medium_are_a_problem(tmp_path):
    given = row('site_1/a.mp4', 1, 2.0), row('x/c.mp4', 2, 2.5)
    counts, _ = merged(tmp_path, observed(), *given)
    assert is_doubtful(counts)
    line = describe_export('camtrap-dp', counts, 'out')
    assert 'clips without a medium: x/c.mp4' in line
    assert '1 distances belong to clips without a medium in your package' in line


def test_the_species_of_the_owner_and_of_the_row(tmp_path):
    text = observed(('o1', 'm1', 'animal', 'Cephalophus'), ('o2', 'm2', 'animal', 'Pan'), ('o3', 'm2', 'animal', 'Sus'))
    mine = package(tmp_path / 'mine', observations=text)
    given = rows(
        *(row(clip, t, 3.5, label='duiker' if t else '') for clip in ('site_1/a.mp4', 'site 2/b.mp4') for t in (0, 1))
    )
    survey = formats.Survey(package=str(mine), species={'duiker': 'Philantomba monticola'})
    clips = pd.DataFrame({'video_id': given['video_id'].unique(), 'duration_s': 9.0, 'site': 'x'})
    counts = formats.write('camtrap-dp', [given], clips, survey, tmp_path, '2024-05-01T00:00:00Z')
    added = read(tmp_path / 'camtrap-dp' / 'observations.csv')[3:].set_index('observationID')['scientificName']
    assert added.to_dict() == {
        'chimp_jax-m1-0': 'Cephalophus',
        'chimp_jax-m1-1': 'Philantomba monticola',
        'chimp_jax-m2-0': '',
        'chimp_jax-m2-1': 'Philantomba monticola',
    }
    assert counts['several species'] == 1
    assert '1 of them have no scientificName' in describe_export('camtrap-dp', counts, 'out')


@pytest.mark.parametrize(
    ('levels', 'distance', 'expected'),
    [(['event'], 3.5, ['event', 'media']), (['media', 'event'], 3.5, None), (['event'], None, None)],
)
def test_a_package_of_events_alone_says_what_it_has_now(tmp_path, levels, distance, expected):
    project = {'title': 'Taï', 'observationLevel': levels}
    text = f'{HEADER},eventID,scientificName\n{EVENT},e1,Pan troglodytes\n'
    _, added = merged(tmp_path, text, row('site_1/a.mp4', 1, distance), project=project)
    mine, made = (tmp_path / name / 'datapackage.json' for name in ('mine', 'out'))
    if expected is None:
        assert made.read_bytes() == mine.read_bytes()
    else:
        content = json.loads(mine.read_text())
        content['project']['observationLevel'] = expected
        assert json.loads(made.read_text()) == content
        assert ''.join(made.read_text().split()) == ''.join(mine.read_text().split()).replace(
            '"observationLevel":["event"]', '"observationLevel":["event","media"]'
        )
        assert added[['eventID', 'scientificName']].to_numpy().tolist() == [['e1', 'Pan troglodytes']]


def test_rows_that_lost_their_tag_are_refused(tmp_path):
    mine = package(tmp_path / 'mine')
    merge_camtrap_dp([rows()], mine, tmp_path / 'a')
    path = tmp_path / 'a' / 'observations.csv'
    path.write_text(path.read_text().replace('distanceMethod', 'method'))
    with pytest.raises(ValueError, match='observations.csv:3: .*chimp_jax-m1-4.*lacks the tag distanceMethod'):
        merge_camtrap_dp([rows(row('site_1/a.mp4', 9, 3.0))], tmp_path / 'a', tmp_path / 'b')


def test_missing_values_in_words_are_no_names(tmp_path):
    media = MEDIA.replace('fileMediatype', 'fileMediatype,fileName').replace('video/mp4', 'video/mp4,NA')
    text = observed(('o1', 'm1', 'animal', 'NA'))
    _, added = merged(tmp_path, text, row('site_1/a.mp4', 1, 2.0), media=media)
    assert added['scientificName'].tolist() == ['']


def test_the_owners_species_counts_before_the_name_of_any_animal(tmp_path):
    text = observed(('o1', 'm1', 'animal', 'Cephalophus'))
    mine = package(tmp_path / 'mine', observations=text)
    given = rows(row('site_1/a.mp4', 0, 3.0, label=''), row('site 2/b.mp4', 0, 3.0, label=None))
    counts = merge_camtrap_dp([given], mine, tmp_path / 'out', scientific_names={'animal': 'Mammalia'})
    added = read(tmp_path / 'out' / 'observations.csv').set_index('observationID')['scientificName']
    assert (added['chimp_jax-m1-0'], added['chimp_jax-m2-0']) == ('Cephalophus', 'Mammalia')
    assert counts['changes of datapackage.json'] == ['taxonomic has Cephalophus too', 'taxonomic has Mammalia too']


@pytest.mark.parametrize('name', ['clips matched by their name alone', 'faults of datapackage.json'])
def test_what_may_be_wrong_is_a_problem(tmp_path, name):
    counts, _ = merged(tmp_path, observed(), row('site_1/a.mp4', 1, 2.0))
    assert not is_doubtful(counts)
    doubtful = counts | {name: ['site_1/a.mp4']}
    assert is_doubtful(doubtful) and 'site_1/a.mp4' in describe_export('camtrap-dp', doubtful, 'out')
