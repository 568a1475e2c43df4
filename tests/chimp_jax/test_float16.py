"""Training in float16: the loss scale, skipped steps on eight devices, resumed runs."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import small
import tensorflow as tf

from chimp_jax import checkpoint, optim, parallel, steps, train, trainer
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.models.efficientnet import Stage
from chimp_jax.steps import Mean
from chimp_jax.training.within_epoch import Position

RECIPE = 'full-a1p50-f7s1'
MODEL = DistanceModel(lstm_units=8, dense_units=6, stages=(Stage(1, 3, 2, 32, 16, 1),))  # compiles fast
OPTIMIZER = optim.make_optimizer(0.9, 0.999, 1e-7)
PLATEAU = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
RATE = np.float32(1e-3)
EXACT = {'step', 'loss_scale'}  # fields of a state that a skipped step changes


@pytest.fixture(scope='module')
def state():
    """A fresh state. Its scale is one at which this small network does not overflow."""
    fresh = jax.device_get(steps.initial_state(MODEL.copy(dtype='float16'), OPTIMIZER, PLATEAU, seed=0))
    assert fresh.loss_scale.scale == 2.0**15
    return with_scale(fresh, 2.0**8)


def a_batch(size=16):
    rng = np.random.default_rng(0)
    return {
        'frames': rng.integers(0, 256, (size, 3, 32, 32, 3), dtype=np.uint8),
        'window': rng.integers(0, 3, (size, 2, 3), dtype=np.int32),
        'distance': rng.uniform(1, 20, (size, 2)).astype(np.float32),
        'mask': np.ones((size, 2), np.float32),
    }


@functools.cache
def mapped(dtype: str, n_devices: int = 8, micro_batches: int = 1):
    """Returns update(state, batch) -> (state, error), both on the host."""
    settings = {
        'model': MODEL.copy(dtype=dtype),
        'optimizer': OPTIMIZER,
        'axis_name': REPLICA_AXIS,
        'micro_batches': micro_batches,
    }
    devices = jax.devices()[:n_devices]
    step = parallel.map_train_step(functools.partial(steps.train_step, **settings), devices)

    def update(state, batch, rate=RATE):
        new = step(parallel.replicate(state, devices), parallel.split(batch, n_devices), rate)
        return jax.device_get(new)

    return update


def with_scale(state, scale):
    return state.replace(loss_scale=state.loss_scale.replace(scale=np.float32(scale)))


def test_the_scale_follows_keras():
    """The start and the growth are Keras' defaults. The series has runs of up to 45 finite steps; the scale grows
    after 20. Keras has no least scale, so the series stays above 1."""
    import keras

    defaults = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0))
    mine = optim.make_loss_scale()
    assert (mine.scale, mine.growth_interval + 1) == (defaults.initial_scale, defaults.dynamic_growth_steps)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), dynamic_growth_steps=20)
    variable = keras.Variable(np.zeros(1, np.float32))
    theirs.build([variable])
    mine, advance = mine.replace(growth_interval=19), jax.jit(optim.next_loss_scale)
    ones = {True: keras.ops.ones(1), False: keras.ops.ones(1) * np.inf}
    found, expected = [], []
    overflows = {45, 50, 51, 52, 72, 93, 94}
    for step in range(120):
        finite = step not in overflows
        theirs.apply([ones[finite]], [variable])
        mine = advance(mine, jnp.array(finite))
        found.append(float(mine.scale))
        expected.append(float(np.asarray(theirs.dynamic_scale)))
    assert found == expected
    assert found[18:20] == [2.0**15, 2.0**16] and found[39:46] == [2.0**17] * 6 + [2.0**16]  # by hand


def test_the_scale_does_not_fall_below_1():
    scale = optim.make_loss_scale().replace(scale=jnp.float32(2.0))
    assert not optim.loss_scale_is_least(scale)
    for _ in range(2):
        scale = optim.next_loss_scale(scale, jnp.array(False))
        assert float(scale.scale) == 1.0 and optim.loss_scale_is_least(scale)


@pytest.mark.parametrize('n_devices,micro_batches', [(8, 1), (4, 2)])
def test_a_step_that_overflows_changes_nothing_and_the_next_one_trains(state, n_devices, micro_batches):
    """The scale of 2**30 is infinite in float16. The batch has one label, so one part of one replica overflows, and the
    gradients of the others are 0. All replicas skip the step, although the loss is finite."""
    update = mapped('float16', n_devices, micro_batches)
    trained, error = update(state, a_batch())
    assert np.isfinite(error.total) and trained.loss_scale.fin_steps == 1
    batch = a_batch()
    batch['mask'] *= 0
    batch['mask'][5, 1] = 1
    before = with_scale(trained, 2.0**30)
    skipped, error = update(before, batch)
    assert np.isnan(error.total) and error.count == 1
    for name in vars(trained).keys() - EXACT:
        jax.tree.map(np.testing.assert_array_equal, getattr(skipped, name), getattr(trained, name))
    assert (skipped.step, trained.step) == (2, 1)  # the place in the schedule
    assert (skipped.loss_scale.scale, skipped.loss_scale.fin_steps) == (2.0**29, 0)
    after, error = update(with_scale(skipped, 2.0**8), a_batch())
    assert np.isfinite(error.total)
    assert after.opt_state[0].inner_state.count == 2  # two updates in three steps
    assert (after.params['output']['kernel'] != trained.params['output']['kernel']).any()


def test_a_loss_that_is_not_finite_skips_the_step(state):
    """An infinite label has a finite gradient, which is the sign of the error."""
    batch = a_batch()
    batch['distance'][5, 1] = np.inf
    skipped, error = mapped('float16')(state, batch)
    assert np.isnan(error.total) and skipped.opt_state[0].inner_state.count == 0


def test_batch_statistics_that_overflow_skip_the_step(state):
    poisoned = jax.tree.map(np.copy, state.batch_stats)
    poisoned['encoder']['backbone']['top_bn']['mean'][3] = np.inf  # stays infinite in the running average
    skipped, error = mapped('float16')(state.replace(batch_stats=poisoned), a_batch())
    assert np.isnan(error.total) and skipped.opt_state[0].inner_state.count == 0


def moments(state):
    return jax.tree.leaves(state.opt_state[0].inner_state.mu)


@pytest.mark.parametrize('micro_batches', [1, 2])
def test_the_gradient_does_not_depend_on_the_scale(state, micro_batches):
    """Adam's first moment is a tenth of the gradient. Powers of two scale exactly where nothing over- or underflows;
    2**4 and 2**8 differ only in float16's smallest numbers, of 6e-8 / 2**4."""
    update = mapped('float16', 8 // micro_batches, micro_batches)
    small_scale, large_scale = (moments(update(with_scale(state, scale), a_batch())[0]) for scale in (2.0**4, 2.0**8))
    largest = max(np.abs(leaf).max() for leaf in large_scale)
    for a, b in zip(small_scale, large_scale, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=1e-4 * largest)


def test_float16_trains_as_float32_with_state_loss_and_metres_in_float32(state):
    """The same batch again and again, at the rate of the bfloat16 test.

    float16 has 11 bits, a relative rounding of 2**-11 = 0.05 %. The prediction of the fresh network passes about 20
    roundings (a stem, a block, LSTM of three steps, dense), so its loss is within 20 * 0.05 % = 1 %. After twenty
    steps the paths have parted; bfloat16, whose roundings are eight times as large, is allowed 3 %.
    """
    batch, losses = a_batch(), {}
    for dtype in ('float16', 'float32'):
        new, losses[dtype] = state if dtype == 'float16' else state.replace(loss_scale=None), []
        for _ in range(20):
            new, error = mapped(dtype)(new, batch, np.float32(3e-2))
            losses[dtype].append(float(error.total) / float(error.count))
        assert error.total.dtype == 'float32'
        floats = [x for x in jax.tree.leaves(vars(new)) if np.issubdtype(x.dtype, np.floating)]
        assert {x.dtype for x in floats} == {np.dtype('float32')} and len(floats) > 50
    half, full = losses.values()
    assert half != full and half[0] == pytest.approx(full[0], rel=0.01)
    assert full[-1] < 0.8 * full[0] and half[-1] == pytest.approx(full[-1], rel=0.03)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_published_dtypes_have_no_scale(dtype, tmp_path):
    fresh = steps.initial_state(small.model(dtype=dtype), OPTIMIZER, PLATEAU, seed=0)
    assert fresh.loss_scale is None
    manager = checkpoint.open_manager(tmp_path)
    checkpoint.save(manager, fresh, [{'epoch': 1, 'val_mae': 1.0}])
    manager.close()
    stored = checkpoint._alone().metadata(tmp_path / '1' / 'rest').item_metadata.tree
    assert set(stored) == {'step', 'key', 'opt_state', 'plateau'}  # as before there was a scale


def test_a_checkpoint_keeps_the_scale(state, tmp_path):
    reached = state.replace(loss_scale=state.loss_scale.replace(scale=np.float32(2.0**5), fin_steps=np.int32(7)))
    manager = checkpoint.open_manager(tmp_path)
    checkpoint.save(manager, reached, [{'epoch': 1, 'val_mae': 1.0}])
    restored, _ = checkpoint.restore(manager, state)
    manager.close()
    assert (restored.loss_scale.scale, restored.loss_scale.fin_steps) == (2.0**5, 7)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder)
    return folder


