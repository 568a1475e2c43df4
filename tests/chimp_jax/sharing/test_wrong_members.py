"""Packages whose members cannot be right are refused before anything is written."""

import json
import os

import numpy as np
import pytest
import safetensors.numpy
from made_members import PLACE, RECIPES, changed_json, entries_of, listed, refused, write_zip

from chimp_jax import members
from chimp_jax.sharing import model_shapes
from chimp_jax.sharing.packing import pack

pytestmark = pytest.mark.usefixtures('small_layout')


def test_a_member_without_its_description_is_not_passed_over(hostile, packed):
    name = max(name for name in entries_of(packed) if name.endswith('/member.json'))

    def without(entries):
        return {other: content for other, content in entries.items() if other != name}

    assert f'without {name}; ask for the package again' in hostile(without)


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
