"""The region branch: pooling equals independent implementations, and animals without boxes have the frame's token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import STAGES, EfficientNet
from chimp_jax.models.regions import RegionBranch, box_geometry, pool_boxes, roi_align, sampling_weights


def test_sampling_weights_by_hand():
    """The whole axis of 4 cells in 2 bins of 1 point: 1/4 and 3/4 of the axis lie between cells 0, 1 and 2, 3."""
    whole = sampling_weights(jnp.array(0.0), jnp.array(1.0), 4, bins=2, samples=1)
    np.testing.assert_allclose(whole, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], atol=1e-6)
    # 0.0 to 0.25 is the first cell. Its points at 1/16 and 3/16 of the axis lie at -0.25, which is beyond the first
    # centre and reads cell 0 alone, and at 0.25, which reads a quarter of cell 1. Their mean has an eighth of it.
    first = sampling_weights(jnp.array(0.0), jnp.array(0.25), 4, bins=1, samples=2)
    np.testing.assert_allclose(first, [[0.875, 0.125, 0, 0]], atol=1e-6)


def test_pooling_equals_tensorflows_crop_and_resize():
    """crop_and_resize takes single points, from the first to the last between given centres of cells."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    bins, samples, height, width = 3, 2, 9, 13
    maps = rng.normal(size=(2, height, width, 4)).astype(np.float32)
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.3, 0.15, 0.9, 0.4]], np.float32)  # no point beyond the outer centres
    points = bins * samples

    def ends(low, high, cells):
        half = (high - low) / points / 2
        return [(share * cells - 0.5) / (cells - 1) for share in (low + half, high - half)]

    crops = []
    for x1, y1, x2, y2 in boxes:
        (top, bottom), (left, right) = ends(y1, y2, height), ends(x1, x2, width)
        crop = tf.image.crop_and_resize(maps, [[top, left, bottom, right]] * 2, [0, 1], [points, points])
        crops.append(tf.nn.avg_pool2d(crop, samples, samples, 'VALID').numpy())
    pooled = roi_align(jnp.asarray(maps), jnp.tile(boxes, (2, 1, 1)), bins, samples)
    np.testing.assert_allclose(pooled, np.stack(crops, axis=1), atol=1e-5)


def by_the_definition(maps, box, bins, samples):
    """RoIAlign, point by point in loops: the mean of bilinear values, beyond the outer centres those of the border."""
    height, width, channels = maps.shape
    x1, y1, x2, y2 = np.clip(box, 0, 1)

    def value(y, x):
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        i, j = min(int(y), height - 2), min(int(x), width - 2)
        dy, dx = y - i, x - j
        rows = maps[i : i + 2, j] * (1 - dx) + maps[i : i + 2, j + 1] * dx
        return rows[0] * (1 - dy) + rows[1] * dy

    pooled = np.zeros((bins, bins, channels))
    for row in range(bins * samples):
        for column in range(bins * samples):
            y = (y1 + (y2 - y1) * (row + 0.5) / (bins * samples)) * height - 0.5
            x = (x1 + (x2 - x1) * (column + 0.5) / (bins * samples)) * width - 0.5
            pooled[row // samples, column // samples] += value(y, x) / samples**2
    return pooled


@pytest.mark.parametrize('box', [(0, 0, 1, 1), (0, 0.9, 0.02, 1), (-0.2, 0.3, 0.4, 1.3), (0.5, 0.5, 0.5, 0.5)], ids=str)
def test_pooling_follows_the_definition_at_the_rim_beyond_it_and_in_an_empty_box(box):
    maps = np.random.default_rng(1).normal(size=(5, 8, 3)).astype(np.float32)
    pooled = roi_align(jnp.asarray(maps), jnp.array([box], jnp.float32), bins=7, samples=4)
    np.testing.assert_allclose(pooled[0], by_the_definition(maps, box, 7, 4), atol=1e-5)


def test_geometry_by_hand():
    boxes = jnp.array([[0.2, 0.5, 0.6, 0.995, 0.9], [0.0, 0.0, 0.0, 0.0, 0.0]])
    expected = [[0.4, 0.995, 0.4, 0.495, np.log(0.495), 0.9, 1], [0, 0, 0, 0, np.log(0.001), 0, 0]]
    np.testing.assert_allclose(box_geometry(boxes), expected, atol=1e-6)


def test_parameters_of_the_branch():
    """112 channels to 32; 49 bins of 32, 1280 means and 7 numbers of geometry to 256; 256 to 1280."""
    reduce, geometry, delta = 112 * 32 + 32, 7 * 256 + 256, 256 * 1280 + 1280
    branch = reduce + 49 * 32 * 256 + 1280 * 256 + geometry + delta
    inputs = {'frames': jnp.zeros((1, 7, 64, 64, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 7), jnp.int32)}
    inputs['boxes'] = jnp.zeros((1, 7, 3, 5))
    shapes = jax.eval_shape(lambda: DistanceModel(regions=True).init(jax.random.key(0), **inputs))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert branch == 1_063_712
    assert count == 13_798_645 + branch  # the published model's, and the branch
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params']['region_branch'])) == branch


@pytest.mark.parametrize(
    'stages,middle',
    [(STAGES, (4, 4, 112)), (STAGES[:1], (32, 32, 16)), (STAGES[:4], (4, 4, 80)), (STAGES[:6], (4, 4, 112))],
    ids=['all', 'one', 'four', 'six'],
)
def test_regions_are_pooled_from_the_last_map_of_at_most_stride_16(stages, middle):
    def maps():
        return EfficientNet(stages=stages, with_maps=True).init_with_output(
            jax.random.key(0), x=jnp.zeros((2, 64, 64, 3)), train=False
        )[0]

    features, at_16, top = jax.eval_shape(maps)
    assert features.shape == (2, 1280) and at_16.shape == (2, *middle) and top.shape[-1] == 1280
    assert top.shape[1] == {1: 32, 4: 4, 6: 2, 7: 2}[len(stages)]


def pooled(inputs) -> dict:
    """The arguments of the branch."""
    maps = {name: jnp.asarray(inputs[name]) for name in ('middle', 'top', 'boxes')}
    return {'features': inputs['features'], 'pooled': pool_boxes(**maps), 'boxes': inputs['boxes']}


def random_branch(seed=0):
    """A branch with random weights in all layers, its inputs for two frames, and its output."""
    rng = np.random.default_rng(seed)
    top = rng.uniform(0, 1, (2, 4, 4, 1280)).astype(np.float32)
    inputs = {'features': top.mean((1, 2)), 'middle': rng.normal(size=(2, 8, 8, 6)).astype(np.float32), 'top': top}
    inputs['boxes'] = np.float32([[[0.1, 0.2, 0.5, 0.7, 0.8], [0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0], [0, 0.5, 1, 1, 0.3]]])
    fresh = jax.jit(RegionBranch().init)(jax.random.key(0), **pooled(inputs))
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32), fresh)
    return fresh, variables, inputs


