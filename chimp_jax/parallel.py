"""Data parallelism over the devices of one process or several. This is the only file that uses pmap.

pmap on a TPU v3-8 is a requirement of the project. JAX keeps pmap in maintenance mode and recommends shard_map for new
code, so pmap stays in this file, and a test holds it equal to one device and to jit with NamedSharding.
The state is replicated before and after a step (in_axes and out_axes None); the batch is split on its first axis. With
several processes each gives its own part of the batch, and a training step runs over the devices of all of them.
Scoring runs over the devices of one process.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from chimp_jax.models.distance_model import REPLICA_AXIS
from chimp_jax.programs.platforms import traced_for


def map_train_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(state, batch, learning_rate) over the devices. The new state reuses the buffers of the old one.

    devices: of this process, all by default. With several processes each must use all of its devices.
    """
    if jax.process_count() > 1:
        devices = None
    return _mapped(step, devices, in_axes=(None, 0, None), out_axes=(None, None), donate_argnums=(0,))


def map_encode_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(weights, frames, there, boxes or None) -> features, split as the frames are."""
    return _mapped(step, devices, in_axes=(None, 0, 0, 0))


def map_product_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(weights, features) -> products, split as the features are."""
    return _mapped(step, devices, in_axes=(None, 0))


def map_hear_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(weights, rows) -> features of the sound, split as the rows are."""
    return _mapped(step, devices, in_axes=(None, 0))


def map_eval_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(weights, batch) -> (predictions, split as the batch is; metrics of the whole batch)."""
    return _mapped(step, devices, in_axes=(None, 0), out_axes=(0, None))


def map_tokens_step(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """Returns step(weights, batch) -> tokens, split as the batch is."""
    return _mapped(step, devices, in_axes=(None, 0))


def _mapped(step: Callable, devices: Sequence[jax.Device] | None, **axes: Any) -> Callable:
    # By its compiler's estimate, a TPU's training step takes 1 % more memory if it is traced for the TPU alone.
    if (devices or jax.local_devices())[0].platform == 'cpu':
        step = traced_for('cpu')(step)
    return jax.pmap(step, axis_name=REPLICA_AXIS, devices=devices, **axes)


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Returns the tree on every device, placed as the mapped steps return it: another placement compiles them twice."""
    return jax.device_put(tree, _sharding(devices))


def prefetch(batches: Iterable[dict], names: Sequence[str], devices: Sequence[jax.Device]) -> Iterator[tuple]:
    """Yields (the named arrays, split over the devices; the other entries) of each batch, one batch ahead.

    While a step runs on one batch, the next one is decoded and copied to the devices.
    """
    waiting: collections.deque = collections.deque()
    for batch in batches:
        arrays = split({name: batch.pop(name) for name in names}, len(devices))
        waiting.append((jax.device_put(arrays, _sharding(devices, REPLICA_AXIS)), batch))
        if len(waiting) == 2:
            yield waiting.popleft()
    yield from waiting


def _sharding(devices: Sequence[jax.Device] | None, *axes: str) -> jax.sharding.NamedSharding:
    mesh = jax.sharding.Mesh(np.array(devices or jax.local_devices()), (REPLICA_AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


def split(batch: Any, n_devices: int) -> Any:
    """Arrays [B, ...] -> [D, B / D, ...]. Raises ValueError if B is no multiple of D."""

    def divide(x):
        if len(x) % n_devices:
            raise ValueError(f'a batch of {len(x)} cannot be split evenly over {n_devices} devices')
        return x.reshape(n_devices, len(x) // n_devices, *x.shape[1:])

    return jax.tree.map(divide, batch)


def join(batch: Any) -> Any:
    """Arrays [D, B / D, ...] -> NumPy [B, ...], the inverse of `split`."""
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch)
