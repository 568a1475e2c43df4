"""Training of members: a recipe's folds, one after the other, each resumable by epoch.

runs/<recipe>/config.json              the recipe's config; another config is refused
runs/<recipe>/fold_<k>/checkpoints/    orbax: best and latest epoch
runs/<recipe>/fold_<k>/metrics.csv     one row an epoch; TensorBoard event files beside it
runs/<recipe>/fold_<k>/oof.csv         predictions of the best epoch for the rows this member did not train on
runs/<recipe>/fold_<k>/member.json     stands when the member is finished
"""

import functools
import json
import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import tensorflow as tf
from etils import epath
from ml_collections import ConfigDict

from chimp_jax import checkpoint, input_pipeline, optim, parallel, pretrained, scoring, steps
from chimp_jax.ensemble import rmse
from chimp_jax.members import load_fold
from chimp_jax.metrics import Mean
from chimp_jax.model import DistanceModel
from chimp_jax.progress import Progress
from chimp_jax.workdir import claim, write_whole
from data_prep.records import read_dataset

log = logging.getLogger(__name__)


class TrainingError(Exception):
    """Training cannot go on; the message is one line for the user."""


class Fold(NamedTuple):
    """What one member trains on and what it is judged by; the other clips' rows are its OOF rows."""

    number: int
    training: frozenset[str]  # video_ids
    validation: frozenset[str]


def make_model(config: ConfigDict) -> DistanceModel:
    """The model that config.model describes."""
    model = config.model
    return DistanceModel(
        drop_connect=model.drop_connect,
        bn_momentum=model.bn_momentum,
        lstm_units=model.lstm_units,
        dense_units=model.dense_units,
        normalization=model.normalization,
        replica_axis=parallel.AXIS if model.bn_over_replicas else None,
        dtype=jax.numpy.dtype(model.dtype),
        backbone=model.backbone,
    )


def train_recipe(config: ConfigDict, workdir, folds: Sequence[int] | None = None) -> pd.DataFrame:
    """Trains the members of one recipe that are not finished yet; returns (recipe, fold, best_epoch, val_mae).

    folds: which ones, all by default. Raises ValueError for a config or data that do not fit, before any training.
    """
    folder = epath.Path(workdir) / config.recipe
    all_folds = read_folds(config.data.records, config.data.folds, config.data.n_folds)
    chosen = [fold for fold in all_folds if folds is None or fold.number in folds]
    if folds is not None and len(chosen) < len(set(folds)):
        raise ValueError(f'folds {sorted(folds)} were asked for; there are 0 to {len(all_folds) - 1}')
    if (folder / 'config.json').exists():
        claim(folder, config)
    rows = []
    trainer = None
    for done, fold in enumerate(chosen):
        marker = folder / f'fold_{fold.number}' / 'member.json'
        if marker.exists():
            log.info('%s fold %d is finished', config.recipe, fold.number)
        else:
            trainer = trainer or Trainer(config)
            trainer.train_member(folder / f'fold_{fold.number}', fold, members_left=len(chosen) - done)
        rows.append(json.loads(marker.read_text()))
    return pd.DataFrame(rows)


def read_folds(records, kind: str, n_folds: int) -> list[Fold]:
    """The folds of folds.csv beside the records; kind: 'clip' or 'site'."""
    path = epath.Path(records) / 'folds.csv'
    if kind not in ('clip', 'site'):
        raise ValueError(f"data.folds is 'clip' or 'site', not {kind!r}")
    if not path.exists():
        raise ValueError(f'{path} is missing; make the data with: python -m data_prep.build --out {records}')
    with path.open() as file:
        table = pd.read_csv(file).set_index('video_id')[f'{kind}_fold']
    if table.nunique() != n_folds:
        raise ValueError(f'{path} has {table.nunique()} {kind} folds, the config asks for data.n_folds={n_folds}')
    return [
        Fold(k, frozenset(table.index[table != k]), frozenset(table.index[table == k])) for k in sorted(table.unique())
    ]


