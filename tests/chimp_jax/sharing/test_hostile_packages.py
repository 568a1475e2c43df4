"""Hostile zip files are refused before anything is written."""

import json
import tracemalloc
import zipfile

import pytest
from made_members import PLACE, RECIPES, entries_of, listed, refused, write_zip

from chimp_jax.sharing import package

pytestmark = pytest.mark.usefixtures('small_layout')


@pytest.mark.parametrize(
    'name',
    [
        '../escaped.txt',
        '/tmp/escaped.txt',
        f'{PLACE}/../../../escaped.json',
        f'../{PLACE}/member.json',
        '..\\escaped.txt',
        f'{PLACE}/checkpoints/1/weights',
        f'{PLACE}/evil.py',
        f'{PLACE}/weights.pkl',
        f'{RECIPES[0]}/fold_٣/member.json',  # a digit that is not 0-9
        f'{PLACE}/member.json\n',
        f'{PLACE}/',
        'a' * 101 + '/config.json',
        '.hidden/config.json',
    ],
)
def test_unknown_entries_and_paths_outside(hostile, name):
    assert 'is no entry of a package; ask' in hostile(lambda entries: entries | {name: b'{}'})


def test_links_duplicates_and_encrypted_entries(packed, tmp_path):
    entries = listed(entries_of(packed))
    path = tmp_path / 'x.zip'
    link = zipfile.ZipInfo(f'{PLACE}/provenance.json')
    link.external_attr = 0o120777 << 16
    write_zip(path, [*entries.items(), (link, b'/etc/passwd')])
    assert "provenance.json' is no file" in refused(path, tmp_path)
    with pytest.warns(UserWarning, match='Duplicate name'):
        write_zip(path, [*entries.items(), (f'{PLACE}/member.json', b'{}')])
    assert "member.json' is there twice" in refused(path, tmp_path)
    write_zip(path, [*entries.items(), (f'{PLACE}/member.json'.upper().replace('FOLD', 'fold'), b'{}')])
    assert 'is no entry of a package' in refused(path, tmp_path)
    write_zip(path, [*entries.items(), (f'{RECIPES[0].upper()}/config.json', b'{}')])
    assert "config.json' is there twice" in refused(path, tmp_path)
    write_zip(path, entries)
    content = bytearray(path.read_bytes())
    place = content.rindex(b'PK\x01\x02', 0, content.rindex(b'manifest.json'))  # its header in the central directory
    content[place + 8] |= 1
    path.write_bytes(content)
    assert "'manifest.json' is encrypted" in refused(path, tmp_path)


def test_bombs(hostile, packed, tmp_path, monkeypatch):
    zeros = b'0' * 1_000_001
    line = hostile(lambda entries: entries | {f'{PLACE}/member.json': zeros}, stored=lambda name: 'member' not in name)
    assert "member.json' has 1 MB, which is too much" in line
    assert "weights.safetensors' is compressed" in hostile(lambda entries: entries, stored=lambda name: False)
    with monkeypatch.context() as patch:
        patch.setattr(package, '_MOST_ENTRIES', 3)
        assert 'entries, more than the 3' in refused(packed, tmp_path)


