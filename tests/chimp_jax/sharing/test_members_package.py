"""Packages: members come out as they went in, and hostile packages are refused before anything is written."""

import hashlib
import json
import os
import re
import shutil
import tracemalloc
import zipfile

import flax.traverse_util
import jax
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import small

from chimp_jax import checkpoint, members
from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.sharing import model_shapes, package, packing
from chimp_jax.sharing.packing import pack
from chimp_jax.sharing.unpacking import unpack

RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')
PLACE = f'{RECIPES[0]}/fold_0'


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Two recipes x two folds with random weights, in folders as training leaves them."""
    folder = tmp_path_factory.mktemp('made') / 'runs'
    rng = np.random.default_rng(0)
    for recipe in RECIPES:
        made = small.config('data', recipe)
        for fold in (0, 1):
            write_member(folder / recipe / f'fold_{fold}', recipe, fold, rng)
        (folder / recipe / 'config.json').write_text(made.to_json_best_effort())
        sites = [f'clip {i}.mp4,s{i},\n' for i in range(6)]
        (folder / recipe / 'clips.csv').write_text(''.join(['video_id,site,park\n', *sites]))
    return folder


def write_member(folder, recipe, fold, rng) -> None:
    """Writes a member that was validated on three clips with four targets each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_shapes, 'DistanceModel', small.model)
        shapes = model_shapes.weight_shapes({})
    flat = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) ** (2 if 'var' in name else 1)
        for name, shape in shapes.items()
    }
    checkpoint.save_weights(folder / 'checkpoints', 1, flax.traverse_util.unflatten_dict(flat, sep='/'))
    rows = [(f'clip {clip}.mp4', time, 1.0 + clip + time) for clip in range(fold, 6, 2) for time in (0, 2, 4, 6)]
    lines = [f'{clip},{time},{metres},{metres + rng.normal():.4f},,,,\n' for clip, time, metres in rows]
    (folder / 'oof.csv').write_text(''.join([f'video_id,time,distance,prediction,{",".join(BOX)}\n', *lines]))
    about = {'recipe': recipe, 'fold': fold, 'best_epoch': 1, 'val_mae': rng.uniform(1, 2), 'folds_sha256': 'ab' * 32}
    (folder / 'member.json').write_text(json.dumps(about))
    start = {'time': '2026-01-02T03:04:05+00:00', 'git': None, 'versions': {'jax': '0.10.2'}, 'devices': 8}
    start |= {'device_kind': 'TPU v3', 'command': '/home/alice/train.py --config.data.records=/home/alice/data'}
    (folder / 'run.json').write_text(json.dumps([start]))


