"""Training on kept features: the backbone stays, the numbers are those of the pictures, files are shared and mended."""

import filecmp
import json

import jax
import numpy as np
import pytest
import small
from etils import epath

from chimp_jax import checkpoint, panel, predict, scoring, train, trainer
from chimp_jax.ensemble.prediction_tables import KEY, read_predictions
from chimp_jax.members import find_members

RECIPE = 'down-a1p50-f7s1'


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(trainer, 'DistanceModel', small.model)
    monkeypatch.setattr(panel, 'DistanceModel', small.model)


@pytest.fixture(
    scope='module', params=[pytest.param(False, id='plain'), pytest.param(True, id='regions', marks=pytest.mark.slow)]
)
def data(request, tmp_path_factory):
    """Records, and RUNS/first with a member trained for an epoch."""
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder, adapt=small.with_animals if request.param else lambda one: one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, 'DistanceModel', small.model)
        config = small.config(folder, RECIPE)
        config.model.regions = request.param
        config.train.epochs = 1
        train.train_recipe(config, folder / 'first', folds=[1])
    return folder, request.param


def frozen(data, recipe=RECIPE, **fields):
    folder, regions = data
    config = small.config(folder, recipe, frozen='backbone', **fields)
    config.model.regions = regions
    config.start.init = str(folder / 'first' / RECIPE)
    return config


def weights(runs, epoch=None, recipe=RECIPE):
    folder = runs / recipe / 'fold_1'
    epoch = epoch or json.loads((folder / 'member.json').read_text())['best_epoch']
    return checkpoint.restore_weights(folder / 'checkpoints', epoch)


def test_the_backbone_stays_and_a_killed_run_ends_as_a_whole_one(data, tmp_path, monkeypatch):
    folder, regions = data
    train.train_recipe(frozen(data), tmp_path / 'whole', folds=[1])
    first, last = weights(folder / 'first'), weights(tmp_path / 'whole', epoch=3)
    for name in ('params', 'batch_stats'):
        jax.tree.map(np.testing.assert_array_equal, last[name]['encoder'], first[name]['encoder'])
    trained = {'lstm', 'dense', 'output', *(['region_branch'] if regions else [])}
    assert set(last['params']) == {'encoder', *trained} and set(last['batch_stats']) == {'encoder'}
    for name in trained:
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), last['params'][name], first['params'][name])
        assert max(jax.tree.leaves(moved)) > 1e-4
    checkpoints = tmp_path / 'whole' / RECIPE / 'fold_1' / 'checkpoints'
    rest = checkpoint._alone().metadata(epath.Path(checkpoints / '3' / 'rest')).item_metadata.tree
    names = jax.tree_util.keystr(jax.tree.leaves_with_path(rest)[0][0])
    stored = ' '.join(jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(rest))
    assert names and 'lstm' in stored and 'encoder' not in stored  # no Adam state of the backbone

    with small.killed_after_saving(3):
        for _ in range(2):
            with pytest.raises(small.Killed):
                train.train_recipe(frozen(data), tmp_path / 'killed', folds=[1])
        train.train_recipe(frozen(data), tmp_path / 'killed', folds=[1])
    small.check_same_results(*(tmp_path / run / RECIPE / 'fold_1' for run in ('whole', 'killed')))
    jax.tree.map(np.testing.assert_array_equal, last, weights(tmp_path / 'killed', epoch=3))


def test_out_of_fold_predictions_are_those_of_predict(data, tmp_path):
    folder, _ = data
    train.train_recipe(frozen(data, epochs=1), tmp_path / 'runs', folds=[1])
    members = find_members(tmp_path / 'runs')
    oof = read_predictions(members[0].folder / 'oof.csv', ['distance', 'prediction']).set_index(KEY)
    values = predict.predict_split(members, folder, predict.OOF, tmp_path / 'parts').members(augmented=False)
    expected = values[members[0].name].reindex(oof.index)
    assert len(oof) in (9, 15) and oof['prediction'].nunique() == len(oof)
    np.testing.assert_allclose(oof['prediction'], expected, rtol=0, atol=1e-5)


