"""A small data set and a small model for tests of training and prediction."""

import contextlib
import dataclasses
import filecmp
import functools
import io
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import made_runs
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chimp_jax import checkpoint, steps, train, trainer
from chimp_jax.models import distance_model
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import Stage
from chimp_jax.training import within_epoch
from configs import base
from data_prep.records import Record, write_records
from data_prep.windows import stored_seconds

SIZE_PX = 32


def model(
    regions: bool = False, dtype: str = 'float32', temporal: str = 'lstm', audio: str = '', **_config_model
) -> DistanceModel:
    """In the place of DistanceModel: the published model on two blocks, which compile in seconds."""
    stages = (Stage(2, 3, 2, 32, 16, 1),)
    return DistanceModel(
        dtype=dtype, temporal=temporal, lstm_units=8, dense_units=6, stages=stages, regions=regions, audio=audio
    )


def record(video_id: str, n_seconds: int, target_time_s, seed: int) -> Record:
    """A record of noise; its distances are 1 m and up, the last target's is unknown in clips of an odd seed."""
    rng = np.random.default_rng(seed)
    jpegs = []
    for _ in range(n_seconds):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(stream, 'JPEG')
        jpegs.append(stream.getvalue())
    distance = rng.uniform(1, 20, len(target_time_s)).astype(np.float32)
    if seed % 2:
        distance[-1] = np.nan
    return Record(
        video_id=video_id,
        frame_jpeg=jpegs,
        frame_time_s=np.arange(n_seconds, dtype=np.int32),
        target_time_s=np.array(target_time_s, np.int32),
        target_distance_m=distance,
        target_box=np.full((len(target_time_s), 4), np.nan, np.float32),
        target_animal=[''] * len(target_time_s),
        box_time_s=np.zeros(0, np.float32),
        box=np.zeros((0, 4), np.float32),
        box_confidence=np.zeros(0, np.float32),
        box_animal=[],
        site=f's{seed}',
        park='',
        duration_s=float(n_seconds),
        height_px=24,
        width_px=40,
        frame_rate=8.0,
        white_fraction=0.0,
        gamma=False,
    )


def timed(video_id: str, target_time_s, last_s: int = 59) -> Record:
    """A record of a minute with the seconds that data preparation stores for these targets, and texts for pictures."""
    seconds = np.array(stored_seconds(target_time_s.tolist(), last_s), np.int32)
    texts = [f'{video_id} {second}'.encode() for second in seconds]
    return dataclasses.replace(record(video_id, 0, target_time_s, seed=0), frame_time_s=seconds, frame_jpeg=texts)


LEFT, RIGHT, LOW = (0.1, 0.3, 0.4, 0.6), (0.6, 0.3, 0.9, 0.6), (0.4, 0.7, 0.6, 1.0)


def with_animals(one: Record) -> Record:
    """The record with two animals. Every other target has labels of both, the others of animal a alone.

    a walks from LEFT to LOW after half of the clip; b stays at RIGHT, 5 m behind a.
    """
    half = len(one.frame_time_s) / 2
    boxes = [(t, LEFT if t < half else LOW, 0.9, 'a') for t in one.frame_time_s]
    boxes += [(t, RIGHT, 0.8, 'b') for t in one.frame_time_s]
    time_s, box, confidence, animal = zip(*sorted(boxes, key=lambda row: (row[0], row[3])), strict=True)
    rows = [(i, name) for i in range(len(one.target_time_s)) for name in ('a', 'b')[: 2 - i % 2]]
    place, names = [i for i, _ in rows], [name for _, name in rows]
    behind_m = np.array([5.0 * (name == 'b') for name in names], np.float32)
    return dataclasses.replace(
        one,
        target_time_s=one.target_time_s[place],
        target_distance_m=one.target_distance_m[place] + behind_m,
        target_box=one.target_box[place],
        target_animal=names,
        box_time_s=np.array(time_s, np.float32),
        box=np.array(box, np.float32),
        box_confidence=np.array(confidence, np.float32),
        box_animal=list(animal),
    )


def labels_of_animals(records: list[Record]) -> dict[tuple[str, int, str], float]:
    """Returns the known distances by clip, second and animal."""
    return {
        (one.video_id, int(time_s), name): distance_m
        for one in records
        for time_s, name, distance_m in zip(one.target_time_s, one.target_animal, one.target_distance_m, strict=True)
        if np.isfinite(distance_m)
    }


