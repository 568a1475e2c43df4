"""Trainings that were killed: they resume exactly, and the bar counts what is left."""

import json
import os

import jax
import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import checkpoint, train, trainer
from chimp_jax.training import member_log, within_epoch
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


def test_a_run_killed_after_and_within_an_epoch_ends_as_an_uninterrupted_one(data, tmp_path, monkeypatch):
    config = small.config(data)
    members = train.train_recipe(config, tmp_path / 'whole', folds=[1])
    assert members['fold'].tolist() == [1] and np.isfinite(members['val_mae']).all()
    assert not (tmp_path / 'whole' / RECIPE / 'fold_1' / 'within_epoch').exists()

    config.train.save_minutes = 0.0
    monkeypatch.setattr(within_epoch, 'CHECK_STEPS', 1)
    killed = tmp_path / 'killed' / RECIPE
    with small.killed_after_saving(2) as saved:
        with pytest.raises(small.Killed):
            train.train_recipe(config, tmp_path / 'killed', folds=[1])
        with small.killed_within_an_epoch(n_steps=2), pytest.raises(small.Killed):
            train.train_recipe(config, tmp_path / 'killed', folds=[1])
        for path in (killed / 'config.json', killed / 'fold_1' / 'run.json', killed / 'fold_1' / 'metrics.csv'):
            os.truncate(path, path.stat().st_size // 2)  # a power cut
        started, batches = [], trainer.WholeTraining.batches
        monkeypatch.setattr(trainer.WholeTraining, 'batches', lambda *a: started.append(a[2:]) or batches(*a))
        resumed = train.train_recipe(config, tmp_path / 'killed', folds=[1])
    assert saved == [1, 2, 3] and started == [(2, 2), (3, 0)]  # epoch and first step
    pd.testing.assert_frame_equal(members, resumed)
    assert json.loads((killed / 'config.json').read_text()) == json.loads(config.to_json_best_effort())
    assert not (killed / 'fold_1' / 'within_epoch').exists()
    os.truncate(killed / 'fold_1' / 'member.json', 0)
    pd.testing.assert_frame_equal(members, train.train_recipe(config, tmp_path / 'killed', folds=[1]))
    for fold, best in zip(members['fold'], members['best_epoch'], strict=True):
        a, b = (tmp_path / run / RECIPE / f'fold_{fold}' for run in ('whole', 'killed'))
        small.check_same_results(a, b)
        for epoch in {best, 3}:  # the best and the latest are kept
            weights = [checkpoint.restore_weights(path / 'checkpoints', epoch) for path in (a, b)]
            jax.tree.map(np.testing.assert_array_equal, *weights)
    starts = json.loads((killed / 'fold_1' / 'run.json').read_text())
    assert len(starts) == 2  # a row for each start, here since the power cut


@pytest.mark.slow
def test_a_member_of_animals_resumes_as_an_uninterrupted_one(tmp_path, monkeypatch):
    """With the region branch and compositing; each labelled animal has a row in oof.csv, with a distance of its own."""
    records = small.write_data(tmp_path, adapt=small.with_animals)['train']
    config = small.config(tmp_path)
    config.model.regions = True
    config.data.update(most_animals=3, composite_probability=0.5)
    config.train.epochs = 2
    train.train_recipe(config, tmp_path / 'whole', folds=[1])
    with small.killed_after_saving(), pytest.raises(small.Killed):
        train.train_recipe(config, tmp_path / 'killed', folds=[1])
    train.train_recipe(config, tmp_path / 'killed', folds=[1])
    whole, killed = (tmp_path / run / RECIPE / 'fold_1' for run in ('whole', 'killed'))
    small.check_same_results(whole, killed)
    oof = pd.read_csv(whole / 'oof.csv').set_index(['video_id', 'time', 'animal'])
    assert oof['distance'].to_dict() == pytest.approx(small.labels_of_animals(records[1::2])) and len(oof) == 3 * 5
    by_animal = oof['prediction'].unstack()
    both = by_animal.dropna()
    assert len(both) == 3 * 2 and (both['a'] != both['b']).all()


def test_metrics_are_whole_after_a_kill_between_the_last_checkpoint_and_them(data, tmp_path, monkeypatch):
    config = small.config(data)
    config.train.epochs = 1
    write = member_log.write_metrics

    def die(folder, history):
        if history:
            raise small.Killed

    monkeypatch.setattr(member_log, 'write_metrics', die)
    with pytest.raises(small.Killed):
        train.train_recipe(config, tmp_path, folds=[0])
    monkeypatch.setattr(member_log, 'write_metrics', write)
    train.train_recipe(config, tmp_path, folds=[0])
    assert len(pd.read_csv(tmp_path / RECIPE / 'fold_0' / 'metrics.csv')) == 1


class Bar:
    """In the place of Progress: adds up what it is told."""

    def __init__(self, what, total, unit, *, work):
        self.total, self.unit, self.done, self.work_left, self.notes = total, unit, 0, work, []

    def advance(self, count, *, work=0.0, problems=0, note=''):
        self.done, self.work_left = self.done + count, self.work_left - work
        self.notes += [note] if note else []

    def skip(self, count, *, work):
        self.advance(count, work=work)

    def start_clock(self):
        pass

    def close(self):
        pass


def test_one_bar_counts_the_epochs_of_all_members(data, tmp_path, monkeypatch):
    """Two folds of three epochs: fold 1 stops early, after a kill; fold 0 has been finished before."""
    bars = []
    monkeypatch.setattr(
        train, 'Progress', lambda *arguments, **settings: bars.append(Bar(*arguments, **settings)) or bars[-1]
    )
    config = small.config(data)
    config.train.early_stop_epochs = 1
    worse = iter([1.0, 2.0])
    monkeypatch.setattr(
        trainer.Trainer,
        '_validate',
        lambda *_: ({'val_mae': next(worse), 'val_rmse': 1.0, 'plateau_rate': 1e-3}, pd.DataFrame({'animal': []})),
    )
    with small.killed_after_saving(), pytest.raises(small.Killed):
        train.train_recipes([config], tmp_path, folds=[1])
    finished = {'recipe': RECIPE, 'fold': 0, 'best_epoch': 1, 'val_mae': 2.0}
    write_whole(tmp_path / RECIPE / 'fold_0' / 'member.json', json.dumps(finished))
    train.train_recipes([config], tmp_path)
    killed, whole = bars
    assert (killed.total, killed.unit, killed.done) == (3, 'epochs', 0)
    assert (whole.total, whole.done) == (6, 6) and whole.work_left == pytest.approx(0)
    assert len(killed.notes) == len(whole.notes) == 12 // 4  # an epoch's steps
    assert whole.notes[-1].startswith(f'{RECIPE} fold 1 epoch 2, MAE ')
