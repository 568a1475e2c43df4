"""Training of one member: all epochs, resumable by epoch."""

import functools
import logging
import math
import time

import jax
import numpy as np
import pandas as pd
from etils import epath
from flax.training.dynamic_scale import DynamicScale
from ml_collections import ConfigDict

from chimp_jax import checkpoint, optim, parallel, scoring, steps
from chimp_jax.data import processes
from chimp_jax.data.folds import Fold
from chimp_jax.data.training_data import TrainingData
from chimp_jax.ensemble.distances import rmse
from chimp_jax.ensemble.prediction_tables import BOX, KEY, without_empty_animal
from chimp_jax.members import load_fold
from chimp_jax.models import losses, pretrained
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.steps import Mean
from chimp_jax.training import member_log
from chimp_jax.training.frozen import FrozenTraining
from chimp_jax.training.whole import WholeTraining
from chimp_jax.training.within_epoch import Position, Saver
from chimp_jax.workdir import claim_recipe
from data_prep.files import flush_all
from data_prep.progress import Progress

# Of oof.csv. The boxes of the targets tell later how errors depend on the place of the animal in the picture.
ROWS = {'video_id': str, 'time': np.int32, 'animal': str, 'distance': np.float32, 'prediction': np.float32}
ROWS |= dict.fromkeys(BOX, np.float32)

# Skipped steps in a row, with the loss scale at its least, that end a training in float16. From its start at 2**15 the
# scale is at its least, 1, after 15 of them.
MOST_SKIPPED = 25

log = logging.getLogger(__name__)


class TrainingError(Exception):
    """Training cannot continue. The message is one line for the user."""


