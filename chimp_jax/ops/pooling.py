"""The mean over a picture: one meaning, and a form of it that is quick on a CPU."""

import jax
import jax.numpy as jnp
from jax import lax

# Pixels. Of more, the product is no quicker, and its rounding grows: it adds them up one after the other.
LARGEST_PRODUCT = 64 * 64


@jax.custom_jvp
def picture_mean(x: jax.Array) -> jax.Array:
    """Of each channel: [B, H, W, C] -> [B, 1, 1, C]. As a product with ones on a CPU; with a gradient, as `plain`."""
    if x.shape[1] * x.shape[2] > LARGEST_PRODUCT:
        return plain_mean(x)
    return lax.platform_dependent(x, cpu=as_product, default=plain_mean)


@picture_mean.defjvp
def _picture_mean_jvp(primals, tangents):
    # The gradient of the product would be a map; that of the mean is a number a channel, which XLA does not write out.
    return jax.jvp(plain_mean, primals, tangents)


def plain_mean(x: jax.Array) -> jax.Array:
    """The definition."""
    return jnp.mean(x, axis=(1, 2), keepdims=True)


def as_product(x: jax.Array) -> jax.Array:
    """The CPU's form: a sum is slower there, and XLA works out what stands before the last one once more."""
    b, height, width, channels = x.shape
    ones = jnp.ones((b, height * width), x.dtype)
    pixels = x.reshape(b, height * width, channels)
    sums = jnp.einsum('bp,bpc->bc', ones, pixels, preferred_element_type=jnp.float32)
    return (sums / (height * width)).astype(x.dtype).reshape(b, 1, 1, channels)
