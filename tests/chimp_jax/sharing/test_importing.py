"""A Keras file of the whole model becomes a finished member that predicts as Keras does."""

import hashlib
import json
import os

import h5py
import jax
import keras
import keras_small
import numpy as np
import pytest
import small

from chimp_jax import members, train
from chimp_jax.configs import base
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.sharing import importing, model_shapes, new_member
from chimp_jax.sharing.importing import ImportRequest, import_member

RECIPE = 'full-a4p50-f7s1'


@pytest.fixture(autouse=True)
def small_layout(monkeypatch):
    monkeypatch.setattr(model_shapes, 'DistanceModel', small.model)


@pytest.fixture(scope='module')
def keras_model():
    return keras_small.whole_model(seed=0)


@pytest.fixture(scope='module')
def weights(keras_model, tmp_path_factory):
    """A Keras file of the weights, as the original's checkpoints are: legacy HDF5, weights only."""
    path = tmp_path_factory.mktemp('keras') / 'model-best-f0.h5'
    write_legacy(keras_model, path)
    return path


def write_legacy(model, path) -> None:
    from keras.src.legacy.saving import legacy_h5_format  # TensorFlow 2's format; Keras 3's public API only reads it

    with h5py.File(path, 'w') as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def request(out, **changes) -> ImportRequest:
    return ImportRequest(**{'recipe': RECIPE, 'fold': 0, 'out': str(out), 'size_px': keras_small.SIZE_PX} | changes)


def refused(path, out, **changes) -> str:
    """Returns the one line with which an import is refused. It leaves no finished member."""
    there = sorted(out.rglob('*'))
    with pytest.raises(ValueError) as caught:
        import_member(path, request(out, **changes))
    assert '\n' not in str(caught.value) and sorted(out.rglob('*')) == there
    return str(caught.value)


@pytest.mark.parametrize('name', ['legacy.h5', 'w.weights.h5', 'whole.h5', 'whole.keras'])
def test_every_form_of_file_predicts_as_keras(keras_model, tmp_path, name):
    path = tmp_path / name
    if name == 'legacy.h5':
        write_legacy(keras_model, path)
    elif name.startswith('whole'):
        keras_model.save(path)
    else:
        keras_model.save_weights(path)
    folder, was_there = import_member(path, request(tmp_path / 'runs'))
    assert folder == tmp_path / 'runs' / RECIPE / 'fold_0' and not was_there
    (member,) = members.find_members(tmp_path / 'runs')
    rng = np.random.default_rng(1)
    brightness = np.array([0.2, 0.6, 1.0]).reshape(3, 1, 1, 1, 1)
    frames = (brightness * rng.integers(0, 256, (3, keras_small.N_FRAMES, 32, 32, 3))).astype(np.uint8)
    window = np.tile(np.arange(keras_small.N_FRAMES, dtype=np.int32), (3, 1, 1))
    apply = jax.jit(small.model().apply, compiler_options={'xla_backend_optimization_level': 0})
    ours = apply(member.weights(), frames=frames, window=window)
    expected = keras_model(frames / np.float32(255), training=False).numpy()
    assert np.ptp(expected) > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=0.01 * np.ptp(expected))  # 1 % of what tells the pictures apart


def test_what_an_import_writes(weights, tmp_path):
    import_member(weights, request(tmp_path, fold=3, val_mae_m=1.3361, folds='published', source='https://x.org/a'))
    folder = tmp_path / RECIPE / 'fold_3'
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert json.loads((folder / 'member.json').read_text()) == {
        'recipe': RECIPE,
        'fold': 3,
        'best_epoch': 0,
        'val_mae': 1.3361,
        # shared/reference: SHA-256 of the original's folds, as data_prep.published_folds checks them
        'folds_sha256': 'cdecb616c1d876cecd6cc507fe72d13f4761a95f6c543c409a568ea864ede89d',
        'weights_sha256': digest,
    }
    provenance = json.loads((folder / 'provenance.json').read_text())
    assert provenance.pop('date').startswith('20') and provenance.pop('versions')['jax']
    assert provenance == {
        'file': weights.name,
        'sha256': digest,
        'bytes': weights.stat().st_size,
        'source': 'https://x.org/a',
    }
    config = members.read_config(folder.parent)
    expected = base.get_config(RECIPE)
    expected.data.update(size_px=32, folds='published')
    assert json.loads(config.to_json()) == json.loads(expected.to_json())
    assert sorted(path.name for path in folder.iterdir()) == ['checkpoints', 'member.json', 'provenance.json']