class Trainer:
    """The compiled steps of one recipe, shared by its folds."""

    def __init__(self, config: ConfigDict):
        self.config = config
        self.model = make_model(config)
        self.devices = _devices(config.train.batch_size // config.data.windows_per_example)
        train = config.train
        self.optimizer = optim.make_optimizer(train.adam_b1, train.adam_b2, train.adam_eps)
        self.plateau = optim.make_plateau(train.learning_rate, **train.plateau)
        self.scorer = scoring.Scorer(self.model, config.data.size_px)
        self._train_step = parallel.map_train_step(
            functools.partial(
                steps.train_step,
                model=self.model,
                optimizer=self.optimizer,
                axis_name=parallel.AXIS,
            ),
            self.devices,
        )

    def train_member(self, folder: epath.Path, fold: Fold, members_left: int = 1) -> None:
        """All epochs of one member, from its latest checkpoint if there is one."""
        config = self.config
        records = read_dataset(config.data.records, config.data.stream, 'train')
        training = input_pipeline.of_clips(records, fold.training)
        validation = input_pipeline.of_clips(records, fold.validation)
        n_steps, median_m = input_pipeline.survey(training, **self._plan(), batch_size=config.train.batch_size)
        if n_steps == 0:
            raise TrainingError(f'fold {fold.number}: fewer windows than train.batch_size={config.train.batch_size}')
        schedule = self._schedule(n_steps)
        manager = checkpoint.open_manager(folder / 'checkpoints')
        state, history = self._start(manager, fold.number, median_m)
        claim(folder.parent, config)  # not before: a config that cannot start must not keep the folder
        name = f'{config.recipe} fold {fold.number}'
        total = n_steps * config.train.epochs
        progress = Progress(name, total * members_left, done=n_steps * len(history))
        writer = tf.summary.create_file_writer(str(folder))
        _write_metrics(folder, history)  # a kill may have come between the checkpoint and this file
        for epoch in range(len(history) + 1, config.train.epochs + 1):
            state, train_error = self._train_epoch(state, training, schedule, fold.number, epoch, progress)
            row, rows = self._validate(state, validation)
            state = state.replace(plateau=optim.next_plateau(self.plateau, state.plateau, row['val_mae']))
            history = [
                *history,
                {'epoch': epoch, 'step': epoch * n_steps, 'train_mae': train_error, **row},
            ]
            if checkpoint.best_epoch(history) == epoch:
                write_whole(folder / 'oof.csv', rows.to_csv(index=False))
            checkpoint.save(manager, state, history)
            _write_metrics(folder, history)
            _write_events(writer, history[-1])
            log.info('%s epoch %d: %s', name, epoch, _describe(history[-1]))
        manager.close()
        self._finish(folder, fold, history)

    def _start(self, manager, fold: int, median_m: float) -> tuple[steps.TrainState, list[dict]]:
        """The latest checkpoint's state and history, or fresh ones with the starting weights of the config."""
        config = self.config
        init = functools.partial(self._starting_weights, fold=fold, median_m=median_m)
        state = steps.initial_state(self.model, self.optimizer, self.plateau, config.seed + fold, init)
        found = checkpoint.restore(manager, state)
        if found:
            log.info('fold %d resumes after epoch %d', fold, len(found[1]))
        state, history = found or (state, [])
        return parallel.replicate(state, self.devices), history

    def _starting_weights(self, fresh: dict, fold: int, median_m: float) -> dict:
        model, data = self.config.model, self.config.data
        if model.output_bias not in ('zero', 'median'):
            raise ValueError(f"model.output_bias is 'zero' or 'median', not {model.output_bias!r}")
        if model.output_bias == 'median':  # first: the bias of another run is learnt, and comes over it
            fresh['params']['output']['bias'] = np.full(1, median_m, np.float32)
        if model.init == 'lite0' and model.normalization != 'unit':
            raise ValueError('model.init=lite0 has its own normalisation in it and wants model.normalization=unit')
        read_run = functools.partial(load_fold, fold=fold, folds=data.folds, n_folds=data.n_folds)
        return pretrained.start_from(fresh, model.init, read_run)

    def _train_epoch(self, state, training, schedule, fold: int, epoch: int, progress):
        config = self.config
        batches = input_pipeline.training_batches(
            training,
            **self._plan(),
            size_px=config.data.size_px,
            augmentation=config.data.augmentation,
            augmentation_probability=config.data.augmentation_probability,
            batch_size=config.train.batch_size,
            seed=config.seed + fold,
            epoch=epoch,
            shuffle_windows=config.data.shuffle_windows,
        )
        error = Mean(0.0, 0.0)
        step = int(state.step)
        for batch in batches:
            arrays = {name: batch[name] for name in ('frames', 'window', 'distance', 'mask')}
            rate = np.float32(schedule(step))
            state, more = self._train_step(state, parallel.split(arrays, len(self.devices)), rate)
            more = Mean(float(more.total), float(more.count))
            if not math.isfinite(more.total):
                raise TrainingError(f'the loss is not finite at step {step}, learning rate {rate:.3g}; {_keys(batch)}')
            error += more
            step += 1
            progress.advance(1, f'epoch {epoch}/{config.train.epochs}, MAE {error.value():.2f} m')
        return state, error.value()

    def _validate(self, state, validation) -> tuple[dict, pd.DataFrame]:
        """The row of metrics.csv, and the rows of oof.csv: labelled targets with what this member says of them."""
        weights = self.scorer.place({'params': state.params, 'batch_stats': state.batch_stats})
        data = self.config.data
        parts, error = [], Mean(0.0, 0.0)
        for chunk in scoring.in_chunks(input_pipeline.clips(validation, data.size_px)):
            rows, more = scoring.score_clips(self.scorer, weights, chunk, data.n_frames, data.step_s)
            parts.append(rows)
            error += more
        rows = pd.concat(parts).dropna(subset='distance').sort_values(['video_id', 'time'], ignore_index=True)
        rate = self.config.train.learning_rate * float(state.plateau.scale)
        row = {
            'val_mae': error.value(),
            'val_rmse': rmse(rows['prediction'], rows['distance']),
            'plateau_rate': rate,
        }
        if not math.isfinite(row['val_mae']):
            raise TrainingError('the validation error is not finite')
        return row, rows

    def _plan(self) -> dict:
        data = self.config.data
        return {
            'n_frames': data.n_frames,
            'step_s': data.step_s,
            'windows_per_example': data.windows_per_example,
            'frames_per_example': data.frames_per_example or data.n_frames,
        }

    def _schedule(self, n_steps: int):
        train = self.config.train
        total = n_steps * train.epochs
        return optim.make_schedule(train.learning_rate, train.warmup_steps, int(train.decay_fraction * total), total)

    def _finish(self, folder: epath.Path, fold: Fold, history: list[dict]) -> None:
        best = checkpoint.best_epoch(history)
        member = {
            'recipe': self.config.recipe,
            'fold': int(fold.number),
            'best_epoch': best,
            'val_mae': history[best - 1]['val_mae'],
        }
        write_whole(folder / 'member.json', json.dumps(member, indent=2) + '\n')


def _write_metrics(folder: epath.Path, history: list[dict]) -> None:
    if history:
        write_whole(folder / 'metrics.csv', pd.DataFrame(history).to_csv(index=False))


def _devices(n_examples: int) -> list[jax.Device]:
    """As many local devices as divide the batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if n_examples % n == 0)
    log.info('training on %d of %d %s devices', count, len(devices), devices[0].platform)
    return devices[:count]


def _keys(batch: dict) -> str:
    keys = [f'{video.decode()}@{times[0]}' for video, times in zip(batch['video_id'], batch['time'], strict=True)]
    return f'the batch holds {", ".join(keys)}'


def _describe(row: dict) -> str:
    return ', '.join(f'{name} {value:.4g}' for name, value in row.items() if name != 'epoch')


def _write_events(writer, row: dict) -> None:
    with writer.as_default(step=row['epoch']):
        for name, value in row.items():
            tf.summary.scalar(name, value)
    writer.flush()
