"""The losses of training (config.train.loss), as sums over the windows of a batch. No devices, no files, no config.

The published loss is the absolute error, which is also the metric. The others exist for comparisons.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

HUBER_M = 1.0  # the error from which Huber's loss grows linearly: about the error of a good member
_SAME_M = 1e-3  # labels nearer than that to the middle of a bin are the middle: they are read as float32

# (prediction [...], label [...], mask [...]) -> sum over the windows that count
Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def check_loss(kind: str, bin_edges_m: Sequence[float], regions: bool) -> None:
    """Raises ValueError if config.train.loss or config.train.bin_edges_m does not fit."""
    if kind not in LOSSES:
        raise ValueError(f'train.loss is {" or ".join(map(repr, LOSSES))}, not {kind!r}')
    if kind != 'mae' and regions:
        raise ValueError(f'train.loss={kind} requires --config.model.regions=False: a region branch has its own loss')
    edges = np.asarray(bin_edges_m, float)
    if kind == 'interval' and (len(edges) < 2 or (np.diff(edges) <= 0).any()):
        raise ValueError(f'train.bin_edges_m={tuple(bin_edges_m)}: give two or more rising distances in metres')


def make_loss(kind: str, bin_edges_m: Sequence[float]) -> Loss:
    """Returns the loss of config.train.loss. It fits (check_loss)."""
    if kind == 'interval':
        return functools.partial(interval_error, bin_edges_m=tuple(bin_edges_m))
    return LOSSES[kind]


def absolute_loss(prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the sum of the absolute errors, metres. All have one shape."""
    return jnp.sum(jnp.abs(prediction_m - _label(prediction_m, distance_m, mask)))


def huber_error(prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the sum of Huber's losses: error^2 / 2 up to HUBER_M, then linear with slope HUBER_M."""
    error = jnp.abs(prediction_m - _label(prediction_m, distance_m, mask))
    inner = jnp.minimum(error, HUBER_M)
    return jnp.sum(inner * (error - 0.5 * inner))


def interval_error(
    prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array, *, bin_edges_m: Sequence[float]
) -> jax.Array:
    """Returns the sum of the distances to the labels' bins, metres: 0 within the bin.

    A label that is the middle of a bin stands for the bin. Any other label is exact: it has the absolute error. A label
    of 9 m is taken for the bin 8 to 10 m also where it was measured, because a label does not tell how it was made.
    """
    edges = np.asarray(bin_edges_m, np.float32)
    middles, halves = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    is_middle = jnp.abs(distance_m[..., None] - middles) < _SAME_M
    half = jnp.sum(jnp.where(is_middle, halves, 0.0), axis=-1)
    error = jnp.abs(prediction_m - _label(prediction_m, distance_m, mask))
    return jnp.sum(jnp.maximum(error - half, 0.0))


def _label(prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.where(mask > 0, distance_m, prediction_m)


LOSSES = {'mae': absolute_loss, 'huber': huber_error, 'interval': interval_error}