@pytest.fixture(scope='module')
def packed(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp('packed') / 'members.zip'
    assert pack(runs, path, anonymous=False).unfinished == []
    return path


@pytest.fixture(autouse=True)
def small_layout(monkeypatch):
    monkeypatch.setattr(model_shapes, 'DistanceModel', small.model)


def predict(member) -> np.ndarray:
    rng = np.random.default_rng(0)
    n_frames = member.config.data.n_frames
    frames = rng.integers(0, 256, (2, n_frames, 32, 32, 3), np.uint8)
    window = np.tile(np.arange(n_frames, dtype=np.int32), (2, 1, 1))
    apply = jax.jit(small.model().apply, compiler_options={'xla_backend_optimization_level': 0})
    return np.asarray(apply(member.weights(), frames=frames, window=window))


def test_unpacked_members_equal_the_packed_ones(runs, packed, tmp_path):
    done = unpack(packed, tmp_path)
    assert done.new == [f'{recipe}/fold_{fold}' for recipe in sorted(RECIPES) for fold in (0, 1)] and done.there == []
    before, after = members.find_members(runs), members.find_members(tmp_path)
    assert [member.name for member in before] == [member.name for member in after]
    for old, new in zip(before, after, strict=True):
        assert predict(old).tobytes() == predict(new).tobytes()
        assert old.fingerprint() == new.fingerprint()
        for name in ('member.json', 'oof.csv'):
            assert (old.folder / name).read_bytes() == (new.folder / name).read_bytes()
        assert (old.folder.parent / 'clips.csv').read_bytes() == (new.folder.parent / 'clips.csv').read_bytes()
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        assert json.loads((new.folder / 'provenance.json').read_text())['package'] == {
            'file': 'members.zip',
            'sha256': digest,
        }
    pd.testing.assert_frame_equal(members.read_oof(before)[0], members.read_oof(after)[0])
    assert unpack(packed, tmp_path) == (done.there, done.new)  # again: all are there


def test_what_a_package_holds(packed):
    with zipfile.ZipFile(packed) as file:
        names = {name.removeprefix(f'{RECIPES[0]}/') for name in file.namelist() if RECIPES[1] not in name}
        content = file.read(f'{PLACE}/weights.safetensors')
        manifest = json.loads(file.read('manifest.json'))
        listed = {
            name: {'bytes': len(file.read(name)), 'sha256': hashlib.sha256(file.read(name)).hexdigest()}
            for name in file.namelist()
            if name != 'manifest.json'
        }
    of_fold = {'member.json', 'weights.safetensors', 'oof.csv'}
    assert names == {
        *('manifest.json', 'config.json', 'clips.csv', 'model_card.md'),
        *(f'fold_{k}/{name}' for k in (0, 1) for name in of_fold),
    }
    assert manifest['entries'] == listed and manifest['anonymous'] is False
    assert {str(array.dtype) for array in safetensors.numpy.load(content).values()} == {'float32'}


def test_a_published_member_takes_55_MB():
    """Only names and shapes of the full model: 13,798,645 numbers of 4 bytes, and a header."""
    from chimp_jax.configs import base
    from chimp_jax.models.distance_model import DistanceModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_shapes, 'DistanceModel', DistanceModel)
        shapes = model_shapes.weight_shapes(base.get_config().model)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 13_798_645
    content = safetensors.numpy.save({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    assert 4 * 13_798_645 < len(content) < 55_300_000


def test_the_model_card_tells_what_the_runs_know(runs, packed):
    with zipfile.ZipFile(packed) as file:
        card = file.read(f'{RECIPES[0]}/model_card.md').decode()
    oof = pd.concat(pd.read_csv(path) for path in (runs / RECIPES[0]).glob('fold_*/oof.csv'))
    error = (oof['prediction'] - oof['distance']).abs().mean()
    assert f'the mean absolute error is {error:.4f} m on 24 rows' in card
    # By hand, from write_member: clip 0 at 0 s has 1 m, clip 5 at 6 s has 12 m; medians of clips 3.5 and of times 3.
    assert '24 distances of 6 clips in the folds of these members, from 1 to 12 m, median 6.5 m.' in card
    assert 'They are from 6 sites.' in card
    for fold in (0, 1):
        told = json.loads((runs / RECIPES[0] / f'fold_{fold}' / 'member.json').read_text())
        assert f'| fold {fold} | 1 | {told["val_mae"]:.4f} m |' in card and told['folds_sha256'] in card
        assert f'| fold {fold} | training until 2026-01-02T03:04:05+00:00 on 8 x TPU v3; jax 0.10.2 |' in card
    assert '| stream | full |' in card and '2 of 2 members (folds by clip;' in card
    assert 'alice' not in card


def test_unfinished_members_are_left_out_and_told(runs, packed, tmp_path):
    unpack(packed, tmp_path / 'runs')
    (tmp_path / 'runs' / PLACE / 'member.json').unlink()
    done = pack(tmp_path / 'runs', tmp_path / 'b.zip', anonymous=False)
    assert done.unfinished == [str(tmp_path / 'runs' / PLACE)] and len(done.members) == 3
    assert os.listdir(tmp_path) != [] and not list(tmp_path.glob('*.tmp'))
    with pytest.raises(ValueError, match='holds no finished member'):
        pack(tmp_path / 'nothing', tmp_path / 'c.zip', anonymous=False)
    assert not (tmp_path / 'c.zip').exists()


def test_a_copy_of_a_recipes_folder_is_refused(runs, tmp_path):
    shutil.copytree(runs / RECIPES[0], tmp_path / 'runs' / RECIPES[0])
    shutil.copytree(runs / RECIPES[0], tmp_path / 'runs' / 'a copy')
    with pytest.raises(ValueError, match=f'a copy/fold_0 and .* are both {PLACE}; move one'):
        pack(tmp_path / 'runs', tmp_path / 'members.zip', anonymous=False)
    assert not (tmp_path / 'members.zip').exists()


def test_a_package_appears_whole_or_not_at_all(runs, tmp_path, monkeypatch):
    (tmp_path / 'a.zip').write_bytes(b'before')
    monkeypatch.setattr(packing, 'flat_weights', lambda member: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(runs, tmp_path / 'a.zip', anonymous=False)
    assert os.listdir(tmp_path) == ['a.zip'] and (tmp_path / 'a.zip').read_bytes() == b'before'


def test_an_anonymous_package_has_no_names_and_the_same_numbers(runs, tmp_path):
    changed = tmp_path / 'runs'
    for recipe in RECIPES:  # names that tell something, and the paths of a person
        for path in (runs / recipe).rglob('*'):
            target = changed / recipe / path.relative_to(runs / recipe)
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                content = path.read_bytes()
                if path.suffix == '.csv':
                    content = content.replace(b'clip ', b'Tai/river/IMG_')
                    content = re.sub(rb',s(\d)', rb',site Nimba \1', content)
                if path.name == 'config.json':
                    config = json.loads(content)
                    config['data']['records'], config['start']['init'] = 'tai_records', '/home/alice/w.h5'
                    content = json.dumps(config).encode()
                target.write_bytes(content)
    pack(changed, tmp_path / 'a.zip', anonymous=True)
    with zipfile.ZipFile(tmp_path / 'a.zip') as file:
        for name in file.namelist():
            content = file.read(name)
            for secret in (b'IMG_', b'river', b'Nimba', b'tai_records', b'alice', str(tmp_path).encode()):
                assert secret not in content, (name, secret)
    unpack(tmp_path / 'a.zip', tmp_path / 'new')
    for recipe in RECIPES:
        clips = pd.read_csv(tmp_path / 'new' / recipe / 'clips.csv', keep_default_na=False)
        assert sorted(clips['site']) == [f'site_{i}' for i in range(1, 7)] and set(clips['park']) == {''}
    old, new = (members.read_oof(members.find_members(folder))[0] for folder in (changed, tmp_path / 'new'))
    assert not set(old.index.get_level_values(0)) & set(new.index.get_level_values(0))
    # The same rows under other names: sorted by their numbers, the tables are equal.
    columns = list(old)
    left, right = (table.reset_index(level='time').sort_values(columns).to_numpy() for table in (old, new))
    np.testing.assert_array_equal(left, right)


def test_new_names_follow_neither_the_order_of_the_old_ones_nor_of_the_rows():
    from chimp_jax.sharing.anonymous import NewNames

    table = pd.DataFrame({'video_id': [f'v{i:03d}' for i in range(200)], 'time': ['10', '9'] * 100})
    new = NewNames([table]).applied_to(table)
    assert new['video_id'].tolist() == sorted(new['video_id']) and new['video_id'].is_unique
    back = new.index.tolist()
    assert back != sorted(back) and back != sorted(back, reverse=True)
    again = NewNames([table]).applied_to(table).index.tolist()
    assert again != back  # nobody can repeat the order
    twice = pd.DataFrame({'video_id': ['a', 'a'], 'time': ['10', '9']})
    assert NewNames([twice]).applied_to(twice)['time'].tolist() == ['9', '10']


def test_a_member_that_differs_is_never_overwritten(packed, tmp_path):
    unpack(packed, tmp_path)
    for name, change in (
        ('member.json', lambda text: text.replace('"val_mae": ', '"val_mae": 1')),
        ('oof.csv', lambda text: text + 'x.mp4,1,1.0,1.0,,,,\n'),
    ):
        path = tmp_path / PLACE / name
        before = path.read_text()
        path.write_text(change(before))
        there = {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()}
        with pytest.raises(
            ValueError, match=rf"fold_0 is another member than the package's \({name} differs\); unpack"
        ):
            unpack(packed, tmp_path)
        assert {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()} == there
        path.write_text(before)
    clips = tmp_path / RECIPES[0] / 'clips.csv'
    clips.write_text(clips.read_text() + 'new,site,\n')
    with pytest.raises(ValueError, match="clips.csv is another table than the package's; unpack it into another"):
        unpack(packed, tmp_path)


def test_weights_config_and_unfinished_trainings_that_are_there_are_kept(packed, tmp_path):
    unpack(packed, tmp_path)
    (member, *_) = members.find_members(tmp_path)
    weights = member.weights()
    weights['params']['output']['bias'] = weights['params']['output']['bias'] + np.float32(1)
    checkpoint.save_weights(member.folder / 'checkpoints', member.best_epoch, weights)
    with pytest.raises(ValueError, match="another member than the package's .the weights differs"):
        unpack(packed, tmp_path)
    config = member.folder.parent / 'config.json'
    config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match=r'differs in seed \(1 there, 0 here\); unpack it into another folder'):
        unpack(packed, tmp_path)
    other = tmp_path / 'other' / PLACE
    other.mkdir(parents=True)
    (other / 'metrics.csv').write_text('epoch\n')
    with pytest.raises(ValueError, match=r'fold_0 holds an unfinished member \(metrics.csv\)'):
        unpack(packed, tmp_path / 'other')
    assert not list((tmp_path / 'other').rglob('member.json'))


@pytest.mark.parametrize('name', ['write_json', 'claim_recipe', 'save_weights'])
def test_a_killed_unpacking_is_finished_by_the_same_command(packed, tmp_path, monkeypatch, name):
    from chimp_jax.sharing import new_member

    place = new_member.checkpoint if name == 'save_weights' else new_member
    calls = []

    def dies(*_, **__):
        calls.append(1)
        if len(calls) == 2:  # the second member
            raise KeyboardInterrupt
        return write(*_, **__)

    write = getattr(place, name)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, dies)
        with pytest.raises(KeyboardInterrupt):
            unpack(packed, tmp_path)
    assert len(members.find_members(tmp_path)) == 1
    done = unpack(packed, tmp_path)
    assert (len(done.there), len(done.new)) == (1, 3) and len(members.find_members(tmp_path)) == 4


def test_packages_of_packages_keep_where_members_came_from(packed, tmp_path):
    unpack(packed, tmp_path / 'a')
    pack(tmp_path / 'a', tmp_path / 'again.zip', anonymous=False)
    unpack(tmp_path / 'again.zip', tmp_path / 'b')
    provenance = json.loads((tmp_path / 'b' / PLACE / 'provenance.json').read_text())
    assert provenance['package']['file'] == 'again.zip' and provenance['before']['package']['file'] == 'members.zip'


# ---- hostile packages


def entries_of(path) -> dict[str, bytes]:
    """Returns the entries of one member."""
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.startswith(f'{RECIPES[0]}/') and 'fold_1' not in name]
        return {name: file.read(name) for name in names}


