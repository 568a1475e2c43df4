"""Batch norm together with the activation that follows it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.programs.platforms import by_platform

BN_EPSILON = 1e-3


class BatchNorm(nn.Module):
    """Batch norm of the last axis, then `activation`: [..., C] -> [..., C].

    Follows TensorFlow 2.4's fused batch norm: the plain variance normalises the batch, and the running average takes
    the variance of n numbers times n / (n - 1). At 512 px n is so large that the factor does not matter; small pictures
    have few positions, and the factor changes the variance by some percent. Flax's module has no such option.
    axis_name: mapped axes over which the statistics are taken too.
    """

    use_running_average: bool
    momentum: float = 0.9801
    axis_name: str | tuple[str, ...] | None = None
    dtype: Any = jnp.float32

    def __call__(self, x: jax.Array, activation: Callable[[jax.Array], jax.Array] = lambda x: x) -> jax.Array:
        return self.fit(x=x, activation=activation)(x)

    @nn.compact
    def fit(self, x: jax.Array, activation: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """Returns the function that normalises arrays of x's shape by the statistics of x, then activates them."""
        channels = x.shape[-1:]
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, channels, jnp.float32)
        running_var = self.variable('batch_stats', 'var', jnp.ones, channels, jnp.float32)
        if self.use_running_average or self.is_initializing():
            mean, var = running_mean.value, running_var.value
        else:
            mean, var, n = batch_statistics(x, self.axis_name)
            running_mean.value = _average(running_mean.value, mean, self.momentum)
            running_var.value = _average(running_var.value, var * (n / max(n - 1, 1)), self.momentum)
        scale = self.param('scale', nn.initializers.ones, channels, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, channels, jnp.float32)
        factor = scale * lax.rsqrt(var + BN_EPSILON)

        def scaled(x, factor, shift):
            return activation((x * factor + shift).astype(self.dtype))

        shift = bias - mean * factor
        if self.use_running_average:
            return lambda x: scaled(x, factor, shift)
        # On a CPU, recomputing this from x in the gradient is faster: fewer maps go through memory. On a TPU the
        # compiler chooses: with the checkpoint, its estimate exceeds the cycles that `make tpu-check-quick` allows.
        return lambda x: by_platform(x, factor, shift, cpu=jax.checkpoint(scaled), default=scaled)


def batch_statistics(x: jax.Array, axis_name: str | tuple[str, ...] | None) -> tuple[jax.Array, jax.Array, int]:
    """Returns the mean and plain variance of each channel [C], and the count of numbers, over the mapped axes too."""
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean, square = jnp.mean(x, axes), jnp.mean(lax.square(x), axes)
    n = x.size // x.shape[-1]
    if axis_name:
        mean, square = lax.pmean((mean, square), axis_name)
        n *= lax.psum(1, axis_name)
    return mean, jnp.maximum(0.0, square - lax.square(mean)), n


def _average(old: jax.Array, new: jax.Array, momentum: float) -> jax.Array:
    return momentum * old + (1 - momentum) * new
