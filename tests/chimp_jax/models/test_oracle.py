"""The model equals its Keras twin: weights, predictions, gradients of all parameters, ten Adam steps."""

import functools

import flax.traverse_util
import h5py
import jax
import keras
import keras_oracle
import numpy as np
import optax
import pytest
import tensorflow as tf

from chimp_jax import optim, parallel, steps
from chimp_jax.models import pretrained
from chimp_jax.models.conversions import convert_keras
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.models.efficientnet import STAGES, Stage
from configs import base

B, T, SIZE_PX = 2, 3, 64
MODEL = DistanceModel(**{**base.get_config().model, 'drop_connect': 0.0})
# The programs run once, so fast compilation matters more than fast code.
QUICK = {'xla_backend_optimization_level': 0}


def fresh_variables(model):
    """Returns zeros for the model's variables, so that all other values come from a file."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes(model))


@functools.cache
def shapes(model) -> dict:
    frames, window = np.zeros((1, 1, 32, 32, 3), np.uint8), np.zeros((1, 1, 1), np.int32)
    return dict(jax.eval_shape(lambda: model.init(jax.random.key(0), frames=frames, window=window)))


def start(path, model=MODEL):
    return pretrained.start_from(fresh_variables(model), str(path), read_run=None)


def windows(size_px, seed=0):
    """Returns two windows of pictures with structure at all scales, and the positions of their frames."""
    rng = np.random.default_rng(seed)
    coarse = tf.image.resize(rng.uniform(0, 255, (B * T, 5, 5, 3)), (size_px, size_px), 'bicubic').numpy()
    frames = np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)
    return frames.reshape(B, T, size_px, size_px, 3), np.tile(np.arange(T, dtype=np.int32), (B, 1, 1))


def random_oracle(size_px, blocks=None):
    keras.utils.set_random_seed(0)
    model = keras_oracle.published_model(size_px, T, blocks)
    keras_oracle.randomize(model, windows(size_px)[0] / np.float32(255), seed=1)
    return model


@pytest.fixture(scope='module')
def oracle():
    return random_oracle(SIZE_PX)


@pytest.fixture(scope='module')
def variables(oracle, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'model.weights.h5'
    oracle.save_weights(path)
    return start(path)


def flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep='/')


def write_as_the_original(model, path):
    """Writes the weights with the names that TensorFlow 2.4.1 gives a model with TimeDistributed(EfficientNetB0)."""
    with h5py.File(path, 'w') as file:
        for weight in model.weights:
            layer, variable = weight.path.split('/')[-2:]
            inside = {'lstm_cell': 'lstm/lstm/lstm_cell', 'dense': 'dense/dense', 'dense_1': 'dense_1/dense_1'}
            file[f'{inside.get(layer, f"time_distributed/{layer}")}/{variable}:0'] = weight.numpy()


def test_every_variable_is_loaded_and_all_layouts_give_equal_weights(oracle, variables, tmp_path):
    from keras.src.legacy.saving import legacy_h5_format  # TensorFlow 2's format; Keras 3's public API only reads it

    with h5py.File(tmp_path / 'weights.h5', 'w') as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, oracle)
    legacy = start(tmp_path / 'weights.h5')
    jax.tree.map(np.testing.assert_array_equal, legacy, variables)
    write_as_the_original(oracle, tmp_path / 'original.h5')
    jax.tree.map(np.testing.assert_array_equal, start(tmp_path / 'original.h5'), variables)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == oracle.count_params() == 13_798_645
    # No two arrays of random weights are equal, so the sums reveal a swapped pair.
    sums = sorted(float(np.abs(leaf).sum(dtype=np.float64)) for leaf in jax.tree.leaves(variables))
    theirs = sorted(float(np.abs(weight.numpy()).sum(dtype=np.float64)) for weight in oracle.weights)
    np.testing.assert_allclose(sums, theirs, rtol=1e-12)


def test_only_the_backbone_of_a_whole_model_and_of_b0_without_top(oracle, variables, tmp_path):
    """The sources are keras.applications' B0 without top but with its normalisation layers, and PATH:backbone."""
    whole = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(SIZE_PX, SIZE_PX, 3))
    values = {weight.path: weight.numpy() for weight in oracle.get_layer('efficientnetb0').weights}
    for weight in whole.weights:
        if weight.path in values:
            weight.assign(values[weight.path])
    whole.save_weights(tmp_path / 'b0.weights.h5')
    oracle.save_weights(tmp_path / 'model.weights.h5')
    for path in ('b0.weights.h5', 'model.weights.h5:backbone'):
        started = start(tmp_path / path)
        for kind in started:
            jax.tree.map(np.testing.assert_array_equal, started[kind]['encoder'], variables[kind]['encoder'])
        assert not any(leaf.any() for part in ('lstm', 'dense', 'output') for leaf in started['params'][part].values())


