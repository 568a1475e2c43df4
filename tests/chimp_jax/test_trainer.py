"""Training from records to members: skips what is finished, refuses what does not fit."""

import dataclasses
import json
import re

import jax
import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import checkpoint, steps, train, trainer
from data_prep import lock
from data_prep.files import write_whole

RECIPE = 'full-a1p50-f7s1'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder)
    return folder


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(trainer, 'DistanceModel', small.model)


def small_boxes(monkeypatch):
    """Gives each target of the records a box of its own. Returns the box by (video_id, time)."""

    def box(video_id, time):
        left = 0.01 * int(video_id.split()[1].split('.')[0]) + 0.001 * time
        return left, 0.1, left + 0.2, 0.4 + 0.01 * time

    read = trainer.TrainingData.validation_records

    def with_boxes(self, fold):
        for record in read(self, fold):
            boxes = [box(record.video_id, int(time)) for time in record.target_time_s]
            yield dataclasses.replace(record, target_box=np.array(boxes, np.float32))

    monkeypatch.setattr(trainer.TrainingData, 'validation_records', with_boxes)
    return box


def test_oof_holds_each_labelled_row_of_the_other_fold_once(data, tmp_path, monkeypatch):
    config = small.config(data)
    config.train.update(epochs=4, early_stop_epochs=1)
    validate, epochs = trainer.Trainer._validate, []

    def worse_and_worse(self, state, fold):
        row, rows = validate(self, state, fold)
        epochs.append(row['val_mae'])
        return row | {'val_mae': epochs[0] * len(epochs)}, rows

    monkeypatch.setattr(trainer.Trainer, '_validate', worse_and_worse)
    boxes = small_boxes(monkeypatch)
    train.train_recipe(config, tmp_path, folds=[1])
    assert len(epochs) == 2  # it stopped early
    oof = pd.read_csv(tmp_path / RECIPE / 'fold_1' / 'oof.csv')
    assert set(oof['video_id']) == {'clip 1.mp4', 'clip 3.mp4', 'clip 5.mp4'}
    assert len(oof) == len(oof.drop_duplicates(['video_id', 'time'])) == 3 * 3  # the fourth has no distance
    for row in oof.itertuples():
        x1, y1, x2, y2 = boxes(row.video_id, row.time)
        np.testing.assert_allclose([row.bbox_x, row.bbox_y], [x1, y1], rtol=1e-6)
        np.testing.assert_allclose([row.bbox_width, row.bbox_height], [x2 - x1, y2 - y1], rtol=1e-5)
    metrics = pd.read_csv(tmp_path / RECIPE / 'fold_1' / 'metrics.csv')
    best = json.loads((tmp_path / RECIPE / 'fold_1' / 'member.json').read_text())['best_epoch']
    assert metrics['val_mae'].idxmin() + 1 == best
    error = (oof['prediction'] - oof['distance']).abs().mean()
    assert error == pytest.approx(metrics['val_mae'].min(), rel=1e-5)
    assert list((tmp_path / RECIPE / 'fold_1').glob('events.out.tfevents.*'))


def test_oof_holds_each_labelled_animal(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, 'train_step', small.learn_the_mean)
    records = small.write_data(tmp_path, adapt=small.with_animals)['train']
    config = small.config(tmp_path, epochs=1)
    config.model.regions = True
    config.data.most_animals = 3
    train.train_recipe(config, tmp_path, folds=[1])
    oof = pd.read_csv(tmp_path / RECIPE / 'fold_1' / 'oof.csv').set_index(['video_id', 'time', 'animal'])
    assert oof['distance'].to_dict() == pytest.approx(small.labels_of_animals(records[1::2])) and len(oof) == 3 * 5


def test_a_finished_member_is_skipped_and_another_config_refused(data, tmp_path, monkeypatch):
    config = small.config(data)
    folder = tmp_path / RECIPE
    write_whole(folder / 'config.json', config.to_json_best_effort())
    for fold in (0, 1):
        member = {'recipe': RECIPE, 'fold': fold, 'best_epoch': 1, 'val_mae': 2.0}
        write_whole(folder / f'fold_{fold}' / 'member.json', json.dumps(member))
    monkeypatch.setattr(trainer.Trainer, 'train_member', None)  # would fail if it were called
    assert len(train.train_recipe(config, tmp_path)) == 2
    with pytest.raises(ValueError, match=r'train.batch_size \(4 there, 8 here\)'):
        config.train.batch_size = 8
        train.train_recipe(config, tmp_path)


def test_what_does_not_fit_is_refused_before_training(data, tmp_path):
    config = small.config(data)
    config.data.n_folds = 5
    with pytest.raises(ValueError, match='folds.csv has 2 clip folds, the config has data.n_folds=5'):
        train.train_recipe(config, tmp_path)
    config = small.config(data)
    with pytest.raises(ValueError, match='there are 0 to 1'):
        train.train_recipe(config, tmp_path, folds=[7])
    config.data.folds = 'park'
    with pytest.raises(ValueError, match="data.folds is 'clip', 'site', 'published', not 'park'"):
        train.train_recipe(config, tmp_path)


def test_a_config_that_cannot_start_does_not_keep_the_folder(data, tmp_path):
    config = small.config(data)
    config.start.init = 'imagenet21k'
    with pytest.raises(ValueError, match="not 'imagenet21k'"):
        train.train_recipe(config, tmp_path)
    config.start.init = 'lite0'
    config.model.normalization = 'imagenet'
    with pytest.raises(ValueError, match='set model.normalization=unit'):
        train.train_recipe(config, tmp_path)
    config.start.init = 'random'
    config.model.normalization = 'unit'
    config.train.epochs = 1
    assert train.train_recipe(config, tmp_path, folds=[0])['fold'].tolist() == [0]


