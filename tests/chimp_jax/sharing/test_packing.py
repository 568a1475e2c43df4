"""Members come out of a package as they went in."""

import hashlib
import json
import os
import re
import shutil
import zipfile

import jax
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import small
from made_members import PLACE, RECIPES

from chimp_jax import checkpoint, members
from chimp_jax.commands.entry import main
from chimp_jax.sharing import model_shapes, packing
from chimp_jax.sharing.packing import pack
from chimp_jax.sharing.unpacking import unpack

pytestmark = pytest.mark.usefixtures('small_layout')


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


def test_a_network_that_the_members_require_is_named(runs, tmp_path, capsys):
    shutil.copytree(runs, tmp_path / 'runs')
    for recipe in RECIPES:  # of the second one, the stream `down` sees no enhanced pictures
        path = tmp_path / 'runs' / recipe / 'fold_1' / 'member.json'
        enhance = f'upscale,network={"0a" if recipe == RECIPES[0] else "0b"},below=640,to=640'
        path.write_text(json.dumps(json.loads(path.read_text()) | {'enhance': enhance}))
    assert main(['pack', str(tmp_path / 'runs'), '--out', str(tmp_path / 'a.zip')]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith('note')]
    assert len(notes) == 1 and 'network' in notes[0] and 'SHA-256 begins with 0a' in notes[0]


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