def write_data(folder, n_targets: int = 4, adapt=lambda one: one) -> dict[str, list[Record]]:
    """Six clips to train on, in two folds, and three to test on, one of them with a target past its end.

    adapt: changes each record.
    """
    train = [record(f'clip {i}.mp4', 2 * n_targets + i, list(range(0, 2 * n_targets, 2)), i) for i in range(6)]
    test = [
        record('a/x.avi', 9, [0, 4, 11], 10),
        record('b/x.avi', 1, [0], 12),
        record('y.mp4', 12, range(12), 14),
    ]
    train, test = [adapt(r) for r in train], [adapt(r) for r in test]
    splits = {'train': [r.video_id for r in train], 'test': [r.video_id for r in test]}
    with_sound = train[0].sound is not None
    for stream in ('down', 'full'):
        write_records(splits, {r.video_id: r for r in train + test}.__getitem__, folder, stream, None, with_sound)
    folds = pd.DataFrame(
        {
            'video_id': [r.video_id for r in train],
            'clip_fold': [0, 1] * 3,
            'site_fold': [0, 0, 0, 1, 1, 1],
        }
    )
    folds.to_csv(folder / 'folds.csv', index=False)
    places = pd.DataFrame({'video_id': splits['train'], 'split': 'train', 'site': [r.site for r in train], 'park': ''})
    places.to_csv(folder / 'clips.csv', index=False)
    return {'train': train, 'test': test}


def train_members(folder, recipes) -> dict[str, list[Record]]:
    """write_data into the folder, and folder/runs: each recipe's two folds after an epoch of `learn_the_mean`."""
    records = write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, 'DistanceModel', model)
        patch.setattr(steps, 'train_step', learn_the_mean)
        for recipe in recipes:
            one = config(folder, recipe)
            one.train.epochs = 1
            train.train_recipe(one, folder / 'runs')
    return records


def learn_the_mean(state, batch, _rate, *, axis_name: str, **_settings):
    """In the place of steps.train_step, for tests of what reads members: has no gradient, which takes long to trace.

    Sets the output's bias to the mean label of the batch. All other weights stay random.
    """
    total, count = jax.lax.psum((jnp.where(batch['mask'], batch['distance'], 0).sum(), batch['mask'].sum()), axis_name)
    mean = total / count
    error = steps.absolute_error(jnp.full_like(batch['distance'], mean), batch['distance'], batch['mask'])
    params = state.params | {'output': state.params['output'] | {'bias': mean[None]}}
    return state.replace(step=state.step + 1, params=params), jax.tree.map(lambda x: jax.lax.psum(x, axis_name), error)


def write_members(runs, recipes, data) -> None:
    """RUNS: each recipe's two folds with random weights, and out-of-fold predictions of other clips; no training."""
    made_runs.write_runs(runs, recipes=recipes)
    for number, recipe in enumerate(recipes):
        one = config(data, recipe)
        (runs / recipe / 'config.json').write_text(one.to_json_best_effort())
        for fold in (0, 1):
            rng = np.random.default_rng(2 * number + fold)
            shapes = jax.eval_shape(lambda: distance_model.fresh_variables(model(), 0))
            weights = jax.tree.map_with_path(functools.partial(_random, rng), shapes)
            checkpoint.save_weights(runs / recipe / f'fold_{fold}' / 'checkpoints', 1, weights)


def _random(rng, path, array) -> np.ndarray:
    values = rng.normal(0, 0.3, array.shape)
    return (1 + values**2 if str(path[-1].key) in ('var', 'scale') else values).astype(np.float32)


def config(data, recipe: str = 'full-a1p50-f7s1', **train):
    """The published recipe, small."""
    config = base.get_config(recipe)
    config.data.update(records=str(data), size_px=SIZE_PX, n_folds=2, shuffle_windows=16)
    config.train.update({'batch_size': 4, 'epochs': 3, **train})
    return config


class Killed(BaseException):
    """Ends a training as a kill does: no code of the product catches it."""


@contextlib.contextmanager
def killed_after_saving(n_epochs: float = math.inf) -> Iterator[list[int]]:
    """Within, a training that saves a checkpoint of fewer than n_epochs epochs is killed. Yields the epochs saved."""
    save, saved = checkpoint.save, []

    def save_and_die(manager, state, history):
        save(manager, state, history)
        saved.append(len(history))
        if len(history) < n_epochs:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, 'save', save_and_die)
        yield saved


@contextlib.contextmanager
def killed_within_an_epoch(n_steps: int) -> Iterator[None]:
    """Within, a training that saves a state within an epoch, after n_steps of its steps, is killed."""
    save = within_epoch.Saver.save

    def save_and_die(self, state, position):
        save(self, state, position)
        if position.n_steps == n_steps:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(within_epoch.Saver, 'save', save_and_die)
        yield


def check_same_results(a, b) -> None:
    """Asserts that two folders of a member have the same bytes in the files of a finished training."""
    for name in ('metrics.csv', 'oof.csv', 'member.json'):
        assert filecmp.cmp(a / name, b / name, shallow=False), name