def test_tokens_follow_the_definition():
    _, variables, inputs = random_branch()
    tokens = np.asarray(RegionBranch().apply(variables, **pooled(inputs)))
    p = variables['params']
    for frame, slot in ((0, 0), (1, 1)):
        box, feature = inputs['boxes'][frame, slot], inputs['features'][frame]
        bins = by_the_definition(inputs['middle'][frame], box[:4], 7, 4)
        bins = np.maximum(bins @ p['reduce']['kernel'] + p['reduce']['bias'], 0).ravel()
        mean = by_the_definition(inputs['top'][frame], box[:4], 1, 16).ravel()
        x1, y1, x2, y2, confidence = box
        geometry = [(x1 + x2) / 2, y2, x2 - x1, y2 - y1, np.log(y2 - y1), confidence, y2 > 0.99]
        hidden = bins @ p['bins']['kernel'] + mean @ p['mean']['kernel']
        hidden = np.maximum(hidden + geometry @ p['geometry']['kernel'] + p['geometry']['bias'], 0)
        expected = feature + hidden @ p['delta']['kernel'] + p['delta']['bias']
        assert np.abs(expected - feature).max() > 0.1
        np.testing.assert_allclose(tokens[frame, 1 + slot], expected, atol=1e-4)


def test_a_slot_without_a_box_has_the_frames_token_and_all_do_at_the_start():
    fresh, variables, inputs = random_branch()
    tokens = np.asarray(RegionBranch().apply(variables, **pooled(inputs)))
    features = inputs['features']
    np.testing.assert_array_equal(tokens[:, 0], features)
    np.testing.assert_array_equal(tokens[0, 2], features[0])
    np.testing.assert_array_equal(tokens[1, 1], features[1])
    at_start = np.asarray(RegionBranch().apply(fresh, **pooled(inputs)))
    np.testing.assert_array_equal(at_start, np.repeat(features[:, None], 3, axis=1))


def test_boxes_for_a_model_without_regions_are_refused():
    inputs = {'frames': jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 1), jnp.int32)}
    with pytest.raises(ValueError, match='boxes require a model with model.regions=True'):
        jax.eval_shape(lambda: DistanceModel().init(jax.random.key(0), **inputs, boxes=jnp.zeros((1, 1, 1, 5))))