def listed(entries: dict[str, bytes]) -> dict[str, bytes]:
    """Returns the entries with a manifest that lists them."""
    about = {
        name: {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
        for name, content in entries.items()
        if name != 'manifest.json'
    }
    manifest = {'format': 'chimp_jax members', 'version': 1, 'entries': about}
    return entries | {'manifest.json': json.dumps(manifest).encode()}


def write_zip(path, entries, stored=lambda name: True) -> None:
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            file.writestr(info, content, zipfile.ZIP_STORED if stored(name) else zipfile.ZIP_DEFLATED)


def refused(path, tmp_path) -> str:
    """Returns the one line with which a package is refused. Nothing is written anywhere."""
    out = tmp_path / 'out' / 'runs'
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ValueError) as caught:
        unpack(path, out)
    assert '\n' not in str(caught.value) and str(path) in str(caught.value)
    assert sorted(tmp_path.rglob('*')) == before
    return str(caught.value)


@pytest.fixture
def hostile(packed, tmp_path):
    """Returns the line with which a changed package is refused. change(entries) -> entries, manifest made anew."""

    def try_it(change, stored=lambda name: True, with_manifest=True):
        entries = change(entries_of(packed))
        path = tmp_path / 'hostile.zip'
        write_zip(path, listed(entries) if with_manifest else entries, stored)
        return refused(path, tmp_path)

    return try_it


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