def test_an_entry_that_hides_its_size_takes_no_memory(packed, tmp_path):
    """The lists say 100 bytes, and the compressed bytes give 300 MB."""
    entries = entries_of(packed)
    name = f'{PLACE}/member.json'
    entries[name] = b'0' * 300_000_000
    fake = {other: content[:100] if other == name else content for other, content in entries.items()}
    entries['manifest.json'] = listed(fake)['manifest.json']
    path = tmp_path / 'x.zip'
    write_zip(path, entries, stored=lambda other: other != name)
    content = path.read_bytes().replace((300_000_000).to_bytes(4, 'little'), (100).to_bytes(4, 'little'))
    path.write_bytes(content)
    del entries, fake, content
    tracemalloc.start()
    try:
        assert f'{name} is damaged' in refused(path, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_entries_over_each_other(packed, tmp_path):
    """All entries of the list point at the same bytes, as in a zip bomb of overlapping files."""
    entries = [(f'{PLACE}/oof.csv', b'x' * 60_000), (f'{RECIPES[1]}/fold_0/oof.csv', b'x' * 60_000)]
    path = tmp_path / 'x.zip'
    write_zip(path, [*entries, ('manifest.json', b'{}')])
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        first, second, _ = file.infolist()
    directory = content.index(b'PK\x01\x02')
    moved = content[: second.header_offset] + content[content.index(b'manifest.json') - 30 :]
    # Take the second copy out and let the list point at the first one.
    shift = len(content) - len(moved)
    end = moved.rindex(b'PK\x05\x06')
    patched = bytearray(moved)
    patched[end + 16 : end + 20] = (directory - shift).to_bytes(4, 'little')
    for place, offset in zip(_headers(patched, directory - shift), (0, 0, second.header_offset), strict=True):
        patched[place + 42 : place + 46] = offset.to_bytes(4, 'little')
    path.write_bytes(patched)
    assert 'its entries lie over each other' in refused(path, tmp_path)
    assert first.header_offset == 0


def _headers(content: bytes, start: int) -> list[int]:
    found = []
    while (start := content.find(b'PK\x01\x02', start)) >= 0:
        found.append(start)
        start += 1
    return found


def test_lists_that_lie(hostile, packed):
    def with_manifest(**changes):
        def change(entries):
            made = listed(entries)
            manifest = json.loads(made['manifest.json']) | changes
            return made | {'manifest.json': json.dumps(manifest).encode()}

        return hostile(change, with_manifest=False)

    about = json.loads(listed(entries_of(packed))['manifest.json'])['entries']
    name = f'{PLACE}/oof.csv'
    assert 'is no package of members' in with_manifest(format='other')
    assert 'of version 2, and this program reads version 1; update' in with_manifest(version=2)
    for damaged in (None, [], {name: 3}, about | {name: {'bytes': '3', 'sha256': ''}}):
        assert 'list of entries' in with_manifest(entries=damaged)
    less = {other: value for other, value in about.items() if other != name}
    assert f'has {name}, which manifest.json does not list' in with_manifest(entries=less)
    more = about | {f'{RECIPES[0]}/fold_7/oof.csv': about[name]}
    assert 'fold_7/oof.csv, which manifest.json lists' in with_manifest(entries=more)
    size = about[name]['bytes']
    wrong = about | {name: about[name] | {'bytes': size + 1}}
    assert f'{name} has {size} bytes, not the {size + 1} of' in with_manifest(entries=wrong)
    wrong = about | {name: about[name] | {'sha256': '0' * 64}}
    assert f'{name} has another SHA-256 than the manifest says' in with_manifest(entries=wrong)


@pytest.mark.parametrize('content', [b'', b'<html>', b'PK\x03\x04', b'x' * 1000])
def test_files_that_are_no_package(tmp_path, content):
    path = tmp_path / 'x.zip'
    path.write_bytes(content)
    assert 'is not a readable zip file' in refused(path, tmp_path)


def test_other_zip_files_and_missing_ones(packed, tmp_path):
    path = tmp_path / 'x.zip'
    write_zip(path, {})
    assert 'has no manifest.json, so it is no package' in refused(path, tmp_path)
    path.write_bytes(packed.read_bytes()[:-1000])
    assert 'is not a readable zip file' in refused(path, tmp_path)
    for other, reason in ((tmp_path / 'no.zip', 'cannot be read: No such file'), (tmp_path, 'is not a file')):
        assert reason in refused(other, tmp_path)
    for text in (b'[1]', b'{', b'[' * 100_000):
        write_zip(path, {'manifest.json': text})
        assert 'manifest.json in' in refused(path, tmp_path)