def test_the_same_file_twice_and_another_file(weights, tmp_path):
    assert import_member(weights, request(tmp_path))[1] is False
    copy = tmp_path / 'copy.h5'
    copy.write_bytes(weights.read_bytes())
    assert import_member(copy, request(tmp_path)) == (tmp_path / RECIPE / 'fold_0', True)
    assert 'with other settings: val_mae (None there, 1.5 here); give' in refused(copy, tmp_path, val_mae_m=1.5)
    write_legacy(keras_small.whole_model(seed=1), copy)
    line = refused(copy, tmp_path)
    assert line.startswith(f'{tmp_path}/{RECIPE}/fold_0 was imported from another file, and {copy} would replace it')
    import_member(copy, request(tmp_path, fold=1))
    assert len(members.find_members(tmp_path)) == 2
    other = refused(copy, tmp_path, fold=2, folds='published')
    assert "belongs to another config, which differs in data.folds ('clip' there, 'published' here)" in other
    assert other.endswith('; choose another --out')


def test_trained_members_and_unfinished_trainings_are_not_touched(weights, tmp_path):
    folder = tmp_path / RECIPE / 'fold_0'
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text('[]')
    assert 'fold_0 holds an unfinished member (run.json); finish its training' in refused(weights, tmp_path)
    (folder / 'member.json').write_text('{"recipe": "x", "val_mae": 1.0}')
    assert 'fold_0 is a trained member, and' in refused(weights, tmp_path)


@pytest.mark.parametrize('step', range(8))
def test_a_killed_import_is_finished_by_the_same_command(weights, tmp_path, monkeypatch, step):
    """The run dies before its n-th step of writing. The last file is member.json, so it is missing until the end."""
    steps = iter(range(step + 1))

    def dying(write):
        def dies_or_writes(*given, **named):
            if next(steps) == step:
                raise KeyboardInterrupt
            return write(*given, **named)

        return dies_or_writes

    with monkeypatch.context() as patch:
        for name in ('write_json', 'claim_recipe', 'write_whole'):
            patch.setattr(new_member, name, dying(getattr(new_member, name)))
        for name in ('save_weights', '_digest'):
            patch.setattr(new_member.checkpoint, name, dying(getattr(new_member.checkpoint, name)))
        patch.setattr(os, 'rename', dying(os.rename))
        try:
            import_member(weights, request(tmp_path))
            died = False
        except KeyboardInterrupt:
            died = True
    if died:
        assert not list(tmp_path.rglob('member.json'))
    assert import_member(weights, request(tmp_path))[1] is not died
    (member,) = members.find_members(tmp_path)
    assert member.weights()['params']['output']['kernel'].shape == (6, 1)