def test_a_member_without_its_description_is_not_passed_over(hostile, packed):
    name = max(name for name in entries_of(packed) if name.endswith('/member.json'))

    def without(entries):
        return {other: content for other, content in entries.items() if other != name}

    assert f'without {name}; ask for the package again' in hostile(without)


def changed_json(entries, name, **changes):
    return entries | {name: json.dumps(json.loads(entries[name]) | changes).encode()}


@pytest.mark.parametrize(
    'changes, reason',
    [
        ({'recipe': 'other'}, "recipe is 'other'"),
        ({'fold': 1}, 'fold is 1'),
        ({'fold': False}, 'fold is False'),
        ({'best_epoch': '../x'}, "best_epoch is '../x'"),
        ({'best_epoch': -1}, 'best_epoch is -1'),
        ({'val_mae': 'low'}, "val_mae is 'low'"),
        ({'val_mae': float('nan')}, 'val_mae is nan'),
        ({'folds_sha256': 'G'}, "folds_sha256 is 'G'"),
    ],
)
def test_member_descriptions_that_cannot_be_right(hostile, changes, reason):
    line = hostile(lambda entries: changed_json(entries, f'{PLACE}/member.json', **changes))
    assert f'{PLACE}/member.json in' in line and reason in line


def with_config(change):
    def apply(entries):
        config = json.loads(entries[f'{RECIPES[0]}/config.json'])
        change(config)
        return entries | {f'{RECIPES[0]}/config.json': json.dumps(config).encode()}

    return apply


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda config: config.update(recipe='other'), 'recipe cannot be used'),
        (lambda config: config['data'].update(n_frames=10**9), 'data.n_frames cannot be used'),
        (lambda config: config['data'].update(n_frames=98), 'data.n_frames cannot be used'),
        (lambda config: config['data'].update(folds=5), 'data.folds cannot be used'),
        (lambda config: config['data'].pop('folds'), 'folds'),
        (lambda config: config['data'].update(size_px='x'), 'data.size_px cannot be used'),
        (lambda config: config['data'].update(stream='/etc'), 'data.stream cannot be used'),
        (lambda config: config['model'].update(stages=[[1, 3, 2, 32, 16, 1]]), 'model.stages cannot be used'),
        (lambda config: config['model'].pop('lstm_units'), 'model.lstm_units cannot be used'),
        (lambda config: config['train'].update(loss=5), 'train.loss cannot be used'),
        (lambda config: config['train'].update(shell='id'), 'train.shell cannot be used'),
        (lambda config: config['train']['plateau'].update(factor='x'), 'train.plateau.factor cannot be used'),
        (lambda config: config['start'].update(init=[]), 'start.init cannot be used'),
        (lambda config: config.update(seed=None), 'seed cannot be used'),
        (lambda config: config.pop('model'), "'model'"),
        (lambda config: config.update(model=3), 'config.json in'),
    ],
)
def test_configs_that_cannot_be_used(hostile, change, reason):
    line = hostile(with_config(change))
    assert f'{RECIPES[0]}/config.json in' in line and reason in line


