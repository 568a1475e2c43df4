"""How a datapackage.json is compared with the profile of the standard."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from make_packages import METADATA, URL, package, resources, rows

from chimp_jax.field.exports.camtrap.check import check_package, descriptor_faults
from chimp_jax.field.exports.camtrap.package import read_package
from chimp_jax.field.exports.camtrap_dp import merge_camtrap_dp

SCHEMAS = files('chimp_jax.field.exports') / 'camtrap_dp_schemas'
PATTERN = {'fields': [{'name': 'mediaID', 'constraints': {'pattern': '('}}]}
OFFICIAL = Path(__file__).resolve().parents[6] / 'shared' / 'data' / 'camtrap_dp_1.0.2'


def faults(tmp_path, **changes):
    return descriptor_faults(read_package(package(tmp_path / 'mine', **changes)))


def test_a_descriptor_that_fits_the_profile(tmp_path):
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ('changes', 'fault'),
    [
        ({'created': 'yesterday'}, '"created" is not valid'),
        (
            {'project': {**METADATA['project'], 'observationLevel': ['clip']}},
            "project.observationLevel.0: 'clip' is not",
        ),
        ({'project': {}}, "project: 'title' is a required property"),
        ({'contributors': [{'title': 'x', 'role': 'king'}]}, "contributors.0.role: 'king' is not one of"),
        ({'spatial': {'type': 'Ball'}}, 'spatial: '),
        (
            {'resources': [{**r, 'profile': 'data-resource'} for r in resources()]},
            "resources.0.profile: 'data-resource'",
        ),
        ({'licenses': [{'name': 'CC0-1.0', 'scope': 'data'}]}, 'licenses: '),
    ],
)
def test_faults_of_the_descriptor_are_told(tmp_path, changes, fault):
    assert any(found.startswith(fault) or fault in found for found in faults(tmp_path, **changes))


def test_the_users_faults_do_not_stop_the_export(tmp_path):
    mine = package(tmp_path / 'mine')
    (mine / 'datapackage.json').write_text(json.dumps({'profile': f'{URL}x', 'resources': resources()}))
    counts = merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    assert counts['observations added'] == 1
    assert "'created' is a required property" in counts['faults of datapackage.json']


@pytest.mark.parametrize(
    'schema', [{'type': 'x'}, {'fields': 5}, {'fields': [{'name': []}]}, {'fields': [None]}, PATTERN]
)
def test_a_table_schema_that_is_none_is_refused(tmp_path, schema):
    described = [r | {'schema': schema} if r['name'] == 'media' else r for r in resources()]
    with pytest.raises(ValueError, match='a table schema is not valid: .*; correct it'):
        check_package(read_package(package(tmp_path / 'mine', resources=described)))


GBIF = 'https://rs.gbif.org/sandbox/data-packages/camtrap-dp/1.0'


def test_the_profile_of_gbif(tmp_path):
    described = [{**r, 'schema': f'{GBIF}/table-schemas/{r["name"]}.json'} for r in resources()]
    profile = f'{GBIF}/profile/camtrap-dp-profile.json'
    assert faults(tmp_path, profile=profile, resources=described) == []
    assert merge_camtrap_dp([rows()], tmp_path / 'mine', tmp_path / 'out')['observations added'] == 1


def test_data_package_2(tmp_path):
    described = [{**r, 'type': 'table'} for r in resources()]
    for resource in described:
        del resource['profile']
    schema = 'https://datapackage.org/profiles/2.0/datapackage.json'
    people = [{'title': 'A', 'roles': ['contact']}]
    mine = package(tmp_path / 'mine', resources=described, contributors=people, **{'$schema': schema})
    assert descriptor_faults(read_package(mine)) == []
    descriptor = json.loads((mine / 'datapackage.json').read_text())
    descriptor['$schema'] = descriptor.pop('profile')
    (mine / 'datapackage.json').write_text(json.dumps(descriptor))
    assert descriptor_faults(read_package(mine)) == []
    assert merge_camtrap_dp([rows()], mine, tmp_path / 'out')['observations added'] == 1


def test_copies_of_the_standards_files_in_the_package(tmp_path):
    described = [{**r, 'schema': f'schemas/{r["name"]}.json'} for r in resources()]
    mine = package(tmp_path / 'mine', resources=described, profile='schemas/profile.json')
    (mine / 'schemas').mkdir()
    shutil.copy(SCHEMAS / 'camtrap-dp-profile.json', mine / 'schemas' / 'profile.json')
    for resource in described:
        shutil.copy(SCHEMAS / f'{resource["name"]}-table-schema.json', mine / resource['schema'])
    assert merge_camtrap_dp([rows()], mine, tmp_path / 'out')['faults of datapackage.json'] == []
    assert len(list((tmp_path / 'out' / 'schemas').iterdir())) == 4
    (mine / 'schemas' / 'profile.json').unlink()
    with pytest.raises(ValueError, match='names schemas/profile.json, but this file is missing'):
        read_package(mine)


def test_the_official_example_fits_the_profile():
    if not OFFICIAL.exists():
        pytest.skip(f'{OFFICIAL} is absent')
    assert descriptor_faults(read_package(OFFICIAL / 'example')) == []