@pytest.mark.parametrize('size_px', [SIZE_PX, 96])
def test_predictions_agree(oracle, variables, size_px):
    twin = oracle
    if size_px != SIZE_PX:
        twin = keras_oracle.published_model(size_px, T)
        twin.set_weights(oracle.get_weights())
    frames, window = windows(size_px)
    expected = twin(frames / np.float32(255), training=False).numpy()
    apply = jax.jit(MODEL.apply, compiler_options=QUICK)
    prediction = apply(variables, frames=frames, window=window)
    worst = np.abs(prediction - expected).max() / np.abs(expected).max()
    print(f'predictions, {size_px} px: {worst:.1e} of the largest')
    assert worst < 1e-4
    assert np.ptp(expected) > 5e-3 * np.abs(expected).max()  # the windows differ by fifty times the tolerance


def keras_training(oracle, frames, distance_m, n_steps):
    """Returns the losses of all steps, and the gradients and running statistics of the first step by our names."""
    model = keras.models.clone_model(oracle)
    model.set_weights(oracle.get_weights())
    adam = keras.optimizers.Adam(1e-3, 0.9, 0.999, 1e-7)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(x, training=True) - y))
        gradients = tape.gradient(loss, model.trainable_variables)
        adam.apply(gradients, model.trainable_variables)
        return loss, gradients

    adam.build(model.trainable_variables)
    losses, gradients, statistics = [], {}, {}
    for number in range(n_steps):
        loss, values = step(frames / np.float32(255), distance_m)
        losses.append(float(loss))
        if number == 0:
            for variable, value in zip(model.trainable_variables, values, strict=True):
                layer, name = variable.path.split('/')[-2:]
                gradients.setdefault(layer, {})[name] = value.numpy()
            for variable in model.non_trainable_variables:
                layer, name = variable.path.split('/')[-2:]
                if name.startswith('moving_'):
                    statistics.setdefault(layer, {})[name] = variable.numpy()
    return losses, convert_keras(gradients), convert_keras(statistics)


def positions(oracle):
    """Returns how many numbers of a channel each batch norm sees, by the name of its running variance."""
    norms = [layer for layer in oracle.get_layer('efficientnetb0').layers if 'bn' in layer.name]
    names = [convert_keras({layer.name: {'moving_variance': 0 * layer.gamma.numpy()} for layer in norms})]
    return dict(zip(*names, (B * T * layer.output.shape[1] * layer.output.shape[2] for layer in norms), strict=True))


def blocks_of(stages) -> list[dict]:
    """Returns the stages as Keras writes them."""
    names = ('repeats', 'kernel_size', 'strides', 'filters_in', 'filters_out', 'expand_ratio')
    return [dict(zip(names, stage, strict=True)) | {'id_skip': True, 'se_ratio': 0.25} for stage in stages]


FEW_STAGES = (Stage(1, 3, 1, 32, 16, 1), Stage(2, 5, 2, 16, 24, 6))  # all kinds of layers in three blocks
WHOLE_B0 = pytest.param(STAGES, 64, 2, marks=pytest.mark.slow, id='B0')


