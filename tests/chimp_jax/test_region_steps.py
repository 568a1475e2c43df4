"""Training and scoring with boxes: the loss by hand, the published numbers at the start, each frame encoded once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax import optim, parallel, scoring, steps
from chimp_jax.data.chunks import WindowPlan
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.models.efficientnet import Stage

SETTINGS = {'lstm_units': 8, 'dense_units': 6, 'stages': (Stage(1, 3, 2, 32, 16, 1),)}
MODEL = DistanceModel(**SETTINGS, regions=True)
OPTIMIZER = optim.make_optimizer(0.9, 0.999, 1e-7)
PLATEAU = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
BOX = (0.1, 0.2, 0.6, 0.9, 0.8)


@pytest.fixture(scope='module')
def state():
    return jax.device_get(steps.initial_state(MODEL, OPTIMIZER, PLATEAU, seed=0))


def weights_of(state, seed=None) -> dict:
    """Returns {'params', 'batch_stats'}; with a seed, the branch's last layer is random."""
    params = dict(state.params)
    if seed is not None:
        rng = np.random.default_rng(seed)
        delta = {'kernel': rng.normal(0, 0.3, (256, 1280)), 'bias': rng.normal(0, 0.3, 1280)}
        params['region_branch'] = params['region_branch'] | {'delta': jax.tree.map(np.float32, delta)}
    return {'params': params, 'batch_stats': state.batch_stats}


def without_branch(weights: dict) -> dict:
    return weights | {'params': {name: tree for name, tree in weights['params'].items() if name != 'region_branch'}}


def labels(prediction, **given) -> dict:
    """Returns the arrays of one window per example for predictions [B, 1 + A]; by default no label counts."""
    b, a = len(prediction), len(prediction[0]) - 1
    empty = {'distance': np.zeros(b), 'mask': np.zeros(b), 'belief': np.zeros((b, a))}
    empty |= {'animal_distance': np.zeros((b, a)), 'animal_mask': np.zeros((b, a))}
    return {name: jnp.asarray(array, jnp.float32)[:, None] for name, array in (empty | given).items()}


def error_of(prediction, **given) -> tuple[float, float]:
    error = steps.animal_error(jnp.float32(prediction)[:, None], labels(prediction, **given))
    return pytest.approx(float(error.total), rel=1e-6), float(error.count)


def test_without_belief_the_loss_is_the_published_one():
    # |6 - 5| + |2 - 9|; the third label does not count.
    prediction = [[6.0, 100.0], [2.0, -4.0], [1.0, 1.0]]
    assert error_of(prediction, distance=[5, 9, np.nan], mask=[1, 1, 0]) == (8.0, 2)


def test_one_box_shares_the_label_with_the_frame():
    # 0.8 |8 - 5| + 0.2 |6 - 5|
    assert error_of([[6.0, 8.0]], distance=[5], mask=[1], belief=[[0.8]]) == (2.6, 1)


def test_two_boxes_share_the_label_by_a_soft_minimum():
    # Weights 0.9 exp(-1) = 0.331091 and 0.3 exp(-0.5) = 0.181959, in shares 0.645336 and 0.354664:
    # 0.9 (0.645336 * 1 + 0.354664 * 0.5) + 0.1 |7 - 5|
    found = error_of([[7.0, 6.0, 5.5]], distance=[5], mask=[1], belief=[[0.9, 0.3]])
    assert found == (pytest.approx(0.9 * (0.645336 + 0.177332) + 0.2, abs=1e-5), 1)


def test_no_gradient_flows_through_the_weights_or_from_labels_that_do_not_count():
    def loss(prediction, batch):
        return steps.animal_error(prediction, batch).total

    prediction = [[7.0, 6.0, 5.5], [1.0, 2.0, 3.0]]
    nothing = np.full((2, 2), np.nan)
    batch = labels(
        prediction,
        distance=[5, np.nan],
        mask=[1, 0],
        belief=[[0.9, 0.3], [0.5, 0.5]],
        animal_distance=nothing,
    )
    gradient = jax.grad(loss)(jnp.float32(prediction)[:, None], batch)[:, 0]
    # The belief's share times the weight of the slot, with the sign of the error.
    np.testing.assert_allclose(gradient, [[0.1, 0.9 * 0.645336, 0.9 * 0.354664], [0, 0, 0]], atol=1e-5)


def test_labels_of_single_animals_count_in_full():
    # |3 - 4| + |9 - 7| of the second example, beside |6 - 5| of the first: three labels.
    found = error_of(
        [[6.0, 0.0, 0.0, 0.0], [100.0, 3.0, 50.0, 9.0]],
        distance=[5, np.nan],
        mask=[1, 0],
        animal_distance=[[0, 0, 0], [4, np.nan, 7]],
        animal_mask=[[0, 0, 0], [1, 0, 1]],
    )
    assert found == (4.0, 3)


