"""The mapped steps: any number of devices gives the same numbers."""

import functools

import jax
import numpy as np
import pytest

from chimp_jax import optim, parallel, steps
from chimp_jax.data import processes
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.models.efficientnet import Stage

# Two blocks, the second with skip and drop-connect: they compile in seconds.
MODEL = DistanceModel(lstm_units=8, dense_units=6, stages=(Stage(2, 3, 2, 32, 16, 1),))
OPTIMIZER = optim.make_optimizer(0.9, 0.999, 1e-7)
PLATEAU = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
STEP = functools.partial(steps.train_step, model=MODEL, optimizer=OPTIMIZER, axis_name=REPLICA_AXIS)
WITHOUT_DROP = functools.partial(STEP, model=MODEL.copy(drop_connect=0.0))
RATE = np.float32(1e-3)


@pytest.fixture(scope='module')
def state():
    return jax.device_get(steps.initial_state(MODEL, OPTIMIZER, PLATEAU, seed=0))


def batches(n, size=16):
    rng = np.random.default_rng(0)
    for _ in range(n):
        mask = np.ones((size, 2), np.float32)
        mask[-1] = 0  # the loss is a mean over what counts, so replicas do not weigh the same
        yield {
            'frames': rng.integers(0, 256, (size, 3, 32, 32, 3), dtype=np.uint8),
            'window': rng.integers(0, 3, (size, 2, 3), dtype=np.int32),
            'distance': rng.uniform(1, 20, (size, 2)).astype(np.float32),
            'mask': mask,
        }


def run(step, state, n_replicas, n_steps=3):
    losses = []
    for batch in batches(n_steps):
        state, error = step(state, parallel.split(batch, n_replicas), RATE)
        losses.append(float(error.total) / float(error.count))
    return jax.device_get(state), losses


def virtual_replicas():
    """Eight replicas without pmap: the same step under vmap, whose axis has the replicas' name."""
    mapped = jax.vmap(STEP, in_axes=(None, 0, None), axis_name=REPLICA_AXIS)

    def step(state, batch, rate):
        new, error = mapped(state, batch, rate)
        return jax.tree.map(lambda x: x[0], new), jax.tree.map(lambda x: x[0], error)

    return step


def test_pmap_on_eight_devices_equals_one_device_and_jit_with_named_sharding(state):
    assert len(jax.devices()) == 8
    pmapped = run(parallel.map_train_step(STEP), parallel.replicate(state), 8)
    virtual = virtual_replicas()  # one function: it is traced once for both placements
    one_device = run(jax.jit(virtual), state, 8)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    sharded = run(
        jax.jit(virtual, in_shardings=(whole, split, None), out_shardings=whole),
        state,
        8,
    )
    for other_state, other_losses in (one_device, sharded):
        np.testing.assert_allclose(pmapped[1], other_losses, rtol=2e-3)
        for (path, a), b in zip(
            jax.tree.leaves_with_path(pmapped[0].batch_stats),
            jax.tree.leaves(other_state.batch_stats),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3, err_msg=jax.tree_util.keystr(path))
    assert pmapped[0].step == 3


def one_update(step, state, batch, n_devices):
    devices = jax.devices()[:n_devices]
    mapped = parallel.map_train_step(step, devices)
    return jax.device_get(mapped(parallel.replicate(state, devices), parallel.split(batch, n_devices), RATE))


def assert_same_update(result, expected):
    """By loss, gradient (Adam's first moment is a tenth of it) and batch statistics."""
    (new, error), (expected, expected_error) = result, expected
    assert error.count == expected_error.count
    assert float(error.total) == pytest.approx(float(expected_error.total), rel=1e-5)
    moments = [one.opt_state[0].inner_state.mu for one in (new, expected)]
    for tree, other in (moments, (new.batch_stats, expected.batch_stats)):
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(other))
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * largest)


def test_parts_of_a_device_are_as_so_many_devices(state):
    """Two devices x four parts give the update of eight devices, batch statistics, drop-connect, masks and all: the
    published update of a v3-8 on fewer devices."""
    (batch,) = batches(1)
    in_parts = one_update(functools.partial(STEP, micro_batches=4), state, batch, 2)
    assert_same_update(in_parts, one_update(STEP, state, batch, 8))


def test_parts_with_equal_statistics_are_as_the_whole_batch(state):
    """Four parts that hold the same pictures and other labels: batch norm is the same for the part as for the whole."""
    (batch,) = batches(1, size=4)
    batch = {name: np.concatenate([array] * 4) for name, array in batch.items()}
    batch['distance'] = np.random.default_rng(1).uniform(1, 20, batch['distance'].shape).astype(np.float32)
    in_parts = one_update(functools.partial(WITHOUT_DROP, micro_batches=4), state, batch, 1)
    assert_same_update(in_parts, one_update(WITHOUT_DROP, state, batch, 1))


