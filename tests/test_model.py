"""The model: golden parameter counts, batch norm by TensorFlow's, frames by vmap, the LSTM by Keras' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.efficientnet import BACKBONES, STAGES, BatchNorm, EfficientNet
from chimp_jax.model import LSTM, DistanceModel, FrameEncoder, normalize


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(model, *inputs):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs))


def test_parameter_counts_are_the_published_ones():
    frames, window = jnp.zeros((1, 7, 64, 64, 3), jnp.uint8), jnp.zeros((1, 1, 7), jnp.int32)
    variables = shapes(DistanceModel(), frames, window)
    assert count(variables) == 13_798_645
    assert count(variables['params']) == 13_756_629
    assert count(variables['params']['encoder']) + count(variables['batch_stats']) == 4_049_564
    assert count(variables['params']['lstm']) == 9_441_280
    assert count(variables['params']['dense']) == 307_500
    assert count(variables['params']['output']) == 301


GOLDEN = {  # parameters without top, batch statistics among them
    'efficientnet_b0': 4_049_564,
    'efficientnet_lite0': 3_413_024,  # 4,652,008 are published, less a classifier of 1,281,000; 42,016 statistics
}


@pytest.mark.parametrize('backbone', BACKBONES)
def test_parameters_of_each_backbone(backbone):
    variables = shapes(EfficientNet(backbone=backbone), jnp.zeros((1, 64, 64, 3)), False)
    assert count(variables) == GOLDEN[backbone]


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="efficientnet_b0, efficientnet_lite0, not 'resnet50'"):
        shapes(EfficientNet(backbone='resnet50'), jnp.zeros((1, 64, 64, 3)), False)


@pytest.mark.parametrize('n_replicas', [1, 2])
def test_batch_norm_equals_tensorflows_fused_one(n_replicas):
    """Output and running statistics, whose variance is unbiased: 12 numbers a channel make 9 % of a difference."""
    import tensorflow as tf

    x = np.random.default_rng(3).normal(2, 3, (n_replicas, 3, 2, 2, 4)).astype(np.float32)
    old = {'mean': np.float32([1, 2, 3, 4]), 'var': np.float32([1, 2, 3, 4])}
    params = {'scale': np.float32([1, 2, 3, 4]), 'bias': np.float32([4, 3, 2, 1])}
    expected, mean, var, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x.reshape(-1, 2, 2, 4),
        scale=params['scale'],
        offset=params['bias'],
        mean=old['mean'],
        variance=old['var'],
        epsilon=1e-3,
        exponential_avg_factor=0.25,
        is_training=True,
    )
    norm = BatchNorm(use_running_average=False, momentum=0.75, epsilon=1e-3, axis_name='r')
    apply = jax.vmap(
        lambda x: norm.apply({'params': params, 'batch_stats': old}, x, mutable=['batch_stats']),
        out_axes=(0, None),
        axis_name='r',
    )
    y, new = apply(x)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(new['batch_stats']['mean'], mean, rtol=1e-5)
    np.testing.assert_allclose(new['batch_stats']['var'], var, rtol=1e-4)


def test_b0_has_the_parameters_of_keras():
    import keras

    theirs = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    scale_and_offset = 7  # Keras' Normalization layer: mean, variance (3 each) and a count
    variables = shapes(EfficientNet(), jnp.zeros((1, 64, 64, 3)), False)
    assert count(variables) == theirs.count_params() - scale_and_offset


@pytest.fixture(scope='module')
def encoder():
    model = FrameEncoder(drop_connect=0.0, stages=STAGES[:3])
    frames = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 32, 32, 3)), jnp.float32)
    variables = jax.jit(lambda f: model.init(jax.random.key(0, impl='rbg'), f, False))(frames)
    return model, variables, frames


@pytest.mark.parametrize('train', [False, True])
def test_mapped_encoder_equals_the_reshaped_one(encoder, train):
    """nn.vmap over frames = the network on batch x frames: features, and statistics over both axes."""
    model, variables, frames = encoder
    backbone = {name: tree['backbone'] for name, tree in variables.items()}
    mapped, new = jax.jit(lambda v, f: model.apply(v, f, train, mutable=['batch_stats']))(variables, frames)
    merged, new_merged = jax.jit(
        lambda v, f: EfficientNet(drop_connect=0.0, stages=STAGES[:3]).apply(v, f, train, mutable=['batch_stats'])
    )(backbone, frames.reshape(6, 32, 32, 3))
    np.testing.assert_allclose(mapped, merged.reshape(2, 3, 1280), rtol=1e-3, atol=1e-4)
    if train:
        for a, b in zip(
            jax.tree.leaves(new['batch_stats']['backbone']),
            jax.tree.leaves(new_merged['batch_stats']),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def keras_lstm(features, kernel, recurrent, bias):
    """Keras' equations, one example and one step at a time."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    u = recurrent.shape[0]
    outputs = []
    for sequence in features.astype(np.float64):
        hidden, cell = np.zeros(u), np.zeros(u)
        for x in sequence:
            z = x @ kernel + hidden @ recurrent + bias
            i, f, c, o = z[:u], z[u : 2 * u], z[2 * u : 3 * u], z[3 * u :]
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
            hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs)


def test_lstm_follows_keras_equations_and_starts_as_keras_does():
    features = np.random.default_rng(1).normal(size=(3, 7, 10)).astype(np.float32)
    model = LSTM(units=6)
    variables = model.init(jax.random.key(0), features)
    p = variables['params']
    assert p['bias'].tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    np.testing.assert_allclose(p['recurrent_kernel'] @ p['recurrent_kernel'].T, np.eye(6), atol=1e-5)
    assert np.abs(p['kernel']).max() <= np.sqrt(6 / (10 + 24))  # glorot uniform's bound
    expected = keras_lstm(features, *(np.float64(p[name]) for name in ('kernel', 'recurrent_kernel', 'bias')))
    np.testing.assert_allclose(model.apply(variables, features), expected, atol=1e-5)


def test_lstm_equals_keras_layer():
    import keras

    features = np.random.default_rng(2).normal(size=(2, 9, 5)).astype(np.float32)
    layer = keras.layers.LSTM(4)
    expected = layer(features)
    kernel, recurrent, bias = layer.get_weights()
    params = {'kernel': kernel, 'recurrent_kernel': recurrent, 'bias': bias}
    np.testing.assert_allclose(LSTM(units=4).apply({'params': params}, features), expected, atol=1e-5)


def test_metres_are_float32_when_computing_in_bfloat16():
    model = DistanceModel(lstm_units=8, dense_units=4, dtype=jnp.bfloat16)
    frames, window = jnp.zeros((1, 3, 32, 32, 3), jnp.uint8), jnp.zeros((1, 2, 3), jnp.int32)
    out, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), frames, window))
    assert out.shape == (1, 2) and out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_normalization_by_hand():
    pixel = jnp.full((1, 1, 1, 1, 3), 51, jnp.uint8)  # 51 / 255 = 0.2
    np.testing.assert_allclose(normalize(pixel, 'unit', jnp.float32).ravel(), [0.2] * 3, rtol=1e-6)
    expected = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(normalize(pixel, 'imagenet', jnp.float32).ravel(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match='unit'):
        normalize(pixel, 'caffe', jnp.float32)
