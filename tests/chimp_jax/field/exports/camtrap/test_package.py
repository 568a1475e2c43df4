"""Packages as platforms export them are read; archives that would do harm are not."""

import gzip
import hashlib
import json
import stat
import warnings
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from make_packages import MEDIA, OBSERVATIONS, URL, package, read, resources, rows

from chimp_jax.field.exports.camtrap import package_files
from chimp_jax.field.exports.camtrap.check import check_package
from chimp_jax.field.exports.camtrap.package import read_package
from chimp_jax.field.exports.camtrap_dp import check_merge, merge_camtrap_dp

SCHEMAS = files('chimp_jax.field.exports') / 'camtrap_dp_schemas'
OFFICIAL = Path(__file__).resolve().parents[6] / 'shared' / 'data' / 'camtrap_dp_1.0.2'
SHA256 = {  # of the files at the tag 1.0.2 of tdwg/camtrap-dp
    'camtrap-dp-profile': 'daea4da7d64531e17986daad30bd3852701c7326a79b1b5e49a213c5489a8652',
    'deployments-table-schema': '2893074dbc0a2331f038bca22626cfdc65614c7d2009df908adbb403281f4dfa',
    'media-table-schema': '79b3acb6e4431dd748829364b6df17c120774127a0091b9eaa7a012d9fae3867',
    'observations-table-schema': 'b008021a15c575f38468f511d8a3fd6468d2a670c952f3914481fb3379e6232a',
}