class Trainer:
    """The model, the data and the compiled steps of one recipe. A class, because all folds share what is compiled."""

    def __init__(self, config: ConfigDict, folds: str):
        """folds: the digest of the fold assignment, for member.json."""
        self.config, self.folds = config, folds
        train = config.train
        self.model = DistanceModel(**config.model)
        self.data = TrainingData(
            config.data,
            batch_size=train.batch_size,
            seed=config.seed,
            regions=self.model.regions,
            with_frames=self.model.sees_frames,
            with_sound=bool(self.model.audio),
        )
        self.devices = _devices(self.data.own_examples, train.micro_batches)
        self.optimizer = optim.make_optimizer(b1=train.adam_b1, b2=train.adam_b2, eps=train.adam_eps)
        self.plateau = optim.make_plateau(learning_rate=train.learning_rate, **train.plateau)
        self.scorer = scoring.Scorer(self.model, config.data.size_px)
        form = FrozenTraining if train.frozen else WholeTraining
        self.form = form(self.model, self.data, self.scorer)
        self._train_step = parallel.map_train_step(
            functools.partial(
                steps.train_step,
                model=self.model,
                optimizer=self.optimizer,
                axis_name=REPLICA_AXIS,
                micro_batches=train.micro_batches,
                forward=self.form.forward,
                loss=losses.make_loss(train.loss, train.bin_edges_m),
            ),
            self.devices,
        )

    def train_member(self, folder: epath.Path, fold: Fold, progress: Progress) -> dict:
        """Trains all epochs of one member, from its latest checkpoint if there is one. Returns what is in member.json.

        progress counts epochs.
        """
        config = self.config
        n_steps = self.data.n_steps(fold)
        rates = self._rates(n_steps)
        manager = checkpoint.open_manager(folder / 'checkpoints')
        saver = Saver(folder, config.train.save_minutes)
        state, history, position = self._start(manager, saver, fold, folder.parent)
        claim_recipe(folder.parent, config)  # not earlier: a config that cannot start must not keep the folder
        member_log.write_places(folder.parent, config.data.records)
        member_log.note_start(folder)
        events = member_log.open_events(folder)
        member_log.write_metrics(folder, history)  # a kill between the checkpoint and this file left it one row short
        progress.start_clock()  # keeping features may have taken minutes
        progress.skip(len(history), work=len(history))
        while not is_finished(history, config.train.epochs, config.train.early_stop_epochs):
            epoch, began_s = len(history) + 1, time.monotonic()
            state, position = self._train_epoch(state, fold, rates, position, progress, saver)
            row, rows = self._validate(state, fold)
            if state.loss_scale is not None:
                row |= {'skipped_steps': position.skipped_in_epoch, 'loss_scale': float(state.loss_scale.scale)}
            state = state.replace(plateau=optim.next_plateau(self.plateau, state.plateau, row['val_mae']))
            train_mae = position.error.value()
            history = [*history, {'epoch': epoch, 'step': epoch * n_steps, 'train_mae': train_mae, **row}]
            if checkpoint.best_epoch(history) == epoch:
                processes.write_shared(folder / 'oof.csv', without_empty_animal(rows).to_csv(index=False))
            checkpoint.save(manager, self.form.complete(state), history)
            saver.forget()
            position = position.of_next_epoch()
            member_log.write_metrics(folder, history)
            member_log.note_cost(folder, epoch, time.monotonic() - began_s)
            member_log.write_events(events, history[-1])
            log.info('%s fold %d epoch %d: %s', config.recipe, fold.number, epoch, _describe(history[-1]))
            progress.advance(1)
        left = config.train.epochs - len(history)  # after an early stop
        progress.skip(left, work=left)
        manager.close()
        events.close()
        flush_all(folder)  # member.json vouches for it
        return member_log.finish_member(folder, config.recipe, fold.number, self.folds, history, config.data.records)

    def _start(
        self, manager, saver: Saver, fold: Fold, folder: epath.Path
    ) -> tuple[steps.TrainState, list[dict], Position]:
        """Returns state, history and place of the latest checkpoint, or fresh ones with the starting weights."""
        init = functools.partial(self._starting_weights, fold=fold)
        seed = self.config.seed + fold.number
        state = steps.initial_state(
            self.model, self.optimizer, self.plateau, seed=seed, init=init, trained=self.form.trained
        )
        state, history = checkpoint.restore(manager, state) or (state, [])
        if history:
            log.info('fold %d resumes after epoch %d', fold.number, len(history))
        epochs = processes.gather(len(history))
        if len(set(epochs)) > 1:
            raise ValueError(f'the processes resume after epochs {epochs}; give all of them the same --workdir')
        position = Position(epoch=len(history) + 1)
        if within := saver.restore(state, position.epoch):
            state, position = within
            log.info('fold %d resumes after step %d of epoch %d', fold.number, position.n_steps, position.epoch)
        return parallel.replicate(self.form.begin(state, folder), self.devices), history, position

    def _starting_weights(self, fresh: dict, fold: Fold) -> dict:
        start, data = self.config.start, self.config.data
        fresh = self.form.fresh(fresh)
        if start.output_bias not in ('zero', 'median'):
            raise ValueError(f"start.output_bias is 'zero' or 'median', not {start.output_bias!r}")
        if start.output_bias == 'median':  # before start_from: if that loads another run, its learnt bias replaces this
            fresh['params']['output']['bias'] = np.full(1, self.data.index.median_m(fold.training), np.float32)
        if start.init == 'lite0' and self.config.model.normalization != 'unit':
            raise ValueError(
                'the weights of start.init=lite0 contain their normalization; set model.normalization=unit'
            )
        read_run = functools.partial(load_fold, fold=fold.number, folds=data.folds, n_folds=data.n_folds)
        return pretrained.start_fold(fresh, start.init, fold.number, data.folds, read_run)

    def _train_epoch(
        self, state: steps.TrainState, fold: Fold, rates: np.ndarray, start: Position, progress: Progress, saver: Saver
    ) -> tuple[steps.TrainState, Position]:
        """Returns the state after the epoch, and its end with the errors of the steps that count."""
        position, waiting = start, []
        n_steps = self.data.n_steps(fold)
        progress.skip(0, work=start.n_steps / n_steps)

        def read(step, batch, more):
            after = _counted(position, more, step, rates[step], batch, state.loss_scale)
            note = f'{self.config.recipe} fold {fold.number} epoch {after.epoch}, MAE {after.error.value():.2f} m'
            progress.advance(0, work=1 / n_steps, note=note)
            return after

        batches = self.form.batches(fold, start.epoch, start.n_steps)
        batches = parallel.prefetch(batches, self.form.arrays, self.devices)
        for step, (arrays, batch) in enumerate(batches, int(state.step)):
            state, more = self._train_step(state, arrays, rates[step])
            waiting.append((step, batch, more))
            if len(waiting) == 2:  # one step late, so that the device always has its next step
                position = read(*waiting.pop(0))
            n_done = position.n_steps + len(waiting)
            if n_done < n_steps and saver.is_due(n_done):
                position = read(*waiting.pop())
                saver.save(self.form.complete(state), position)
        return state, read(*waiting.pop()) if waiting else position

    def _validate(self, state: steps.TrainState, fold: Fold) -> tuple[dict, pd.DataFrame]:
        """Returns the row of metrics.csv and the rows of oof.csv: the labelled targets with their predictions."""
        whole = self.form.complete(state)
        weights = self.scorer.place({'params': whole.params, 'batch_stats': whole.batch_stats})
        parts, error = [], Mean(0.0, 0.0)
        for rows, more in self.form.validate(weights, fold):
            parts.append(rows)
            error += more
        mine = {name: [value for part in parts for value in part[name].tolist()] for name in ROWS}
        everywhere = processes.gather([mine, [error.total, error.count]])
        rows = pd.concat([pd.DataFrame(rows).astype(ROWS) for rows, _ in everywhere])
        rows = rows.dropna(subset='distance').sort_values(KEY, ignore_index=True)
        error = sum((Mean(*error) for _, error in everywhere), Mean(0.0, 0.0))
        rate = self.config.train.learning_rate * float(state.plateau.scale)
        row = {
            'val_mae': error.value(),
            'val_rmse': rmse(rows['prediction'], rows['distance']),
            'plateau_rate': rate,
        }
        if not math.isfinite(row['val_mae']):
            remedy = '; float16 may overflow: set model.dtype=float32' if state.loss_scale is not None else ''
            raise TrainingError(
                f'the validation error is not finite after step {int(state.step)}, learning rate {rate:.3g}{remedy}'
            )
        return row, rows

    def _rates(self, n_steps: int) -> np.ndarray:
        """Returns the learning rate of every update [steps] float32, on the host: reading a device waits."""
        train = self.config.train
        total = n_steps * train.epochs
        schedule = optim.make_schedule(
            learning_rate=train.learning_rate,
            warmup_steps=train.warmup_steps,
            decay_steps=int(train.decay_fraction * total),
            total_steps=total,
        )
        return np.broadcast_to(np.asarray(schedule(np.arange(total)), np.float32), total)