def test_batch_statistics_over_replicas_are_those_of_the_whole_batch(state):
    """With bn_over_replicas eight devices equal one device that sees the whole batch (without drop-connect)."""
    over_all = functools.partial(STEP, model=MODEL.copy(drop_connect=0.0, bn_over_replicas=True))
    (batch,) = batches(1)
    results = [one_update(step, state, batch, n) for step, n in ((over_all, 8), (WITHOUT_DROP, 1))]
    for a, b in zip(*(jax.tree.leaves(new.batch_stats) for new, _ in results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_batch_statistics_are_those_of_each_replica(state):
    """As published: the kept averages are the mean of what two replicas alone would keep."""
    (batch,) = batches(1, size=32)  # a half has the size of the other tests' batches, and so their program
    both, _ = one_update(WITHOUT_DROP, state, batch, 2)
    halves = [{name: array[part] for name, array in batch.items()} for part in (np.s_[:16], np.s_[16:])]
    alone = [one_update(WITHOUT_DROP, state, half, 1)[0].batch_stats for half in halves]
    for mean, a, b in zip(*map(jax.tree.leaves, (both.batch_stats, *alone)), strict=True):
        np.testing.assert_allclose(mean, (a + b) / 2, rtol=1e-5, atol=1e-6)


def test_a_masked_window_has_no_gradient(state):
    """Other pixels and another label where the mask is 0, in a replica of their own: the same update."""
    (batch,) = batches(1)
    other = {name: array.copy() for name, array in batch.items()}
    batch['mask'][-2:] = other['mask'][-2:] = 0
    other['distance'][-2:] = 1000
    step = parallel.map_train_step(STEP)
    first, error = step(parallel.replicate(state), parallel.split(batch, 8), RATE)
    second, other_error = step(parallel.replicate(state), parallel.split(other, 8), RATE)
    assert float(error.count) == 28 and float(error.total) == float(other_error.total)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first.params), jax.device_get(second.params))


def test_plateau_scales_the_update(state):
    (batch,) = batches(1)
    step = parallel.map_train_step(STEP, jax.devices()[:1])
    half = state.replace(plateau=state.plateau._replace(scale=np.float32(0.5)))
    place = functools.partial(parallel.replicate, devices=jax.devices()[:1])
    a, _ = step(place(state), parallel.split(batch, 1), RATE)
    b, _ = step(place(half), parallel.split(batch, 1), RATE)
    moved = np.asarray(a.params['output']['bias']) - np.asarray(state.params['output']['bias'])
    moved_half = np.asarray(b.params['output']['bias']) - np.asarray(state.params['output']['bias'])
    np.testing.assert_allclose(moved_half, moved / 2, rtol=1e-4)
    np.testing.assert_allclose(np.abs(moved), 1e-3, rtol=1e-3)  # Adam's first step is the rate


@pytest.mark.parametrize('n', [1, 2, 8])
def test_split_and_join_are_inverse(n):
    x = np.arange(48).reshape(16, 3)
    assert parallel.split({'x': x}, n)['x'].shape == (n, 16 // n, 3)
    np.testing.assert_array_equal(parallel.join(parallel.split({'x': x}, n))['x'], x)


def test_prefetch_places_one_batch_ahead_in_order():
    read = []

    def source():
        for i in range(3):
            read.append(i)
            yield {'x': np.full((4, 2), i), 'video_id': [f'{i}.mp4']}

    devices = jax.devices()[:2]
    found = parallel.prefetch(source(), ['x'], devices)
    arrays, rest = next(found)
    assert read == [0, 1]  # the second is on the devices before the first is used
    assert arrays['x'].shape == (2, 2, 2) and arrays['x'].sharding.device_set == set(devices)
    assert rest == {'video_id': ['0.mp4']}
    found = [(arrays, rest), *found]
    assert [int(arrays['x'][0, 0, 0]) for arrays, _ in found] == [0, 1, 2]
    assert [rest['video_id'] for _, rest in found] == [['0.mp4'], ['1.mp4'], ['2.mp4']]


def test_gather_gives_back_what_one_process_has():
    assert processes.gather({'a': [1.5, 'ü']}) == [{'a': [1.5, 'ü']}]


def test_a_batch_that_does_not_divide_names_both_numbers():
    with pytest.raises(ValueError, match='batch of 15 .* 8 devices'):
        parallel.split(np.zeros(15), 8)


def test_bfloat16_trains_with_state_loss_and_metres_in_float32(state):
    """The same batch again and again: the loss falls as it does in float32, whose roundings differ."""
    (batch,) = batches(1)
    losses = {}
    for dtype in ('bfloat16', 'float32'):
        step = functools.partial(STEP, model=MODEL.copy(dtype=dtype))
        devices = jax.devices()[:1]
        mapped, new = parallel.map_train_step(step, devices), parallel.replicate(state, devices)
        losses[dtype] = []
        for _ in range(20):
            new, error = mapped(new, parallel.split(batch, 1), np.float32(3e-2))
            losses[dtype].append(float(error.total) / float(error.count))
        assert error.total.dtype == 'float32'
        assert {leaf.dtype for leaf in jax.tree.leaves((new.params, new.batch_stats))} == {np.dtype('float32')}
        moments = [leaf for leaf in jax.tree.leaves(new.opt_state) if leaf.ndim]
        assert moments and {leaf.dtype for leaf in moments} == {np.dtype('float32')}
    half, full = losses.values()
    assert half[0] == pytest.approx(full[0], rel=0.02)
    assert full[-1] < 0.8 * full[0] and half[-1] == pytest.approx(full[-1], rel=0.03)