@pytest.mark.parametrize('stages,size_px,top', [pytest.param(FEW_STAGES, 32, 8, id='three blocks'), WHOLE_B0])
def test_gradients_and_ten_adam_steps_agree(stages, size_px, top, tmp_path):
    """top: the side of the last map. The whole B0 is traced for most of a minute, so it is for make test-slow."""
    oracle = random_oracle(size_px, None if stages is STAGES else blocks_of(stages))
    n_blocks = sum(stage.repeats for stage in stages)
    oracle.save_weights(tmp_path / 'model.weights.h5')
    network = MODEL.copy(stages=stages)
    variables = start(tmp_path / 'model.weights.h5', network)
    frames, window = windows(size_px, seed=2)
    distance_m = np.float32([[8.0], [11.0]])  # both exceed the predictions, so that the output bias has a gradient
    losses, gradients, moved = keras_training(oracle, frames, distance_m, 10)

    optimizer = optim.make_optimizer(0.9, 0.999, 1e-7)
    plateau = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
    state = steps.TrainState(
        step=np.int32(0),
        key=jax.random.key_data(jax.random.key(0)),
        opt_state=jax.jit(optimizer.init)(variables['params']),
        plateau=plateau.init({}),
        **variables,
    )
    step = functools.partial(steps.train_step, model=network, optimizer=optimizer, axis_name=REPLICA_AXIS)
    step = jax.vmap(step, in_axes=(None, 0, None), out_axes=None, axis_name=REPLICA_AXIS)
    step = jax.jit(step, compiler_options=QUICK)
    batch = {'frames': frames, 'window': window, 'distance': distance_m, 'mask': np.ones((B, 1), np.float32)}
    batch = parallel.split(batch, 1)
    mine = []
    for number in range(10):
        state, error = step(state, batch, np.float32(1e-3))
        mine.append(float(error.value()))
        if number == 0:  # the first moment is then (1 - b1) times the gradient
            first = flat(jax.tree.map(lambda m: m / (1 - 0.9), optax.tree.get(state.opt_state, 'mu')))
            statistics = flat(state.batch_stats)
    ours = {f'params/{name}': value for name, value in first.items()}
    # A block has 13 arrays, but the first block lacks 3 of an expansion. Stem and top have 3 each, the LSTM 3, dense 4.
    assert ours.keys() == gradients.keys() and len(ours) == n_blocks * 13 - 3 + 6 + 3 + 4
    apart = {name: np.linalg.norm(ours[name] - value) for name, value in gradients.items()}
    size = {name: np.linalg.norm(value) for name, value in gradients.items()}
    # The batch norm after a 1x1 convolution removes a constant that was added before it. The true gradient of these
    # offsets is 0, so both sides contain only rounding errors.
    void = {name for name in gradients if name.endswith('project_bn/bias')}
    assert len(void) == n_blocks
    assert all(max(apart[name], size[name]) < 1e-4 * size[name.replace('bias', 'scale')] for name in void)
    worst = max(apart[name] / size[name] for name in gradients.keys() - void)
    print(f'gradients: {worst:.1e} at most; losses: {np.abs(np.divide(mine, losses) - 1).max():.1e} at most')
    assert worst < 1e-3
    np.testing.assert_allclose(mine, losses, rtol=1e-3)
    assert len(moved) == 2 * (3 * n_blocks + 1) and moved.keys() == {f'batch_stats/{name}' for name in statistics}
    counts = positions(oracle)
    assert len(counts) == 3 * n_blocks + 1 and min(counts.values()) == B * T * top * top
    kept = 1 - keras_oracle.MOVED_PER_STEP
    parts = []
    for name, expected in moved.items():
        before = flat(variables)[name]
        if name in counts:  # Keras 3 takes the plain variance, TensorFlow 2.4 the one of n - 1
            expected = kept * before + (expected - kept * before) * counts[name] / (counts[name] - 1)
        # Another momentum would move the statistics by another part of the way.
        way = np.abs(expected - before).max()
        parts.append(np.abs(statistics[name.removeprefix('batch_stats/')] - expected).max() / way)
    print(f'running statistics: {max(parts):.1e} of the way at most')
    assert max(parts) < 0.02


def test_time_distributed_of_keras_3_is_no_oracle_for_running_statistics():
    # One picture of 10 everywhere: after one step the running mean has moved from 0 to 10 * (what the step moved).
    pictures = keras.Input((2, 2, 3))
    norm = keras.layers.BatchNormalization(momentum=0.99)
    inner = keras.Model(pictures, norm(pictures))
    windows_in = keras.Input((T, 2, 2, 3))
    outer = keras.Model(windows_in, keras.layers.TimeDistributed(inner)(windows_in))
    outer(np.full((B, T, 2, 2, 3), 10, np.float32), training=True)
    moved = norm.moving_mean.numpy()[0] / 10
    assert moved == pytest.approx(1 - 0.99**T, rel=1e-5)  # once for each frame of the window
    assert abs(moved - keras_oracle.MOVED_PER_STEP) > 0.009  # the original: twice, whatever the window
    assert keras_oracle.MOVED_PER_STEP == pytest.approx(1 - 0.99**2)