def test_files_are_shared_and_a_damaged_one_is_made_again(data, tmp_path, monkeypatch):
    folder, _ = data
    config = frozen(data, epochs=1)
    train.train_recipe(config, tmp_path / 'first', folds=[1])
    files = sorted((folder / 'features').rglob('*.f32'))
    assert len(files) == 6  # a clip each
    whole = {path: path.read_bytes() for path in files}
    encoded = []
    look = scoring.Scorer.look
    monkeypatch.setattr(scoring.Scorer, 'look', lambda self, *arguments: encoded.append(1) or look(self, *arguments))
    other = frozen(data, RECIPE.replace('f7', 'f9'), epochs=1)
    train.train_recipe(other, tmp_path / 'second', folds=[1])
    assert not encoded
    files[0].write_bytes(whole[files[0]][:-4])
    flipped = bytearray(whole[files[1]])
    flipped[1000] ^= 1
    files[1].write_bytes(flipped)
    files[2].unlink()
    train.train_recipe(config, tmp_path / 'third', folds=[1])
    assert len(encoded) == 3 * 2  # the frames and their mirror images
    assert {path: path.read_bytes() for path in files} == whole
    oof = [tmp_path / run / RECIPE / 'fold_1' / 'oof.csv' for run in ('first', 'third')]
    assert filecmp.cmp(*oof, shallow=False)


def test_a_data_folder_that_cannot_be_written_is_left_alone(data, tmp_path, monkeypatch, caplog):
    folder, _ = data
    config = frozen(data, epochs=1)
    config.data.size_px = 40  # other features than those that are kept
    write = trainer.FrozenTraining._read_or_encode.__globals__['feature_files'].write_json

    def refuse(path, content):
        if str(path).startswith(str(folder)):
            raise PermissionError(13, 'Permission denied', str(path))
        write(path, content)

    monkeypatch.setattr('chimp_jax.training.feature_files.write_json', refuse)
    with caplog.at_level('INFO', logger='chimp_jax'):
        train.train_recipe(config, tmp_path, folds=[1])
    assert len(list((tmp_path / 'features').rglob('*.f32'))) == 6
    line = next(record.getMessage() for record in caplog.records if 'Permission denied' in record.getMessage())
    assert line.endswith(f'are kept in {next((tmp_path / "features").iterdir())}')


def test_training_of_all_weights_goes_on_from_a_frozen_member(data, tmp_path):
    folder, regions = data
    train.train_recipe(frozen(data, epochs=1), tmp_path / 'frozen', folds=[1])
    config = small.config(folder, RECIPE, epochs=1)
    config.model.regions = regions
    config.start.init = str(tmp_path / 'frozen' / RECIPE)
    table = train.train_recipe(config, tmp_path / 'whole', folds=[1])
    assert np.isfinite(table['val_mae']).all()
    before, after = weights(tmp_path / 'frozen'), weights(tmp_path / 'whole')
    stem = [tree['params']['encoder']['backbone']['stem']['kernel'] for tree in (before, after)]
    assert (stem[0] != stem[1]).any()


def test_what_a_frozen_backbone_rules_out_is_refused_in_one_line(tmp_path):
    config = small.config(tmp_path, RECIPE, frozen='backbone')
    with pytest.raises(ValueError, match=r'random backbone of start.init=random; set --config.start.init=lite0'):
        train.train_recipes([config], tmp_path)
    config.start.init = 'lite0'
    config.model.regions = True
    config.data.composite_probability = 0.5
    with pytest.raises(ValueError, match=r'composite_probability=0.5 .*; set --config.data.composite_probability=0$'):
        train.train_recipes([config], tmp_path)
    config.train.frozen = 'stem'
    with pytest.raises(ValueError, match="train.frozen is '' or 'backbone', not 'stem'"):
        train.train_recipes([config], tmp_path)
