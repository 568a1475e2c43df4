"""The model has the published parameter counts, and its layers equal those of TensorFlow and Keras."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.models.distance_model import DistanceModel, FrameEncoder, normalize
from chimp_jax.models.efficientnet import BACKBONES, STAGES, EfficientNet, Stage
from chimp_jax.models.over_time import LSTM
from chimp_jax.ops.normalization import BatchNorm


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(model, **inputs):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs))


def test_parameter_counts_are_the_published_ones():
    frames, window = jnp.zeros((1, 7, 64, 64, 3), jnp.uint8), jnp.zeros((1, 1, 7), jnp.int32)
    variables = shapes(DistanceModel(), frames=frames, window=window)
    assert count(variables) == 13_798_645
    assert count(variables['params']) == 13_756_629
    assert count(variables['params']['encoder']) + count(variables['batch_stats']) == 4_049_564
    assert count(variables['params']['lstm']) == 9_441_280
    assert count(variables['params']['dense']) == 307_500
    assert count(variables['params']['output']) == 301


GOLDEN = {  # parameters without the classifier, including batch statistics
    'efficientnet_b0': 4_049_564,
    'efficientnet_lite0': 3_413_024,  # the published 4,652,008 minus a classifier of 1,281,000, plus 42,016 statistics
}


@pytest.mark.parametrize('backbone', BACKBONES)
def test_parameters_of_each_backbone(backbone):
    variables = shapes(EfficientNet(backbone=backbone), x=jnp.zeros((1, 64, 64, 3)), train=False)
    assert count(variables) == GOLDEN[backbone]


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="efficientnet_b0, efficientnet_lite0, not 'resnet50'"):
        shapes(EfficientNet(backbone='resnet50'), x=jnp.zeros((1, 64, 64, 3)), train=False)


@pytest.mark.parametrize('n_replicas', [1, 2])
def test_batch_norm_equals_tensorflows_fused_one(n_replicas):
    """Output and running statistics, whose variance is unbiased: with 12 numbers per channel that changes it by 9 %."""
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
    norm = BatchNorm(use_running_average=False, momentum=0.75, axis_name='r')
    apply = jax.vmap(
        lambda x: norm.apply({'params': params, 'batch_stats': old}, x=x, mutable=['batch_stats']),
        out_axes=(0, None),
        axis_name='r',
    )
    y, new = apply(x)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(new['batch_stats']['mean'], mean, rtol=1e-5)
    np.testing.assert_allclose(new['batch_stats']['var'], var, rtol=1e-4)


def test_only_on_a_cpu_the_gradient_recomputes_norm_and_activation():
    norm = BatchNorm(use_running_average=False)
    variables = norm.init(jax.random.key(0), x=jnp.ones((1, 1, 1, 4)))

    def loss(x):
        return jnp.sum(norm.apply(variables, x=x, activation=jnp.tanh, mutable=['batch_stats'])[0])

    traced = jax.jit(jax.value_and_grad(loss)).trace(jax.ShapeDtypeStruct((2, 3, 3, 4), jnp.float32))
    tanhs = {
        name: traced.lower(lowering_platforms=(name,)).as_text().count('stablehlo.tanh') for name in ('cpu', 'tpu')
    }
    assert tanhs == {'cpu': 2, 'tpu': 1}


def test_b0_has_the_parameters_of_keras():
    import keras

    theirs = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    scale_and_offset = 7  # Keras' Normalization layer: mean, variance (3 each) and a count
    variables = shapes(EfficientNet(), x=jnp.zeros((1, 64, 64, 3)), train=False)
    assert count(variables) == theirs.count_params() - scale_and_offset


@pytest.fixture(scope='module')
def encoder():
    model = FrameEncoder(drop_connect=0.0, stages=STAGES[:3])
    frames = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 32, 32, 3)), jnp.float32)
    variables = jax.jit(lambda f: model.init(jax.random.key(0, impl='rbg'), frames=f, train=False))(frames)
    return model, variables, frames


@pytest.mark.parametrize('train', [False, True])
def test_mapped_encoder_equals_the_reshaped_one(encoder, train):
    """nn.vmap over frames equals the network on merged axes: features, and statistics over both axes."""
    model, variables, frames = encoder
    backbone = {name: tree['backbone'] for name, tree in variables.items()}
    settings = {'train': train, 'mutable': ['batch_stats']}
    mapped, new = jax.jit(lambda v, f: model.apply(v, frames=f, **settings))(variables, frames)
    plain = EfficientNet(drop_connect=0.0, stages=STAGES[:3])
    merged, new_merged = jax.jit(lambda v, x: plain.apply(v, x=x, **settings))(backbone, frames.reshape(6, 32, 32, 3))
    np.testing.assert_allclose(mapped, merged.reshape(2, 3, 1280), rtol=1e-3, atol=1e-4)
    if train:
        for a, b in zip(
            jax.tree.leaves(new['batch_stats']['backbone']),
            jax.tree.leaves(new_merged['batch_stats']),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def keras_b0():
    import keras

    return keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))


def test_drop_connect_has_the_rates_and_places_of_keras():
    """The rate is 0.2 * block / 16 in blocks with a skip: 2, 4, 6, 7, 9, 10, 12, 13 and 14 of 0 to 15."""
    mine = {}

    def note(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            mine[context.module.path[0]] = context.module.rate
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        keys = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
        jax.eval_shape(lambda: EfficientNet().init(keys, x=jnp.zeros((1, 32, 32, 3)), train=True))
    layers = {layer.name: layer for layer in keras_b0().layers}
    blocks = sorted({name.split('_')[0] for name in layers if name.startswith('block')})
    theirs = {
        f'block{index:02d}': layers[f'{block}_drop'].rate
        for index, block in enumerate(blocks)
        if f'{block}_drop' in layers
    }
    assert len(theirs) == 9 and theirs['block14'] == pytest.approx(0.2 * 14 / 16)
    assert mine == pytest.approx(theirs)


def test_drop_connect_is_drawn_for_each_frame():
    """All frames show one picture. Each frame's features are those with or those without the second block."""
    model = FrameEncoder(drop_connect=1.0, stages=(Stage(2, 3, 1, 32, 16, 1),))  # a rate of 1/2 at the second block
    frames = jnp.tile(jax.random.uniform(jax.random.key(1), (16, 16, 3)), (4, 8, 1, 1, 1))
    variables = jax.jit(lambda: model.init(jax.random.key(0, impl='rbg'), frames=frames[:1, :1], train=False))()
    train = jax.jit(
        lambda key: model.apply(variables, frames=frames, train=True, mutable=['batch_stats'], rngs={'dropout': key})[0]
    )
    features = np.asarray(train(jax.random.key(2))).reshape(32, -1)
    dropped = np.abs(features - features[0]).max(axis=1) > 1e-2 * np.abs(features).max()
    other = features[dropped]
    assert np.abs(other - other[0]).max() < 1e-4 * np.abs(features).max()
    dropped = dropped.astype(int).reshape(4, 8)
    assert np.ptp(dropped, axis=0).any() and np.ptp(dropped, axis=1).any()