@pytest.mark.parametrize('file', SHA256)
def test_the_schemas_are_the_official_files(file):
    name = f'{file}.json'
    data = (SCHEMAS / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256[file]
    if not OFFICIAL.exists():
        pytest.skip(f'{OFFICIAL} is absent; the checksum alone was compared')
    assert (OFFICIAL / name).read_bytes() == data


def test_exif_data_of_any_type_and_missing_values_in_four_forms(tmp_path):
    header, first, second = MEDIA.splitlines()
    media = f'{header},exifData,favorite\n{first},"Make=RECONYX; ISO=640",NA\n{second},"{{""ISO"": 640}}",NaN\n'
    head, event = OBSERVATIONS.splitlines()
    observations = f'{head},individualSpeed,individualPositionAngle\n{event},nan,\n'.replace(',2,"a', ',NA,"a')
    mine = package(tmp_path / 'mine', media=media, observations=observations)
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    table = read(tmp_path / 'out' / 'observations.csv')
    assert table.loc[0, ['count', 'individualSpeed', 'individualPositionAngle']].tolist() == ['NA', 'nan', '']
    check_package(read_package(tmp_path / 'out'))


def version_in(tmp_path, **changes):
    return read_package(package(tmp_path / 'mine', **changes))


@pytest.mark.parametrize(
    'changes',
    [
        {'profile': 'https://rs.gbif.org/data-packages/camtrap-dp/1.0/profile/camtrap-dp-profile.json'},
        {'profile': None, '$schema': f'{URL}camtrap-dp-profile.json'},
        {'profile': 'data-package', '$schema': f'{URL.replace("1.0.2", "1.0.1")}camtrap-dp-profile.json'},
        {'profile': 'tabular-data-package'},  # the addresses of the schemas tell the version
    ],
)
def test_profiles(tmp_path, changes):
    assert version_in(tmp_path, **changes).media['mediaID'].tolist() == ['m1', 'm2']


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'profile': URL.replace('1.0.2', '1.1'), '$schema': f'{URL}x.json'}, "1.1/' is not Camtrap DP 1.0"),
        ({'profile': None, 'resources': []}, 'the profile None is not Camtrap DP 1.0'),
        ({'profile': URL.replace('1.0.2', '1.0-rc.1')}, 'is not Camtrap DP 1.0'),
        ({'profile': '../profile.json'}, 'leaves the package'),
        ({'profile': 'profile.json'}, 'names profile.json, but this file is missing'),
    ],
)
def test_profiles_of_no_use(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        version_in(tmp_path, **changes)


@pytest.mark.parametrize(('version', 'is_read'), [('1\\.0\\.2', True), ('0\\.6', False)])
def test_a_profile_in_the_package_tells_the_version_and_is_copied(tmp_path, version, is_read):
    mine = package(tmp_path / 'mine', profile='own/profile.json')
    (mine / 'own').mkdir()
    (mine / 'own' / 'profile.json').write_text(json.dumps({'$defs': {'version': {'pattern': version}}}))
    if is_read:
        merge_camtrap_dp([rows()], mine, tmp_path / 'out')
        assert (tmp_path / 'out' / 'own' / 'profile.json').read_bytes() == (mine / 'own/profile.json').read_bytes()
    else:
        with pytest.raises(ValueError, match='is not Camtrap DP 1.0'):
            read_package(mine)


def test_marks_of_windows_are_read_and_kept(tmp_path):
    mine = package(tmp_path / 'mine')
    for path in mine.iterdir():
        path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    assert (tmp_path / 'out' / 'media.csv').read_bytes() == (mine / 'media.csv').read_bytes()
    assert len(read(tmp_path / 'out' / 'observations.csv')) == 2


def packed(tmp_path):
    """A package whose media and observations are gzip."""
    names = {'deployments': 'deployments.csv', 'media': 'media.csv.gz', 'observations': 'observations.csv.gz'}
    mine = package(tmp_path / 'mine', resources=[{'name': n, 'path': path} for n, path in names.items()])
    for name in ('media', 'observations'):
        (mine / f'{name}.csv.gz').write_bytes(gzip.compress((mine / f'{name}.csv').read_bytes()))
        (mine / f'{name}.csv').unlink()
    return mine


def test_packed_tables(tmp_path):
    mine = packed(tmp_path)
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    assert (tmp_path / 'out' / 'media.csv.gz').read_bytes() == (mine / 'media.csv.gz').read_bytes()
    made = (tmp_path / 'out' / 'observations.csv.gz').read_bytes()
    assert len(gzip.decompress(made).splitlines()) == 3
    merge_camtrap_dp([rows()], tmp_path / 'out', tmp_path / 'again')
    assert (tmp_path / 'again' / 'observations.csv.gz').read_bytes() == made


def test_a_packed_table_that_is_cut_off_or_grows_without_end_is_refused(tmp_path, monkeypatch):
    mine = packed(tmp_path)
    data = (mine / 'media.csv.gz').read_bytes()
    (mine / 'media.csv.gz').write_bytes(data[:-9])
    with pytest.raises(ValueError, match='media.csv.gz cannot be unpacked.*export the package again'):
        read_package(mine)
    (mine / 'media.csv.gz').write_bytes(gzip.compress(MEDIA.encode() + b'\n' * 100_000))
    assert (mine / 'media.csv.gz').stat().st_size < 1000
    monkeypatch.setattr(package_files, '_MOST_BYTES', 10_000)
    with pytest.raises(ValueError, match='media.csv.gz has more than .* GiB'):
        read_package(mine)


def archive_of(folder, path, above='', more=()):
    """Writes the files of a folder into a .zip. more: (name or ZipInfo, content) of further entries."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a name twice
        for file in sorted(folder.iterdir()):
            archive.writestr(f'{above}{file.name}', file.read_bytes())
        for name, content in more:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize('above', ['', 'mica-2024/'])
def test_an_archive_is_read_as_a_folder(tmp_path, above):
    mine = package(tmp_path / 'mine')
    more = [('__MACOSX/datapackage.json', 'x'), (f'{above}media/a.mp4', b'a clip'), (f'{above}media/', '')]
    archive = archive_of(mine, tmp_path / 'Agouti.ZIP', above, more)
    assert merge_camtrap_dp([rows()], mine, tmp_path / 'a') == merge_camtrap_dp([rows()], archive, tmp_path / 'b')
    assert {p.name: p.read_bytes() for p in (tmp_path / 'a').iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / 'b').iterdir()
    }
    fault = package(tmp_path / 'fault', media=MEDIA.replace('mp4,false', 'mp4,x,false'))
    with pytest.raises(ValueError, match=r'fault\.zip/media\.csv:2 has 7 cells'):
        read_package(archive_of(fault, tmp_path / 'fault.zip'))


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ('name', 'match'),
    [
        ('../evil.csv', 'leads out of the archive'),
        ('media/../../evil.csv', 'leads out of the archive'),
        ('/tmp/evil.csv', 'leads out of the archive'),
        ('C:/evil.csv', 'leads out of the archive'),
        ('..\\evil.csv', 'has a backslash'),
        (link('extra.csv'), "'extra.csv', a link"),
        ('media.csv', "'media.csv', a name that the archive has twice"),
    ],
)
def test_an_archive_with_a_harmful_name_is_refused_and_writes_nothing(tmp_path, name, match):
    archive = archive_of(package(tmp_path / 'mine'), tmp_path / 'mine.zip', more=[(name, '/etc/passwd')])
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ValueError, match=f'mine.zip has .*{match}') as refusal:
        merge_camtrap_dp([rows()], archive, tmp_path / 'out')
    assert '\n' not in str(refusal.value)
    assert sorted(tmp_path.rglob('*')) == before


def test_an_archive_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(package_files, '_MOST_BYTES', 10_000)
    mine = package(tmp_path / 'mine', media=MEDIA + '\n' * 100_000)
    archive = archive_of(mine, tmp_path / 'mine.zip')
    assert archive.stat().st_size < 5000
    with pytest.raises(ValueError, match='mine.zip/media.csv has more than .* GiB when unpacked'):
        read_package(archive)
    small = archive_of(package(tmp_path / 'small'), tmp_path / 'small.zip', more=[('media/b.mp4', b'0' * 100_000)])
    assert len(read_package(small).media) == 2  # what the package does not name is not unpacked


def encrypted(data):
    """Sets the mark of an encrypted entry in the headers of all entries."""
    for mark, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data = data[: at + offset] + bytes([data[at + offset] | 1]) + data[at + offset + 1 :]
    return data


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda data: data[:-30], 'no folder and no .zip that can be read'),
        (lambda data: b'mediaID,deploymentID\n', 'no folder and no .zip that can be read'),
        # Byte 60 is in the packed bytes of datapackage.json: the header before them has 30 bytes and the name.
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], 'datapackage.json cannot be read'),
        (encrypted, 'datapackage.json cannot be read .*encrypted.*export the package again'),
    ],
)
def test_a_broken_archive_is_refused(tmp_path, change, match):
    archive = archive_of(package(tmp_path / 'mine'), tmp_path / 'mine.zip')
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(ValueError, match=match):
        read_package(archive)


def test_an_archive_of_no_package_or_of_two_is_refused(tmp_path):
    mine = package(tmp_path / 'mine')
    two = archive_of(mine, tmp_path / 'two.zip', 'a/', [('b/datapackage.json', '{}')])
    with pytest.raises(ValueError, match='a/datapackage.json and b/datapackage.json; give an archive of one package'):
        read_package(two)
    (mine / 'datapackage.json').unlink()
    with pytest.raises(ValueError, match='datapackage.json cannot be read; give the folder'):
        read_package(archive_of(mine, tmp_path / 'none.zip'))


def with_extra(folder, path):
    tables = [{'name': name, 'path': f'./{name}.csv'} for name in ('deployments', 'media', 'observations')]
    return package(folder, resources=[*tables, {'name': 'extra', 'path': path}])


def test_every_file_of_the_package_is_read_before_there_are_distances(tmp_path):
    mine = with_extra(tmp_path / 'mine', 'extra.bin')
    (mine / 'extra.bin').write_bytes(bytes(range(256)))
    archive = archive_of(mine, tmp_path / 'mine.zip', './')
    check_merge(['site_1/a.mp4'], archive, tmp_path / 'out')
    merge_camtrap_dp([rows()], archive, tmp_path / 'out')
    assert (tmp_path / 'out' / 'extra.bin').read_bytes() == bytes(range(256))
    data = archive.read_bytes()
    at = data.index(b'extra.bin') + len('extra.bin') + 9  # in its packed bytes
    archive.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(ValueError, match='mine.zip/extra.bin cannot be read'):
        check_merge(['site_1/a.mp4'], archive, tmp_path / 'other')
    folder = with_extra(tmp_path / 'folder', 'photos')
    (folder / 'photos').mkdir()
    with pytest.raises(ValueError, match='names photos, but this file is missing'):
        read_package(folder)


def test_the_datapackage_itself_may_be_given(tmp_path):
    mine = package(tmp_path / 'mine')
    assert read_package(mine / 'datapackage.json').file('media') == str(mine / 'media.csv')


def test_a_table_that_shrank_more_than_text_does_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(package_files, '_SMALL_BYTES', 1 << 20)
    bomb = MEDIA.encode() + b'\n' * (4 << 20)
    archive = archive_of(package(tmp_path / 'mine', media=bomb), tmp_path / 'mine.zip')
    with pytest.raises(ValueError, match='mine.zip/media.csv grows from .* bytes to 4 MiB when unpacked'):
        read_package(archive)
    with pytest.raises(ValueError, match='packed/media.csv grows from'):
        read_package(package(tmp_path / 'packed', media=gzip.compress(bomb)))
    more = ''.join(f'm{i},d1,2024-03-02T23:59:58Z,media/{i}.mp4,false,video/mp4\n' for i in range(10, 30_000))
    large = package(tmp_path / 'large', media=gzip.compress((MEDIA + more).encode()))
    assert len(more) > 1 << 20 and len(read_package(large).media) == 29_992


def test_an_empty_cell_is_written_as_the_packages_own_schema_asks(tmp_path):
    own = json.loads((SCHEMAS / 'observations-table-schema.json').read_text()) | {'missingValues': ['-']}
    described = resources()
    described[2]['schema'] = 'own.json'
    mine = package(tmp_path / 'mine', observations=OBSERVATIONS.replace('d1,,', 'd1,-,'), resources=described)
    (mine / 'own.json').write_text(json.dumps(own))
    merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    table = read(tmp_path / 'out' / 'observations.csv')
    assert table['lifeStage'].tolist() == ['-', '-'] and table['individualPositionRadius'].tolist() == ['-', '3.5']


def test_the_size_and_checksum_of_the_observations_stay_right(tmp_path):
    described = resources()
    described[2] |= {'bytes': len(OBSERVATIONS), 'hash': hashlib.md5(OBSERVATIONS.encode()).hexdigest()}
    mine = package(tmp_path / 'mine', resources=described)
    counts = merge_camtrap_dp([rows()], mine, tmp_path / 'out')
    data = (tmp_path / 'out' / 'observations.csv').read_bytes()
    written = json.loads((tmp_path / 'out' / 'datapackage.json').read_text())['resources'][2]
    assert (written['bytes'], written['hash']) == (len(data), hashlib.md5(data).hexdigest())
    assert counts['changes of datapackage.json'] == ['bytes of observations is new', 'hash of observations is new']


def test_an_archive_with_an_entry_without_a_name(tmp_path):
    info = zipfile.ZipInfo('x')
    info.filename = ''
    archive = archive_of(package(tmp_path / 'mine'), tmp_path / 'mine.zip', more=[(info, 'x')])
    assert read_package(archive).deployments['deploymentID'].tolist() == ['d1', 'd2']