@pytest.mark.parametrize('field, value', [('backbone', 'vit'), ('dtype', 'float7'), ('lstm_units', -3)])
def test_models_that_do_not_exist(packed, tmp_path, monkeypatch, field, value):
    """With the full model, whose fields the small one leaves out."""
    from chimp_jax.models.distance_model import DistanceModel

    monkeypatch.setattr(model_shapes, 'DistanceModel', DistanceModel)
    entries = with_config(lambda config: config['model'].update({field: value}))(entries_of(packed))
    write_zip(tmp_path / 'x.zip', listed(entries))
    assert f'{RECIPES[0]}/config.json in' in refused(tmp_path / 'x.zip', tmp_path)


def test_weights_that_are_not_the_models(hostile):
    name = f'{PLACE}/weights.safetensors'

    def with_weights(change):
        def apply(entries):
            tensors = safetensors.numpy.load(entries[name])
            change(tensors)
            return entries | {name: safetensors.numpy.save(tensors)}

        return hostile(apply)

    assert '1 missing: params/output/bias (1,); ask' in with_weights(lambda t: t.pop('params/output/bias'))
    assert '1 unknown: x (2,); ask' in with_weights(lambda t: t.update(x=np.zeros(2, np.float32)))
    huge = np.full(1, np.inf, np.float32)
    assert '1 not finite: params/output/bias' in with_weights(lambda t: t.update({'params/output/bias': huge}))
    double = np.zeros(1)
    assert 'holds float64, not float32' in with_weights(lambda t: t.update({'params/output/bias': double}))
    for content in (b'', b'\x80\x04K\x01.', (1 << 60).to_bytes(8, 'little') + b'{}'):
        assert 'is not a readable safetensors file' in hostile(lambda entries, c=content: entries | {name: c})


def test_tables_that_cannot_be_read(hostile):
    name = f'{PLACE}/oof.csv'
    bad = b'video_id,time,distance,prediction\na,1,x,2\n'
    assert f"{name}:2: distance 'x' is not a number" in hostile(lambda entries: entries | {name: bad})
    head = b'video_id,time,distance,prediction\na,1,3,2\n'
    for row, reason in ((b'b,1,3,\n', 'lacks a number'), (b'a,1,3,2\n', 'has the target of an earlier line')):
        assert f'{name}:3 {reason}; ask' in hostile(lambda entries, row=row: entries | {name: head + row})
    assert 'lacks the column site' in hostile(lambda entries: entries | {f'{RECIPES[0]}/clips.csv': b'video_id\na\n'})
    assert 'lacks' in hostile(lambda entries: {key: value for key, value in entries.items() if 'config' not in key})


def test_a_pickle_in_the_place_of_weights_is_not_run(hostile, tmp_path):
    content = b"cos\nsystem\n(S'touch /tmp/imported_by_pickle'\ntR."
    assert 'is not a readable safetensors' in hostile(lambda e: e | {f'{PLACE}/weights.safetensors': content})
    assert not os.path.exists('/tmp/imported_by_pickle')


def test_weights_of_another_dtype_are_not_packed(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(members.Member, 'weights', lambda self: {'params': {'x': np.zeros(2, np.float16)}})
    with pytest.raises(ValueError, match='weights of float16 cannot be packed'):
        pack(runs, tmp_path / 'a.zip', anonymous=False)