def is_finished(history: list[dict], epochs: int, early_stop_epochs: int) -> bool:
    """Returns whether all epochs are done, or none of the last early_stop_epochs was the best (0: never stop early)."""
    if not history or len(history) >= epochs:
        return len(history) >= epochs
    return 0 < early_stop_epochs <= len(history) - checkpoint.best_epoch(history)


def _devices(n_examples: int, micro_batches: int) -> list[jax.Device]:
    """Returns as many of this process' devices as split its examples evenly. With several processes, all of them."""
    devices = jax.local_devices()
    fewest = len(devices) if jax.process_count() > 1 else 1
    fitting = [n for n in range(fewest, len(devices) + 1) if n_examples % (n * micro_batches) == 0]
    if not fitting:
        raise ValueError(
            f'the {n_examples} examples that this process has of a batch cannot be split evenly over '
            f'{fewest} devices x train.micro_batches={micro_batches}; change train.batch_size or train.micro_batches'
        )
    used = fitting[-1]
    log.info('training on %d of %d %s devices', used * jax.process_count(), jax.device_count(), devices[0].platform)
    return devices[:used]


def _counted(
    before: Position, error: Mean, step: int, rate: float, batch: dict, loss_scale: DynamicScale | None
) -> Position:
    """Returns the place after a step with this error. A step that was skipped counts as such.

    loss_scale: after the latest step. Raises TrainingError if the error is not finite without a loss scale, or if the
    smallest scale does not help.
    """
    error = Mean(float(error.total), float(error.count))
    if math.isfinite(error.total):
        return before.after_step(error)
    skipped = before.after_skip()
    where = f'step {step}, learning rate {rate:.3g}; {_keys(batch)}'
    if loss_scale is None:
        raise TrainingError(f'the loss is not finite at {where}')
    if skipped.skipped_in_a_row >= MOST_SKIPPED and optim.loss_scale_is_least(loss_scale):
        raise TrainingError(
            f'gradients overflow float16 in {skipped.skipped_in_a_row} steps in a row, and the loss scale is at its '
            f'least; set model.dtype=float32 or a lower train.learning_rate; the last of them is {where}'
        )
    return skipped


def _keys(batch: dict) -> str:
    """Returns (video_id, time) of every window in use, as text."""
    keys = [
        f'({video.decode()}, {t})'
        for video, times in zip(batch['video_id'], batch['time'], strict=True)
        for t in times
        if t >= 0
    ]
    return f'the batch holds {", ".join(keys)}'


def _describe(row: dict) -> str:
    return ', '.join(f'{name} {value:.4g}' for name, value in row.items() if name != 'epoch')