def test_an_unfinished_import_gives_way_to_another_file(weights, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(new_member.checkpoint, 'save_weights', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_member(weights, request(tmp_path))
    other = tmp_path / 'other.h5'
    write_legacy(keras_small.whole_model(seed=1), other)
    import_member(other, request(tmp_path))
    provenance = json.loads((tmp_path / RECIPE / 'fold_0' / 'provenance.json').read_text())
    assert provenance['file'] == 'other.h5'


def test_weights_that_do_not_fit_are_counted_and_named(tmp_path):
    path = tmp_path / 'x.h5'
    out = tmp_path / 'runs'
    out.mkdir()
    write_legacy(keras_small.whole_model(units=9), path)
    assert refused(path, out) == (
        f'{path} does not fit the model: 4 of another shape: params/dense/kernel (9, 6), not (8, 6), '
        'params/lstm/bias (36,), not (32,), params/lstm/kernel (1280, 36), not (1280, 32), ...; '
        f'give a Keras file of the whole model of {RECIPE}'
    )
    write_legacy(keras_small.backbone(), path)
    # By hand: two dense layers with kernel and bias, and the LSTM's three arrays.
    assert 'does not fit the model: 7 missing: params/dense/bias (6,), params/dense/kernel (8, 6), ' in refused(
        path, out
    )
    model = keras_small.whole_model()
    more = keras.layers.Dense(5, name='one_too_many')(model.layers[-2].output)
    write_legacy(keras.Model(model.input, [model.output, more]), path)
    assert "the layers 'dense' and 'one_too_many' both fit dense" in refused(path, out)
    more = keras.layers.PReLU(name='odd')(model.output)
    write_legacy(keras.Model(model.input, more), path)
    assert 'does not fit the model: 1 unknown: odd/alpha (1,); give' in refused(path, out)
    model.get_layer('dense').bias.assign(np.full(6, np.nan))
    write_legacy(model, path)
    assert 'does not fit the model: 1 not finite: params/dense/bias; give' in refused(path, out)


def test_a_model_of_other_windows_or_pixels_is_refused(keras_model, tmp_path):
    keras_model.save(tmp_path / 'x.keras')
    out = tmp_path / 'runs'
    out.mkdir()
    told = 'holds a model for 7 frames of 32 x 32 px, and'
    assert f'{told} full-a4p50-f9s1 has 9 frames of 32 x 32' in refused(
        tmp_path / 'x.keras', out, recipe='full-a4p50-f9s1'
    )
    assert f'{told} {RECIPE} has 7 frames of 512 x 512 px; give its' in refused(tmp_path / 'x.keras', out, size_px=512)


def test_a_model_that_normalises_its_pictures_is_refused(tmp_path):
    with h5py.File(tmp_path / 'x.h5', 'w') as file:
        file['normalization/mean:0'] = np.zeros(3)
    with pytest.raises(
        PretrainedError, match="in the layer 'normalization', .* train from it with --config.start.init"
    ):
        import_member(tmp_path / 'x.h5', request(tmp_path))


@pytest.mark.parametrize(
    'changes, reason',
    [
        ({'recipe': 'full-a3p50-f7s1'}, "'full-a3p50-f7s1' is not a model ID"),
        ({'recipe': '../../x'}, "'../../x' is not a model ID"),
        ({'recipe': 'all'}, '--recipe=all names several recipes'),
        ({'fold': 5}, '--fold=5: there are the folds 0 to 4'),
        ({'fold': -1}, '--fold=-1: there are the folds 0 to 4'),
        ({'val_mae_m': float('nan')}, '--val_mae=nan: give metres'),
        ({'val_mae_m': -1.0}, '--val_mae=-1.0: give metres'),
        ({'size_px': 0}, '--size_px=0: give'),
    ],
)
def test_impossible_requests_are_refused_before_the_file_is_read(tmp_path, changes, reason):
    assert reason in refused(tmp_path / 'missing.h5', tmp_path, **changes)


def test_files_that_cannot_be_read(tmp_path):
    assert 'missing.h5 cannot be read: No such file' in refused(tmp_path / 'missing.h5', tmp_path)
    assert 'is not a file; give' in refused(tmp_path, tmp_path)
    assert '/dev/zero is not a file; give' in refused('/dev/zero', tmp_path)


def test_the_table_of_cross_validation_does_not_hide_an_unknown_error(weights, tmp_path):
    import_member(weights, request(tmp_path, val_mae_m=1.5))
    assert train.cv_table([], tmp_path)['cv_mae'].tolist() == [1.5]
    import_member(weights, request(tmp_path, fold=1))
    (row,) = train.cv_table([], tmp_path).itertuples(index=False)
    assert (row.members, row.n_folds) == (2, 5) and np.isnan(row.cv_mae)


def test_two_imports_never_share_saved_predictions(weights, tmp_path):
    """Predictions are saved under the member's fingerprint, so it must differ if the weights do."""
    other = tmp_path / 'other.h5'
    write_legacy(keras_small.whole_model(seed=1), other)
    import_member(weights, request(tmp_path / 'a'))
    import_member(other, request(tmp_path / 'b'))
    a, b = (members.find_members(tmp_path / name)[0].fingerprint() for name in 'ab')
    assert a != b
    assert importing.describe(request(''), 'x') != importing.describe(request(''), 'y')
