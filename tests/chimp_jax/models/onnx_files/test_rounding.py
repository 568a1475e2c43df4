"""Weights rounded to steps so that their errors cancel, against an exhaustive search and results by hand."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chimp_jax.models.onnx_files import export as onnx_export
from chimp_jax.models.onnx_files import rounding
from chimp_jax.models.onnx_files.nodes import OnnxGraph
from chimp_jax.models.onnx_files.rounding import round_filters, round_weights


def test_errors_of_equal_inputs_cancel():
    # Three equal inputs: only the sum of the weights counts, 1 + 0.4 + 0.4 = 1.8 steps of 1. The largest keeps its
    # value, so the others must add up to 0.8, and 1 is the nearest sum. Each alone would become 0.
    found = round_filters(np.array([[[1, 0.4, 0.4]]]), np.ones((1, 3, 3)), steps=1)
    assert found[0, 0].tolist() == [1, 0, 1]


def test_independent_inputs_round_to_the_nearest_step():
    weights = np.random.default_rng(0).normal(0, 1, (2, 3, 5))
    step = np.abs(weights).max(axis=-1, keepdims=True) / 7
    expected = np.round(weights / step) * step
    np.testing.assert_allclose(round_filters(weights, np.stack([np.eye(5)] * 2), steps=7), expected, atol=1e-12)


def test_the_error_is_near_that_of_the_best_of_all_roundings():
    rng = np.random.default_rng(1)
    inputs = rng.normal(0, 1, (1, 500)) + rng.normal(0, 0.5, (5, 500))  # correlated
    covariance, step = np.cov(inputs, bias=True), 1 / 3
    choices = np.array([[1, *others] for others in itertools.product(np.arange(-3, 4) / 3, repeat=4)])

    def error(rounded: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.einsum('...n,nm,...m->...', rounded - weights, covariance, rounded - weights)

    ours, nearest, best = 0.0, 0.0, 0.0
    for weights in np.insert(rng.uniform(-0.9, 0.9, (20, 4)), 0, 1, axis=1):
        ours += error(round_filters(weights[None, None], covariance[None], steps=3)[0, 0], weights)
        nearest += error(np.round(weights / step) * step, weights)
        best += error(choices, weights).min()
    assert best <= ours < 1.5 * best < 0.8 * nearest


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    inputs = rng.normal(0, 1, (2, 7, 20))
    filters, covariance = rng.normal(0, 1, (2, 3, 7)), inputs @ inputs.swapaxes(1, 2)
    whole = round_filters(filters, covariance, steps=15)
    monkeypatch.setattr(rounding, 'BLOCK', 3)
    np.testing.assert_array_equal(round_filters(filters, covariance, steps=15), whole)


def test_convolutions_of_a_graph_have_whole_steps_and_their_mean_error_is_in_the_bias():
    rng = np.random.default_rng(2)
    graph = OnnxGraph()
    x = graph.node('Cast', graph.node('Transpose', 'frames', perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    dense, thin = rng.normal(0, 1, (4, 3, 1, 1)).astype('f4'), rng.normal(0, 1, (4, 1, 3, 3)).astype('f4')
    names = [graph.constant(array) for array in (dense, np.zeros(4, 'f4'), thin, np.zeros(4, 'f4'))]
    x = graph.node('Conv', x, *names[:2], kernel_shape=[1, 1])
    x = graph.node('Conv', x, *names[2:], kernel_shape=[3, 3], strides=[2, 2], group=4)
    graph.node('Flatten', graph.node('GlobalAveragePool', x), output='features')
    given = helper.make_tensor_value_info('frames', TensorProto.UINT8, ['N', 9, 9, 3])
    made = graph.model('backbone', [given], [helper.make_tensor_value_info('features', TensorProto.FLOAT, ['N', 4])])
    frames = rng.integers(0, 256, (6, 9, 9, 3), np.uint8)
    rounded = round_weights(made, [{'frames': frames[:4]}, {'frames': frames[4:]}], steps=15)
    arrays = {one.name: numpy_helper.to_array(one) for one in rounded.graph.initializer}
    for name, before in zip(names[::2], (dense, thin), strict=True):
        steps = arrays[name] / np.abs(before).max(axis=(1, 2, 3), keepdims=True) * 15
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
        assert np.abs(np.round(steps)).max(axis=(1, 2, 3)).tolist() == [15] * 4
    # A bias is added to the mean of the results, so the mean over all frames and places stays: of 1x1 exactly.
    (features,), (expected,) = (onnx_export.run_onnx(one, frames) for one in (rounded, made))
    assert not np.allclose(features, expected, rtol=1e-3)
    first = np.einsum('nhwc,fc->f', frames / (6 * 9 * 9), (dense - arrays[names[0]])[..., 0, 0])
    np.testing.assert_allclose(arrays[names[1]], first, rtol=1e-3)
    assert {one.name: list(one.dims) for one in rounded.graph.initializer} == {
        one.name: list(one.dims) for one in made.graph.initializer
    }
    onnx.checker.check_model(rounded, full_check=True)
