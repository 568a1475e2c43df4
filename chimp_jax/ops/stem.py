"""The first layer's 3 x 3 convolution at stride 2, with a form that is fast on a CPU.

With three input channels, XLA's CPU backend runs a convolution at a third of the speed of 27 products of a pixel's
value with a vector of channels. Evaluation uses the 27 products. Training uses the plain convolution with a faster
gradient.
Shapes: x [B, H, W, 3]; kernel [3, 3, 3, F]; y [B, ceil(H / 2), ceil(W / 2), F]. The padding is TensorFlow's SAME.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.ops.depthwise import pad_same
from chimp_jax.programs.platforms import by_platform

NUMBERS = ('NHWC', 'HWIO', 'NHWC')


def stem_convolution(x: jax.Array, kernel: jax.Array, strides: Any, padding: str, **settings: Any) -> jax.Array:
    """The `conv_general_dilated` of nn.Conv for the stem; equals `plain_stem`.

    Raises ValueError for any other convolution.
    """
    if x.ndim != 4 or kernel.shape[:3] != (3, 3, 3) or tuple(strides) != (2, 2) or padding != 'SAME':
        raise ValueError(f'expected the 3 x 3 convolution of RGB pictures at stride 2, not {kernel.shape}, {strides}')
    return by_platform(x, kernel, cpu=_products, default=plain_stem)


def plain_stem(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The definition: a convolution at stride 2."""
    return lax.conv_general_dilated(x, kernel, (2, 2), 'SAME', dimension_numbers=NUMBERS)


@jax.custom_vjp
def _products(x, kernel):
    padded = pad_same(x, 3, 2)
    rows, columns = ((size - 1) // 2 for size in padded.shape[1:3])

    def of_row(i: int) -> jax.Array:
        return sum(
            padded[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2, c, None] * kernel[i, j, c]
            for j in range(3)
            for c in range(3)
        )

    # A core can work on three sums at once. In a single sum, each addition waits for the one before.
    return of_row(0) + of_row(1) + of_row(2)


def _forward(x, kernel):
    # With the order of additions of the 27 products, the loss after ten updates differs from Keras by 0.6 %
    # (test_oracle), although the gradients of the first update agree. The cause is unknown.
    return plain_stem(x, kernel), (x, kernel)


def _backward(saved, grad):
    x, kernel = saved
    (x_gradient,) = jax.linear_transpose(lambda x: plain_stem(x, kernel), x)(grad)  # XLA drops it if it is unused
    patches = _patches(x)
    sums = lax.dot_general(patches, grad, (((0, 1, 2), (0, 1, 2)), ((), ())))
    return x_gradient, sums[:27].reshape(kernel.shape)


_products.defvjp(_forward, _backward)


def _patches(x: jax.Array) -> jax.Array:
    """Returns the 27 values that each output sees, in the kernel's order, and five zeros: [B, H / 2, W / 2, 32]."""
    padded = pad_same(x, 3, 2)
    rows, columns = ((size - 1) // 2 for size in padded.shape[1:3])
    seen = [padded[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for i in range(3) for j in range(3)]
    return lax.optimization_barrier(jnp.pad(jnp.concatenate(seen, axis=-1), ((0, 0),) * 3 + ((0, 5),)))
