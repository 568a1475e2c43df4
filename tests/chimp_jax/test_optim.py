"""The plateau against Keras, the schedule by hand, Adam against Keras' own."""

import functools

import jax
import numpy as np
import optax
import pytest

from chimp_jax import optim


@functools.cache
def keras_model():
    import keras

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), 'mae')
    return model


def keras_rates(losses, learning_rate):
    import keras

    callback = keras.callbacks.ReduceLROnPlateau(
        monitor='val_loss',
        factor=0.5,
        patience=3,
        min_delta=1e-4,
        min_lr=1e-8,
        cooldown=0,
        mode='min',
    )
    model = keras_model()
    model.optimizer.learning_rate = learning_rate
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {'val_loss': float(loss)})
        rates.append(float(np.asarray(model.optimizer.learning_rate)))
    return rates


def series():
    """200 random validation series: walks that fall, stall on steps near min_delta, or rise."""
    rng = np.random.default_rng(0)
    for i in range(200):
        drift = rng.choice([-0.02, -1e-4, 0.0, 0.02])
        noise = rng.choice([0.0, 1e-4, 0.05])
        yield np.float32(3 + np.cumsum(drift + noise * rng.normal(size=60 if i else 120)))


def test_plateau_equals_keras_on_200_series():
    plateau = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)

    def advance(state, loss):
        state = optim.next_plateau(plateau, state, loss)
        return state, state.scale

    run = jax.jit(lambda losses: jax.lax.scan(advance, plateau.init({}), losses)[1])
    lowered = 0
    for losses in series():
        expected = keras_rates(losses, 1e-3)
        np.testing.assert_allclose(1e-3 * np.asarray(run(losses)), expected, rtol=1e-5)
        lowered += expected[-1] < 1e-3
    assert lowered > 100  # the series do make it act


def test_plateau_stops_at_min_lr():
    plateau = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
    advance = jax.jit(lambda state: optim.next_plateau(plateau, state, 1.0))
    state = plateau.init({})
    for _ in range(100):
        state = advance(state)
    assert 1e-3 * float(state.scale) == pytest.approx(1e-8)


def test_published_schedule_is_constant():
    schedule = optim.make_schedule(1e-3, 0, 0, 5040)
    assert [float(schedule(step)) for step in (0, 1, 5039)] == pytest.approx([1e-3] * 3)


def test_warm_up_and_decay_by_hand():
    # 4 steps of warm-up to 1.0: 1/5, 2/5, 3/5, 4/5, then 1; the last 5 of 20 fall from 1 by 1/5.
    schedule = optim.make_schedule(1.0, 4, 5, 20)
    expected = [0.2, 0.4, 0.6, 0.8] + [1.0] * 11 + [1.0, 0.8, 0.6, 0.4, 0.2]
    assert [float(schedule(step)) for step in range(20)] == pytest.approx(expected)


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ValueError, match='warmup_steps=30'):
        optim.make_schedule(1e-3, 30, 0, 20)


@pytest.mark.parametrize('size', [1.0, 1e-5, 1e-7, 1e-9])
def test_adam_equals_keras(size):
    """Also where gradients are as small as epsilon, 1e-7: there it matters where epsilon is added."""
    import keras

    rng = np.random.default_rng(1)
    start = np.zeros(50, np.float32)  # the sum of the updates is then not rounded by what it is added to
    gradients = np.float32(size * rng.normal(size=(10, 50)))
    theirs = keras.Variable(start)
    adam = keras.optimizers.Adam(1e-3, 0.9, 0.999, 1e-7)
    optimizer = optim.make_optimizer(0.9, 0.999, 1e-7)
    mine, state = start, optimizer.init(start)
    plain = optax.scale_by_adam(0.9, 0.999, 1e-7)
    others, other_state = start, plain.init(start)
    for gradient in gradients:
        adam.apply([gradient], [theirs])
        direction, state = optimizer.update(gradient, state)
        mine = mine + 1e-3 * direction
        direction, other_state = plain.update(gradient, other_state)
        others = others - 1e-3 * direction
    scale = np.abs(np.asarray(theirs)).max()
    assert np.abs(mine - np.asarray(theirs)).max() < 2e-4 * scale
    # The test can tell: with gradients of 1e-5 already, plain optax is a fifth off.
    assert (np.abs(others - np.asarray(theirs)).max() > 0.1 * scale) == (size < 1)
