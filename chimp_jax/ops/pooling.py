"""The mean over a picture, with a form that is fast on a CPU."""

import jax
import jax.numpy as jnp

from chimp_jax.programs.platforms import by_platform

# Pixels. For larger maps the product saves no time, and its rounding error grows because it adds pixels one by one.
LARGEST_PRODUCT = 64 * 64


@jax.custom_jvp
def picture_mean(x: jax.Array) -> jax.Array:
    """Returns the mean of each channel: [B, H, W, C] -> [B, 1, 1, C].

    A CPU uses a product with ones. If a gradient is taken, every platform uses `plain_mean`.
    """
    if x.shape[1] * x.shape[2] > LARGEST_PRODUCT:
        return plain_mean(x)
    return by_platform(x, cpu=as_product, default=plain_mean)


@picture_mean.defjvp
def _picture_mean_jvp(primals, tangents):
    # The product's gradient would be a map. The mean's is one number per channel, which XLA does not write to memory.
    return jax.jvp(plain_mean, primals, tangents)


def plain_mean(x: jax.Array) -> jax.Array:
    """The definition: the mean over height and width."""
    return jnp.mean(x, axis=(1, 2), keepdims=True)


def as_product(x: jax.Array) -> jax.Array:
    """The form for a CPU. A sum is slower there, and XLA recomputes the activation before the last mean."""
    b, height, width, channels = x.shape
    ones = jnp.ones((b, height * width), x.dtype)
    pixels = x.reshape(b, height * width, channels)
    sums = jnp.einsum('bp,bpc->bc', ones, pixels, preferred_element_type=jnp.float32)
    return (sums / (height * width)).astype(x.dtype).reshape(b, 1, 1, channels)
