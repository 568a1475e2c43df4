"""Metrics as masked pairs (sum, count): exact on a ragged last batch and on any number of devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A mean that can still be added to: the sum over what counts, and how much counts."""

    total: jax.Array | float
    count: jax.Array | float

    def __add__(self, other: 'Mean') -> 'Mean':
        return Mean(self.total + other.total, self.count + other.count)

    def value(self) -> float:
        """The mean; NaN where nothing counted."""
        return float(self.total) / float(self.count) if self.count else float('nan')


def absolute_error(prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array) -> Mean:
    """Masked absolute error in metres, the loss and the metric of the challenge (all of one shape)."""
    error = jnp.abs(prediction_m - jnp.where(mask > 0, distance_m, prediction_m))
    return Mean(jnp.sum(error), jnp.sum(mask.astype(jnp.float32)))
