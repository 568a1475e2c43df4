"""1x1 convolution: a product on the channels, of which a TPU's compiler has to be told that it is a convolution."""

from typing import Any

import jax
from jax import lax


def pointwise_dot_general(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
    """x [B, H, W, C], kernel [C, F] -> [B, H, W, F], for `dot_general` of nn.Dense.

    Around products the TPU's compiler lays pictures out with W in the lanes, around convolutions with B; a network
    of both spends a fourth of its step in copies from one to the other (docs/tpu_compiler.md).
    Raises ValueError for any other product.
    """
    if x.ndim != 4 or dimension_numbers != (((3,), (0,)), ((), ())):
        raise ValueError(f'a product over the channels of pictures is meant, not {dimension_numbers} of {x.shape}')

    def product(x, kernel):
        return lax.dot_general(x, kernel, dimension_numbers, precision=precision)

    def convolution(x, kernel):
        return pointwise_convolution(x, kernel, precision)

    return lax.platform_dependent(x, kernel, tpu=convolution, default=product)


def pointwise_convolution(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The same, said as a convolution."""
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), 'VALID', dimension_numbers=numbers, precision=precision
    )