@pytest.fixture
def config(data, monkeypatch):
    monkeypatch.setattr(trainer, 'DistanceModel', small.model)
    config = small.config(data)
    config.model.dtype = 'float16'
    return config


def start_at(monkeypatch, scale):
    make = optim.make_loss_scale
    monkeypatch.setattr(optim, 'make_loss_scale', lambda: make().replace(scale=jnp.float32(scale)))


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_and_skipped_steps_are_recorded(config, tmp_path, monkeypatch):
    """The scale starts at 2**20. The first product of the gradient overflows from 2**18 on: in all steps of epoch 1."""
    start_at(monkeypatch, 2.0**20)
    config.train.epochs = 3
    train.train_recipe(config, tmp_path / 'whole', folds=[1])
    metrics = pd.read_csv(tmp_path / 'whole' / RECIPE / 'fold_1' / 'metrics.csv')
    n_steps = metrics['step'].iloc[0]
    assert metrics['skipped_steps'].iloc[0] == n_steps and np.isnan(metrics['train_mae'].iloc[0])
    # Each skipped step halves the scale, and 2000 finite steps in a row do not come.
    np.testing.assert_array_equal(metrics['loss_scale'], 2.0 ** (20 - metrics['skipped_steps'].cumsum()))
    assert np.isfinite(metrics['train_mae'].iloc[-1]) and metrics['skipped_steps'].iloc[-1] < n_steps
    with small.killed_after_saving(), pytest.raises(small.Killed):
        train.train_recipe(config, tmp_path / 'killed', folds=[1])
    train.train_recipe(config, tmp_path / 'killed', folds=[1])
    whole, killed = (tmp_path / run / RECIPE / 'fold_1' for run in ('whole', 'killed'))
    small.check_same_results(whole, killed)
    weights = [checkpoint.restore_weights(folder / 'checkpoints', 3) for folder in (whole, killed)]
    jax.tree.map(np.testing.assert_array_equal, *weights)
    (events,) = whole.glob('events.out.tfevents.*')
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert {'skipped_steps', 'loss_scale'} <= tags
    assert json.loads((whole / 'member.json').read_text())['best_epoch'] > 0