def inputs(n_examples=3, n_frames=4, n_slots=2, seed=0) -> dict:
    """Frames of different colours, windows and boxes: the first slot's in all frames, no others."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(0, 1, (n_examples, n_frames, 1, 1, 3))
    boxes = np.zeros((n_examples, n_frames, n_slots, 5), np.float32)
    boxes[:, :, 0] = BOX
    return {
        'frames': (colours * rng.integers(0, 256, (n_examples, n_frames, 32, 32, 3))).astype(np.uint8),
        'window': rng.integers(0, n_frames, (n_examples, 2, 3)).astype(np.int32),
        'boxes': boxes,
    }


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('train', [False, True], ids=['evaluation', 'training'])
def test_without_boxes_the_output_has_the_published_bits(state, dtype, train):
    """In training, within the program that computes the gradient: another fusion would round differently."""
    weights, given = weights_of(state), inputs()
    given['boxes'] *= 0

    def output(weights, given, model):
        if not train:
            return model.apply(weights, **given)

        def total(params):
            metres, _ = model.apply(
                {'params': params, 'batch_stats': weights['batch_stats']},
                **given,
                train=True,
                mutable=['batch_stats'],
                rngs={'dropout': jax.random.key(1)},
            )
            return metres.sum(), metres

        gradient, metres = jax.grad(total, has_aux=True)(weights['params'])
        return metres, gradient['lstm']  # without a use of the gradient, XLA would remove it

    published = DistanceModel(**SETTINGS, dtype=dtype)
    no_boxes = {name: given[name] for name in ('frames', 'window')}
    expected = jax.jit(functools.partial(output, model=published))(without_branch(weights), no_boxes)
    found = jax.jit(functools.partial(output, model=MODEL.clone(dtype=dtype)))(weights, given)
    expected, found = (np.asarray(jax.tree.leaves(x)[0]) for x in (expected, found))
    assert len(np.unique(expected)) == expected.size
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=-1))


def batch_of(n_examples: int) -> dict:
    """A batch with a label in each first window, and labels of single animals in each second."""
    batch = inputs(n_examples)
    batch['boxes'][1::2, :, 1] = (0.5, 0.1, 0.9, 0.7, 0.6)
    n_slots = batch['boxes'].shape[2]
    first = np.tile(np.float32([1, 0]), (n_examples, 1))
    both = np.repeat((1 - first)[..., None], n_slots, axis=-1) * (batch['boxes'][:, :1, :, 4] > 0)
    rng = np.random.default_rng(7)
    return batch | {
        'distance': rng.uniform(1, 20, first.shape).astype(np.float32),
        'mask': first,
        'belief': np.repeat(batch['boxes'][:, :1, :, 4], 2, axis=1),
        'animal_distance': rng.uniform(1, 20, both.shape).astype(np.float32),
        'animal_mask': both.astype(np.float32),
    }


def test_an_update_moves_the_branch_and_eight_devices_make_the_same_one(state):
    step = functools.partial(steps.train_step, model=MODEL, optimizer=OPTIMIZER, axis_name=REPLICA_AXIS)
    batch = parallel.split(batch_of(16), 8)
    mapped = parallel.map_train_step(step)
    new, error = mapped(parallel.replicate(state), batch, np.float32(1e-3))
    virtual = jax.jit(jax.vmap(step, in_axes=(None, 0, None), axis_name=REPLICA_AXIS))
    other, other_error = jax.tree.map(lambda x: x[0], virtual(state, batch, np.float32(1e-3)))
    assert float(error.count) == float(other_error.count) == 16 + 16 + 8  # windows, first animals, second animals
    assert float(error.total) == pytest.approx(float(other_error.total), rel=1e-5)
    for tree in (new, other):
        delta = tree.params['region_branch']['delta']
        np.testing.assert_allclose(np.abs(delta['bias']).mean(), 1e-3, rtol=0.05)  # Adam's first step is the rate
        assert np.abs(delta['kernel']).max() == pytest.approx(1e-3, rel=0.05)
    same = np.sign(new.params['region_branch']['delta']['bias']) == np.sign(
        other.params['region_branch']['delta']['bias']
    )
    assert same.mean() > 0.99
    np.testing.assert_allclose(new.params['output']['bias'], other.params['output']['bias'], rtol=1e-4)


def test_windows_of_tokens_have_the_distances_of_the_whole_model(state):
    """Each frame is encoded once for all animals, and alone as with others."""
    weights, given = weights_of(state, seed=1), inputs(n_examples=1)
    frames, boxes = given['frames'][0], given['boxes'][0]
    boxes[2:, 1] = (0.3, 0.1, 0.9, 0.5, 0.6)
    expected = np.asarray(jax.jit(MODEL.apply)(weights, **given))[0]  # [K, 1 + A]
    assert np.abs(expected[:, 1] - expected[:, 0]).min() > 1e-3
    scorer = scoring.Scorer(MODEL, 512, jax.devices()[:2])
    weights = scorer.place(weights)
    stored = np.concatenate([frames, frames])  # the plan chooses the last four of eight
    chosen = np.arange(4, 8)
    windows = (given['window'][0][:, None] * 3 + np.arange(3)[:, None]).reshape(-1, 3)
    unknown = np.full(len(windows), np.nan, np.float32)
    prediction, error = scorer.score(weights, stored, WindowPlan(chosen, windows, boxes), unknown)
    np.testing.assert_allclose(prediction.reshape(2, 3), expected, rtol=1e-5, atol=1e-5)
    assert error.count == 0

    tokens = scorer.encode(weights, stored, chosen, boxes).reshape(4, 3, 1280)
    alone = scorer.encode(weights, stored, chosen[2:3], boxes[2:3])
    np.testing.assert_array_equal(alone, tokens[2])
    np.testing.assert_array_equal(tokens[:2, 2], tokens[:2, 0])  # no box: the frame's token
    assert np.abs(tokens[2:, 2] - tokens[2:, 0]).max() > 0.1
    np.testing.assert_allclose(scorer.encode(weights, stored, chosen), tokens[:, 0], rtol=1e-5, atol=1e-6)


def test_a_slot_without_a_box_in_its_window_has_the_frames_distance(state):
    given = inputs(n_examples=1)
    given['boxes'][0, 0, 1] = BOX  # the second slot has a box in the first frame alone
    given['window'] = np.int32([[[0, 1, 2], [1, 2, 3]]])
    metres = np.asarray(jax.jit(MODEL.apply)(weights_of(state, seed=1), **given))[0]
    assert metres[1, 2] == metres[1, 0] and abs(metres[0, 2] - metres[0, 0]) > 1e-3
