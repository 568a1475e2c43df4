"""The modules in the place of the LSTM, by hand; the published model has none of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.over_time import WITHOUT_PARAMETERS, MeanOverTime, SingleFrame, StackedFrames

# features [1, T = 7, F = 2]: frame t has the features t and 10 t.
FEATURES = np.arange(7.0)[None, :, None] * np.array([1.0, 10.0])


@pytest.mark.parametrize(
    'module,expected',
    [
        (MeanOverTime(), [3, 30]),
        (SingleFrame(), [3, 30]),
        (StackedFrames(), [1, 10, 2, 20, 3, 30, 4, 40, 5, 50]),
    ],
)
def test_seven_frames_by_hand(module, expected):
    np.testing.assert_array_equal(module.apply({}, FEATURES), [expected])


def test_the_mean_is_of_all_frames_and_the_single_frame_is_the_middle_one():
    features = jnp.array([[[1.0], [2.0], [6.0]]])
    assert MeanOverTime().apply({}, features).tolist() == [[3.0]]
    assert SingleFrame().apply({}, features).tolist() == [[2.0]]


def test_the_edge_frame_repeats_in_a_window_of_three_and_of_one():
    assert StackedFrames().apply({}, FEATURES[:, :3, :1]).tolist() == [[0, 0, 1, 2, 2]]
    assert StackedFrames().apply({}, FEATURES[:, 4:5, :1]).tolist() == [[4] * 5]


def shapes(temporal: str):
    model = DistanceModel(temporal=temporal)
    inputs = {'frames': jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 1), jnp.int32)}
    return model, jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs))['params']


@pytest.mark.parametrize('temporal,inputs', [('mean', 1280), ('single', 1280), ('stacked', 6400)])
def test_the_head_has_the_parameters_of_a_dense_layer_on_the_features(temporal, inputs):
    _, params = shapes(temporal)
    assert set(params) == {'encoder', 'dense', 'output'}
    head = [params['dense'], params['output']]
    assert sum(leaf.size for leaf in jax.tree.leaves(head)) == 300 * (inputs + 1) + 301


def test_the_published_model_keeps_the_names_of_its_weights():
    _, params = shapes('lstm')
    assert set(params) == {'encoder', 'lstm', 'dense', 'output'}


def test_stacked_frames_give_the_same_distance_on_all_paths():
    """Windows of features, windows of products, and positions in the features of an example: by NumPy."""
    model, params = shapes('stacked')
    random = np.random.default_rng(0)
    draw = jax.tree.map(lambda leaf: random.normal(0, 0.02, leaf.shape).astype(np.float32), params)
    weights = {'params': {name: draw[name] for name in ('dense', 'output')}}
    features = random.normal(0, 1, (1, 9, 1280)).astype(np.float32)
    window = np.array([[[0, 0, 1, 2, 3], [4, 5, 6, 7, 8]]])
    windows = features[0][window[0]]  # [2, 5, 1280]
    hidden = np.maximum(windows.reshape(2, -1) @ draw['dense']['kernel'] + draw['dense']['bias'], 0)
    expected = (hidden @ draw['output']['kernel'] + draw['output']['bias'])[:, 0]
    for path in (
        model.apply(weights, windows=windows, method='distance'),
        model.apply(weights, windows=windows, multiplied=True, method='distance'),
        model.apply(weights, features=features, window=window, method='distances_of_look')[0],
    ):
        np.testing.assert_allclose(path, expected, rtol=1e-4, atol=1e-5)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="model.temporal is 'lstm', .* or 'stacked', not 'gru'"):
        shapes('gru')
    assert set(WITHOUT_PARAMETERS) == {'mean', 'single', 'stacked'}