def test_steps_that_no_scale_helps_end_the_training(config, tmp_path, monkeypatch):
    def skipped(state, batch, _rate, *, axis_name, **_settings):
        """Returns what a step that overflows returns, without a gradient, which takes long to trace."""
        scale = optim.next_loss_scale(state.loss_scale, jnp.array(False))
        count = jax.lax.psum(batch['mask'].sum(), axis_name)
        return state.replace(step=state.step + 1, loss_scale=scale), Mean(jnp.full_like(count, jnp.nan), count)

    monkeypatch.setattr(steps, 'train_step', skipped)
    monkeypatch.setattr(trainer.Trainer, '_validate', lambda *_: ({'val_mae': 1.0}, pd.DataFrame({'animal': []})))
    config.train.epochs = 100
    with pytest.raises(trainer.TrainingError) as caught:
        train.train_recipe(config, tmp_path, folds=[1])
    message = str(caught.value)
    assert message.startswith('gradients overflow float16 in 25 steps in a row')
    assert 'the last of them is step 24, learning rate 0.001; the batch holds (clip ' in message


def test_skips_in_a_row_count_over_epochs_until_a_step_trains():
    position = Position(epoch=1)
    for error in (None, None, Mean(3.0, 2.0), None):
        position = position.after_step(error) if error else position.after_skip()
    assert position == Position(epoch=1, n_steps=4, error=(3.0, 2.0), skipped_in_epoch=3, skipped_in_a_row=1)
    position = position.of_next_epoch().after_skip()
    assert position == Position(epoch=2, n_steps=1, error=(0.0, 0.0), skipped_in_epoch=1, skipped_in_a_row=2)