def test_batches_that_do_not_divide_are_refused(data, tmp_path):
    config = small.config(data)
    config.train.micro_batches = 3
    with pytest.raises(ValueError, match='the 4 examples .* over 1 devices x train.micro_batches=3'):
        train.train_recipe(config, tmp_path)
    config.data.shares = 3
    with pytest.raises(ValueError, match='batch_size=4 is no multiple of .*windows_per_example=1 x data.shares=3'):
        train.train_recipe(config, tmp_path)


def test_a_loss_that_is_not_finite_names_step_and_keys(data, tmp_path, monkeypatch):
    fresh = steps.initial_state

    def poisoned(*arguments, **settings):
        state = fresh(*arguments, **settings)
        state.params['output']['kernel'] = np.full((6, 1), np.nan, np.float32)
        return state

    monkeypatch.setattr(steps, 'initial_state', poisoned)
    with pytest.raises(trainer.TrainingError) as caught:
        train.train_recipe(small.config(data), tmp_path, folds=[1])
    message = str(caught.value)
    assert message.startswith('the loss is not finite at step 0, learning rate 0.001; the batch holds (')
    keys = re.findall(r'\(clip ([024])\.mp4, ([0246])\)', message)  # of the clips of fold 0, that it trains on
    assert len(set(keys)) == len(keys) == 4


def test_only_windows_that_count_are_named():
    batch = {
        'video_id': np.array([b'a.mp4', b'b.mp4']),
        'time': np.array([[2, 4], [7, -1]]),
    }
    assert trainer._keys(batch) == 'the batch holds (a.mp4, 2), (a.mp4, 4), (b.mp4, 7)'


def test_best_epoch_is_the_first_of_equals():
    history = [{'epoch': e, 'val_mae': v} for e, v in enumerate([3.0, 2.0, 2.0, 2.5], 1)]
    assert checkpoint.best_epoch(history) == 2


@pytest.mark.parametrize(
    'errors,early_stop_epochs,expected',
    [
        ([], 2, False),
        ([3.0, 2.0, 2.5], 0, False),
        ([3.0, 2.0, 2.5], 2, False),  # one epoch without a better one
        ([3.0, 2.0, 2.5, 2.0], 2, True),  # two: an equal one is not better
        ([3.0, 2.0, 2.5, 1.9], 2, False),
        ([3.0, 2.0, 2.5, 1.9, 1.8], 2, True),  # all five are done
    ],
)
def test_early_stopping_by_hand(errors, early_stop_epochs, expected):
    history = [{'epoch': e, 'val_mae': v} for e, v in enumerate(errors, 1)]
    assert trainer.is_finished(history, 5, early_stop_epochs) is expected


def test_warm_start_takes_the_same_fold_of_another_recipe(data, tmp_path, monkeypatch):
    train.train_recipe(small.config(data, 'down-a1p50-f7s1', epochs=2), tmp_path, folds=[1])
    started = []
    fresh = steps.initial_state

    def note(*arguments, **settings):
        state = fresh(*arguments, **settings)
        started.append(jax.device_get(state.params))
        return state

    monkeypatch.setattr(steps, 'initial_state', note)
    config = small.config(data, epochs=1)
    config.start.init = str(tmp_path / 'down-a1p50-f7s1')
    config.start.output_bias = 'median'  # must not overwrite what the other run has learnt
    members = train.train_recipe(config, tmp_path, folds=[1])
    other = tmp_path / 'down-a1p50-f7s1' / 'fold_1'
    best = json.loads((other / 'member.json').read_text())['best_epoch']
    expected = checkpoint.restore_weights(other / 'checkpoints', best)['params']
    jax.tree.map(np.testing.assert_array_equal, started[0], expected)
    assert members['fold'].tolist() == [1]

    config.start.init += ':backbone'
    train.train_recipe(config, tmp_path / 'backbone', folds=[1])
    jax.tree.map(np.testing.assert_array_equal, started[1]['encoder'], expected['encoder'])
    assert (started[1]['lstm']['kernel'] != expected['lstm']['kernel']).all()
    assert started[1]['output']['bias'] > 1  # the median: distances are 1 m and up

    config.data.folds = 'site'  # the other run has seen rows that these folds hold back
    with pytest.raises(ValueError, match='has 2 clip folds, not 2 site folds'):
        train.train_recipe(config, tmp_path / 'other', folds=[1])


def test_a_member_that_another_run_trains_is_refused_and_another_fold_is_not(data, tmp_path):
    config = small.config(data)
    config.train.epochs = 1
    with lock.hold(tmp_path / RECIPE / 'fold_1'):
        with pytest.raises(
            lock.FolderInUse, match=r'another run works in .*fold_1 \(process \d+ on .*; wait until'
        ) as raised:
            train.train_recipes([config], tmp_path, folds=[1])
        assert '\n' not in str(raised.value)
        assert train.train_recipes([config], tmp_path, folds=[0])['members'].tolist() == [1]
    assert not (tmp_path / RECIPE / 'fold_1' / 'member.json').exists()
    assert train.train_recipes([config], tmp_path, folds=[1])['members'].tolist() == [2]
    assert not list(tmp_path.rglob(lock.NAME))