def test_kernels_start_as_those_of_keras(encoder):
    """Each kind of layer has the standard deviation and the largest value of Keras' truncated normal."""
    _, variables, _ = encoder
    backbone, theirs = variables['params']['backbone'], keras_b0()
    for block, mine, name in [
        ('stem', None, 'stem_conv'),
        ('block02', 'expand', 'block2b_expand_conv'),
        ('block04', 'depthwise', 'block3b_dwconv'),
        ('block04', 'project', 'block3b_project_conv'),
        ('top', None, None),
    ]:
        kernel = np.asarray((backbone[block][mine] if mine else backbone[block])['kernel'])
        if name is None:  # from 40 channels in this short network: fan_out is 1280
            deviation, tail = np.sqrt(2 / 1280), 2 / 0.8796 * np.sqrt(2 / 1280)
        else:
            expected = theirs.get_layer(name).get_weights()[0]
            assert kernel.size == expected.size
            deviation, tail = expected.std(), np.abs(expected).max()
        assert kernel.std() == pytest.approx(deviation, rel=6 / np.sqrt(2 * kernel.size)), name
        assert np.abs(kernel).max() == pytest.approx(tail, rel=0.05), name


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
    variables = jax.jit(model.init)(jax.random.key(0), features=features)
    p = variables['params']
    assert p['bias'].tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    np.testing.assert_allclose(p['recurrent_kernel'] @ p['recurrent_kernel'].T, np.eye(6), atol=1e-5)
    assert np.abs(p['kernel']).max() <= np.sqrt(6 / (10 + 24))  # glorot uniform's bound
    expected = keras_lstm(features, *(np.float64(p[name]) for name in ('kernel', 'recurrent_kernel', 'bias')))
    np.testing.assert_allclose(jax.jit(model.apply)(variables, features=features), expected, atol=1e-5)


def test_lstm_equals_keras_layer():
    import keras

    features = np.random.default_rng(2).normal(size=(2, 9, 5)).astype(np.float32)
    layer = keras.layers.LSTM(4)
    expected = layer(features)
    kernel, recurrent, bias = layer.get_weights()
    params = {'kernel': kernel, 'recurrent_kernel': recurrent, 'bias': bias}
    found = jax.jit(LSTM(units=4).apply)({'params': params}, features=features)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_metres_are_float32_when_computing_in_bfloat16():
    model = DistanceModel(lstm_units=8, dense_units=4, dtype=jnp.bfloat16)
    frames, window = jnp.zeros((1, 3, 32, 32, 3), jnp.uint8), jnp.zeros((1, 2, 3), jnp.int32)
    out, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), frames=frames, window=window))
    assert out.shape == (1, 2) and out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_normalization_by_hand():
    pixel = jnp.full((1, 1, 1, 1, 3), 51, jnp.uint8)  # 51 / 255 = 0.2
    np.testing.assert_allclose(normalize(pixel, 'unit', jnp.float32).ravel(), [0.2] * 3, rtol=1e-6)
    expected = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(normalize(pixel, 'imagenet', jnp.float32).ravel(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match='unit'):
        normalize(pixel, 'caffe', jnp.float32)
